"""The networks: their registry, checkpoints, cost, and graphs for other runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lite_rtse_ext.utils.lazy import lazy

if TYPE_CHECKING:
    from lite_rtse_ext.models.checkpoint import CheckpointError, load_model, save_model
    from lite_rtse_ext.models.registry import create_model, model_names, register

__all__ = [
    "CheckpointError",
    "create_model",
    "load_model",
    "model_names",
    "register",
    "save_model",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "checkpoint": ("CheckpointError", "load_model", "save_model"),
        "registry": ("create_model", "model_names", "register"),
    },
)
