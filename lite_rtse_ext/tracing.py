"""What PyTorch is doing with a call besides computing it."""

from __future__ import annotations

from typing import NoReturn

import torch

__all__ = ["NotScriptable", "is_for_elsewhere", "is_recorded"]


def is_for_elsewhere() -> bool:
    """Whether the call becomes a graph of PyTorch's own operators: ``torch.jit.trace`` or ``torch.onnx.export``.

    Such a graph is to run where this package is not installed. The modules then compute in plain PyTorch.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


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
