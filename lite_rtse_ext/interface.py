"""What every network offers: from spectrogram to spectrogram, whole or piece by piece, and its configuration.

Enhancing, training, judging, counting and saving know this interface and no network. A network derives from
:class:`SpectrogramModel`. It then has a name in :mod:`lite_rtse_ext.models.registry`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.signal import SIGNAL, Signal

__all__ = ["SpectrogramModel", "in_pieces", "placement"]


class SpectrogramModel(nn.Module):
    """A network from a noisy spectrogram to an enhanced one.

    A derived class has to define ``forward``. A causal network without state sets :attr:`context_frames` as well, and
    then runs piece by piece. One with state overrides :meth:`advance`, too.
    """

    architecture: ClassVar[str] = ""
    """Name in the registry and in checkpoints; empty for a network without one."""

    signal: Signal = SIGNAL
    """The signal whose spectrograms it takes."""

    config_limits: ClassVar[Mapping[str, int]] = {}
    """The greatest values of arguments that are taken from a file."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Enhance a noisy spectrogram (B, bins, T, 2); the result has the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    @property
    def context_frames(self) -> int | None:
        """How many earlier frames :meth:`advance` needs to see again. None: the network needs the whole recording."""
        return None

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """The forward for the frames from ``before`` on, and the network's states after them.

        This default is for causal networks without state: it computes the first ``before`` frames again.

        Args:
            spectrogram: as in ``forward``, with at least one frame from ``before`` on.
            before: how many of its first frames are there as context: all earlier ones, or ``context_frames`` of them.
            states: what the call for the frames up to ``before`` returned; None at the beginning.

        Returns:
            The enhanced spectrogram without the first ``before`` frames, and the states after its last frame.

        Raises:
            NotImplementedError: the network needs the whole recording.
        """
        if self.context_frames is None:
            raise NotImplementedError(
                f"{type(self).__name__} needs the whole recording: it defines neither context_frames nor advance"
            )
        enhanced: Tensor = self(spectrogram)[:, :, before:]
        return enhanced, None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments. This default reads the attributes of the same names.

        Raises:
            TypeError: an argument has no attribute of its name.
        """
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        for name in names:
            if not hasattr(self, name):
                raise TypeError(f"{type(self).__name__}.{name}: expected an attribute, as it is an argument, got none")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def recognize(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The parameters by the network's own names, and the configuration that their shapes tell.

        It is for files from elsewhere, which don't say what they are. This default knows no such file.

        Raises:
            ValueError: the parameters are not this network's.
        """
        raise ValueError(f"expected a file that names its architecture, as for {cls.architecture or cls.__name__}")


def in_pieces(
    model: SpectrogramModel, frames: int, piece_frames: int, read: Callable[[int, int], Tensor]
) -> Iterator[tuple[int, int, Tensor]]:
    """Run a network over a long spectrogram, piece by piece, exactly up to rounding.

    All pieces but the last are of one size, so that the memory of one fits the next.

    Args:
        model: the network, one with ``context_frames``.
        frames: of the spectrogram.
        piece_frames: frames that the network sees at a time, its context included. At least one of them is new.
        read: gives the spectrogram from one frame to before another one.

    Yields:
        The first frame, the one after the last, and the enhanced spectrogram between them.
    """
    context = model.context_frames or 0
    states, start = None, 0
    while start < frames:
        before = min(start, context)
        stop = min(frames, start - before + max(piece_frames, context + 1))
        enhanced, states = model.advance(read(start - before, stop), before, states)
        yield start, stop, enhanced
        start = stop


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and dtype that a network takes: those of its first floating-point parameter.

    Layers that were replaced, as by quantization, may have none.
    """
    found = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return found.device, found.dtype
