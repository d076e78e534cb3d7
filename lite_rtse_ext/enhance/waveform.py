"""Enhancement of waveforms with any network: in one pass, or in segments with bounded memory.

A causal network needs only finite information about the past: its states and a left context of a few frames. Both are
passed from segment to segment. The result then equals that of one pass over the whole waveform, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from lite_rtse_ext.audio.dry_wet import enhanced_share, limit_db, wet_share
from lite_rtse_ext.audio.high_pass import remove_offset
from lite_rtse_ext.audio.spectrogram import frames_of, istft, overlap_add, stft, to_samples
from lite_rtse_ext.enhance.spectra import BandGain, apply_common_gain, common_spectrogram
from lite_rtse_ext.interface import SpectrogramModel, evaluation_mode, in_pieces, placement
from lite_rtse_ext.signal import HOP_LENGTH, Signal
from lite_rtse_ext.utils.arguments import MOST_CHANNELS, Real, switch
from lite_rtse_ext.utils.dtypes import at_least_float32
from lite_rtse_ext.utils.tracing import is_recorded

__all__ = ["SEGMENT_FRAMES", "enhance_waveform", "usual_segment"]

SEGMENT_FRAMES = 1024
"""Default segment length, 16.4 s for frames of 16 ms.

With Lite-RTSE the frames that two segments share cost 3 % of the convolutions' work.
"""

_NOT_FINITE = "the network's result is not finite (samples far above full scale, or a damaged checkpoint)"
_FEWEST_SAMPLES = HOP_LENGTH


def usual_segment(model: SpectrogramModel) -> int | None:
    """Return the default ``segment_frames`` of a network. It is None if the network needs the whole recording."""
    return None if model.context_frames is None else SEGMENT_FRAMES


@torch.no_grad()
def enhance_waveform(
    model: SpectrogramModel,
    waveform: Tensor,
    *,
    segment_frames: int | None = None,
    attenuation_limit_db: Real | None = None,
    wet: Real = 1.0,
    high_pass: bool = True,
    link_channels: bool = False,
    band: BandGain | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Enhance speech. No gradient is recorded.

    The network runs in evaluation mode, and has its own mode again afterwards. If several threads share a network, call
    its ``eval()`` first.

    Args:
        model: the network. Its device and dtype are used.
        waveform: ``(..., samples)`` at the network's sample rate, full scale 1, any floating dtype. Each leading index
            is a separate utterance. With segments the waveform stays on its own device, and may exceed the memory of
            the model's device.
        segment_frames: number of frames per segment, left context included. None: all frames at once.
        attenuation_limit_db: maximum attenuation of the noise in dB. None and infinity mean no limit. The limit is
            implemented by mixing in the noisy signal at that level.
        wet: share of the enhanced signal in the result, 0 to 1. The rest is the noisy signal, without the high-pass.
        high_pass: whether a high-pass at 2 Hz first removes a constant offset; see
            :func:`lite_rtse_ext.audio.remove_offset`. It needs the memory of one copy of the waveform.
        link_channels: whether the leading indexes are channels of one utterance that get one common gain; see
            :func:`lite_rtse_ext.enhance.spectra.common_spectrogram`.
        band: follows the gain of a band of bins, before ``wet`` and ``attenuation_limit_db``. All leading indexes have
            one gain.
        progress: called with the number of samples per utterance that were finished since the last call.

    Returns:
        The enhanced waveform, with the shape, dtype and device of ``waveform``.

    Raises:
        FloatingPointError: the network's result contains a NaN or an infinity.
        TypeError: the model is not a :class:`SpectrogramModel`, the waveform's dtype is not a floating one, or another
            argument has the wrong type.
        ValueError: ``segment_frames`` is given and the network needs the whole recording. Or ``segment_frames`` is less
            than 1. Or ``wet`` or ``attenuation_limit_db`` is out of range. Or the waveform has no dimension, has the
            shape (samples, channels), or has a sample that is not finite.
    """
    _check_model(model, segment_frames)
    _check_waveform(waveform)
    share = enhanced_share(wet_share(wet), limit_db(attenuation_limit_db))
    if waveform.numel() == 0:
        return waveform.clone()
    wide = at_least_float32(waveform.dtype)  # for the filter and the transform
    device = placement(model)[0] if segment_frames is None else waveform.device
    batch = waveform.to(device, wide).reshape(-1, waveform.shape[-1])
    noisy = batch
    batch = remove_offset(batch, model.signal.sample_rate) if switch(high_pass, "high_pass") else batch
    spectra = _Spectra(model, switch(link_channels, "link_channels"), band)
    with nullcontext() if is_recorded() else evaluation_mode(model):  # a recorded graph has the mode of its module
        if segment_frames is None:
            enhanced = _whole(spectra, batch)
            if progress:
                progress(waveform.shape[-1])
        else:
            enhanced = _in_segments(spectra, batch, segment_frames, progress)
    enhanced = enhanced if share == 1 else enhanced.lerp(noisy, 1 - share)
    return enhanced.reshape(waveform.shape).to(waveform)


