"""Audio formats that PyAV decodes: m4a, webm, wma, amr and the audio of videos.

The extra ``media`` installs PyAV. It is used only for files that libsndfile can't read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.formats import AudioError, AudioFormat, say
from lite_rtse_ext.audio.reader import BLOCK_FRAMES, checked_blocks

if TYPE_CHECKING:
    from av import AudioFrame
    from typing_extensions import Self

NEEDS_AV = "more formats are read with the package av: pip install 'lite-rtse-ext[media]'"

_REFUSED = "not an audio file that can be read here"
_SAMPLES = {"u8": "PCM_U8", "s16": "PCM_16", "s32": "PCM_24", "s64": "PCM_24", "flt": "FLOAT", "dbl": "DOUBLE"}
"""Sample types for lossless codings. Integers become 24 bits at most, the precision of float32."""
_CODINGS = {"MP3": "MPEG_LAYER_III", "MP2": "MPEG_LAYER_II", "PCM_MULAW": "ULAW", "PCM_ALAW": "ALAW"}
_TAGS = frozenset({"title", "copyright", "artist", "comment", "date", "album", "genre"})


def has_av() -> bool:
    """Return whether PyAV is installed."""
    return find_spec("av") is not None


class MediaReader:
    """A :class:`~lite_rtse_ext.audio.reader.Reader` that decodes with PyAV.

    Args:
        source: an open file, or any object with ``read``. With ``seek`` more formats can be read.
        name: the source's name in messages.

    Raises:
        AudioError: the source has no audio, or none that can be decoded.
    """

    def __init__(self, source: Any, name: str) -> None:
        import av

        self.name, self._av = name, av
        try:  # only the source itself is opened, even if it contains a playlist
            self._container = av.open(source, options={"protocol_whitelist": "none"}, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"{name}: {_REFUSED}") from error
        with ExitStack() as stack:
            stack.callback(self._container.close)
            stream = self._container.streams.best("audio")
            if not isinstance(stream, av.AudioStream) or stream.codec_context is None:
                raise AudioError(f"{name}: {_REFUSED}: there is no sound in it, or of a kind unknown to FFmpeg")
            self._stream = stream
            self._decoded = self._frames()
            first = next(self._decoded, None)
            if first is None:
                raise AudioError(f"{name}: holds no samples")
            self._first, self.format = first, self._format(first)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def blocks(self, block_frames: int = BLOCK_FRAMES, /) -> Iterator[NDArray[np.float32]]:
        """See :class:`~lite_rtse_ext.audio.reader.Reader`."""
        samples = _without_start(map(self._samples, self._alike()), _early_samples(self._first))
        return checked_blocks(self.name, samples, block_frames)

    def drain(self) -> None:
        """Do nothing: PyAV reads the whole source."""

    def _format(self, first: AudioFrame) -> AudioFormat:
        codec = self._stream.codec_context.codec
        coding = codec.canonical_name.upper()
        subtype = _SAMPLES[first.format.packed.name] if codec.lossless else _CODINGS.get(coding, coding)
        seconds = (self._container.duration or 0) / self._av.time_base
        metadata = self._container.metadata | self._stream.metadata
        return AudioFormat(
            first.sample_rate,
            first.layout.nb_channels,
            self._container.format.name.split(",")[0].upper(),
            subtype,
            frames=round(seconds * first.sample_rate) or None,
            tags={name.lower(): value for name, value in metadata.items() if value and name.lower() in _TAGS},
            exact=False,
        ).checked(self.name)

    def _samples(self, frame: AudioFrame) -> NDArray[np.float32]:
        return frame.to_ndarray().reshape(-1, self.format.channels).astype(np.float32, copy=False)

    def _alike(self) -> Iterator[AudioFrame]:
        """Yield the decoded frames as float32, with the sample rate and channel layout of the first frame."""
        layout, rate = self._first.layout, self._first.sample_rate
        for _, frames in groupby(chain([self._first], self._decoded), _kind):
            resampler = self._av.AudioResampler("flt", layout, rate)
            for frame in frames:
                yield from resampler.resample(frame)
            yield from resampler.resample(None)

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield the decoded frames. Undecodable packets before the first and after the last frame are left out.

        Raises:
            AudioError: a packet between two frames can't be decoded, or the file can't be read further.
        """
        done, gap = 0.0, False
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except self._av.FFmpegError:
                gap = True
                continue
            for frame in frames:
                if gap and done:
                    raise AudioError(f"{self.name}: damaged after {done:.2f} s")
                done, gap = done + frame.samples / frame.sample_rate, False
                yield frame
        if gap and done:
            say(f"{self.name}: what follows after {done:.2f} s can't be decoded and is left out")

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except self._av.FFmpegError as error:
            raise AudioError(f"{self.name}: damaged ({error})") from error


def _early_samples(first: AudioFrame) -> int:
    """Return how many samples of a file's first frame lie before time 0.

    FFmpeg leaves some of what the encoder put in front of Opus in MP4 below 48 kHz. Their time stamp tells.
    """
    early = round(-(first.time or 0) * first.sample_rate)
    return min(max(early, 0), first.samples)


def _without_start(blocks: Iterator[NDArray[np.float32]], count: int) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        left, count = block[count:], max(count - len(block), 0)
        yield left


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
