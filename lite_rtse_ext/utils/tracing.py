"""What PyTorch is doing with a call besides computing it."""

from __future__ import annotations

import sys
from typing import NoReturn

import torch

__all__ = ["NotScriptable", "is_for_elsewhere", "is_onnx_export", "is_recorded", "is_traced"]


def is_traced() -> bool:
    """Whether ``torch.jit.trace`` is recording."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def is_onnx_export() -> bool:
    """Whether ``torch.onnx.export`` is at work. To import ``torch.onnx`` for the question would take a second."""
    if torch.compiler.is_dynamo_compiling() or "torch.onnx" not in sys.modules:
        return False
    return torch.onnx.is_in_onnx_export()


def is_for_elsewhere() -> bool:
    """Whether the call becomes a graph of PyTorch's own operators: ``torch.jit.trace`` or ``torch.onnx.export``.

    Such a graph is to run where this package is not installed. The modules then compute in plain PyTorch.
    """
    return is_traced() or (torch.compiler.is_exporting() and is_onnx_export())


def is_recorded() -> bool:
    """Whether the call becomes a graph, or is transformed by ``torch.func``: no branch may then depend on values."""
    return torch.compiler.is_compiling() or is_for_elsewhere() or torch._C._are_functorch_transforms_active()


class NotScriptable:
    """A base of modules that ``torch.jit.script`` can't compile: it is told so before it reads their code."""

    def __prepare_scriptable__(self) -> NoReturn:
        raise RuntimeError(
            f"{type(self).__name__} can't be compiled by torch.jit.script. After fuse(model), call unfuse(model) "
            "first. torch.jit.trace and torch.export take the module as it is. `lite-rtse export` writes an ONNX graph"
        )
