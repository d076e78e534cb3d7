"""Tests whether calling a module does more, or something else, than its class's ``forward``."""

from __future__ import annotations

from torch import nn

__all__ = ["has_hooks"]

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Return whether a hook of its own runs when the module is called or differentiated."""
    return any(getattr(module, hooks) for hooks in _HOOKS)
