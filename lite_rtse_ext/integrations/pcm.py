"""Little-endian int16 PCM, as voice frameworks transport it, through a live :class:`Streamer` for each channel."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.dry_wet import limit_db, wet_share
from lite_rtse_ext.models.min_gain import extra_reduction, factor
from lite_rtse_ext.stream.network import Network, check_network
from lite_rtse_ext.stream.streamer import Streamer, process_batch
from lite_rtse_ext.utils.arguments import Real, channel_count

__all__ = ["SAMPLE_BYTES", "PcmStream", "Settings", "packaged_network", "pcm_of", "samples_of"]

SAMPLE_BYTES = 2

_FULL_SCALE = 32768  # a power of two, so that int16 to float32 and back is exact
_LOADING = Lock()


def samples_of(pcm: bytes | memoryview) -> NDArray[np.float32]:
    """Convert int16 PCM to float32, full scale 1. The number of bytes must be even."""
    samples: NDArray[np.float32] = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
    return samples


def pcm_of(samples: NDArray[np.float32]) -> bytes:
    """Convert float32 of full scale 1 to the nearest int16 PCM. Samples above full scale clip."""
    scaled: NDArray[np.float32] = np.rint(samples * np.float32(_FULL_SCALE))
    return scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


@lru_cache(maxsize=1)
def _load() -> Network:
    return Network.from_pretrained()


def packaged_network() -> Network:
    """Return the network that comes with the package. All sessions of a process share it. Any thread may call this."""
    with _LOADING:
        return _load()


class Settings:
    """The settings of a call.

    Args:
        wet, attenuation_limit_db, extra_reduction_db: as in :class:`Streamer`.

    Raises:
        TypeError, ValueError: a value is not allowed.
    """

    NAMES = ("wet", "attenuation_limit_db", "extra_reduction_db")

    def __init__(
        self, wet: Real = 1.0, attenuation_limit_db: Real | None = None, extra_reduction_db: Real = 0.0
    ) -> None:
        self.wet = wet_share(wet)
        self.attenuation_limit_db = limit_db(attenuation_limit_db)
        self.extra_reduction_db = extra_reduction(extra_reduction_db)

    def check_for(self, network: Network) -> None:
        """Check that a network can have these settings.

        Raises:
            TypeError: the network is not a :class:`Network`.
            ValueError: there is an extra reduction, and the weights do not state their minimum gain.
        """
        check_network(network)
        factor(network.min_gain, self.extra_reduction_db)


class PcmStream:
    """A live stream of interleaved int16 PCM. Each channel has a :class:`Streamer` of its own.

    Args:
        network: the weights. Any number of streams can share them.
        sample_rate: sample rate in Hz.
        channels: number of channels, from 1 to 64.

    Raises:
        TypeError, ValueError: as :class:`Streamer`, or ``channels`` is not a whole number in that range.
    """

    def __init__(self, network: Network, sample_rate: Real, channels: Real = 1) -> None:
        self._channels = channel_count(channels)
        self._streamers = [
            Streamer(network, sample_rate=sample_rate, compensate_delay=False, on_fault="mute")
            for _ in range(self._channels)
        ]
        self._left = b""

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._channels

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self._streamers[0].sample_rate

    @property
    def latency_samples(self) -> int:
        """Delay of the output in samples at :attr:`sample_rate`."""
        return self._streamers[0].latency_samples

    @property
    def latency_ms(self) -> float:
        """Delay of the output in milliseconds."""
        return 1e3 * self.latency_samples / self.sample_rate

    def set(self, settings: Settings, enabled: bool = True) -> None:
        """Apply settings within two frames, 32 ms. If not enabled, the output is the input with the same delay.

        Raises:
            ValueError: as of :meth:`Settings.check_for`. No setting is changed then.
        """
        for streamer in self._streamers:
            streamer.extra_reduction_db = settings.extra_reduction_db
            streamer.attenuation_limit_db = settings.attenuation_limit_db
            streamer.wet = settings.wet if enabled else 0.0

    def feed(self, pcm: bytes | memoryview) -> bytes:
        """Enhance PCM that is divided at any byte.

        Args:
            pcm: the next bytes, any number. An incomplete frame of channels is kept for the next call.

        Returns:
            As many bytes as complete frames of channels were taken, delayed by :attr:`latency_samples`.
        """
        data = self._left + bytes(pcm)
        whole = len(data) - len(data) % (SAMPLE_BYTES * self.channels)
        self._left = data[whole:]
        noisy = samples_of(data[:whole]).reshape(-1, self.channels)
        enhanced = process_batch(self._streamers, list(noisy.T))
        return pcm_of(np.stack(enhanced, axis=1))
