"""Tests whether PyTorch records or transforms the current call."""

from __future__ import annotations

import sys
from typing import NoReturn

import torch

__all__ = ["NotScriptable", "is_for_elsewhere", "is_onnx_export", "is_recorded", "is_traced"]


def is_traced() -> bool:
    """Return whether ``torch.jit.trace`` is recording."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def is_onnx_export() -> bool:
    """Return whether ``torch.onnx.export`` is running. It does not import ``torch.onnx``, which would take a second."""
    if torch.compiler.is_dynamo_compiling() or "torch.onnx" not in sys.modules:
        return False
    return torch.onnx.is_in_onnx_export()


def is_for_elsewhere() -> bool:
    """Return whether the call becomes a graph of PyTorch's own operators: ``torch.jit.trace`` or ``torch.onnx.export``.

    Such a graph must run where this package is not installed. The modules then use plain PyTorch operators.
    """
    return is_traced() or (torch.compiler.is_exporting() and is_onnx_export())


def is_recorded() -> bool:
    """Return whether the call becomes a graph, or is transformed by ``torch.func``.

    In these cases no branch may depend on the values of tensors.
    """
    return torch.compiler.is_compiling() or is_for_elsewhere() or torch._C._are_functorch_transforms_active()


class NotScriptable:
    """Base class of modules that ``torch.jit.script`` can't compile. It raises an error before their code is parsed."""

    def __prepare_scriptable__(self) -> NoReturn:
        raise RuntimeError(
            f"{type(self).__name__} can't be compiled by torch.jit.script. After fuse(model), call unfuse(model) "
            "first. torch.jit.trace and torch.export take the module as it is. `lite-rtse export` writes an ONNX graph"
        )
