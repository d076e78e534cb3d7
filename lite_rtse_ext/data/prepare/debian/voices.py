"""Extracts more voices from Debian packages, in two dozen languages, for training only.

They speak letters, words, names of objects and the dialogues of a game. Volunteers recorded them at home. Recordings
with a loud background are left out. A network that is trained with noise in clean speech learns to keep the noise. The
other recordings are trimmed. Those of each voice are joined to clips of several seconds. Russian is left out, since it
is the language of the test.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.convert import decode
from lite_rtse_ext.data.prepare.debian.noises import noises
from lite_rtse_ext.data.prepare.debian.packages import Piece
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["VOICE_PACKAGES"]

_Samples = NDArray[np.float32]

_TEST_LANGUAGE = "ru"
_SUFFIXES = (".ogg", ".opus", ".wav")
_FRAME = SAMPLE_RATE_HZ // 50
_MINIMUM_RANGE_DB = 36.0
_EDGE_DB = 40.0
"""A word begins and ends where its level is less than this below the level of its loud parts."""

_MARGIN_FRAMES = 3
_GAP = np.zeros(SAMPLE_RATE_HZ // 5, np.float32)
_CLIP_SECONDS = 4.0
_MOST_CLIPS = 300
_WORD_DBFS = -24.0


def _languages(folder: str, license: str, root: Path) -> Iterator[Piece]:
    """Words of a package with a folder for each language. In almost all folders one voice speaks."""
    for language in sorted(path for path in (root / "usr" / "share" / folder).iterdir() if path.is_dir()):
        if language.name != _TEST_LANGUAGE:
            files = sorted(path for path in language.rglob("*") if path.suffix in _SUFFIXES)
            yield from _joined(folder.split("/")[0], language.name, license, files)


def _stamps(root: Path) -> Iterator[Piece]:
    """Names of the stamps of a drawing program, and the sounds of the animals and objects on them.

    The names are ``<stamp>_desc_<language>.ogg``, spoken by one voice or a few in each language. The sounds are
    ``<stamp>.ogg``.
    """
    voices: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*_desc_*.ogg")):
        voices[path.stem.rpartition("_desc_")[2]].append(path)
    for language in sorted(voices.keys() - {_TEST_LANGUAGE}):
        yield from _joined("stamps", language, "GPL-2.0-only", voices[language])
    for kind in ("animals", "household", "hobbies"):
        yield from noises(f"tuxpaint/stamps/{kind}", kind, "GPL-2.0-only", root, leave_out=("*_desc*",))


def _dialogues(language: str, root: Path) -> Iterator[Piece]:
    """Dialogues of the small and the big fish of a game: ``<scene>-m-<line>.ogg`` and ``<scene>-v-<line>.ogg``.

    Two actors speak them.
    """
    for fish in ("m", "v"):
        yield from _joined("fillets", f"{language}-{fish}", "GPL-2.0-only", sorted(root.rglob(f"*-{fish}-*.ogg")))


def _mandarin(root: Path) -> Iterator[Piece]:
    """Syllables of Mandarin, spoken by one voice. Every third of the many hundreds is enough."""
    files = sorted((root / "usr" / "share" / "gcin-voice" / "ogg").glob("*/5.ogg"))
    yield from _joined("gcin", "zh", "CC-BY-3.0", files[::3])


def _players(root: Path) -> Iterator[Piece]:
    """Calls of the players in a game, by four voices in English and four in German."""
    voices = root / "usr" / "share" / "kajongg" / "voices"
    for folder in sorted({path.parent for path in voices.rglob("*.ogg")}):
        voice = "-".join(folder.relative_to(voices).parts)
        yield from _joined("kajongg", voice, "GPL-2.0-or-later", sorted(folder.glob("*.ogg")))


def _primers(root: Path) -> Iterator[Piece]:
    """Letters and words of a primer, by one voice in each language, and the sounds of animals and objects."""
    primers = root / "usr" / "share" / "qabcs" / "abcs"
    for sounds in sorted(primers.glob("*/sounds")):
        language = sounds.parent.name
        if language not in ("all", _TEST_LANGUAGE):
            yield from _joined("qabcs", language, "GPL-3.0-or-later", sorted(sounds.rglob("*.ogg")))
    yield from noises("qabcs/abcs/all/noises", "things", "GPL-3.0-or-later", root)


def _joined(source: str, language: str, license: str, files: Iterable[Path]) -> Iterator[Piece]:
    """Join the words of one voice to clips of at least ``_CLIP_SECONDS``, with a short silence after each word.

    The remainder at the end is dropped. At most ``_MOST_CLIPS`` clips are made, since some minutes of a voice suffice.
    """
    parts: list[_Samples] = []
    number = 0
    for word in map(_word, files):
        if word is None:
            continue
        if number == _MOST_CLIPS:
            return
        parts += [word, _GAP]
        if sum(map(len, parts)) >= _CLIP_SECONDS * SAMPLE_RATE_HZ:
            path = f"speech/{source}/{language}/{number:03}.flac"
            yield Piece("speech", "train", path, f"{source}-{language}", license, np.concatenate(parts))
            number, parts = number + 1, []


def _word(path: Path) -> _Samples | None:
    """Decode a recording, trim it and scale it to a fixed level.

    Return None if the recording has a sample rate below 16 kHz, or is noisy, empty, very short or silent.
    """
    try:
        file = sf.info(path)
    except sf.LibsndfileError as error:
        raise AudioError(f"{path}: not audio that can be read ({error.error_string})") from error
    if file.samplerate < SAMPLE_RATE_HZ or file.frames == 0:
        return None
    samples = decode(path)
    frames = len(samples) // _FRAME
    if frames < 2 * _MARGIN_FRAMES:
        return None
    power = np.square(samples[: frames * _FRAME], dtype=np.float64).reshape(frames, _FRAME).mean(1)
    level_db = 10 * np.log10(power + 1e-12)
    loud_db = np.percentile(level_db, 95)
    if loud_db - level_db.min() < _MINIMUM_RANGE_DB:
        return None
    within = np.flatnonzero(level_db > loud_db - _EDGE_DB)
    first, last = max(0, within[0] - _MARGIN_FRAMES), min(frames, within[-1] + 1 + _MARGIN_FRAMES)
    gain = np.float32(10 ** ((_WORD_DBFS - loud_db) / 20))
    trimmed: _Samples = samples[first * _FRAME : last * _FRAME] * gain
    return trimmed


VOICE_PACKAGES: dict[str, Callable[[Path], Iterator[Piece]]] = {
    "klettres-data": functools.partial(_languages, "klettres", "GPL-2.0-or-later"),
    "ktuberling-data": functools.partial(_languages, "ktuberling/sounds", "GPL-2.0-or-later"),
    "gcin-voice": _mandarin,
    "tuxpaint-stamps-default": _stamps,
    "fillets-ng-data-cs": functools.partial(_dialogues, "cs"),
    "fillets-ng-data-nl": functools.partial(_dialogues, "nl"),
    "kajongg": _players,
    "qabcs-data": _primers,
}
"""For each package, a function of the unpacked folder that yields its clips, as in
:data:`~lite_rtse_ext.data.prepare.debian.packages.PACKAGES`."""
