"""Selects the sounds of each Debian package that are used, and their splits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.convert import decode, decode_bytes
from lite_rtse_ext.data.prepare.debian.containers import read_cat, read_gresource
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["PACKAGES", "TEST_NOISES", "Piece"]

_Samples = NDArray[np.float32]

TEST_NOISES = ("coffee-shop", "rain", "train")
_AMBIENCE_LICENSES = {
    **dict.fromkeys(("birds", "boat", "stream", "wind"), "CC0-1.0"),
    **dict.fromkeys(("coffee-shop", "fireplace", "summer-night"), "public domain"),
    **dict.fromkeys(("city", "train"), "CC-BY-3.0"),
    **dict.fromkeys(("rain", "storm", "waves"), "CC-BY-4.0"),
    **dict.fromkeys(("white-noise", "pink-noise"), "CC-BY-SA-3.0"),
}

_MINIMUM_SPEECH_SECONDS = 1.0
_NO_SPEECH_FOLDERS = ("silence", "digits")  # digits holds hundreds of single words
_NO_SPEECH = ("beep", "beeperr", "tt-monkeys", "*-2tone", "confbridge-join", "confbridge-leave*")
_SILENCE_DBFS = -60.0
_ONE_IN = 12
"""One of this many speech files is held out for validation."""

_HELD_OUT_NOISE = 0.2
_MINIMUM_HELD_OUT_SECONDS = 6.0
_MINIMUM_EFFECT_SECONDS = 0.05


@dataclass(frozen=True)
class Piece:
    """A clip that is not written yet.

    Its samples are float32 ``(samples,)`` at 16 kHz. Its other fields are those of
    :class:`~lite_rtse_ext.data.manifest.Clip`.
    """

    kind: str
    split: str
    path: str
    label: str
    license: str
    samples: _Samples


def _prompts(language: str, speaker: str, license: str, test: bool, root: Path) -> Iterator[Piece]:
    """Telephone prompts in G.722. Each package has one voice."""
    kept = 0
    for path in sorted(root.rglob("*.g722")):
        if path.stat().st_size == 0 or not _is_speech(path):
            continue
        samples = decode(path)
        if len(samples) < _MINIMUM_SPEECH_SECONDS * SAMPLE_RATE_HZ or _level_dbfs(samples) < _SILENCE_DBFS:
            continue
        split = "test" if test else "valid" if kept % _ONE_IN == _ONE_IN - 1 else "train"
        kept += 1
        folder = path.parent.name if path.parent.parent.name != "sounds" else ""
        name = PurePosixPath("speech", language, folder, f"{path.stem}.flac")
        yield Piece("speech", split, str(name), speaker, license, samples)


def _is_speech(path: Path) -> bool:
    named = any(path.match(f"{pattern}.g722") for pattern in _NO_SPEECH)
    return not named and path.parent.name not in _NO_SPEECH_FOLDERS


def _level_dbfs(samples: _Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def _ambience(root: Path) -> Iterator[Piece]:
    """Recordings of places and weather, as Ogg Vorbis in a GResource bundle."""
    bundle = next(iter(root.rglob("blanket.gresource")), None)
    if bundle is None:
        raise AudioError("blanket: the package holds no blanket.gresource")
    sounds = {PurePosixPath(name).stem: data for name, data in read_gresource(bundle.read_bytes()) if _is_ogg(name)}
    unknown = sorted(set(sounds) ^ set(_AMBIENCE_LICENSES))
    if unknown:
        raise AudioError(f"blanket: another set of sounds than expected; they differ in {', '.join(unknown)}")
    for label in sorted(sounds):
        samples = decode_bytes(sounds[label], f"blanket/{label}.ogg")
        yield from _noise("ambience", label, label, _AMBIENCE_LICENSES[label], samples)


def _is_ogg(name: str) -> bool:
    return name.endswith(".ogg")


def _noise(folder: str, stem: str, label: str, license: str, samples: _Samples) -> Iterator[Piece]:
    """Yield a noise of the test unchanged. Of any other noise that is long enough, hold out the end for validation."""
    if label in TEST_NOISES:
        yield Piece("noise", "test", f"noise/test/{folder}/{stem}.flac", label, license, samples)
        return
    held_out = round(max(_HELD_OUT_NOISE * len(samples), _MINIMUM_HELD_OUT_SECONDS * SAMPLE_RATE_HZ))
    if 2 * held_out <= len(samples):
        valid = samples[len(samples) - held_out :]
        yield Piece("noise", "valid", f"noise/valid/{folder}/{stem}.flac", label, license, valid)
        samples = samples[: len(samples) - held_out]
    yield Piece("noise", "train", f"noise/train/{folder}/{stem}.flac", label, license, samples)


def _music(root: Path) -> Iterator[Piece]:
    """Music for callers on hold, in G.722."""
    for path in sorted(root.rglob("*.g722")):
        yield from _noise("music", path.stem, "music", "CC-BY-SA-3.0", decode(path))


def _effects(root: Path) -> Iterator[Piece]:
    """Sound effects of a game: engines, tools and applause. One of them is empty."""
    catalogue = next(iter(root.rglob("opensfx.cat")), None)
    if catalogue is None:
        raise AudioError("openttd-opensfx: the package holds no opensfx.cat")
    for number, (name, riff) in enumerate(read_cat(catalogue.read_bytes())):
        samples = decode_bytes(riff, f"opensfx.cat, sound {number} ({name})")
        if len(samples) >= _MINIMUM_EFFECT_SECONDS * SAMPLE_RATE_HZ:
            path = f"noise/train/effects/{number:02}.flac"
            yield Piece("noise", "train", path, "effects", "CC-BY-SA-3.0", samples)


def _keys(root: Path) -> Iterator[Piece]:
    """Presses and releases of the keys of a loud keyboard."""
    for path in sorted(root.rglob("*.wav")):
        samples = decode(path)
        yield Piece("noise", "train", f"noise/train/typing/{path.stem}.flac", "typing", "GPL-2.0-or-later", samples)


PACKAGES: dict[str, Callable[[Path], Iterator[Piece]]] = {
    "asterisk-core-sounds-en-g722": functools.partial(_prompts, "en", "allison", "CC-BY-SA-3.0", False),
    "asterisk-core-sounds-es-g722": functools.partial(_prompts, "es", "allison", "CC-BY-SA-3.0", False),
    "asterisk-core-sounds-fr-g722": functools.partial(_prompts, "fr", "june", "CC-BY-SA-3.0", False),
    "asterisk-core-sounds-it-g722": functools.partial(_prompts, "it", "carlo", "CC-BY-3.0", False),
    "asterisk-core-sounds-ru-g722": functools.partial(_prompts, "ru", "ivrvoice", "CC-BY-3.0", True),
    "blanket": _ambience,
    "asterisk-moh-opsound-g722": _music,
    "openttd-opensfx": _effects,
    "bucklespring-data": _keys,
}
"""For each package, a function of the unpacked folder that yields its clips."""
