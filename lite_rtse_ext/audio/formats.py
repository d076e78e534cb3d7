"""Descriptions of audio formats, and tables of the formats that can be written.

Containers and sample types have libsndfile's names, such as WAV and PCM_24.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile as sf

from lite_rtse_ext.utils.arguments import MOST_CHANNELS, sample_rate_hz

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
"""Containers that can be read and written, by file name suffix."""

_BY_LIBSNDFILE = ".8svx .aifc .avr .iff .ircam .mp2 .nist .pvf .sf .snd .sph .svx .voc .wave"
_BY_PYAV = (
    ".3g2 .3gp .aac .ac3 .adts .amr .ape .asf .avi .dts .eac3 .flv .m2ts .m4a .m4b .m4v .mka .mkv .mov .mp4 .mpeg .mpg"
    " .mts .ogv .ogx .spx .ts .tta .weba .webm .wma .wmv .wv"
)
READ_SUFFIXES = frozenset([*CONTAINERS, *_BY_LIBSNDFILE.split(), *_BY_PYAV.split()])
"""Suffixes of readable files. Some need the package av. Only those of :data:`CONTAINERS` can be written."""

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
    "CAF": "PCM_S8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW ALAC_16",
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
"""Sample types that can be written, by container.

libsndfile's own list has more. It can't write some of those. Others make a file longer: they code whole blocks of
samples, or they pad an odd number of bytes and count the padding. :data:`DAMAGED` are missing, too.
"""

DAMAGED = ("ALAC_20", "ALAC_24", "ALAC_32")
"""Sample types that libsndfile damages where they can't be compressed, as in loud noise."""

SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
SAMPLE_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
"""Bytes per sample of the sample types with a fixed size."""

RATES = range(1000, 1_000_001)
"""Sample rates in Hz that a file or pipe may have."""

_FINE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "DWVW_24", *DAMAGED)
_NAMED_BY_SUFFIX = ("OGG", "MP3")  # the suffix of one of these also selects its coding
_MOST_BYTES = {"WAV": 2**32 - 2**20, "WAVEX": 2**32 - 2**20, "AIFF": 2**32 - 2**20, "AU": 2**32 - 2**20}
"""Limits of containers whose headers count bytes in 32 bits. A MiB is reserved for the other chunks."""


class AudioError(ValueError):
    """A file is not audio, has no usable samples, or can't be written in its format."""


class AudioWarning(UserWarning):
    """A property of the source is missing in the result."""


@dataclass(frozen=True)
class AudioFormat:
    """Description of an audio file without its samples.

    Attributes:
        sample_rate: sample rate in Hz.
        channels: number of channels.
        container, subtype, endian: libsndfile's names, such as WAV, PCM_24, FILE. If PyAV reads the file, FFmpeg's
            names of the container and the coding.
        frames: length according to the header, or None if the header states no length.
        tags: title, artist and other tags, by name.
        exact: whether ``frames`` is exact. It is False for an estimate, as for mp3 without a proper header.
        channel_mask: the speakers that a WAVE_FORMAT_EXTENSIBLE assigns to the channels, one bit each. None for
            other files.

    Raises:
        TypeError: the sample rate is not a number.
        ValueError: the sample rate is not a whole number from 0 to 2^32 - 1.
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
        """Convert a rate of any numeric type. 0 means unknown so far; headers may state up to 32 bits."""
        object.__setattr__(self, "sample_rate", sample_rate_hz(self.sample_rate, least=0, most=2**32 - 1))

    @property
    def seconds(self) -> float | None:
        """Length in seconds according to the header, or None if the header states no length."""
        return None if self.frames is None else self.frames / self.sample_rate

    @property
    def exact_frames(self) -> int | None:
        """Length in frames according to the header, or None if the header states no length or an estimate."""
        return self.frames if self.exact else None

    def checked(self, name: str) -> AudioFormat:
        """Return this format if it can be enhanced.

        Raises:
            AudioError: there are too many channels or none, or the sample rate is too high or too low. The message
                begins with ``name``.
        """
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise AudioError(f"{name}: expected 1 to {MOST_CHANNELS} channels, got {self.channels} channels")
        if self.sample_rate not in RATES:
            span = f"{RATES.start} to {RATES.stop - 1} Hz"
            raise AudioError(f"{name}: expected a sample rate of {span}, got one of {self.sample_rate} Hz")
        return self

    def renamed(self, path: Path, source: Path | None) -> AudioFormat:
        """Return the format of a copy of a file with this format, under another name.

        The same suffix keeps the format if it can be written. Another suffix selects its container. So does the suffix
        of ``path`` if the source is a pipe. The sample type is kept if :data:`WRITTEN` has it for the container.
        Otherwise sample types finer than 16 bits become one of 24 bits or more. All others become the container's
        default type. An :class:`AudioWarning` reports the change.

        Args:
            path: name of the copy.
            source: the file that has this format; None for a pipe, which has no name.

        Raises:
            AudioError: files with the suffix of ``path`` can't be written.
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
        """Return the nearest format that can be written in a container; see :meth:`renamed`.

        The container may be this format's own one, because not every format that is read can be written.
        """
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
        """Check that a file of this format can hold the given number of frames. WAV, AIFF and AU are limited to 4 GiB.

        Raises:
            AudioError: the file would be too long. The message names formats without this limit.
        """
        size = (frames or 0) * self.channels * SAMPLE_BYTES.get(self.subtype, 0)
        if size > _MOST_BYTES.get(self.container, size):
            raise AudioError(
                f"{path}: {size / 2**30:.1f} GiB of samples are more than {self.container} can hold (4 GiB): "
                "name it .w64, .rf64, .caf or .flac"
            )


def say(what: str) -> None:
    """Issue an :class:`AudioWarning`. Python shows repeated warnings only once."""
    warnings.warn(what, AudioWarning, stacklevel=2)
