"""Parameters and multiply-accumulates of networks.

:func:`cost` counts any network, :func:`count` the stages of Lite-RTSE. ``python -m lite_rtse_ext.models.complexity``
prints the counts of Lite-RTSE, and ``lite-rtse models`` prints those of all networks.

Torch's ``FlopCounterMode`` counts on the meta device. It cannot count on the CPU, where an LSTM is a single oneDNN
operator. FlopCounterMode has no formula for that operator and counts 0.

FlopCounterMode counts two operations for each multiply-accumulate (MAC) of a matrix product or a convolution, including
padding. It counts nothing else: no bias, sigmoid, gating product, LSTM gate, magnitude, phase or Fourier transform.

The published 0.66 G and 0.95 G are counted differently. They are for 63 frames, although a second of audio is 62.5 hops
of 256 samples. They also count each addition of a bias as one more MAC. :func:`count` does so with ``biases=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lite_rtse_ext import reference
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.registry import create_model
from lite_rtse_ext.signal import FRAMES_PER_SECOND, Signal

__all__ = ["FRAMES_PER_SECOND", "PUBLISHED", "STAGES", "Complexity", "Cost", "cost", "count", "main"]

PUBLISHED_FRAMES = 63
_COUNTED_FRAMES = 8  # long enough for networks that shorten the sequence of frames internally
#: Published MAC of one second of audio, by ``depthwise``.
PUBLISHED = {True: 0.66e9, False: 0.95e9}
#: The stages of the network and the modules that make them up.
STAGES = {
    "mask": ("lstm1", "fc1"),
    "Conv-Blocks": ("msmo_conv.0", "msmo_conv.1"),
    "Multi-Order block": ("msmo_conv.2",),
    "fusion": ("fc2", "lstm2"),
    "residual heads": ("to_mag", "to_real", "to_imag"),
}


@dataclass(frozen=True)
class Complexity:
    """Parameters and MACs per frame of every stage of one variant. The keys are those of :data:`STAGES`."""

    parameters: dict[str, int]
    mac_per_frame: dict[str, int]

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())

    @property
    def total_mac_per_frame(self) -> int:
        return sum(self.mac_per_frame.values())


def _conv_with_bias(
    x: Sequence[int], weight: Sequence[int], bias: Sequence[int] | None, *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    products = torch.Size(out_shape).numel() * torch.Size(weight[1:]).numel()
    return 2 * (products + (torch.Size(out_shape).numel() if bias is not None else 0))


def _addmm_with_bias(bias: Sequence[int], a: Sequence[int], b: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * a[0] * (a[1] + 1) * b[1]


def _formulas_with_biases() -> dict[Any, Any]:
    aten = torch.ops.aten
    return {aten.convolution: _conv_with_bias, aten.addmm: _addmm_with_bias}


@dataclass(frozen=True)
class Cost:
    """Parameters, work and latency of a network.

    Attributes:
        parameters: number of trained parameters.
        mac_per_second: MACs per second of audio. Fixed matrices count, too.
        signal: the signal that the network processes.
        latency_ms: algorithmic latency in ms, look-ahead included. None: that of the whole recording.
        look_ahead_frames: number of future frames. None: all frames of the recording.
    """

    parameters: int
    mac_per_second: float
    signal: Signal
    latency_ms: float | None
    look_ahead_frames: int | None


def cost(name: str, **config: Any) -> Cost:
    """Count the parameters and MACs of a network of the registry.

    Args:
        name: name of the network.
        config: arguments of its constructor.

    Returns:
        The counts.

    Raises:
        ValueError: there is no network of this name, or it refuses the arguments.
    """
    with torch.device("meta"):
        model = create_model(name, **config)
    # The difference leaves out what a recording costs once, such as zeros before it.
    once, twice = (_operations(model.eval(), frames)["Global"] for frames in (_COUNTED_FRAMES, 2 * _COUNTED_FRAMES))
    work = (twice - once) / 2 / _COUNTED_FRAMES * model.signal.frames_per_second
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, work, model.signal, model.latency_ms, model.look_ahead_frames)


def _operations(model: SpectrogramModel, frames: int, formulas: dict[Any, Any] | None = None) -> dict[str, int]:
    """Operations of every module by its path. The key "Global" has their sum."""
    spectrogram = torch.empty(1, model.signal.bins, frames, 2, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        model(spectrogram)
    return {path: sum(found.values()) for path, found in counter.get_flop_counts().items()}


def count(depthwise: bool = True, frames: int = 1, biases: bool = False) -> Complexity:
    """Count one variant of Lite-RTSE, in plain PyTorch.

    Args:
        depthwise: True counts the depthwise variant, False the one with full 3×3 convolutions.
        frames: number of frames to run. The result is per frame and does not depend on it.
        biases: whether each addition of a bias counts as one MAC.

    Returns:
        Parameters and MACs per frame of each stage.
    """
    with torch.device("meta"):
        model = reference.LiteRTSE(depthwise=depthwise)
    parameters, mac = {}, {}
    for stage, paths in STAGES.items():
        modules = [model.get_submodule(path) for path in paths]
        parameters[stage] = sum(p.numel() for module in modules for p in module.parameters())
    counts = _operations(model, frames, _formulas_with_biases() if biases else None)
    for stage, paths in STAGES.items():
        mac[stage] = sum(counts[f"LiteRTSE.{path}"] for path in paths) // (2 * frames)
    if 2 * frames * sum(mac.values()) != counts["Global"]:
        raise RuntimeError(f"the stages hold {2 * frames * sum(mac.values())} operations of {counts['Global']}")
    return Complexity(parameters, mac)


def _table(depthwise: bool) -> str:
    exact, as_published = count(depthwise), count(depthwise, biases=True)
    name = "depthwise 3×3" if depthwise else "full 3×3"
    lines = [f"Lite-RTSE, {name} variant", f"  {'stage':<20}{'parameters':>12}{'MAC/frame':>14}{'MMAC/s':>10}"]
    for stage, parameters in [*exact.parameters.items(), ("total", exact.total_parameters)]:
        mac = exact.mac_per_frame.get(stage, exact.total_mac_per_frame)
        lines.append(f"  {stage:<20}{parameters:>12,}{mac:>14,}{mac * FRAMES_PER_SECOND / 1e6:>10.1f}")
    published = PUBLISHED[depthwise]
    counted = {
        f"products only, {FRAMES_PER_SECOND} frames": exact.total_mac_per_frame * FRAMES_PER_SECOND,
        f"with biases, {PUBLISHED_FRAMES} frames": as_published.total_mac_per_frame * PUBLISHED_FRAMES,
    }
    lines.append(f"  published: {published / 1e9:.2f} G")
    for how, total in counted.items():
        lines.append(f"  {how:<28}{total / 1e9:.4f} G, {100 * (total / published - 1):+.1f} % of the published figure")
    return "\n".join(lines)


def main() -> None:
    """Print a table for each variant."""
    print(_table(depthwise=True), _table(depthwise=False), sep="\n\n")
    print(
        "\nCounted: matrix products and convolutions, LSTMs and padding included. Not counted: biases (unless said),"
        "\nsigmoids, gating products, LSTM gates, magnitude, phase, STFT. The published figures are those of 63 frames"
        "\nwith each bias as one MAC. The paper itself states 0.55 G for the depthwise variant and not how it counts."
    )


if __name__ == "__main__":
    main()