class _Spectra:
    """What the network hears of a batch of spectrograms, and what becomes of them."""

    def __init__(self, model: SpectrogramModel, link: bool, band: BandGain | None) -> None:
        self.model, self._link, self._band = model, link, band

    def heard(self, noisy: Tensor) -> Tensor:
        """The network's input (B, bins, T, 2) of complex spectrograms (B, bins, T). Linked channels are one."""
        common = common_spectrogram(noisy) if self._link else noisy
        return torch.view_as_real(common).to(placement(self.model)[1])

    def enhanced(self, output: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        """The complex spectrograms (B, bins, T) of the network's output, for these noisy ones."""
        result = torch.view_as_complex(output.contiguous())
        if not (self._link or self._band):
            return result
        channels = noisy()
        if self._link:
            result = apply_common_gain(channels, common_spectrogram(channels), result)
        if self._band:
            self._band.add(channels, result)
        return result


def _whole(spectra: _Spectra, batch: Tensor) -> Tensor:
    model = spectra.model
    noisy = stft(batch, model.signal)
    enhanced = spectra.enhanced(model(spectra.heard(noisy)).to(batch.dtype), lambda: noisy)
    return _finite(istft(enhanced, batch.shape[-1], model.signal))


def _in_segments(
    spectra: _Spectra, batch: Tensor, segment_frames: int, progress: Callable[[int], None] | None
) -> Tensor:
    model = spectra.model
    device, dtype = placement(model)
    signal, hop, shared = model.signal, model.signal.hop_length, model.signal.overlap - 1
    samples, frames = batch.shape[-1], frames_of(batch.shape[-1], model.signal)
    wide = at_least_float32(dtype)
    analysis, synthesis = (
        torch.tensor(window, dtype=wide, device=device) for window in (signal.analysis_window, signal.synthesis_window)
    )

    def read(start: int, stop: int) -> Tensor:
        windowed = _frames(batch, start, stop, signal).to(analysis) * analysis
        spectrogram: Tensor = torch.fft.rfft(windowed, n=signal.n_fft)
        return spectrogram.mT

    enhanced = batch.new_zeros(len(batch), frames + shared, hop)  # one row per hop; a frame covers several rows
    pieces = in_pieces(model, frames, segment_frames, lambda start, stop: spectra.heard(read(start, stop)))
    for start, stop, piece in pieces:
        spectrogram = spectra.enhanced(piece.to(wide), partial(read, start, stop))
        windowed = _finite(to_samples(spectrogram, signal) * synthesis).to(enhanced)
        enhanced[:, start : stop + shared] += overlap_add(windowed, signal)
        if progress:
            progress(min(stop * hop, samples) - min(start * hop, samples))
    return enhanced.flatten(1)[:, shared * hop : shared * hop + samples]


def _frames(batch: Tensor, start: int, stop: int, signal: Signal) -> Tensor:
    """Frames start to stop - 1, (B, frames, window_length), with the positions of :func:`~lite_rtse_ext.audio.stft`."""
    hop, shared = signal.hop_length, signal.overlap - 1
    first, last = (start - shared) * hop, stop * hop
    inside = batch[:, max(first, 0) : max(last, 0)]
    before = max(-first, 0)
    padded = nn.functional.pad(inside, (before, last - first - before - inside.shape[1]))
    return padded.unfold(1, signal.window_length, hop)


def _finite(enhanced: Tensor) -> Tensor:
    if not (is_recorded() or enhanced.isfinite().all()):
        raise FloatingPointError(_NOT_FINITE)
    return enhanced


def _check_model(model: SpectrogramModel, segment_frames: int | None) -> None:
    if getattr(model, "signal", None) is None:
        raise TypeError(f"model: expected a SpectrogramModel, got {type(model).__name__}")
    if segment_frames is None:
        return
    if segment_frames < 1:
        raise ValueError(f"segment_frames: expected at least 1, got {segment_frames}")
    if model.context_frames is None:
        raise ValueError(
            f"segment_frames: expected None, as {type(model).__name__} needs the whole recording, got {segment_frames}"
        )


def _check_waveform(waveform: Tensor) -> None:
    if not isinstance(waveform, Tensor):
        raise TypeError(f"waveform: expected a torch.Tensor, got {type(waveform).__name__}")
    if not waveform.is_floating_point():
        raise TypeError(f"waveform: expected a floating dtype, full scale 1, got {waveform.dtype}")
    if waveform.dim() == 0:
        raise ValueError("waveform: expected (..., samples), got no dimension")
    shape = tuple(waveform.shape)
    if len(shape) > 1 and 0 < shape[-1] <= MOST_CHANNELS < _FEWEST_SAMPLES <= shape[-2]:
        raise ValueError(
            f"waveform: expected (..., samples), got {shape}: {shape[-2]} utterances of {shape[-1]} samples. "
            "If it is (samples, channels), pass waveform.mT"
        )
    if not (is_recorded() or waveform.isfinite().all()):
        first = waveform.isfinite().logical_not().nonzero()[0].tolist()
        where = f"sample {first[-1]}" + (f" of utterance {', '.join(map(str, first[:-1]))}" if len(first) > 1 else "")
        raise ValueError(f"waveform: expected finite numbers, but {where} is {waveform[tuple(first)].item()}")
