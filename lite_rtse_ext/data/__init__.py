"""Speech and noise for training and evaluation: prepared files, one manifest, and mixing on the fly."""

from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture, Pair

__all__ = ["Clip", "Manifest", "ManifestError", "Mixture", "Pair"]
