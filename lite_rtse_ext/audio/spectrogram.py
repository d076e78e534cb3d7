"""Short-time Fourier transform and its inverse: square-root Hann windows of 512 samples with a hop of 256 samples.

The hop is half a window, so ``sqrt_hann[n]**2 + sqrt_hann[n + hop]**2 == 1``. The same window therefore serves for
analysis and synthesis, and no normalization is needed. The waveform is padded with zeros, half a window before it and
enough behind it. Every sample then lies in exactly two frames.

``torch.stft`` alone leaves the last samples at the fading edge of a single frame. There ``torch.istft`` divides by
values near zero. Changes that a network makes there would be amplified by a factor of up to 160.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lite_rtse_ext.signal import BINS, HOP_LENGTH, N_FFT, window_value

_WINDOW = torch.tensor([window_value(n) for n in range(N_FFT)], dtype=torch.float64)


def sqrt_hann(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the window of both transforms, (512,)."""
    return _WINDOW.to(device=device, dtype=dtype)


def frames_of(samples: int) -> int:
    """Return the number of frames of a waveform: one per hop, and one more to complete the last hop."""
    return 1 + -(-samples // HOP_LENGTH)


def stft(waveform: Tensor) -> Tensor:
    """Compute the spectrogram of a waveform.

    Args:
        waveform: ``(..., samples)``, float32 or float64, any number of samples (even none).

    Returns:
        ``(..., 257, frames)``, complex64 or complex128, where ``frames = 1 + ceil(samples / 256)``. Frame t is
        centered on sample 256 t.

    Raises:
        TypeError: the waveform is neither float32 nor float64.
        ValueError: the waveform has no dimension.
    """
    if waveform.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"waveform must be float32 or float64, got {waveform.dtype}")
    if waveform.dim() == 0:
        raise ValueError("waveform must have shape (..., samples), got a scalar")
    samples = waveform.shape[-1]
    behind = (frames_of(samples) - 1) * HOP_LENGTH - samples
    padded = pad(waveform, (HOP_LENGTH, behind + HOP_LENGTH)).reshape(-1, samples + behind + 2 * HOP_LENGTH)
    if padded.shape[0] == 0:  # the FFT rejects an empty batch
        shape = (*waveform.shape[:-1], BINS, frames_of(samples))
        return waveform.new_empty(shape, dtype=waveform.dtype.to_complex())
    window = sqrt_hann(waveform.dtype, waveform.device)
    spectrogram = torch.stft(padded, N_FFT, HOP_LENGTH, window=window, center=False, return_complex=True)
    return spectrogram.reshape(*waveform.shape[:-1], *spectrogram.shape[-2:])


def istft(spectrogram: Tensor, samples: int) -> Tensor:
    """Compute the waveform of a spectrogram made by :func:`stft`: ``istft(stft(w), w.shape[-1])`` is ``w``.

    Args:
        spectrogram: ``(..., 257, frames)``, complex64 or complex128.
        samples: length of the waveform. ``frames`` must be ``1 + ceil(samples / 256)``.

    Returns:
        ``(..., samples)``, float32 or float64.

    Raises:
        TypeError: the spectrogram is not complex.
        ValueError: the number of bins or frames is wrong.
    """
    if not spectrogram.is_complex():
        raise TypeError(f"spectrogram must be complex, got {spectrogram.dtype}")
    if spectrogram.dim() < 2 or tuple(spectrogram.shape[-2:]) != (BINS, frames_of(samples)):
        raise ValueError(
            f"spectrogram must have shape (..., {BINS}, {frames_of(samples)}) for {samples} samples, "
            f"got {tuple(spectrogram.shape)}"
        )
    if samples == 0 or spectrogram.numel() == 0:
        return spectrogram.real.new_empty(*spectrogram.shape[:-2], samples)
    window = sqrt_hann(spectrogram.real.dtype, spectrogram.device)
    flat = spectrogram.reshape(-1, *spectrogram.shape[-2:])
    waveform = torch.istft(flat, N_FFT, HOP_LENGTH, window=window, center=True, length=samples)
    return waveform.reshape(*spectrogram.shape[:-2], samples)
