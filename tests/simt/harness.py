"""Calls the CUDA operators' launchers on the CPU, through the emulator.

In a test of an operator::

    from . import harness
    from ..ops.operators import CONV_BLOCK, Shape, check_against_reference

    pytestmark = harness.needs("conv_block")          # skips, saying why, where nothing can be built

    y = harness.run("conv_block", x, weights, biases)                                # as lite_rtse_ext.ops.conv_block
    dx, dweights, dbiases = harness.run("conv_block_backward", dy, x, weights, biases)
    check_against_reference(harness.emulated(CONV_BLOCK, seed=3), shape, torch.float32, "cpu")

``run`` takes the arguments of the operator in ``lite_rtse_ext.ops``, and for the backward first ``dy``; tensors of any
dtype that the kernels have. Options, which ``emulated`` takes as well:

device
    a :class:`Device`, or a name from :func:`devices`: ``"sm_86"``.
seed
    of the schedule: order of blocks, and of threads between barriers.
flavour
    ``"plain"`` runs within this process; ``"asan"`` (AddressSanitizer and UndefinedBehaviorSanitizer), ``"tsan"`` and
    ``"quick"`` (built without optimisation) in a process of their own.
shift
    elements between an aligned address and the beginning of every buffer: a contiguous slice may begin anywhere.
isolated
    a process of its own for ``"plain"`` too, for kernels that may crash.
folder
    where the .cu files are, if not in csrc/cuda: for broken copies.

Outputs, workspace and shared memory are NaN beforehand. :class:`EmulationError` says what went wrong: a deadlock or
divergent barrier, a write around a buffer or to an input, an invalid launch, an error that a launcher returned or a
sanitizer's report.

``launches`` returns the geometry of the kernels that a call would enqueue, checked against the limits of the device,
without running them or using memory: it takes tensors on torch's ``meta`` device, of any size.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from . import build
from .calls import DTYPES, OUTPUT, Call, prepare, storage_bytes

TIMEOUT_SECONDS = 300


class EmulationError(Exception):
    """What the emulator, a sanitizer or the red zones around the buffers reported."""


class Device(ctypes.Structure):
    """The limits of a device: ``Device`` in csrc/cuda/api.h."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in (
            "sm",
            "multiprocessors",
            "shared_per_block",
            "shared_per_sm",
            "registers_per_sm",
            "threads_per_sm",
            "blocks_per_sm",
            "without_clusters",
        )
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("kind", ctypes.c_int32),
    )


