"""Cut the clips of the demo from Debian packages. The clips are part of the repository; this script recreates them.

The sources are three Debian packages, unpacked into one folder. The recordings of blanket are in a GResource bundle,
from which the tool ``gresource`` of GLib extracts them:

    apt-get download asterisk-core-sounds-it-g722 asterisk-core-sounds-ru-g722 blanket
    for package in *.deb; do dpkg -x "$package" packages; done
    bundle=packages/usr/share/blanket/blanket.gresource
    gresource list "$bundle" | grep '[.]ogg$' | while read -r name; do
        gresource extract "$bundle" "$name" > "packages/$(basename "$name")"
    done
    pip install av
    python examples/make_clips.py packages

PyAV is needed for G.722, the codec of the speech. Speech is decoded and not changed otherwise. The channels of noise
are averaged. Noise is then converted to 16 kHz, cut and scaled to a common level. ATTRIBUTION.md in examples/clips
names licences and authors.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.audio import AudioFormat, read, resample, write
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

NOISE_RMS = 0.1  # 20 dB below full scale; the demo chooses its own signal-to-noise ratios

ITALIAN, RUSSIAN = "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU"


@dataclass(frozen=True)
class Speech:
    """One utterance, given by the folder and the name of its file."""

    voice: str
    name: str

    @property
    def clip(self) -> str:
        return f"{self.voice[:2]}-{self.name}.flac"


@dataclass(frozen=True)
class Noise:
    """An excerpt of a recording: its start and its length in seconds."""

    name: str
    start_seconds: float
    seconds: float

    @property
    def clip(self) -> str:
        return f"{self.name}.flac"


TRAIN_SPEECH = [
    *(
        Speech(ITALIAN, name)
        for name in ("agent-alreadyon", "agent-incorrect", "dir-instr", "vm-newuser", "vm-saveoper")
    ),
    *(
        Speech(RUSSIAN, name)
        for name in ("agent-alreadyon", "dir-instr", "queue-youarenext", "vm-nobox", "vm-rec-busy")
    ),
]
TRAIN_NOISE = [
    Noise("birds", 0, 8),
    Noise("boat", 0, 8),
    Noise("coffee-shop", 0, 8),
    Noise("fireplace", 0, 8),
    Noise("stream", 0, 8),
    Noise("summer-night", 0, 8),
    Noise("wind", 0, 8),
]
TEST_SPEECH = Speech(RUSSIAN, "vm-intro")
TEST_NOISE = Noise("stream", 60, 6)


def decode_g722(path: Path) -> NDArray[np.float32]:
    """Decode a G.722 file. Returns ``(samples,)``, float32, 16 kHz, full scale 1."""
    import av

    with av.open(str(path), format="g722") as container:
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(pieces).astype(np.float32) / np.float32(32768)


def cut_noise(path: Path, piece: Noise) -> NDArray[np.float32]:
    """Cut an excerpt of a recording. Returns ``(samples,)``, float32, 16 kHz.

    Its root mean square is :data:`NOISE_RMS`, or less if the excerpt would clip otherwise.
    """
    samples, source = read(path)
    mono = resample(samples.mean(axis=1), source.sample_rate, SAMPLE_RATE_HZ)
    start = round(piece.start_seconds * SAMPLE_RATE_HZ)
    cut = mono[start : start + round(piece.seconds * SAMPLE_RATE_HZ)]
    gain = min(NOISE_RMS / float(np.sqrt(np.mean(cut**2))), 0.99 / float(np.abs(cut).max()))
    return cut * np.float32(gain)


def find(folder: Path, pattern: str) -> Path:
    """Find the only file below a folder that matches a pattern.

    Raises:
        SystemExit: there is no such file, or there are several.
    """
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}: {len(found)} files {pattern} where one is needed")
    return found[0]


def save(path: Path, samples: NDArray[np.float32]) -> None:
    """Write a 16-bit clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, samples[:, None], AudioFormat(SAMPLE_RATE_HZ, 1, "FLAC", "PCM_16"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "clips", help="folder for the clips")
    arguments = parser.parse_args()

    def speech(utterance: Speech, path: Path) -> None:
        save(path, decode_g722(find(arguments.packages, f"{utterance.voice}/{utterance.name}.g722")))

    def noise(piece: Noise, path: Path) -> None:
        save(path, cut_noise(find(arguments.packages, f"{piece.name}.ogg"), piece))

    for utterance in TRAIN_SPEECH:
        speech(utterance, arguments.out / "train" / "speech" / utterance.clip)
    for piece in TRAIN_NOISE:
        noise(piece, arguments.out / "train" / "noise" / piece.clip)
    speech(TEST_SPEECH, arguments.out / "test" / "speech" / TEST_SPEECH.clip)
    noise(TEST_NOISE, arguments.out / "test" / "noise" / TEST_NOISE.clip)


if __name__ == "__main__":
    main()
