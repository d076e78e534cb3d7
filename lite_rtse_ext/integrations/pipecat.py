"""An audio filter for Pipecat (``pip install "lite-rtse-ext[pipecat]"``).

::

    params = TransportParams(audio_in_enabled=True, audio_in_filter=LiteRTSEFilter())

The filter computes on the event loop. A chunk of 20 ms takes about half a millisecond there, and a longer chunk is
divided, so that other tasks run in between. A thread would cost a change of threads for each chunk, and a canceled call
would leave it running. Only :meth:`LiteRTSEFilter.start` uses a thread, because it reads the weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import FilterControlFrame, FilterEnableFrame, FilterUpdateSettingsFrame

from lite_rtse_ext.integrations.pcm import SAMPLE_BYTES, PcmStream, Settings, packaged_network
from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.utils.arguments import Real, switch

__all__ = ["LiteRTSEFilter"]

_PIECES_A_SECOND = 16  # a piece is 1/16 s, 4 frames of the network: about 2 ms of computation


class LiteRTSEFilter(BaseAudioFilter):
    """A filter for ``audio_in_filter`` or ``audio_out_filter`` of a transport's parameters. Each call needs its own.

    Frames of these types change it while the call runs:

    - ``FilterEnableFrame``: while disabled, the output is the unchanged input with the same delay. The network still
      receives the signal. So nothing is repeated or lost when the filter is enabled again.
    - ``FilterUpdateSettingsFrame``: its settings may be "wet", "attenuation_limit_db" and "extra_reduction_db".

    Args:
        network: the weights, by default those of the package. All filters of a process share the default.
        channels: number of interleaved channels, ``audio_in_channels`` of the transport's parameters.
        wet, attenuation_limit_db, extra_reduction_db: as in :class:`lite_rtse_ext.Streamer`.

    Raises:
        TypeError, ValueError: one of these settings is not allowed, or ``network`` is not a :class:`Network`.
    """

    def __init__(
        self,
        *,
        network: Network | None = None,
        channels: int = 1,
        wet: Real = 1.0,
        attenuation_limit_db: Real | None = None,
        extra_reduction_db: Real = 0.0,
    ) -> None:
        self._network, self._channels = network, channels
        self._settings = self._checked(Settings(wet, attenuation_limit_db, extra_reduction_db))
        self._enabled = True
        self._stream: PcmStream | None = None

    @property
    def latency_ms(self) -> float:
        """Delay that the filter adds, in milliseconds. It depends on the sample rate.

        Raises:
            RuntimeError: the filter is not started.
        """
        return self._started().latency_ms

    async def start(self, sample_rate: int) -> None:
        """Begin a new signal. The transport calls this.

        Raises:
            TypeError, ValueError: the sample rate or the number of channels is not supported.
        """
        self._stream = await asyncio.to_thread(self._new_stream, sample_rate)
        self._stream.set(self._settings, self._enabled)

    async def stop(self) -> None:
        """End the signal and free its memory. The transport calls this. :meth:`start` may follow."""
        self._stream = None

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Change the filter as the frame says. Control frames of other types are ignored.

        Raises:
            TypeError, ValueError: a setting is unknown, or its value is not allowed. The filter is unchanged then. An
                input transport turns this into an error frame. An output transport of Pipecat 1.14.0 plays nothing
                more.
        """
        if isinstance(frame, FilterEnableFrame):
            self._enabled = switch(frame.enable, "enable")
        elif isinstance(frame, FilterUpdateSettingsFrame):
            self._settings = self._updated(frame.settings)
        if self._stream:
            self._stream.set(self._settings, self._enabled)

    async def filter(self, audio: bytes) -> bytes:
        """Enhance a chunk of any length. The output is as long as the input, up to an incomplete sample.

        Raises:
            RuntimeError: the filter is not started.
        """
        stream = self._started()
        piece = SAMPLE_BYTES * stream.channels * max(1, stream.sample_rate // _PIECES_A_SECOND)
        enhanced = [stream.feed(audio[:piece])]
        for begin in range(piece, len(audio), piece):
            await asyncio.sleep(0)
            enhanced.append(stream.feed(audio[begin : begin + piece]))
        return b"".join(enhanced)

    def _started(self) -> PcmStream:
        if self._stream is None:
            raise RuntimeError("the filter is not started: expected start(sample_rate) before")
        return self._stream

    def _new_stream(self, sample_rate: int) -> PcmStream:
        return PcmStream(self._network or packaged_network(), sample_rate, self._channels)

    def _updated(self, settings: Mapping[str, Any]) -> Settings:
        unknown = sorted(set(settings) - set(Settings.NAMES))
        if unknown:
            raise ValueError(f"settings: expected {', '.join(Settings.NAMES)}, got {', '.join(unknown)}")
        now = {name: getattr(self._settings, name) for name in Settings.NAMES}
        return self._checked(Settings(**{**now, **settings}))

    def _checked(self, settings: Settings) -> Settings:
        if self._network:  # that of the package can have all settings
            settings.check_for(self._network)
        return settings