class _Request(ctypes.Structure):
    _fields_ = (
        ("backward", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("device", Device),
        ("seed", ctypes.c_uint64),
        ("shift", ctypes.c_int32),
        ("execute", ctypes.c_int32),
        ("sizes_count", ctypes.c_int64),
        ("sizes", ctypes.POINTER(ctypes.c_int64)),
        ("buffers_count", ctypes.c_int64),
        ("buffers", ctypes.POINTER(_Buffer)),
        ("workspace_bytes", ctypes.c_int64),
    )


class _LaunchRecord(ctypes.Structure):
    _fields_ = (
        ("kernel", ctypes.c_char * 256),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_int64),
        ("static_shared_bytes", ctypes.c_int64),
        ("cluster", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Launch:
    """One kernel that was enqueued."""

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int  # dynamic
    static_shared_bytes: int
    cluster: int = 1  # blocks of one


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.simt_run.restype = ctypes.c_char_p
    library.simt_launches.restype = ctypes.c_int64
    return library


@cache
def devices() -> dict[str, Device]:
    """The devices of csrc/cuda/common/plan.h by name: ``sm_75`` and so on."""
    path = build.device_table()
    library = ctypes.CDLL(str(path))
    found = (Device * library.simt_devices(None))()
    library.simt_devices(found)
    return {f"sm_{device.sm}": device for device in found}


def with_multiprocessors(count: int, name: str = "sm_86") -> Device:
    """One of the devices, with so many multiprocessors."""
    device = Device.from_buffer_copy(devices()[name])
    device.multiprocessors = count
    return device


def _device(device: str | Device) -> Device:
    return devices()[device] if isinstance(device, str) else device


def _request(call: Call, device: Device, seed: int, shift: int, execute: bool) -> _Request:
    buffers = (_Buffer * len(call.buffers))()
    for buffer, (name, tensor, kind) in zip(buffers, call.buffers, strict=True):
        buffer.name, buffer.kind = name.encode(), kind
        if tensor is not None:
            buffer.data = tensor.data_ptr() if execute else None
            buffer.bytes = storage_bytes(tensor)
    request = _Request(backward=call.backward, dtype=DTYPES.index(call.dtype), device=device, seed=seed)
    request.shift, request.execute = shift * call.dtype.itemsize, execute
    request.sizes_count, request.sizes = len(call.sizes), (ctypes.c_int64 * len(call.sizes))(*call.sizes)
    request.buffers_count, request.buffers = len(buffers), buffers
    return request


def run(
    name: str,
    *arguments: Any,
    device: str | Device = "sm_86",
    seed: int = 0,
    flavour: str = "plain",
    shift: int = 0,
    isolated: bool = False,
    folder: Path = build.CUDA_SOURCES,
) -> Any:
    """The result of an operator, or the gradients of its backward; see this module's documentation."""
    require(flavour)
    operator, call, result = prepare(name, arguments)
    library = build.operator_library(operator, flavour, folder)
    request = _request(call, _device(device), seed, shift, execute=True)
    if flavour != "plain" or isolated:
        _run_in_process(library, flavour, request, call)
    else:
        fault = _load(library).simt_run(ctypes.byref(request)).decode()
        if fault:
            raise EmulationError(fault)
    return result


def launches(
    name: str, *arguments: Any, device: str | Device = "sm_86", shift: int = 0, folder: Path = build.CUDA_SOURCES
) -> tuple[list[Launch], int]:
    """The kernels that a call would enqueue, and the bytes of workspace it would need; nothing is run."""
    operator, call, _ = prepare(name, arguments)
    library = _load(build.operator_library(operator, "plain", folder))
    request = _request(call, _device(device), 0, shift, execute=False)
    fault = library.simt_run(ctypes.byref(request)).decode()
    if fault:
        raise EmulationError(fault)
    records = (_LaunchRecord * library.simt_launches(None, ctypes.c_int64(0)))()
    library.simt_launches(records, ctypes.c_int64(len(records)))
    found = [
        Launch(r.kernel.decode(), tuple(r.grid), tuple(r.block), r.shared_bytes, r.static_shared_bytes, r.cluster)
        for r in records
    ]
    return found, request.workspace_bytes


def _run_in_process(library: Path, flavour: str, request: _Request, call: Call) -> None:
    """The request as a file to a process, and the results back; the layout is that of run_file in capi.cpp."""
    words = [request.backward, request.dtype, *(getattr(request.device, name) for name, _ in Device._fields_)]
    words += [request.seed, request.shift, len(call.sizes), *call.sizes, len(call.buffers)]
    header = struct.pack(f"<{len(words)}q", *words)
    buffers = [request.buffers[i] for i in range(len(call.buffers))]
    for buffer in buffers:
        header += struct.pack("<3q", buffer.kind, buffer.bytes, len(buffer.name)) + buffer.name
    contents = b"".join(ctypes.string_at(buffer.data, buffer.bytes) for buffer in buffers if buffer.bytes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request"
        path.write_bytes(header + contents)
        run_function(library, flavour, "simt_run_file", str(path))
        results = path.read_bytes()[len(header) :]
    for buffer in buffers:
        if buffer.kind == OUTPUT:
            ctypes.memmove(buffer.data, results, buffer.bytes)
        results = results[buffer.bytes :]


SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1 atexit_sleep_ms=0",
}


@cache
def _at_fixed_addresses() -> tuple[str, ...]:
    """What starts a program without randomised addresses, where that is allowed: containers may forbid it."""
    prefix = ("setarch", "--addr-no-randomize")
    allowed = shutil.which("setarch") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if allowed else ()


# ThreadSanitizer gives up where the kernel has put a library at an address that it wants for itself. With addresses
# drawn at random about one start in ten goes well.
UNFIT_ADDRESSES = "ThreadSanitizer: unexpected memory mapping"
STARTS = 200


def _started(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **SANITIZERS}
    for _ in range(STARTS):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_SECONDS)
        if UNFIT_ADDRESSES not in done.stderr:
            break
    return done


@cache
def refused(flavour: str) -> str:
    """Why programs with this flavour's sanitizer do not run on this machine; empty if they do."""
    try:
        program = build.runner(flavour)
    except build.BuildError as error:
        return f"no program can be built for {flavour}: {str(error).strip().splitlines()[-1]}"
    done = _started([*_at_fixed_addresses(), str(program)])
    return "" if "usage" in done.stderr else f"no program runs with {flavour}: {done.stderr.strip()[:200]}"


def require(flavour: str) -> None:
    """Skips the test, saying why, where this flavour's sanitizer does not work."""
    if flavour != "plain" and (reason := refused(flavour)):
        pytest.skip(reason)


def run_function(library: Path, flavour: str, function: str, argument: str) -> None:
    """Calls a function of a library in a process of its own, under the sanitizer that it was built with."""
    command = [*(_at_fixed_addresses() if flavour == "tsan" else ()), str(build.runner(flavour))]
    try:
        done = _started([*command, str(library), function, argument])
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"not finished after {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        raise EmulationError(done.stderr.strip() or f"exit status {done.returncode}")


def needs(operator: str | None = None) -> pytest.MarkDecorator:
    """A mark that skips tests where they cannot be built, with the reason."""
    reason = build.missing()
    if not reason and operator and not build.operator_sources(operator):
        reason = f"csrc/cuda has no {operator}"
    return pytest.mark.skipif(bool(reason), reason=reason)


def emulated(operator: Any, **options: Any) -> Any:
    """An operator of tests/ops/operators.py whose function runs the CUDA kernels, forward and backward."""

    class Emulated(type(operator)):  # type: ignore[misc]
        @property
        def function(self) -> Callable[..., Tensor]:
            return lambda *arguments: _differentiable(operator.name, arguments, options)

    return Emulated()


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, name: str, group: Any, options: Any, *tensors: Tensor) -> Tensor:
        ctx.name, ctx.group, ctx.options = name, group, options
        ctx.save_for_backward(*tensors)
        return run(name, *group(tensors), **options)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        arguments = ctx.group(ctx.saved_tensors)
        gradients = flat(run(f"{ctx.name}_backward", dy, *arguments, **ctx.options))
        return None, None, None, *gradients[: len(ctx.saved_tensors)]  # none for a bias that is not there


def flat(values: Sequence[Any]) -> list[Tensor]:
    """Gradients as ``run`` returns them, those of lists one by one."""
    return [tensor for value in values for tensor in (value if isinstance(value, list) else [value])]


def _differentiable(name: str, arguments: Sequence[Any], options: Any) -> Tensor:
    lengths = [len(a) if isinstance(a, list) else None for a in arguments]

    def group(tensors: Sequence[Tensor]) -> list[Any]:
        rest = iter(tensors)
        return [next(rest) if n is None else [next(rest) for _ in range(n)] for n in lengths]

    return _Function.apply(name, group, options, *flat(arguments))
