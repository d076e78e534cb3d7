"""The spectrogram and back: square-root Hann windows, 512 samples long, 256 apart.

With a hop of half the window, ``sqrt_hann[n]**2 + sqrt_hann[n + hop]**2 == 1``: the same window analyses and
resynthesises, and no division is left to do. The waveform is padded with zeros, half a window before and enough
behind it that every sample lies under exactly two frames. (``torch.stft`` alone leaves the last samples under one
frame's fading edge, where ``torch.istft`` divides by nearly nothing: whatever a network changed there would come out
up to 160 times too loud.)
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lite_rtse_ext.signal import BINS, HOP_LENGTH, N_FFT, window_value

_WINDOW = torch.tensor([window_value(n) for n in range(N_FFT)], dtype=torch.float64)


def sqrt_hann(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The window of both transforms, (512,)."""
    return _WINDOW.to(device=device, dtype=dtype)


def frames_of(samples: int) -> int:
    """Number of frames of a waveform of that many samples: one every hop, and one more to close the last hop."""
    return 1 + -(-samples // HOP_LENGTH)


def stft(waveform: Tensor) -> Tensor:
    """Spectrogram of a waveform.

    Args:
        waveform: ``(..., samples)``, float32 or float64, any number of samples (even none).

    Returns:
        ``(..., 257, frames)``, complex64 or complex128, where ``frames = 1 + ceil(samples / 256)``. Frame t is
        centred on sample 256 t.

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
    if padded.shape[0] == 0:  # an empty batch, which the FFT refuses
        shape = (*waveform.shape[:-1], BINS, frames_of(samples))
        return waveform.new_empty(shape, dtype=waveform.dtype.to_complex())
    window = sqrt_hann(waveform.dtype, waveform.device)
    spectrogram = torch.stft(padded, N_FFT, HOP_LENGTH, window=window, center=False, return_complex=True)
    return spectrogram.reshape(*waveform.shape[:-1], *spectrogram.shape[-2:])


def istft(spectrogram: Tensor, samples: int) -> Tensor:
    """Waveform of a spectrogram made by :func:`stft`: ``istft(stft(w), w.shape[-1])`` is ``w``.

    Args:
        spectrogram: ``(..., 257, frames)``, complex64 or complex128.
        samples: length of the waveform, which must be one that has this number of frames.

    Returns:
        ``(..., samples)``, float32 or float64.

    Raises:
        TypeError: the spectrogram is not complex.
        ValueError: wrong number of bins or frames.
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
