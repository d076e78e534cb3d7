"""Runs the blocks of an existing model on the fused operators. (``fuse`` is the name of the function.)"""

from lite_rtse_ext.utils.extras import require_torch

require_torch(__name__)

from lite_rtse_ext.fusion.swap import Finding, FuseReport, fuse, unfuse

__all__ = ["Finding", "FuseReport", "fuse", "unfuse"]
