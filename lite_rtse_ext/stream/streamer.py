"""Streaming enhancement: a :class:`Streamer` takes blocks of any length and returns enhanced samples."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lite_rtse_ext import _stream
from lite_rtse_ext.audio.dry_wet import enhanced_share, limit_db, wet_share
from lite_rtse_ext.models.min_gain import extra_reduction, factor
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.stream.network import Network, Precision, _Model, check_network
from lite_rtse_ext.utils.arguments import Real, channel_count, sample_rate_hz, switch

if TYPE_CHECKING:
    from typing_extensions import Self

_NOT_FINITE = (
    "the network's result was not finite (samples far above full scale, or a damaged checkpoint): the stream was reset"
)


class Faults(NamedTuple):
    """Counts of the faults that a stream has replaced by silence.

    Attributes:
        samples: number of NaN or infinite input samples. Each was replaced by zero.
        frames: number of frames in which a value overflowed. Each was output as silence, and the network's state was
            reset.
    """

    samples: int
    frames: int


class Streamer:
    """A streaming enhancer of one signal: :meth:`feed` takes a block, :meth:`flush` ends the signal.

    The constructor allocates all memory, about 4 MB. ``feed`` allocates only the array that it returns. One thread at a
    time may use a streamer. Several streamers run in parallel, because the engine releases the GIL. Any thread may use
    :attr:`wet`, :attr:`attenuation_limit_db`, :attr:`extra_reduction_db` and :attr:`faults` at any time, even while
    another thread feeds.

    A streamer can't be pickled or copied. To move a stream, construct another streamer from the path of the weights.
    Then pass the result of :meth:`state` to its :meth:`restore`.

    Args:
        network: the weights. Any number of streamers can share them.
        sample_rate: sample rate of the signal in Hz, a whole number of any numeric type. At other rates than 16000,
            the engine converts to 16 kHz and back. The band above 8 kHz passes with the gain that the network gives to
            the highest quarter of what it hears.
        channels: number of channels that get one common gain. The network hears the root mean square of their
            magnitudes, and its complex gains apply to every channel. The differences between the channels in level and
            time remain. For channels that are to be enhanced independently, use a streamer each.
        compensate_delay: whether sample n of the output is the enhanced sample n of the input. If True, ``feed``
            returns the samples that are ready and ``flush`` the rest. The total length is that of the input. If False,
            every ``feed`` returns as many samples as it takes, delayed by :attr:`latency_samples`, silence at first.
            Live callbacks need False.
        attenuation_limit_db: maximum attenuation of the noise in dB. None and infinity mean no limit. The limit is
            implemented by mixing in the noisy signal at that level.
        extra_reduction_db: by how much the minimum gain of the weights is lowered, in dB, from 0 up. Noise is then
            turned down by up to this much more, and more of the speech is lost. Infinity: there is no minimum gain; see
            :mod:`lite_rtse_ext.models.min_gain`.
        wet: share of the enhanced signal in the output, 0 to 1. The rest is the noisy signal, aligned in time.
        high_pass: whether the network's input first passes a high-pass at 2 Hz. The filter removes a constant offset
            and adds no latency; see :mod:`lite_rtse_ext.audio.high_pass`. The noisy signal that ``wet`` and
            ``attenuation_limit_db`` mix in is the unfiltered input.
        on_fault: "raise" rejects NaN and infinite samples with a ValueError before they enter the stream. It raises a
            FloatingPointError if a value overflows later. "mute" continues with silence and counts the faults in
            :attr:`faults`. Use it for live calls that must not stop.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed above. Or ``extra_reduction_db`` is above 0, and the
            minimum gain of the weights is not known.
    """

    def __init__(
        self,
        network: Network,
        *,
        sample_rate: Real = SAMPLE_RATE_HZ,
        channels: int = 1,
        compensate_delay: bool = True,
        attenuation_limit_db: Real | None = None,
        extra_reduction_db: Real = 0.0,
        wet: Real = 1.0,
        high_pass: bool = True,
        on_fault: Literal["raise", "mute"] = "raise",
    ) -> None:
        check_network(network)
        self._network = network
        self._sample_rate = sample_rate_hz(sample_rate)
        self._channels = channel_count(channels)
        self._compensate_delay = switch(compensate_delay, "compensate_delay")
        self._high_pass = switch(high_pass, "high_pass")
        self.on_fault = on_fault
        self._stream = _stream.Stream(
            network._network,
            live=not self._compensate_delay,
            high_pass=self._high_pass,
            rate_hz=self._sample_rate,
            channels=self._channels,
        )
        self._overflows = 0
        self._settings = Lock()
        self._wet, self._attenuation_limit_db = wet_share(wet), limit_db(attenuation_limit_db)
        self._mix()
        self.extra_reduction_db = extra_reduction_db

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        precision: Precision = "float32",
        **options: Any,
    ) -> Self:
        """Construct a streamer with the weights of a safetensors file.

        Args:
            path: the file; by default the one that comes with the package.
            precision: as in :class:`Network`.
            options: keyword arguments of the constructor.

        Raises:
            OSError: the file does not exist or can't be read.
            TypeError, ValueError: as of :meth:`Network.from_pretrained` and of the constructor.
        """
        return cls(Network.from_pretrained(path, precision), **options)

    @classmethod
    def from_model(cls, model: _Model, *, precision: Precision = "float32", **options: Any) -> Self:
        """Construct a streamer with a copy of the weights of a :class:`lite_rtse_ext.LiteRTSE`.

        ``options`` are keyword arguments of the constructor.

        Raises:
            TypeError, ValueError: as :meth:`Network.from_model`.
        """
        return cls(Network.from_model(model, precision), **options)

    # --- signal ---------------------------------------------------------------------------------------------------

    def feed(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Enhance a block and return the samples that are ready.

        Args:
            samples: ``(samples,)`` of a floating dtype, full scale 1, any length; ``(samples, channels)`` of a streamer
                with several channels.

        Returns:
            An array of the same dimensions, float32. See ``compensate_delay`` for the length.

        Raises:
            TypeError: the dtype is not a floating one.
            ValueError: the array does not have these dimensions. Or, unless ``on_fault`` is "mute", a sample is not
                finite. The stream is unchanged then.
            FloatingPointError: a value overflowed, unless ``on_fault`` is "mute". The block's output is lost.
            RuntimeError: another thread is using this streamer.
        """
        return self._finite(self._stream.feed(self._checked(samples)))

    def flush(self) -> NDArray[np.float32]:
        """End the signal: return its remaining samples and reset the stream for a new signal.

        With ``compensate_delay`` the total output of the signal is as long as its input. Otherwise it is longer by
        :attr:`latency_samples`.

        Returns:
            An array as of :meth:`feed`.

        Raises:
            FloatingPointError, RuntimeError: as :meth:`feed`.
        """
        return self._finite(self._stream.flush())

    def reset(self) -> None:
        """Discard the signal so far. Settings and fault counts are kept.

        Raises:
            RuntimeError: another thread is using this streamer.
        """
        self._stream.reset()

    # --- fixed by the constructor ---------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The weights."""
        return self._network

    @property
    def sample_rate(self) -> int:
        """Sample rate of the signal in Hz."""
        return self._sample_rate

    @property
    def channels(self) -> int:
        """Number of channels that get one common gain."""
        return self._channels

    @property
    def compensate_delay(self) -> bool:
        """Whether sample n of the output is the enhanced sample n of the input."""
        return self._compensate_delay

    @property
    def high_pass(self) -> bool:
        """Whether the network's input first passes a high-pass at 2 Hz."""
        return self._high_pass

    @property
    def latency_samples(self) -> int:
        """Delay of the output, in samples at :attr:`sample_rate`: 32 ms at 16 kHz, 40.6 ms at most at 8 to 192 kHz.

        With ``compensate_delay`` the output is not shifted. The value is then the longest time from a sample's input
        until its enhanced sample is returned.
        """
        return self._stream.latency

    # --- settings -------------------------------------------------------------------------------------------------

    @property
    def wet(self) -> float:
        """Share of the enhanced signal in the output, 0 to 1. Any thread may change it at any time."""
        return self._wet

    @wet.setter
    def wet(self, share: Real) -> None:
        checked = wet_share(share)
        with self._settings:
            self._wet = checked
            self._mix()

    @property
    def attenuation_limit_db(self) -> float | None:
        """Maximum attenuation of the noise in dB, or None for no limit. Any thread may change it at any time."""
        return self._attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit: Real | None) -> None:
        checked = limit_db(limit)
        with self._settings:
            self._attenuation_limit_db = checked
            self._mix()

    @property
    def extra_reduction_db(self) -> float:
        """By how much the minimum gain of the weights is lowered, in dB. Any thread may change it at any time.

        The setting takes effect from the next frame on.
        """
        return self._extra_reduction_db

    @extra_reduction_db.setter
    def extra_reduction_db(self, extra_db: Real) -> None:
        checked = extra_reduction(extra_db)
        share = factor(self.network.min_gain, checked)
        with self._settings:
            self._extra_reduction_db = checked
            self._stream.set_min_gain(share)

    @property
    def on_fault(self) -> Literal["raise", "mute"]:
        """Whether bad samples and overflows raise an exception, or are replaced by silence and counted."""
        return self._on_fault

    @on_fault.setter
    def on_fault(self, action: Literal["raise", "mute"]) -> None:
        if action not in ("raise", "mute"):
            raise ValueError(f"on_fault: expected 'raise' or 'mute', got {action!r}")
        self._on_fault: Literal["raise", "mute"] = action

    def _mix(self) -> None:
        self._stream.set_wet(enhanced_share(self._wet, self._attenuation_limit_db))

    @property
    def faults(self) -> Faults:
        """Fault counts since the streamer was constructed. Any thread may read them at any time."""
        return Faults(*self._stream.faults())

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> NDArray[np.float32]:
        """Return the state of the stream, for :meth:`restore`.

        The future output depends on this state, the weights, the settings and the future input, and on nothing else.

        Returns:
            A one-dimensional float32 array. Any streamer with the same network, ``sample_rate``, ``channels``,
            ``compensate_delay`` and ``high_pass`` can restore it, on any processor.

        Raises:
            RuntimeError: another thread is using this streamer.
        """
        state: NDArray[np.float32] = self._stream.save()
        return state

    def restore(self, state: NDArray[np.float32]) -> None:
        """Continue the stream whose :meth:`state` is given.

        Args:
            state: what :meth:`state` returned, one-dimensional float32.

        Raises:
            TypeError: the state is not a one-dimensional float32 array.
            ValueError: the state does not belong to such a streamer. In both cases the streamer is unchanged.
            RuntimeError: as :meth:`state`.
        """
        if not isinstance(state, np.ndarray) or state.dtype != np.float32 or state.ndim != 1:
            raise TypeError("state must be an array as Streamer.state() gives it, float32 of one dimension")
        try:
            self._stream.load(np.ascontiguousarray(state))
        except ValueError as error:
            raise ValueError(f"state {error}") from error

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            "a Streamer can't be pickled or copied: make another with Streamer.from_pretrained and the path of the "
            "weights, and give what state() returns to its restore()"
        )

    # --- internals ------------------------------------------------------------------------------------------------

    def _checked(self, samples: ArrayLike) -> NDArray[np.float32]:
        array = np.asarray(samples)
        if not np.issubdtype(array.dtype, np.floating):
            raise TypeError(f"samples: expected a floating type, full scale 1, got {array.dtype}")
        if (array.shape[1:] != (self.channels,)) if self.channels > 1 else array.ndim != 1:
            expected = f"(samples, {self.channels})" if self.channels > 1 else "(samples,)"
            raise ValueError(f"samples must have the shape {expected}, but have {array.shape}")
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float32)
        if self.on_fault == "raise" and not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"samples: expected finite numbers, but sample {at // self.channels} is {array.flat[at]}")
        return array

    def _finite(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._failed():
            raise FloatingPointError(_NOT_FINITE)
        return samples

    def _failed(self) -> bool:
        """Whether a value overflowed in the network since the last call, and ``on_fault`` is "raise"."""
        before, self._overflows = self._overflows, sum(self._stream.faults())
        return self._overflows > before and self.on_fault == "raise"


def process_batch(streamers: Iterable[Streamer], blocks: Iterable[ArrayLike]) -> list[NDArray[np.float32]]:
    """Feed many streamers at once: ``[s.feed(b) for s, b in zip(streamers, blocks)]``, several times faster.

    The results are bit-identical to those of :meth:`Streamer.feed`. Streams whose frames are complete at the same time
    are computed together, so the weights are read from memory once. A single stream mostly waits for these reads.

    Args:
        streamers: streamers that share one network, each listed once. Their positions and sample rates may differ.
        blocks: one block per streamer, of any length, as in :meth:`Streamer.feed`.

    Returns:
        One float32 array per streamer, as of :meth:`Streamer.feed`.

    Raises:
        TypeError, ValueError, RuntimeError: as :meth:`Streamer.feed`. A ValueError also if the networks differ, or the
            numbers of blocks and streamers differ. All streams are unchanged then.
        FloatingPointError: as :meth:`Streamer.feed`, if any of the streamers raises it. The output of all of them is
            lost then. Use ``on_fault="mute"`` for streams that are independent of each other.
    """
    streamers, blocks = list(streamers), list(blocks)
    if len(streamers) != len(blocks):
        raise ValueError(f"blocks: expected one per streamer ({len(streamers)}), got {len(blocks)}")
    for number, streamer in enumerate(streamers):
        if not isinstance(streamer, Streamer):
            raise TypeError(f"streamers: expected a Streamer as number {number}, got {type(streamer).__name__}")
        if streamer.network is not streamers[0].network:
            raise ValueError(f"streamers must share one network, but number {number} has another than number 0")
    checked = [streamer._checked(block) for streamer, block in zip(streamers, blocks, strict=True)]
    enhanced = _stream.feed([streamer._stream for streamer in streamers], checked)
    failed = [streamer._failed() for streamer in streamers]
    if any(failed):
        raise FloatingPointError(_NOT_FINITE)
    return enhanced
