"""Loads the compiled operators.

Importing the package works without them. The first use of an operator then raises an error that states what is missing
and how to install it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_HOW_TO_BUILD = (
    "reinstall lite-rtse-ext where a C++ compiler is installed (from a checkout: `pip install --no-build-isolation .`)"
)
_HOW_TO_BUILD_CUDA = (
    "with a CUDA build of torch and the CUDA toolkit installed, reinstall lite-rtse-ext "
    "(from a checkout: `FORCE_CUDA=1 pip install --no-build-isolation .`)"
)


def _find() -> Path | None:
    """The compiled library in the package's folder, whatever suffix the build gave it."""
    return next((p for p in sorted(Path(__file__).parents[1].glob("_C*.so"))), None)


def _call(library: ctypes.CDLL, function: str, result: Any, *arguments: Any) -> Any:
    """Call a function of the library and return its result. Raises RuntimeError if it ended with an exception."""
    entry, failure = getattr(library, function), library.lite_rtse_failure
    entry.restype, failure.restype = result, ctypes.c_char_p
    answer, reason = entry(*arguments), failure()
    if reason is not None:
        raise RuntimeError(reason.decode())
    return answer


def _text(library: ctypes.CDLL, function: str) -> str:
    return str(_call(library, function, ctypes.c_char_p).decode())


def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library and "", or None and the reason why it is missing."""
    path = _find()
    if path is None:
        return None, f"its compiled library _C is missing: {_HOW_TO_BUILD}"
    try:
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError as error:
        return (
            None,
            f"its compiled library {path.name} cannot be loaded with torch {torch.__version__} ({error}): "
            f"{_HOW_TO_BUILD}",
        )
    return ctypes.CDLL(str(path)), ""


_library, _reason = _load()
if _library is not None:
    try:
        _text(_library, "lite_rtse_isa")
    except RuntimeError as error:
        raise ImportError(str(error)) from None
# This is a constant, since torch.compile cannot trace the query.
_has_cuda = _library is not None and torch._C._dispatch_has_kernel_for_dispatch_key(
    "lite_rtse::causal_dwconv2d", "CUDA"
)


def available() -> bool:
    """Whether the compiled operators are loaded."""
    return _library is not None


def path() -> Path | None:
    """The compiled library's file, or None."""
    return _find()


def require() -> None:
    """Raise RuntimeError if the compiled operators are missing. The message says what to do."""
    if _library is None:
        raise RuntimeError(f"lite_rtse_ext cannot run its fused operators: {_reason}")


def isa() -> str:
    """The instruction set whose kernels are in use: "avx512", "avx2", "baseline" (SSE2) or "neon".

    The library selects it at load time by the processor's features. The environment variable LITE_RTSE_ISA overrides
    the selection.

    Raises:
        RuntimeError: the compiled operators are missing.
    """
    require()
    assert _library is not None
    return _text(_library, "lite_rtse_isa")


def isas() -> list[str]:
    """The instruction sets that this machine can run, fastest first.

    Raises:
        RuntimeError: the compiled operators are missing.
    """
    require()
    assert _library is not None
    return _text(_library, "lite_rtse_runnable_isas").split(",")


def _ask(function: str, result: Any, *arguments: Any) -> Any:
    require()
    assert _library is not None
    return _call(_library, function, result, *arguments)


def lstm_fits(dtype: int, units: int, device: int) -> bool:
    """Whether the operator ``lstm`` can run with so many units on the GPU of this index.

    The type is given by its place in ``DType`` of csrc/operators.h.
    """
    sizes = ctypes.c_int32(dtype), ctypes.c_int64(units)
    return bool(_ask("lite_rtse_lstm_fits", ctypes.c_bool, *sizes, ctypes.c_int32(device)))


def gru_fits(dtype: int, units: int, directions: int, device: int) -> bool:
    """The same of the operator ``gru``."""
    sizes = ctypes.c_int32(dtype), ctypes.c_int64(units), ctypes.c_int64(directions)
    return bool(_ask("lite_rtse_gru_fits", ctypes.c_bool, *sizes, ctypes.c_int32(device)))


def fma_peak_gflops(seconds: float = 0.2) -> float:
    """float32 GFLOP/s that one thread reaches in registers. A multiply-add counts as two operations.

    The result is the best rate within `seconds` of measuring.
    """
    return float(_ask("lite_rtse_fma_peak", ctypes.c_double, ctypes.c_double(seconds))) * 1e-9


def cascade_gflops(frames: int = 250) -> float:
    """float32 GFLOP/s that one thread reaches in the depthwise stages of the Multi-Order block's forward pass.

    The block has the network's sizes. The input is one utterance of `frames` frames.
    """
    if frames < 1:
        raise ValueError(f"frames: expected at least 1, got {frames}")
    return float(_ask("lite_rtse_cascade_rate", ctypes.c_double, ctypes.c_int64(frames))) * 1e-9


def copy_gbps(seconds: float = 0.5) -> float:
    """GB/s at which one thread copies blocks larger than any cache. Bytes read and bytes written both count."""
    return float(_ask("lite_rtse_copy_bandwidth", ctypes.c_double, ctypes.c_double(seconds))) * 1e-9


def flush_denormals() -> list[int]:
    """Flush denormals to zero in each of PyTorch's threads. Returns the previous setting of each thread."""
    threads = torch.get_num_threads()
    before = (ctypes.c_uint64 * threads)()
    _ask("lite_rtse_flush_denormals", None, before, ctypes.c_int64(threads))
    return list(before)


def restore_denormals(before: Sequence[int]) -> None:
    """Restore the settings that :func:`flush_denormals` returned, in each of PyTorch's threads.

    The number of threads may have changed in the meantime.
    """
    known, now = len(before), torch.get_num_threads()
    threads = max(known, now)
    if threads != now:
        torch.set_num_threads(threads)
    words = (ctypes.c_uint64 * known)(*before)
    _ask("lite_rtse_restore_denormals", None, words, ctypes.c_int64(known), ctypes.c_int64(threads))
    if threads != now:
        torch.set_num_threads(now)


def has_cuda() -> bool:
    """Whether this build contains CUDA kernels."""
    return _has_cuda


def cuda_architectures() -> list[str]:
    """The compute capabilities for which the CUDA kernels were compiled, such as "8.0". Empty in a CPU build."""
    if not _has_cuda:
        return []
    assert _library is not None
    return _text(_library, "lite_rtse_cuda_architectures").split(", ")


def require_cuda(name: str, device: torch.device) -> None:
    """Raise RuntimeError if the build has no CUDA kernels. The message names the argument and says what to do."""
    if not _has_cuda:
        raise RuntimeError(f"{name} is on {device}, but lite_rtse_ext was built without CUDA: {_HOW_TO_BUILD_CUDA}")
