"""What is known of an audio file but its samples, and which formats can be written.

The names of containers and sample types are libsndfile's: WAV, PCM_24.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile as sf

from lite_rtse_ext.utils.arguments import sample_rate_hz

CONTAINERS = {
    ".wav": "WAV",
    ".w64": "W64",
    ".rf64": "RF64",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".caf": "CAF",
    ".au": "AU",
}
"""The containers that are read and written, by file name suffix."""

_BY_LIBSNDFILE = ".8svx .aifc .avr .iff .ircam .mp2 .nist .pvf .sf .snd .sph .svx .voc .wave"
_BY_PYAV = (
    ".3g2 .3gp .aac .ac3 .adts .amr .ape .asf .avi .dts .eac3 .flv .m2ts .m4a .m4b .m4v .mka .mkv .mov .mp4 .mpeg .mpg"
    " .mts .ogv .ogx .spx .ts .tta .weba .webm .wma .wmv .wv"
)
READ_SUFFIXES = frozenset([*CONTAINERS, *_BY_LIBSNDFILE.split(), *_BY_PYAV.split()])
"""File name suffixes of what can be read; some need the package av. Only those of :data:`CONTAINERS` are written."""

_WAV_TYPES = "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW"
_MATLAB_TYPES = "PCM_16 PCM_32 FLOAT DOUBLE"
_TYPES = {
    "WAV": _WAV_TYPES,
    "WAVEX": _WAV_TYPES,
    "RF64": _WAV_TYPES,
    "W64": _WAV_TYPES,
    "FLAC": "PCM_S8 PCM_16 PCM_24",
    "OGG": "VORBIS OPUS",
    "MP3": "MPEG_LAYER_III",
    "AIFF": "PCM_16 PCM_24 PCM_32 FLOAT DOUBLE",
    "CAF": "PCM_S8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW ALAC_16 ALAC_20 ALAC_24 ALAC_32",
    "AU": "PCM_S8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW",
    "AVR": "PCM_S8 PCM_16 PCM_U8",
    "HTK": "PCM_16",
    "IRCAM": "PCM_16 PCM_32 FLOAT ULAW ALAW",
    "MAT4": _MATLAB_TYPES,
    "MAT5": _MATLAB_TYPES,
    "MPC2K": "PCM_16",
    "NIST": "PCM_S8 PCM_16 PCM_24 PCM_32 ULAW ALAW",
    "PAF": "PCM_S8 PCM_16",
    "PVF": "PCM_S8 PCM_16 PCM_32",
    "SVX": "PCM_16",
    "VOC": "PCM_16 PCM_U8",
    "WVE": "ALAW",
    "XI": "DPCM_16 DPCM_8",
}
WRITTEN = {container: tuple(types.split()) for container, types in _TYPES.items()}
"""The sample types that are written, by container.

libsndfile's own list has more. Some of those it can't write. Others make a file longer, as they code whole blocks of
samples, or pad an odd number of bytes and count the padding.
"""

SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
SAMPLE_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
"""Bytes a sample, of the types that have a size."""

MOST_CHANNELS = 64
"""Channels that a file or pipe may have: each takes an engine's memory."""
RATES = range(1000, 1_000_001)
"""Sample rates that a file or pipe may have, in Hz."""

_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24")
_NAMED_BY_SUFFIX = ("OGG", "MP3")  # who asks for one of these asks for its coding
_MOST_BYTES = {"WAV": 2**32 - 2**20, "WAVEX": 2**32 - 2**20, "AIFF": 2**32 - 2**20, "AU": 2**32 - 2**20}
"""Containers whose headers count bytes in 32 bits; a MiB is left for what is not samples."""


class AudioError(ValueError):
    """A file that is not audio, holds no samples or unusable ones, or can't be written in its format."""


class AudioWarning(UserWarning):
    """Something that a result has not got, though what it was made from has."""


