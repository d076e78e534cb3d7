"""A network whose input is scaled by a factor, as a :class:`SpectrogramModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.signal import SIGNAL, Signal

__all__ = ["InputGain"]


class InputGain(SpectrogramModel):
    """A network that reads scaled spectrograms: ``net(gain · X) / gain``.

    Args:
        net: any network from spectrogram to spectrogram.
        input_gain: the factor, above 0.
    """

    def __init__(self, net: nn.Module, input_gain: float) -> None:
        super().__init__()
        self.net, self.input_gain = net, input_gain
        self.signal: Signal = getattr(net, "signal", SIGNAL)

    def forward(self, spectrogram: Tensor) -> Tensor:
        result: Tensor = self.net(spectrogram * self.input_gain) / self.input_gain
        return result

    @property
    def context_frames(self) -> int | None:
        return self.net.context_frames if isinstance(self.net, SpectrogramModel) else None

    @property
    def look_ahead_frames(self) -> int | None:
        return self.net.look_ahead_frames if isinstance(self.net, SpectrogramModel) else None

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        if not isinstance(self.net, SpectrogramModel):
            return super().advance(spectrogram, before, states)
        enhanced, states = self.net.advance(spectrogram * self.input_gain, before, states)
        return enhanced / self.input_gain, states

    def start(self, batch: int = 1) -> dict[str, Tensor]:
        return self.net.start(batch) if isinstance(self.net, SpectrogramModel) else super().start(batch)

    def next_frame(self, spectrum: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if not isinstance(self.net, SpectrogramModel):
            return super().next_frame(spectrum, memory)
        enhanced, memory = self.net.next_frame(spectrum * self.input_gain, memory)
        return enhanced / self.input_gain, memory

    def plain_state(self) -> dict[str, Tensor]:
        """Parameters of the inner network only. The caller must apply the gain."""
        return self.net.state_dict()
