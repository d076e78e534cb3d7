"""The common interface of all networks: spectrogram to spectrogram, whole or piece by piece, and the configuration.

Enhancement, training, evaluation, operation counts and checkpoints use this interface and no specific network. A
network derives from :class:`SpectrogramModel`. It then has a name in :mod:`lite_rtse_ext.models.registry`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lite_rtse_ext.signal import SIGNAL, Signal

__all__ = ["SpectrogramModel", "evaluation_mode", "in_pieces", "placement"]

_PAST = "past_frames"


class SpectrogramModel(nn.Module):
    """A network from a noisy spectrogram to an enhanced one.

    A derived class defines ``forward``, or ``advance`` and :attr:`context_frames`. A causal network without state
    defines ``forward`` and :attr:`context_frames`, and then runs piece by piece. A network with state defines
    :meth:`advance`. Its states are a dict of tensors by name, batch first, which are zero before the first frame. Such
    a network also runs frame by frame.
    """

    architecture: ClassVar[str] = ""
    """Name in the registry and in checkpoints. It is empty for a network without a name."""

    remark: ClassVar[str] = ""
    """What ``lite-rtse models`` adds to the network's row."""

    signal: Signal = SIGNAL
    """The signal whose spectrograms the network takes."""

    config_limits: ClassVar[Mapping[str, int]] = {}
    """Maximum values of constructor arguments that are read from a file."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Enhance a noisy spectrogram (B, bins, T, 2), real and imaginary parts. The result has the same shape."""
        if type(self).advance is SpectrogramModel.advance:
            raise NotImplementedError(f"{type(self).__name__} must define forward or advance")
        self.check_shape(spectrogram)
        # A recurrent layer takes no empty sequence, and a transform no empty batch.
        if spectrogram.shape[2] == 0 or spectrogram.shape[0] == 0:
            return spectrogram.clone()
        late = self.look_ahead_frames or 0
        return self.advance(nn.functional.pad(spectrogram, (0, 0, 0, late)))[0][:, :, late:]

    def check_shape(self, spectrogram: Tensor) -> None:
        """Check that a spectrogram has the shape (B, bins, T, 2).

        Raises:
            ValueError: it has another shape.
        """
        shape = tuple(spectrogram.shape)
        if len(shape) != 4 or shape[1::2] != (self.signal.bins, 2):
            raise ValueError(f"spectrogram: expected (B, {self.signal.bins}, T, 2), got {shape}")

    @property
    def context_frames(self) -> int | None:
        """Left context: how many earlier frames :meth:`advance` needs. None: the network needs the whole recording."""
        return None

    @property
    def look_ahead_frames(self) -> int | None:
        """How many later frames change an enhanced frame. None: all frames of the recording."""
        return None if self.context_frames is None else 0

    @property
    def latency_ms(self) -> float | None:
        """Algorithmic latency in ms: the window and the look-ahead. None: that of the whole recording."""
        late = self.look_ahead_frames
        return None if late is None else self.signal.latency_ms + 1000 * late / self.signal.frames_per_second

    def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
        """Enhance the frames from index ``before`` on, and return the network's states after them.

        This default is for causal networks without state. It computes the first ``before`` frames again.

        A network with look-ahead returns its frames :attr:`look_ahead_frames` late. The first calls then return frames
        from before the beginning, which have no meaning. Silent frames after the end yield the last frames.

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

    def start(self, batch: int = 1) -> dict[str, Tensor]:
        """Return the memory of :meth:`next_frame` before the first frame: zeros by name, batch first.

        Args:
            batch: number of streams.

        Raises:
            NotImplementedError: the network cannot run frame by frame.
        """
        context = self.context_frames
        if context is None:
            raise NotImplementedError(f"{self._name} cannot run frame by frame: it needs the whole recording")
        device, dtype = placement(self)
        silence = torch.zeros(1, self.signal.bins, context + 1, 2, device=device, dtype=dtype)
        probe = copy.deepcopy(self).eval()
        # One frame shows the shapes. The meta device would show them too, but recurrent layers take far longer there.
        with torch.no_grad():
            states = probe.advance(silence, context)[1] or {}
        if not (isinstance(states, dict) and all(isinstance(each, Tensor) for each in states.values())):
            raise NotImplementedError(f"{self._name} cannot run frame by frame: its states are no dict of tensors")
        memory = {_PAST: silence[:, :, :context], **states} if context else states
        return {name: each.new_zeros(batch, *each.shape[1:]) for name, each in memory.items()}

    def next_frame(self, spectrum: Tensor, memory: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Enhance one frame.

        Args:
            spectrum: the spectrum (B, bins, 2) of the frame, real and imaginary parts.
            memory: what the call for the preceding frame returned, or :meth:`start`.

        Returns:
            The enhanced spectrum, :attr:`look_ahead_frames` late, and the memory for the next frame.
        """
        frames, context = spectrum.unsqueeze(2), self.context_frames or 0
        states = {name: each for name, each in memory.items() if name != _PAST}
        if context:
            frames = torch.cat([memory[_PAST], frames], dim=2)
        enhanced, after = self.advance(frames, context, states or None)
        past = {_PAST: frames[:, :, 1:]} if context else {}
        return enhanced[:, :, 0], past | (after or {})

    @property
    def _name(self) -> str:
        return self.architecture or type(self).__name__

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
        read: takes a start and a stop frame, and returns the spectrogram of the frames start to stop - 1. For a network
            with look-ahead, frames after the last one are requested, too. They are zero.

    Yields:
        The start and the stop frame of each piece's new frames, and the enhanced spectrogram of these frames.
    """
    context, late = model.context_frames or 0, model.look_ahead_frames or 0
    states, start = None, 0
    while start < frames + late:
        before = min(start, context)
        stop = min(frames + late, start - before + max(piece_frames, context + 1))
        enhanced, states = model.advance(read(start - before, stop), before, states)
        first = max(start, late)
        if stop > first:
            yield first - late, stop - late, enhanced[:, :, first - start :]
        start = stop


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode within the block. Each of its modules then has its own mode again.

    In training mode a batch norm would use the statistics of its input, and change its running statistics.
    """
    in_training = [module for module in model.modules() if module.training]
    for module in in_training:
        module.training = False
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device and dtype of a network's input: those of its first floating-point parameter.

    A network whose layers were replaced, as by quantization, may have no such parameter. The result is then the
    default device and dtype of new tensors.
    """
    found = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return found.device, found.dtype
