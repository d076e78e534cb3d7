"""Short-time Fourier transform and its inverse, for the signal of any network.

The waveform is padded with zeros, so much before it and behind it that every sample lies in equally many frames. The
inverse applies the window again, adds the frames, and divides by the sum of the squared windows. This sum is the same
for every hop, so that the division is part of the synthesis window. For a square-root Hann window with a hop of half a
window the sum is 1.

``torch.stft`` alone leaves the last samples at the fading edge of a single frame. There ``torch.istft`` divides by
values near zero. Changes that a network makes there would be amplified by a factor of up to 160.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lite_rtse_ext.signal import SIGNAL, Signal
from lite_rtse_ext.utils.constant import constant

__all__ = ["frames_of", "istft", "overlap_add", "stft", "to_samples"]


def frames_of(samples: int, signal: Signal = SIGNAL) -> int:
    """Return the number of frames of a waveform: one per hop, and more to complete the last hop."""
    return signal.overlap - 1 - (-samples // signal.hop_length)


def stft(waveform: Tensor, signal: Signal = SIGNAL) -> Tensor:
    """Compute the spectrogram of a waveform.

    Args:
        waveform: ``(..., samples)``, float32 or float64, any number of samples (even none).
        signal: sizes and window. The default is that of Lite-RTSE.

    Returns:
        ``(..., bins, frames)``, complex64 or complex128. By default there are 257 bins and ``1 + ceil(samples / 256)``
        frames, and frame t is centered on sample 256 t. In general the last hop of frame 0 begins at sample 0.

    Raises:
        TypeError: the waveform is neither float32 nor float64.
        ValueError: the waveform has no dimension.
    """
    if waveform.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"waveform must be float32 or float64, got {waveform.dtype}")
    if waveform.dim() == 0:
        raise ValueError("waveform must have shape (..., samples), got a scalar")
    samples, frames = waveform.shape[-1], frames_of(waveform.shape[-1], signal)
    before = signal.window_length - signal.hop_length
    total = (frames - 1) * signal.hop_length + signal.n_fft
    padded = pad(waveform, (before, total - before - samples)).reshape(-1, total)
    if padded.shape[0] == 0:  # the FFT rejects an empty batch
        shape = (*waveform.shape[:-1], signal.bins, frames)
        return waveform.new_empty(shape, dtype=waveform.dtype.to_complex())
    window = pad(constant(signal.analysis_window, waveform), (0, signal.n_fft - signal.window_length))
    spectrogram = torch.stft(padded, signal.n_fft, signal.hop_length, window=window, center=False, return_complex=True)
    return spectrogram.reshape(*waveform.shape[:-1], *spectrogram.shape[-2:])


def istft(spectrogram: Tensor, samples: int, signal: Signal = SIGNAL) -> Tensor:
    """Compute the waveform of a spectrogram made by :func:`stft`: ``istft(stft(w), w.shape[-1])`` is ``w``.

    Args:
        spectrogram: ``(..., bins, frames)``, complex64 or complex128.
        samples: length of the waveform. ``frames`` must be that of :func:`frames_of`.
        signal: sizes and window. The default is that of Lite-RTSE.

    Returns:
        ``(..., samples)``, float32 or float64.

    Raises:
        TypeError: the spectrogram is not complex.
        ValueError: the number of bins or frames is wrong.
    """
    if not spectrogram.is_complex():
        raise TypeError(f"spectrogram must be complex, got {spectrogram.dtype}")
    wanted = (signal.bins, frames_of(samples, signal))
    if spectrogram.dim() < 2 or tuple(spectrogram.shape[-2:]) != wanted:
        raise ValueError(
            f"spectrogram must have shape (..., {wanted[0]}, {wanted[1]}) for {samples} samples, "
            f"got {tuple(spectrogram.shape)}"
        )
    if samples == 0 or spectrogram.numel() == 0:
        return spectrogram.real.new_empty(*spectrogram.shape[:-2], samples)
    flat = spectrogram.reshape(-1, *wanted)
    samples_of_frames = to_samples(flat, signal)
    hops = overlap_add(samples_of_frames * constant(signal.synthesis_window, samples_of_frames), signal)
    first = signal.overlap - 1
    waveform = hops[:, first:].flatten(1)[:, :samples]
    return waveform.reshape(*spectrogram.shape[:-2], samples)


def to_samples(spectrogram: Tensor, signal: Signal) -> Tensor:
    """Return the samples of each frame, ``(B, frames, window_length)``, before any window.

    A window that is shorter than the transform leaves fewer samples than the spectrum has values. The result is then
    the least-squares solution: the samples whose spectrum is nearest to the given one, in real and imaginary parts.

    Args:
        spectrogram: ``(B, bins, frames)``, complex.
        signal: sizes and window.
    """
    size, length = signal.n_fft, signal.window_length
    samples: Tensor = torch.fft.irfft(spectrogram.mT, n=size)
    if length == size:
        return samples
    # The transform A of these samples has A'A = (size I + u u' + s s') / 2, where u is constant and s alternates.
    u = samples.new_ones(length)
    s = u - 2 * (torch.arange(length, device=u.device) % 2)
    lowest, highest = spectrogram[:, 0].real.unsqueeze(-1), spectrogram[:, -1].real.unsqueeze(-1)
    projected = size * samples[..., :length] + lowest * u + highest * s  # twice A'y
    means = (projected @ u).unsqueeze(-1) * u + (projected @ s).unsqueeze(-1) * s
    solution: Tensor = (projected - means / (size + length)) / size
    return solution


def overlap_add(frames: Tensor, signal: Signal) -> Tensor:
    """Add overlapping frames.

    Args:
        frames: ``(B, frames, window_length)``.
        signal: sizes and window.

    Returns:
        Hops ``(B, frames + overlap - 1, hop_length)``.
    """
    hops = frames.reshape(*frames.shape[:2], signal.overlap, signal.hop_length)
    last = signal.overlap - 1
    total = pad(hops[:, :, 0], (0, 0, 0, last))
    for late in range(1, signal.overlap):
        total = total + pad(hops[:, :, late], (0, 0, late, last - late))
    return total
