"""Causal layers that run piece by piece: what each needs of the earlier frames is an explicit state.

Convolutions need the last frames of their input. Recurrent layers need their state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Causal", "Past", "Pasts", "run"]

_TIME = 2  # the axis of frames in (B, C, T) and (B, C, T, F)


class Pasts:
    """What the causal layers of a network need of the earlier frames. The names number the layers as they run.

    Args:
        states: those that :attr:`next` held after the preceding frames. None before the first frame: they are zero.
    """

    def __init__(self, states: Mapping[str, Tensor] | None = None) -> None:
        self._states = states
        self.next: dict[str, Tensor] = {}
        """The states after the frames that ran, batch first."""

    def before(self, x: Tensor, frames: int) -> Tensor:
        """Put the last ``frames`` frames of the layer's earlier input before x (B, C, T, ...)."""
        name = f"past_{len(self.next)}"
        none = x.new_zeros(*x.shape[:_TIME], frames, *x.shape[_TIME + 1 :])
        extended = torch.cat([none if self._states is None else self._states[name], x], _TIME)
        self.next[name] = extended[:, :, extended.shape[_TIME] - frames :].clone()  # a view would keep all frames
        return extended

    def memory(self) -> Tensor | None:
        """The state of a recurrent layer, batch first. None stands for zeros. The layer then calls :meth:`keep`."""
        return None if self._states is None else self._states[f"memory_{len(self.next)}"]

    def keep(self, state: Tensor) -> None:
        """Store the state of a recurrent layer after its input, batch first."""
        self.next[f"memory_{len(self.next)}"] = state


class Causal(nn.Module):
    """A layer that needs earlier frames. Its ``forward`` takes the input and the :class:`Pasts` of the network."""


class Past(Causal):
    """A place in a chain of layers where earlier frames come before the input: causal padding.

    Args:
        frames: number of earlier frames that the next layer needs.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        return pasts.before(x, self.frames)

    def extra_repr(self) -> str:
        return f"frames={self.frames}"


def run(layers: Iterable[nn.Module], x: Tensor, pasts: Pasts) -> Tensor:
    """Run a chain of layers. Some of them are :class:`Causal`."""
    for layer in layers:
        x = layer(x, pasts) if isinstance(layer, Causal) else layer(x)
    return x
