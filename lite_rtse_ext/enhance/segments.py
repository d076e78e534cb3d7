"""Waveforms of any length in bounded memory: the network, one segment of frames after another, exactly.

The network is causal, so what it knows of the past is finite: the states of its two LSTMs, and for the convolutions,
which see 28 frames in all (:func:`look_back_frames`), those frames again. Handing both from segment to segment gives
what one pass over the whole waveform gives, up to rounding, with the memory of a single segment.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.spectrogram import frames_of, sqrt_hann
from lite_rtse_ext.reference import LiteRTSE, States
from lite_rtse_ext.signal import BINS, HOP_LENGTH, N_FFT

SEGMENT_FRAMES = 1024
"""16.4 s: 3 % of the convolutions' work goes into the frames that two segments share."""

NOT_FINITE = "the network's result is not finite (samples far above full scale, or a damaged checkpoint)"


def look_back_frames(model: LiteRTSE) -> int:
    """How many earlier frames the convolutions see: kt - 1 for each convolution on the way, 28 in the usual network."""
    return sum(conv.kernel_size[0] - 1 for conv in model.msmo_conv.modules() if isinstance(conv, nn.Conv2d))


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and dtype that a network takes: those of its first floating-point parameter.

    Layers that were replaced, as by quantization, may have none.
    """
    found = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return found.device, found.dtype


@torch.no_grad()
def enhance_segments(
    model: LiteRTSE,
    waveform: Tensor,
    segment_frames: int = SEGMENT_FRAMES,
    progress: Callable[[int], None] | None = None,
    *,
    high_pass: bool = True,
) -> Tensor:
    """Enhance a waveform segment by segment; no gradient is recorded.

    Args:
        model: the network, fused or the reference, for 257 bins; its device and dtype are used.
        waveform: ``(samples,)``, 16 kHz; stays on its device and may be longer than would fit the model's.
        segment_frames: frames a segment, 16 ms each.
        progress: called after each segment with the number of samples it finished.
        high_pass: whether a high-pass at 2 Hz takes a constant offset out of the waveform first; see
            :func:`lite_rtse_ext.audio.remove_offset`. It takes a copy of the waveform.

    Returns:
        ``(samples,)``, with the dtype and device of ``waveform``.

    Raises:
        FloatingPointError: the network's result has a NaN or an infinity.
        ValueError: the waveform has another shape, the network isn't for 257 bins, or ``segment_frames`` is not
            positive.
    """
    if model.bins != BINS:
        raise ValueError(f"model must be a network of {BINS} bins, got {model.bins}")
    if waveform.dim() != 1:
        raise ValueError(f"waveform must have shape (samples,), got {tuple(waveform.shape)}")
    if segment_frames < 1:
        raise ValueError(f"segment_frames must be positive, got {segment_frames}")
    if not len(waveform):
        return waveform.clone()
    waveform = remove_offset(waveform) if high_pass else waveform
    device, dtype = placement(model)
    look_back, frames = look_back_frames(model), frames_of(len(waveform))
    wide = torch.promote_types(dtype, torch.float32)  # the transform knows no half type
    window = sqrt_hann(wide, device)
    enhanced = waveform.new_zeros(frames + 1, HOP_LENGTH)  # one row a hop; a frame covers two
    states: States = (None, None)
    for start in range(0, frames, segment_frames):
        stop, before = min(start + segment_frames, frames), min(start, look_back)
        windowed = _frames(waveform, start - before, stop).to(window) * window
        spectrogram = torch.view_as_real(torch.fft.rfft(windowed).T.unsqueeze(0)).to(dtype)
        spectrogram, states = model.advance(spectrogram, before, states)
        spectrogram = torch.view_as_complex(spectrogram.to(wide).contiguous())
        windowed = (torch.fft.irfft(spectrogram[0].T) * window).to(enhanced)
        if not windowed.isfinite().all():  # nor would be anything after it: the states carry it on
            raise FloatingPointError(NOT_FINITE)
        enhanced[start:stop] += windowed[:, :HOP_LENGTH]
        enhanced[start + 1 : stop + 1] += windowed[:, HOP_LENGTH:]
        if progress:
            progress(min(stop * HOP_LENGTH, len(waveform)) - min(start * HOP_LENGTH, len(waveform)))
    return enhanced.flatten()[HOP_LENGTH : HOP_LENGTH + len(waveform)]


def _frames(waveform: Tensor, start: int, stop: int) -> Tensor:
    """Frames start ... stop - 1 of the waveform as :func:`~lite_rtse_ext.audio.stft` cuts them, (frames, 512)."""
    first, last = (start - 1) * HOP_LENGTH, stop * HOP_LENGTH
    inside = waveform[max(first, 0) : last]
    before = max(-first, 0)
    padded = nn.functional.pad(inside, (before, last - first - before - len(inside)))
    return padded.unfold(0, N_FFT, HOP_LENGTH)
