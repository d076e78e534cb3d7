"""Tests whether calling a module does more, or something else, than its class's ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

__all__ = ["has_hooks", "hooks_of"]

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Return whether a hook of its own runs when the module is called or differentiated."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def hooks_of(module: nn.Module) -> Iterator[Callable[..., Any]]:
    """The hooks that :func:`has_hooks` asks for."""
    for hooks in _HOOKS:
        yield from getattr(module, hooks).values()
