"""The high-pass in front of the network: it removes a constant offset (DC) from a waveform.

Cheap sound cards add an offset to all samples. Weights that were trained without offsets enhance such speech
differently: an offset of 0.3 changes a quarter of the result above 60 Hz.

The filter subtracts the weighted mean of all samples so far from each sample. In this mean a sample's weight is k
times the weight of the next sample. Written as a recursion, it is a first-order high-pass:

    w[n] = k w[n-1] + 1,   m[n] = m[n-1] + (x[n] - m[n-1]) / w[n],   y[n] = x[n] - m[n],   k = 1 - 2 pi f / rate

It has no latency. Its corner frequency and order are a compromise. The filter shifts the phase of a voice's lowest
tones. The shift costs SI-SNR, because the filter is not inverted afterwards. If the corner is too low, an offset that
appears or changes within a recording persists too long. The table gives the mean SI-SNR of the filtered speech and the
time in which a step falls to a hundredth. The SI-SNR was measured on the eleven speech clips of examples/clips.

    corner   first order   second order   step falls to 1 %
      2 Hz       41.7 dB        39.1 dB         366 ms
      5 Hz       34.3 dB        31.3 dB         146 ms
     10 Hz       28.4 dB        25.4 dB          73 ms
     20 Hz       22.5 dB        19.4 dB          36 ms
     30 Hz       19.0 dB        15.8 dB          24 ms

The second order is worse at every corner. All of these filters attenuate hum at 50 Hz by at most 1.4 dB. A filter that
removed hum would also remove low voices. The lowest corner, 2 Hz, is used. A higher corner gains little, because an
offset that appears later does most of its harm by its step. With a corner of 2 Hz, an offset of 0.3 after half a second
changes 15 % of the result above 60 Hz. With 10 Hz it changes 14 %.

At the beginning the mean has equal weights. A waveform that is constant from the first sample on therefore gives zeros
at once. A waveform that begins in the middle of speech hardly changes: excerpts of half a second from the clips keep
29 dB. They would keep only 21 dB if the mean were initialized with the first sample.

The filter works at the network's sample rate. At another rate the resampler comes first, and it assumes silence before
the signal. An offset of 0.3 at 48 kHz therefore still changes 4 % of a result of two seconds at 16 kHz. The change lies
in the first 0.3 s.

csrc/stream/high_pass.h implements the same filter for the streaming engine.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["HIGH_PASS_HZ", "remove_offset"]

HIGH_PASS_HZ = 2.0

_ROW = 256
_BLOCK = 256 * _ROW
"""Samples per block of the computation in float64: 4 s."""


def remove_offset(waveform: Tensor, sample_rate: int = SAMPLE_RATE_HZ) -> Tensor:
    """Remove a constant offset from waveforms with the high-pass that precedes the network.

    The corner frequency is 2 Hz. The filter is causal: output sample n depends only on input samples up to n.

    Args:
        waveform: ``(..., samples)``, any floating dtype. Each leading index is a separate waveform.
        sample_rate: sample rate of the waveform in Hz, that of the network.

    Returns:
        The filtered waveform, a new tensor with the shape, dtype and device of ``waveform``.
    """
    if waveform.numel() == 0:
        return waveform.clone()
    kept = 1 - 2 * math.pi * HIGH_PASS_HZ / sample_rate
    samples = waveform.shape[-1]
    flat = waveform.reshape(-1, samples)
    first = flat[:, :1].double()  # after its subtraction a constant is exactly zero in spite of rounding
    carried = torch.zeros_like(first)
    filtered = torch.empty_like(flat)
    for start in range(0, samples, _BLOCK):
        piece = flat[:, start : start + _BLOCK].double() - first
        sums = _fading_sums(piece, carried, kept)
        carried = sums[:, -1:]
        places = torch.arange(start + 1, start + 1 + piece.shape[1], dtype=torch.float64, device=flat.device)
        weights = -torch.expm1(places * math.log(kept)) / (1 - kept)
        filtered[:, start : start + _BLOCK] = piece - sums / weights
    return filtered.reshape(waveform.shape)


def _fading_sums(piece: Tensor, before: Tensor, kept: float) -> Tensor:
    """Compute s[n] = k s[n-1] + x[n] of ``(B, samples)``, where ``before``, ``(B, 1)``, is s[-1].

    The sums are computed within rows first, and then from row to row.
    """
    count = piece.shape[1]
    rows = torch.nn.functional.pad(piece, (0, -count % _ROW)).reshape(len(piece), -1, _ROW)
    inside = rows @ _powers(_ROW, kept, piece)
    ends = torch.cat([before, inside[:, :-1, -1]], dim=1) @ _powers(rows.shape[1], kept**_ROW, piece)
    fading = kept ** torch.arange(1, _ROW + 1, dtype=piece.dtype, device=piece.device)
    sums: Tensor = (inside + ends.unsqueeze(-1) * fading).flatten(1)[:, :count]
    return sums


def _powers(size: int, base: float, like: Tensor) -> Tensor:
    """Return the upper triangular matrix with the entries base^(column - row). It is made on the device of ``like``."""
    places = torch.arange(size, dtype=like.dtype, device=like.device)
    return (base ** (places - places.unsqueeze(1)).clamp(min=0)).triu()
