"""Lite-RTSE speech enhancement with fused kernels.

Three ways in: `LiteRTSE`, the network on fused operators; `fuse(model)`, which swaps them into a model of your own; and
the operators themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lite_rtse_ext.model import LiteRTSE
    from lite_rtse_ext.ops.causal_dwconv2d import causal_dwconv2d
    from lite_rtse_ext.ops.conv_block import conv_block
    from lite_rtse_ext.ops.lstm import lstm
    from lite_rtse_ext.ops.mask_residual import mask_residual
    from lite_rtse_ext.ops.multi_order_conv import multi_order_conv
    from lite_rtse_ext.stream import Streamer
    from lite_rtse_ext.swap import fuse, unfuse

__version__ = "0.1.0"

__all__ = [
    "LiteRTSE",
    "Streamer",
    "causal_dwconv2d",
    "conv_block",
    "fuse",
    "lstm",
    "mask_residual",
    "multi_order_conv",
    "unfuse",
]

# Loaded at first use: torch takes seconds to import, which `lite-rtse --help` need not.
_HOME = {"LiteRTSE": "model", "Streamer": "stream"} | dict.fromkeys(("fuse", "unfuse"), "swap")
_MODULES = ("audio", "nn", "ops", "reference", "stream")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'ops')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
