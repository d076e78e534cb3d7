"""The common interface of all networks: spectrogram to spectrogram, whole or piece by piece, and the configuration.

Enhancement, training, evaluation, operation counts and checkpoints use this interface and no specific network. A
network derives from :class:`SpectrogramModel`. It then has a name in :mod:`lite_rtse_ext.models.registry`.
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

    A derived class must define ``forward``. A causal network without state also sets :attr:`context_frames`, and then
    runs piece by piece. A causal network with state also overrides :meth:`advance`.
    """

    architecture: ClassVar[str] = ""
    """Name in the registry and in checkpoints. It is empty for a network without a name."""

    signal: Signal = SIGNAL
    """The signal whose spectrograms the network takes."""

    config_limits: ClassVar[Mapping[str, int]] = {}
    """Maximum values of constructor arguments that are read from a file."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Enhance a noisy spectrogram (B, bins, T, 2), real and imaginary parts. The result has the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    @property
    def context_frames(self) -> int | None:
        """Left context: how many earlier frames :meth:`advance` needs. None: the network needs the whole recording."""
        return None

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from index ``before`` on, and return the network's states after them.

        This default is for causal networks without state. It computes the first ``before`` frames again.

        Args:
            spectrogram: as in ``forward``, with at least one frame from index ``before`` on.
            before: number of leading frames that are context: all earlier frames, or ``context_frames`` of them.
            states: the states that the call for the preceding frames returned; None at the beginning.

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
        """Return the constructor's arguments by name. This default reads the attributes of the same names.

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
        """Return the parameters by the network's own names, and the configuration that their shapes imply.

        This method is for files of other programs, which do not name their architecture. This default supports no such
        file.

        Raises:
            ValueError: the parameters do not belong to this network.
        """
        raise ValueError(f"expected a file that names its architecture, as for {cls.architecture or cls.__name__}")


def in_pieces(
    model: SpectrogramModel, frames: int, piece_frames: int, read: Callable[[int, int], Tensor]
) -> Iterator[tuple[int, int, Tensor]]:
    """Run a network over a long spectrogram, piece by piece. The result is that of one pass, up to rounding.

    All pieces except the last have the same size, so that the memory of one piece fits the next.

    Args:
        model: the network. Its ``context_frames`` must not be None.
        frames: number of frames of the spectrogram.
        piece_frames: number of frames per piece, left context included. A piece has at least one new frame.
        read: takes a start and a stop frame, and returns the spectrogram of the frames start to stop - 1.

    Yields:
        The start and the stop frame of each piece's new frames, and the enhanced spectrogram of these frames.
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
    """Return the device and dtype of a network's input: those of its first floating-point parameter.

    A network whose layers were replaced, as by quantization, may have no such parameter. The result is then the
    default device and dtype of new tensors.
    """
    found = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return found.device, found.dtype
