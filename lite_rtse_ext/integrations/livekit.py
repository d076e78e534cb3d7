"""A frame processor for LiveKit (``pip install "lite-rtse-ext[livekit]"``).

::

    stream = rtc.AudioStream(track, sample_rate=16000, noise_cancellation=LiteRTSEProcessor())

LiveKit calls the processor on the event loop, usually with frames of 10 ms. A frame of the network takes about 0.4 ms.
So the loop is soon free again. The interface is synchronous, so a thread could not relieve the loop.
"""

from __future__ import annotations

from livekit import rtc

from lite_rtse_ext.integrations.pcm import PcmStream, Settings, packaged_network
from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.utils.arguments import Real, switch

__all__ = ["LiteRTSEProcessor"]


class LiteRTSEProcessor(rtc.FrameProcessor[rtc.AudioFrame]):
    """A processor for ``noise_cancellation`` of an ``AudioStream``. Each track needs its own.

    A frame with another sample rate or number of channels begins a new signal. So does a change of the track, or
    enabling the processor after it was disabled. While it is disabled, LiveKit bypasses it: the sound then comes
    without its delay.

    Construct it before the call begins, because the first one of a process reads the weights.

    Args:
        network: the weights, by default those of the package. All processors of a process share the default.
        wet, attenuation_limit_db, extra_reduction_db: as in :class:`lite_rtse_ext.Streamer`.

    Raises:
        TypeError, ValueError: one of these settings is not allowed, or ``network`` is not a :class:`Network`.
    """

    def __init__(
        self,
        *,
        network: Network | None = None,
        wet: Real = 1.0,
        attenuation_limit_db: Real | None = None,
        extra_reduction_db: Real = 0.0,
    ) -> None:
        self._settings = Settings(wet, attenuation_limit_db, extra_reduction_db)
        self._network = network or packaged_network()
        self._settings.check_for(self._network)
        self._enabled = True
        self._publication = ""
        self._stream: PcmStream | None = None

    @property
    def enabled(self) -> bool:
        """Whether frames are enhanced. It may be changed at any time."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        value = switch(value, "enabled")
        if value != self._enabled:
            self._stream = None
        self._enabled = value

    @property
    def latency_ms(self) -> float | None:
        """Delay that the processor adds, in milliseconds. It depends on the sample rate: None before a frame came."""
        return self._stream.latency_ms if self._stream else None

    def _on_stream_info_updated(self, *, room_name: str, participant_identity: str, publication_sid: str) -> None:
        if publication_sid != self._publication:
            self._stream = None
        self._publication = publication_sid

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        """Enhance a frame of any length. The result has the same length, rate, channels and user data."""
        if not self._enabled:
            return frame
        rate, channels, samples = frame.sample_rate, frame.num_channels, frame.samples_per_channel
        stream = self._stream_for(rate, channels)
        pcm = stream.feed(frame.data[: samples * channels].cast("B"))  # the buffer may be longer than the frame
        return rtc.AudioFrame(pcm, rate, channels, samples, userdata=frame.userdata)

    def _close(self) -> None:
        """Free the memory of the signal. Another stream may use the processor afterwards."""
        self._stream = None

    def _stream_for(self, sample_rate: int, channels: int) -> PcmStream:
        stream = self._stream
        if stream is None or (stream.sample_rate, stream.channels) != (sample_rate, channels):
            stream = self._stream = PcmStream(self._network, sample_rate, channels)
            stream.set(self._settings)
        return stream