@dataclass(frozen=True)
class AudioFormat:
    """Everything about a file but its samples.

    Attributes:
        sample_rate: in Hz.
        channels: how many.
        container, subtype, endian: libsndfile's names, e.g. WAV, PCM_24, FILE. Where PyAV reads the file, the names of
            its container and coding.
        frames: length that the header states; None where it states none.
        tags: title, artist and so on.
        exact: whether ``frames`` is more than an estimate, as it is for mp3 without a proper header.
        channel_mask: the speakers that a WAVE_FORMAT_EXTENSIBLE assigns to the channels, a bit each; None elsewhere.
    """

    sample_rate: int
    channels: int
    container: str
    subtype: str
    endian: str = "FILE"
    frames: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    exact: bool = True
    channel_mask: int | None = None

    def __post_init__(self) -> None:
        """Takes a rate of any numeric type: 0 where it is not known yet, up to 32 bits as headers may state."""
        object.__setattr__(self, "sample_rate", sample_rate_hz(self.sample_rate, least=0, most=2**32 - 1))

    @property
    def seconds(self) -> float | None:
        """Length in seconds, from the header; None where it states none."""
        return None if self.frames is None else self.frames / self.sample_rate

    @property
    def exact_frames(self) -> int | None:
        """Length that the header states; None where it states none, or an estimate."""
        return self.frames if self.exact else None

    def checked(self, name: str) -> AudioFormat:
        """This format, if it is one that is enhanced.

        Raises:
            AudioError: too many channels, or a sample rate too high or low; begins with ``name``.
        """
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise AudioError(f"{name}: expected 1 to {MOST_CHANNELS} channels, got {self.channels} channels")
        if self.sample_rate not in RATES:
            span = f"{RATES.start} to {RATES.stop - 1} Hz"
            raise AudioError(f"{name}: expected a sample rate of {span}, got one of {self.sample_rate} Hz")
        return self

    def renamed(self, path: Path, source: Path | None) -> AudioFormat:
        """The format of a copy of ``source``, which has this format, that is to be called ``path``.

        The same suffix keeps the format where it can be written. Another suffix changes the container, as does a pipe,
        which has no name: ``source`` is None. The sample type is kept where :data:`WRITTEN` has it for the container.
        Otherwise it is 24 bits or more for what is finer than 16 bits, and the container's usual type for the rest; an
        :class:`AudioWarning` says so.

        Raises:
            AudioError: files with the suffix of ``path`` are not written.
        """
        suffix = path.suffix.lower()
        extensible = self.container == "WAVEX" and CONTAINERS.get(suffix) == "WAV"
        if extensible or (source and suffix == source.suffix.lower() and self.container in WRITTEN):
            return self.within(self.container)
        if suffix not in CONTAINERS:
            why = f"{suffix} is read but not written" if suffix in READ_SUFFIXES else "unknown kind of audio file"
            raise AudioError(f"{path}: {why}, use one of {' '.join(CONTAINERS)}")
        return replace(self, subtype="OPUS").within("OGG") if suffix == ".opus" else self.within(CONTAINERS[suffix])

    def within(self, container: str) -> AudioFormat:
        """This format in another container, or in its own if it can't be written as it is; see :meth:`renamed`."""
        same, subtype = container == self.container, self._nearest(container)
        if subtype != self.subtype and (same or container not in _NAMED_BY_SUFFIX):
            say(f"{self.subtype} is not written in {container}: {subtype} is written instead")
        endian = self.endian if same and sf.check_format(container, subtype, self.endian) else "FILE"
        if same and endian != self.endian:
            say(f"{container} of {self.endian.lower()}-endian samples is not written: the usual order is taken")
        mask = self.channel_mask if same else None
        return replace(self, container=container, subtype=subtype, endian=endian, channel_mask=mask)

    def _nearest(self, container: str) -> str:
        types = WRITTEN[container]
        wanted = [self.subtype, *(("PCM_24", "PCM_32", "FLOAT") if self.subtype in _FINE else ())]
        usual: str = sf.default_subtype(container)
        return next((name for name in wanted if name in types), usual)

    def check_size(self, path: Path, frames: int | None) -> None:
        """Whether a file of this format can be so long: WAV, AIFF and AU end at 4 GiB.

        Raises:
            AudioError: it can't, and what can.
        """
        size = (frames or 0) * self.channels * SAMPLE_BYTES.get(self.subtype, 0)
        if size > _MOST_BYTES.get(self.container, size):
            raise AudioError(
                f"{path}: {size / 2**30:.1f} GiB of samples are more than {self.container} can hold (4 GiB): "
                "name it .w64, .rf64, .caf or .flac"
            )


def say(what: str) -> None:
    """An :class:`AudioWarning`, once however often it comes."""
    warnings.warn(what, AudioWarning, stacklevel=2)
