"""The minimum gain of Lite-RTSE, which is part of the parameters of its layer ``to_mag``. Needs no torch.

The magnitude of the network's gain is g = M + R (1 - M), with the mask M and the output R of ``to_mag``. With
p + (1 - p) R in place of R it is p + (1 - p) g. So p is the least gain where g is 0. It goes into the weights (1 - p) W
and the biases (1 - p) b + p of ``to_mag``, and costs nothing.

The streaming engine can lower p during a call; see ``MinGain`` in ``csrc/stream/network.inl``.

p depends on frequency. The network takes some sibilants of unknown speakers for noise, so p is higher in the treble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.models.metadata import parse_json
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.arguments import real_number

__all__ = [
    "KEY",
    "MinGain",
    "change",
    "checked",
    "extra_reduction",
    "factor",
    "has_min_gain",
    "per_bin",
    "read_min_gain",
    "reduced",
    "rescale",
]

KEY = "min_gain"
"""Its name in the metadata of a file."""

MinGain = tuple[float, ...]
"""The minimum gain up to 1 kHz, from 2 kHz on and, if it is another one, above 7 kHz. Each is from 0 to below 1."""

_BASS_HZ = 1000.0
_TOP_HZ = 6800.0, 7200.0


def per_bin(bins: int, min_gain: Sequence[float]) -> NDArray[np.float64]:
    """Return the minimum gain of each bin, ``(bins,)``.

    From 1 to 2 kHz it is linear in the logarithm of frequency. From 6.8 to 7.2 kHz it changes to the third number:
    much recorded speech has nothing above 7 kHz, so a network takes all sound there for noise.
    """
    bass, treble, *top = min_gain
    frequencies = np.maximum(np.linspace(0, SAMPLE_RATE_HZ / 2, bins), 1.0)
    lowest = bass + (treble - bass) * np.clip(np.log2(frequencies / _BASS_HZ), 0, 1)
    if not top:
        return lowest
    first, last = _TOP_HZ
    highest: NDArray[np.float64] = lowest + (top[0] - treble) * np.clip((frequencies - first) / (last - first), 0, 1)
    return highest


def extra_reduction(value: object) -> float:
    """Check a value of ``extra_reduction_db``: by how much the minimum gain is lowered, in dB. Infinity is allowed.

    Raises:
        TypeError: the value is not a real number.
        ValueError: the value is negative or NaN.
    """
    expected = "a number of dB from 0 up"
    extra_db = real_number(value, "extra_reduction_db", expected)
    if not extra_db >= 0:
        raise ValueError(f"extra_reduction_db: expected {expected}, got {value!r}")
    return extra_db


def factor(min_gain: MinGain | None, extra_db: float) -> float:
    """Return the factor that lowers a minimum gain by so many dB.

    Raises:
        ValueError: the minimum gain is not known, and there is something to lower.
    """
    if min_gain is None and extra_db:
        expected = "expected 0 for weights that do not state their min_gain"
        raise ValueError(f"extra_reduction_db: {expected}, got {extra_db:g}")
    return float(10 ** (-extra_db / 20))


def reduced(min_gain: MinGain | None, extra_db: float) -> MinGain | None:
    """Return a minimum gain that is lower by so many dB.

    Raises:
        ValueError: as of :func:`factor`.
    """
    share = factor(min_gain, extra_db)
    return min_gain and tuple(share * gain for gain in min_gain)


def rescale(weight: Any, bias: Any, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """Change the minimum gain of the weight and the bias of ``to_mag`` in place, in their dtypes.

    Args:
        weight: tensor, ``(bins, inputs)``.
        bias: tensor, ``(bins,)``.
        before, after: the minimum gain of each bin, ``(bins,)``, below 1.
    """
    scale = (1 - after) / (1 - before)
    weight.mul_(weight.new_tensor(scale).unsqueeze(1))
    bias.mul_(bias.new_tensor(scale)).add_(bias.new_tensor(after - scale * before))


def change(net: Any, min_gain: Sequence[float]) -> None:
    """Change the minimum gain of a :class:`lite_rtse_ext.LiteRTSE` whose minimum gain is known, in place.

    Raises:
        TypeError: the weight or the bias of ``to_mag`` is no parameter, as after pruning, a parametrization or a
            quantization.
    """
    layer = net.to_mag
    others = {"weight", "bias"} - {name for name, _ in layer.named_parameters(recurse=False)}
    if others:  # they are computed from others, which would undo the change
        raise TypeError(f"to_mag: expected parameters weight and bias, got none named {' and '.join(sorted(others))}")
    rescale(layer.weight.data, layer.bias.data, per_bin(net.bins, net.min_gain), per_bin(net.bins, min_gain))
    net.min_gain = tuple(min_gain)


def has_min_gain(net: object) -> bool:
    """Whether the attribute ``min_gain`` of a network is Lite-RTSE's. Another network may have one of its own."""
    return getattr(net, "architecture", "") == "lite-rtse"


def checked(value: object) -> MinGain:
    """Check a minimum gain.

    Raises:
        ValueError: it is not a list or tuple of two or three numbers from 0 to below 1.
    """
    numbers = value if isinstance(value, list | tuple) else ()
    if not (len(numbers) in (2, 3) and all(map(_is_min_gain, numbers))):
        raise ValueError(f"{KEY}: expected two or three numbers from 0 to below 1, got {value!r:.40}")
    return tuple(map(float, numbers))


def read_min_gain(metadata: Mapping[str, str]) -> MinGain | None:
    """The minimum gain that the metadata of a file state. None if they state none.

    Raises:
        ValueError: as of :func:`checked`.
    """
    if KEY not in metadata:
        return None
    try:
        value = parse_json(metadata[KEY])
    except (RecursionError, ValueError):
        value = metadata[KEY]
    return checked(value)


def _is_min_gain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
