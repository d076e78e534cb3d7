"""What the launch plans of csrc/cuda take for granted: registers of kernels, blocks that a multiprocessor holds."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from ..simt import build
from ..simt.harness import Device
from .cache import produce

HERE = Path(__file__).parent
DTYPES = ("double", "float", "__half", "__nv_bfloat16")  # in the order of DType


@cache
def _library() -> ctypes.CDLL:
    table = build.compile_object(HERE / "plans.cpp", ["-O1"])
    path = produce("plans", ".so", [build.compiler(), "-shared", table], [table])
    library = ctypes.CDLL(str(path))
    library.plan_kernel.restype = ctypes.c_char_p
    return library


@cache
def assumed_registers() -> dict[tuple[str, str], int]:
    """The most registers a thread of a kernel may have for its plan to hold, by kernel and storage type."""
    library, found, i = _library(), {}, 0
    while (name := library.plan_kernel(i)) is not None:
        for number, dtype in enumerate(DTYPES):
            found[name.decode(), dtype] = int(library.plan_registers(i, number))
        i += 1
    return found


def gradient_period() -> int:
    """Rows after which the cascade's backward kernel adds up its sums."""
    return int(_library().plan_gradient_period())


def blocks_per_multiprocessor(device: Device, threads: int, shared_bytes: int, registers: int) -> int:
    """Blocks that a multiprocessor holds at a time; 0 where the kernel cannot run."""
    return int(_library().plan_blocks(ctypes.byref(device), threads, ctypes.c_int64(shared_bytes), registers))
