"""Loads the compiled operators.

Importing the package works without them; the first use of an operator then says what is missing and how to get it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_HOW_TO_BUILD = (
    "reinstall lite-rtse-ext with a C++ compiler at hand (from a checkout: `pip install --no-build-isolation .`)"
)
_HOW_TO_BUILD_CUDA = (
    "with a CUDA build of torch and the CUDA toolkit installed, reinstall lite-rtse-ext "
    "(from a checkout: `FORCE_CUDA=1 pip install --no-build-isolation .`)"
)


def _find() -> Path | None:
    """The compiled library in the package's folder, whatever suffix the build gave it."""
    return next((p for p in sorted(Path(__file__).parents[1].glob("_C*.so"))), None)


def _call(library: ctypes.CDLL, function: str, result: Any, *arguments: Any) -> Any:
    """What a function of the library returns. Raises RuntimeError where an exception ended it."""
    entry, failure = getattr(library, function), library.lite_rtse_failure
    entry.restype, failure.restype = result, ctypes.c_char_p
    answer, reason = entry(*arguments), failure()
    if reason is not None:
        raise RuntimeError(reason.decode())
    return answer


def _text(library: ctypes.CDLL, function: str) -> str:
    return str(_call(library, function, ctypes.c_char_p).decode())


def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library and "", or None and why there is none."""
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
# A constant, since torch.compile cannot trace the question.
_has_cuda = _library is not None and torch._C._dispatch_has_kernel_for_dispatch_key(
    "lite_rtse::causal_dwconv2d", "CUDA"
)


def available() -> bool:
    """Whether the compiled operators are there."""
    return _library is not None


def path() -> Path | None:
    """The compiled library's file, or None."""
    return _find()


def require() -> None:
    """Raises RuntimeError, with what to do, where the compiled operators are missing."""
    if _library is None:
        raise RuntimeError(f"lite_rtse_ext cannot run its fused operators: {_reason}")


def isa() -> str:
    """The instruction set whose kernels are in use: "avx512", "avx2", "baseline" (SSE2) or "neon".

    Chosen when the library is loaded, by what the processor can do; the environment variable LITE_RTSE_ISA overrides
    it.
    """
    require()
    assert _library is not None
    return _text(_library, "lite_rtse_isa")


def isas() -> list[str]:
    """The instruction sets this machine can run, best first."""
    require()
    assert _library is not None
    return _text(_library, "lite_rtse_runnable_isas").split(",")


def _ask(function: str, result: Any, *arguments: Any) -> Any:
    require()
    assert _library is not None
    return _call(_library, function, result, *arguments)


def fma_peak_gflops(seconds: float = 0.2) -> float:
    """float32 GFLOP/s (a multiply-add is two) that one thread reaches in registers: the best of `seconds` of trying."""
    return float(_ask("lite_rtse_fma_peak", ctypes.c_double, ctypes.c_double(seconds))) * 1e-9


def cascade_gflops(frames: int = 250) -> float:
    """float32 GFLOP/s that one thread reaches in the depthwise stages alone of the Multi-Order block's forward pass, on
    one utterance of so many frames, at the network's sizes."""
    if frames < 1:
        raise ValueError(f"frames must be at least 1, but is {frames}")
    return float(_ask("lite_rtse_cascade_rate", ctypes.c_double, ctypes.c_int64(frames))) * 1e-9


def copy_gbps(seconds: float = 0.5) -> float:
    """GB/s, read and written together, at which one thread copies blocks larger than any cache."""
    return float(_ask("lite_rtse_copy_bandwidth", ctypes.c_double, ctypes.c_double(seconds))) * 1e-9


def flush_denormals() -> list[int]:
    """Denormals count as zero from now on, in each of PyTorch's threads. Returns how it was in each before."""
    threads = torch.get_num_threads()
    before = (ctypes.c_uint64 * threads)()
    _ask("lite_rtse_flush_denormals", None, before, ctypes.c_int64(threads))
    return list(before)


def restore_denormals(before: Sequence[int]) -> None:
    """As :func:`flush_denormals` found it, in each of PyTorch's threads, also where their number has changed since."""
    known, now = len(before), torch.get_num_threads()
    threads = max(known, now)
    if threads != now:
        torch.set_num_threads(threads)
    words = (ctypes.c_uint64 * known)(*before)
    _ask("lite_rtse_restore_denormals", None, words, ctypes.c_int64(known), ctypes.c_int64(threads))
    if threads != now:
        torch.set_num_threads(now)


def has_cuda() -> bool:
    """Whether this build holds CUDA kernels."""
    return _has_cuda


def cuda_architectures() -> list[str]:
    """The compute capabilities that the CUDA kernels were compiled for, as "8.0"; none in a build without them."""
    if not _has_cuda:
        return []
    assert _library is not None
    return _text(_library, "lite_rtse_cuda_architectures").split(", ")


def require_cuda(name: str, device: torch.device) -> None:
    """Raises RuntimeError, with what to do, where the argument `name` is on a GPU and there are no kernels for it."""
    if not _has_cuda:
        raise RuntimeError(f"{name} is on {device}, but lite_rtse_ext was built without CUDA: {_HOW_TO_BUILD_CUDA}")
