"""Swapping the fused operators into a model that someone else wrote. (``fuse`` is the name of the function.)"""

from lite_rtse_ext.fusion.swap import Finding, FuseReport, fuse, unfuse

__all__ = ["Finding", "FuseReport", "fuse", "unfuse"]
