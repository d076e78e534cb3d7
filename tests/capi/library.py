"""The C library through ctypes, with the errors as exceptions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_size_t, c_void_p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT / "build" / "capi" / "liblite_rtse.so"
FORMAT, NETWORK, MIN_GAIN = 7, 8, 12

Samples = NDArray[np.float32]
_Array = np.ctypeslib.ndpointer(np.float32, flags="C")


def _function(lib: ctypes.CDLL, name: str, *arguments: object) -> Callable[..., int]:
    function = getattr(lib, f"lite_rtse_{name}")
    function.argtypes, function.restype = list(arguments), c_int32
    return function  # type: ignore[no-any-return]


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


class Library:
    def __init__(self, path: Path = SHARED) -> None:
        lib = ctypes.CDLL(str(path))
        self.parse = _function(lib, "network_parse", c_char_p, c_size_t, c_int32, POINTER(c_void_p), c_char_p, c_size_t)
        self.create = _function(
            lib, "stream_create_at", c_void_p, c_int32, c_int32, c_int32, c_int32, POINTER(c_void_p)
        )
        self.latency = _function(lib, "stream_latency", c_void_p, POINTER(c_size_t))
        self.room = _function(lib, "stream_room", c_void_p, c_size_t, POINTER(c_size_t))
        self.process = _function(lib, "stream_process", c_void_p, _Array, c_size_t, _Array, c_size_t, POINTER(c_size_t))
        self.flush = _function(lib, "stream_flush", c_void_p, _Array, c_size_t, POINTER(c_size_t))
        self.set_wet = _function(lib, "stream_set_wet", c_void_p, c_double)
        self.set_attenuation_limit = _function(lib, "stream_set_attenuation_limit", c_void_p, c_double)
        self.set_extra_reduction = _function(lib, "stream_set_extra_reduction", c_void_p, c_double)
        self.version = _function(lib, "version")
        for name in ("network", "stream"):
            _function(lib, f"{name}_destroy", c_void_p)
        self.destroy_network, self.destroy_stream = lib.lite_rtse_network_destroy, lib.lite_rtse_stream_destroy

    def network(self, data: bytes, precision: str = "float32") -> c_void_p:
        network, message = c_void_p(), ctypes.create_string_buffer(300)
        number = ("float32", "int16", "int24", "int8").index(precision)
        status = self.parse(data, len(data), number, byref(network), message, len(message))
        if status:
            raise Refused(status, message.value.decode())
        return network

    def enhance(
        self,
        network: c_void_p,
        blocks: Iterable[Samples],
        *,
        live: bool,
        high_pass: bool,
        wet: float,
        limit: float | None,
        extra: float = 0.0,
        rate: int = 16_000,
        channels: int = 1,
    ) -> Samples:
        """All output for these blocks, with that of the flush: (samples,), or (samples, channels) of several."""
        stream, width = c_void_p(), (channels,) if channels > 1 else ()
        assert self.create(network, live, high_pass, rate, channels, byref(stream)) == 0
        assert self.set_wet(stream, wet) == 0
        if limit is not None:
            assert self.set_attenuation_limit(stream, limit) == 0
        status = self.set_extra_reduction(stream, extra)
        if status:
            self.destroy_stream(stream)
            raise Refused(status, "extra reduction")
        outputs, size = [], c_size_t()
        for block in blocks:
            assert self.room(stream, len(block), byref(size)) == 0
            out = np.zeros((size.value, *width), np.float32)
            assert self.process(stream, block, len(block), out, len(out), byref(size)) == 0
            outputs.append(out[: size.value])
        assert self.latency(stream, byref(size)) == 0
        rest = np.zeros((size.value, *width), np.float32)
        assert self.flush(stream, rest, len(rest), byref(size)) == 0
        self.destroy_stream(stream)
        return np.concatenate([*outputs, rest[: size.value]])
