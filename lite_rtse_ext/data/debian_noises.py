"""More noise out of Debian's packages, for training alone: what is heard in a town, in and around aircraft, and
animals, instruments and things of all kinds.

A town's railway is left out: trains are a noise of the test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
from lite_rtse_ext.data.convert import decode
from lite_rtse_ext.data.debian_packages import Piece

__all__ = ["NOISE_PACKAGES", "noises"]

_SUFFIXES = (".ogg", ".wav")
_TEST_NOISE = "RailTrain*"
_MINIMUM_SECONDS = 0.2
"""What is shorter are the clicks of a user interface."""


def noises(folder: str, label: str, licence: str, root: Path) -> Iterator[Piece]:
    """The sounds in a folder of the package, each a clip of its own."""
    top = root / "usr" / "share" / folder
    for path in sorted(top.rglob("*")):
        if path.suffix not in _SUFFIXES or path.match(_TEST_NOISE):
            continue
        samples = decode(path)
        if len(samples) >= _MINIMUM_SECONDS * SAMPLE_RATE_HZ:
            name = "-".join(path.relative_to(top).with_suffix("").parts)
            yield Piece("noise", "train", f"noise/train/{label}/{name}.flac", label, licence, samples)


NOISE_PACKAGES: dict[str, Callable[[Path], Iterator[Piece]]] = {
    "lincity-ng-data": functools.partial(noises, "games/lincity-ng/sounds", "town", "GPL-2.0-or-later"),
    "searchandrescue-data": functools.partial(noises, "games/searchandrescue/sounds", "aircraft", "GPL-2.0-or-later"),
}
"""What to make of each package once it is unpacked into a folder, as in :data:`debian_packages.PACKAGES`."""
