"""What is done with spectrograms besides the network: one gain for several channels, and the gain of a band.

``csrc/stream`` does the same frame by frame.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lite_rtse_ext.signal import Signal

__all__ = ["BandGain", "apply_common_gain", "common_spectrogram", "highest_quarter"]

_SILENCE = 1e-15  # magnitudes below it have no gain


def common_spectrogram(channels: Tensor) -> Tensor:
    """Return the spectrogram that a network hears of several channels that get one common gain.

    Its magnitude is the root mean square of the channels' magnitudes. No sound cancels in it, whatever the channels'
    phases are. Its phase is that of the channels' sum. For equal channels it is the spectrogram of each of them.

    Args:
        channels: ``(channels, bins, frames)``, complex.

    Returns:
        ``(1, bins, frames)``.
    """
    magnitude = channels.abs().square().mean(0, keepdim=True).sqrt()
    return torch.polar(magnitude, channels.sum(0, keepdim=True).angle())


def apply_common_gain(channels: Tensor, common: Tensor, enhanced: Tensor) -> Tensor:
    """Apply to every channel the complex gain that turned ``common`` into ``enhanced``."""
    heard = common.abs() > _SILENCE
    return channels * torch.where(heard, enhanced / torch.where(heard, common, 1), 0)


def highest_quarter(signal: Signal, rate: int) -> slice:
    """Return the bins of the highest quarter of the frequencies that a signal of ``rate`` Hz has for the network."""
    last = min(rate, signal.sample_rate) * signal.n_fft // (2 * signal.sample_rate)
    return slice(last * 3 // 4, last + 1)


class BandGain:
    """The gain of a band in a signal, frame by frame: the root of its energy after the network over that before.

    It follows a rise at once. It falls to a half at most from frame to frame, so that the end of a sound is not cut. It
    never amplifies. A frame without energy in the band keeps the gain.

    Args:
        band: the bins.
    """

    def __init__(self, band: slice) -> None:
        self._band = band
        self._frames: list[NDArray[np.float64]] = []

    def add(self, noisy: Tensor, enhanced: Tensor) -> None:
        """Take the next frames, ``(channels, bins, frames)``, complex. Several channels have one gain."""
        before, after = (each[:, self._band].abs().double().square().sum((0, 1)) for each in (noisy, enhanced))
        self._frames.append((after / before).sqrt().cpu().numpy())

    def at_samples(self, share: float, signal: Signal) -> NDArray[np.float32]:
        """Return the gain at each sample of the network's rate, or later ones.

        Args:
            share: share of the enhanced signal in the output. The rest has the gain 1.
            signal: the network's signal. The gain changes from frame to frame as the output of a band does.
        """
        gains = np.concatenate(self._frames)
        smooth = 0.0
        for frame, gain in enumerate(gains):
            if not np.isnan(gain):
                smooth = max(min(float(gain), 1.0), smooth / 2)
            gains[frame] = 1 + share * (smooth - 1)
        window = np.multiply(signal.analysis_window, signal.synthesis_window).reshape(signal.overlap, -1)
        last = signal.overlap - 1
        hops = sum(np.outer(gains[last - k : len(gains) - k], window[k]) for k in range(signal.overlap))
        return np.asarray(hops, np.float32).reshape(-1)
