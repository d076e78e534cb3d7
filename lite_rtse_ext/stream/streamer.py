"""A stream of samples through the network: blocks of any length in, enhanced samples out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, Literal, NamedTuple, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from lite_rtse_ext import _stream
from lite_rtse_ext.audio.resampling import QUALITIES, Quality
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.stream.network import LATENCY_SAMPLES, Network, Precision, _Model
from lite_rtse_ext.stream.rates import RoundTrip
from lite_rtse_ext.utils.arguments import Real, real_number, sample_rate_hz, switch

_NOT_FINITE = (
    "the network's result was not finite (samples far above full scale, or a damaged checkpoint): the stream was reset"
)


class Faults(NamedTuple):
    """What went wrong in a stream and was mended.

    ``samples``: NaN or infinite samples, taken as silence. ``frames``: frames in which a number overflowed, given as
    silence; the network then began anew.
    """

    samples: int
    frames: int


class Streamer:
    """One signal, enhanced while it comes in.

    Its memory, about 4 MB, is taken when it is made; ``feed`` adds nothing but the array it returns. A streamer belongs
    to one thread at a time; several run side by side, for the GIL is free while they work. Only :attr:`wet`,
    :attr:`attenuation_limit_db` and :attr:`faults` may be used from any thread at any time, also while another feeds.

    A streamer can't be pickled or copied. To move one, make another from the path of the weights, and hand over
    :meth:`state` to its :meth:`restore`.

    Args:
        network: the weights; any number of streamers share them.
        sample_rate: of the samples, a whole number of Hz of any numeric type. Other than 16000, soxr converts there and
            back; what is above 8 kHz is lost.
        compensate_delay: whether sample n of the output is sample n of the input, enhanced; ``feed`` then gives what is
            ready and ``flush`` the rest, as many samples in all as went in. If False every ``feed`` gives as many as it
            takes, :attr:`latency_samples` late, silence at first: what a live callback needs.
        attenuation_limit_db: the most by which noise is turned down; None for no limit. It is reached by mixing the
            noisy signal in at that level.
        wet: share of the enhanced signal in the output, 0 to 1; the rest is the noisy signal, in time with it.
        high_pass: whether the network hears the samples through a high-pass at 2 Hz, which takes a constant offset out
            of them and adds no latency; see :mod:`lite_rtse_ext.audio.high_pass`. The noisy signal that ``wet`` and
            ``attenuation_limit_db`` mix in is the one that came in.
        on_fault: "raise" refuses NaN and infinite samples with a ValueError before they enter, and raises
            FloatingPointError where a number overflowed on the way. "mute" goes on with silence and counts in
            :attr:`faults`: what a call that must not end needs.
        resampling: soxr's quality. Only for other sample rates than 16000, where it decides most of the latency.

    Raises:
        TypeError: an argument is of another type.
        ValueError: an argument is not one of those above.
    """

    def __init__(
        self,
        network: Network,
        *,
        sample_rate: Real = SAMPLE_RATE_HZ,
        compensate_delay: bool = True,
        attenuation_limit_db: Real | None = None,
        wet: Real = 1.0,
        high_pass: bool = True,
        on_fault: Literal["raise", "mute"] = "raise",
        resampling: Quality = "HQ",
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, but is {type(network).__name__}: see Streamer.from_pretrained")
        if on_fault not in ("raise", "mute"):
            raise ValueError(f"on_fault must be 'raise' or 'mute', but is {on_fault!r}")
        if resampling not in QUALITIES:
            raise ValueError(f"resampling must be one of {', '.join(QUALITIES)}, but is {resampling!r}")
        self.network = network
        self.sample_rate = sample_rate_hz(sample_rate)
        self.compensate_delay = switch(compensate_delay, "compensate_delay")
        self.high_pass = switch(high_pass, "high_pass")
        self.on_fault = on_fault
        self._stream = _stream.Stream(network._network, live=not self.compensate_delay, high_pass=self.high_pass)
        self._rates = None if self.sample_rate == SAMPLE_RATE_HZ else RoundTrip(self.sample_rate, resampling)
        self._overflows = self._muted = 0
        self._idle, self._settings = Lock(), Lock()
        self._wet, self._attenuation_limit_db = _share(wet), _limit(attenuation_limit_db)
        self._mix()

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str] | None = None, *, precision: Precision = "float32", **options: Any
    ) -> Self:
        """Read the weights from a safetensors file, by default the one that comes with the package; ``options`` are the
        constructor's.

        Raises:
            OSError: no such file, or it can't be read.
            ValueError: not such a file, or one of another network.
        """
        return cls(Network.from_pretrained(path, precision), **options)

    @classmethod
    def from_model(cls, model: _Model, *, precision: Precision = "float32", **options: Any) -> Self:
        """Copy the weights of a :class:`lite_rtse_ext.LiteRTSE`; ``options`` are the constructor's."""
        return cls(Network.from_model(model, precision), **options)

    # --- sound ----------------------------------------------------------------------------------------------------

    def feed(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Take a block and give what is ready.

        Args:
            samples: ``(samples,)``, float32 or float64, full scale 1, any number of them.

        Returns:
            ``(samples,)`` float32. See ``compensate_delay`` for how many.

        Raises:
            TypeError: not floating.
            ValueError: not of one dimension, or, unless ``on_fault`` is "mute", a sample that is not finite; the stream
                is then as it was.
            FloatingPointError: unless ``on_fault`` is "mute", a number overflowed. The block's output is lost.
            RuntimeError: another thread is using this streamer.
        """
        checked = self._checked(samples)
        with self._exclusive():
            return self._finite(self._given(self._stream.feed(self._at_16k(checked)), len(checked)))

    def flush(self) -> NDArray[np.float32]:
        """End the signal: give the rest, and be ready for a new one.

        With ``compensate_delay`` the output of all calls is then as long as the input, else longer by
        :attr:`latency_samples`.

        Raises:
            FloatingPointError, RuntimeError: as ``feed``.
        """
        with self._exclusive():
            rates = self._rates
            if rates is None:
                samples = self._stream.flush()
            else:
                last = np.concatenate([self._stream.feed(rates.rest()), self._stream.flush()])
                samples = rates.back_rest(last) if self.compensate_delay else rates.back_evenly_rest(last)
            self._reset()
            return self._finite(samples)

    def reset(self) -> None:
        """Forget the signal so far; settings and counted faults stay.

        Raises:
            RuntimeError: another thread is using this streamer.
        """
        with self._exclusive():
            self._reset()

    def _reset(self) -> None:
        self._stream.reset()
        if self._rates:
            self._rates.reset()

    # --- settings -------------------------------------------------------------------------------------------------

    @property
    def latency_samples(self) -> int:
        """How late the output is, in samples at :attr:`sample_rate`.

        With ``compensate_delay``: how long after a sample its enhanced one is in hand, at 16 kHz.
        """
        return LATENCY_SAMPLES if self._rates is None else self._rates.latency

    @property
    def wet(self) -> float:
        """Share of the enhanced signal, 0 to 1. May be changed at any time, from any thread."""
        return self._wet

    @wet.setter
    def wet(self, share: Real) -> None:
        checked = _share(share)
        with self._settings:
            self._wet = checked
            self._mix()

    @property
    def attenuation_limit_db(self) -> float | None:
        """The most by which noise is turned down, in dB; None for no limit. May be changed at any time, from any
        thread."""
        return self._attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit: Real | None) -> None:
        checked = _limit(limit)
        with self._settings:
            self._attenuation_limit_db = checked
            self._mix()

    def _mix(self) -> None:
        limit = self._attenuation_limit_db
        self._stream.set_wet(self._wet * (1.0 if limit is None else 1 - 10 ** (-limit / 20)))

    @property
    def faults(self) -> Faults:
        """What was mended since the streamer was made. May be read at any time, from any thread."""
        samples, frames = self._stream.faults()
        return Faults(samples + self._muted, frames)

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> NDArray[np.float32]:
        """All that the future output depends on besides the weights, the settings and what is still to come.

        An array that :meth:`restore` of any streamer of the same network, delay compensation and high-pass takes, on
        any processor.

        Raises:
            RuntimeError: the sample rate is not 16000: what soxr holds can't be saved.
        """
        self._require_own_rate()
        state: NDArray[np.float32] = self._stream.save()
        return state

    def restore(self, state: NDArray[np.float32]) -> None:
        """Go on from where :meth:`state` was taken.

        Raises:
            TypeError, ValueError: not such an array; the streamer is then as it was.
            RuntimeError: as :meth:`state`.
        """
        self._require_own_rate()
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

    def _require_own_rate(self) -> None:
        if self._rates is not None:
            raise RuntimeError(f"state can be saved at {SAMPLE_RATE_HZ} Hz only, not at {self.sample_rate}")

    # --- how ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """The engine refuses a second thread by itself; soxr, beside it, does not."""
        if not self._idle.acquire(blocking=False):
            raise RuntimeError("the streamer is in use by another thread, or listed twice")
        try:
            yield
        finally:
            self._idle.release()

    def _at_16k(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples at 16 kHz. Those that are not finite are zeroed before soxr can spread them."""
        if self._rates is None:
            return samples
        finite = np.isfinite(samples)
        if not finite.all():
            self._muted += int(np.count_nonzero(~finite))
            samples = np.where(finite, samples, np.float32(0))
        return self._rates.there(samples)

    def _given(self, enhanced: NDArray[np.float32], taken: int) -> NDArray[np.float32]:
        """What is given for so many samples taken, of what the engine gave at 16 kHz."""
        if self._rates is None:
            return enhanced
        return self._rates.back(enhanced) if self.compensate_delay else self._rates.back_evenly(enhanced, taken)

    def _checked(self, samples: ArrayLike) -> NDArray[np.float32]:
        array = np.asarray(samples)
        if not np.issubdtype(array.dtype, np.floating):
            raise TypeError(f"samples must be of a floating type, full scale 1, but are {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"samples must have the shape (samples,), but have {array.shape}")
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float32)
        if self.on_fault == "raise" and not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"samples must be finite, but sample {at} is {array[at]}")
        return array

    def _finite(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._failed():
            raise FloatingPointError(_NOT_FINITE)
        return samples

    def _failed(self) -> bool:
        """Whether a number overflowed since this was asked last, in the network or in soxr, and that is an error."""
        before, self._overflows = self._overflows, sum(self._stream.faults())
        return self._overflows > before and self.on_fault == "raise"


def _share(value: object) -> float:
    """What :attr:`Streamer.wet` may be."""
    expected = "a share from 0 to 1"
    share = real_number(value, "wet", expected)
    if not 0 <= share <= 1:
        raise ValueError(f"wet: expected {expected}, got {value!r}")
    return share


def _limit(value: object) -> float | None:
    """What :attr:`Streamer.attenuation_limit_db` may be."""
    if value is None:
        return None
    expected = "None or a number of dB from 0 up"
    limit = real_number(value, "attenuation_limit_db", expected)
    if not (limit >= 0 and math.isfinite(limit)):
        raise ValueError(f"attenuation_limit_db: expected {expected}, got {value!r}")
    return limit


def process_batch(streamers: Sequence[Streamer], blocks: Sequence[ArrayLike]) -> list[NDArray[np.float32]]:
    """``[s.feed(b) for s, b in zip(streamers, blocks)]``, to the bit, but several times faster for many calls.

    Streams whose frames are complete at the same time share the reading of the weights, which is most of what a single
    one waits for.

    Args:
        streamers: of one network, each listed once; they may be anywhere in their signals, and of different rates.
        blocks: one ``(samples,)`` for each, of any length, as ``feed`` takes them.

    Raises:
        TypeError, ValueError, RuntimeError: as ``feed``; a ValueError too where the networks differ, or there are not
            as many blocks as streamers. No stream has changed then.
        FloatingPointError: as ``feed``, where one of the streamers raises it. The output of all is lost then: for calls
            that have nothing to do with each other, use ``on_fault="mute"``.
    """
    if len(streamers) != len(blocks):
        raise ValueError(f"blocks must be as many as streamers, {len(streamers)}, but are {len(blocks)}")
    for number, streamer in enumerate(streamers):
        if not isinstance(streamer, Streamer):
            raise TypeError(f"streamers: expected a Streamer as number {number}, got {type(streamer).__name__}")
        if streamer.network is not streamers[0].network:
            raise ValueError(f"streamers must share one network, but number {number} has another than number 0")
    checked = [streamer._checked(block) for streamer, block in zip(streamers, blocks, strict=True)]
    with ExitStack() as stack:
        for streamer in streamers:
            stack.enter_context(streamer._exclusive())
        inputs = [streamer._at_16k(block) for streamer, block in zip(streamers, checked, strict=True)]
        enhanced = _stream.feed([streamer._stream for streamer in streamers], inputs)
        given = [s._given(result, len(block)) for s, result, block in zip(streamers, enhanced, checked, strict=True)]
        failed = [streamer._failed() for streamer in streamers]
        if any(failed):
            raise FloatingPointError(_NOT_FINITE)
        return given
