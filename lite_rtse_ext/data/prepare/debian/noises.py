"""Extracts more noise from Debian packages, for training only.

The noises are sounds of towns, woods, water, workshops, engines, animals, instruments, crowds and many objects. Most of
them are the sounds of games. Rain, railways and taverns are left out. The noises of the test are rain, a train and a
coffee shop. Calls of single people are also left out. A network that is trained with such calls as noise learns to
remove voices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare.convert import decode
from lite_rtse_ext.data.prepare.debian.packages import Piece
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["NOISE_PACKAGES", "noises"]

_SUFFIXES = (".flac", ".ogg", ".wav")
_TEST_NOISES = ("*[Rr]ain*", "*[Rr]ail*", "*taverns*/*", "*inn_*")
_LOCOMOTIVES = ("steam*", "diesel*", "crossing*")
_VOICES = ("*_ack*", "*die*", "*_ment*", "*_select*", "*male_*", "*scream*", "*warcry*", "lobby_*")
_MINIMUM_SECONDS = 0.2
"""Shorter sounds are left out. They are clicks of a user interface."""

_AMBIENCE_SECONDS = 8.0
"""A sound of at least this length is a separate kind of noise.

It is therefore drawn as often as all short effects of a package together."""


def noises(folder: str, label: str, license: str, root: Path, *, leave_out: tuple[str, ...] = ()) -> Iterator[Piece]:
    """Decode the sounds in a folder of a package. Each sound is a separate clip. Equal files are used once.

    Args:
        folder: path of the folder below ``usr/share`` or ``usr/share/games``.
        label: the kind of noise, and the folder of the clips.
        license: the license to record.
        root: the folder that the package was unpacked into.
        leave_out: patterns of paths that are left out, besides the noises of the test.

    Yields:
        A clip for each sound of at least 0.2 s.

    Raises:
        AudioError: the folder does not exist, or holds no sound of this length.
    """
    top = _found(folder, root)
    seen: set[bytes] = set()
    given = 0
    for path in sorted(top.rglob("*")):
        left_out = any(path.match(pattern) for pattern in (*_TEST_NOISES, *leave_out))
        if path.suffix not in _SUFFIXES or left_out or not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        samples = decode(path)
        if len(samples) < _MINIMUM_SECONDS * SAMPLE_RATE_HZ:
            continue
        name = "-".join(path.relative_to(top).with_suffix("").parts)
        kind = f"{label}-{name}" if len(samples) >= _AMBIENCE_SECONDS * SAMPLE_RATE_HZ else label
        yield Piece("noise", "train", f"noise/train/{label}/{name}.flac", kind, license, samples)
        given += 1
    if not given:
        raise AudioError(f"{folder}: has no sounds in it")


def _found(folder: str, root: Path) -> Path:
    """Find a folder below ``usr/share`` or ``usr/share/games``. The releases of Debian differ in this."""
    share = root / "usr" / "share"
    for top in (share / folder, share / "games" / folder):
        if top.is_dir():
            return top
    raise AudioError(f"{folder}: neither under usr/share nor under usr/share/games of the package")


def _several(parts: tuple[Callable[[Path], Iterator[Piece]], ...], root: Path) -> Iterator[Piece]:
    for part in parts:
        yield from part(root)


_GLEST, _SCORCHED = "megaglest", "scorched3d/data/globalmods"

NOISE_PACKAGES: dict[str, Callable[[Path], Iterator[Piece]]] = {
    "lincity-ng-data": partial(noises, "lincity-ng/sounds", "town", "GPL-2.0-or-later"),
    "searchandrescue-data": partial(noises, "searchandrescue/sounds", "aircraft", "GPL-2.0-or-later"),
    "megaglest-data": partial(
        _several,
        (
            partial(noises, f"{_GLEST}/tilesets", "outdoors", "CC-BY-SA-3.0"),
            partial(noises, f"{_GLEST}/data/core/water_sounds", "splashes", "CC-BY-SA-3.0"),
            partial(noises, f"{_GLEST}/techs/megapack/commondata/sounds", "fights", "CC-BY-SA-3.0", leave_out=_VOICES),
        ),
    ),
    "scorched3d-data": partial(
        _several,
        (
            partial(noises, f"{_SCORCHED}/none/data/wav", "weapons", "GPL-2.0-or-later"),
            partial(noises, f"{_SCORCHED}/apoc/data/wav", "streets", "CC-BY-SA-3.0", leave_out=_VOICES),
        ),
    ),
    "flare-game": partial(noises, "flare/mods/fantasycore/soundfx", "caves", "CC-BY-SA-3.0", leave_out=_VOICES),
    "etw-data": partial(noises, "etw/crowd", "stadium", "GPL-2.0-or-later"),
    "lugaru-data": partial(noises, "lugaru/Sounds", "steps", "CC-BY-SA-3.0", leave_out=("Music*",)),
    "sonic-pi-samples": partial(noises, "sonic-pi/samples", "instruments", "CC0-1.0 AND MIT"),
    "simutrans-pak64": partial(noises, "simutrans/pak/sound", "transport", "Artistic-1.0", leave_out=_LOCOMOTIVES),
    "widelands-data": partial(noises, "widelands/data/sound", "crafts", "GPL-2.0-or-later", leave_out=_VOICES),
}
"""For each package, a function of the unpacked folder that yields its clips, as in
:data:`~lite_rtse_ext.data.prepare.debian.packages.PACKAGES`."""
