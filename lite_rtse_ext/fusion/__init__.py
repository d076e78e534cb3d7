"""Runs the blocks of an existing model on the fused operators. (``fuse`` is the name of the function.)"""

from lite_rtse_ext.fusion.swap import Finding, FuseReport, fuse, unfuse

__all__ = ["Finding", "FuseReport", "fuse", "unfuse"]
