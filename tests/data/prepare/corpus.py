"""Small corpora out of the clips that come with the examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.data.manifest import Clip, Manifest, Mixture
from lite_rtse_ext.data.prepare.convert import write_flac

CLIPS = Path(__file__).parents[3] / "examples" / "clips"
RATE_HZ = 16_000


def clip_samples(name: str) -> NDArray[np.float32]:
    """Samples of one of the clips, by a part of its name."""
    path = next(path for path in sorted(CLIPS.rglob("*.flac")) if name in path.name)
    return sf.read(path, dtype="float32")[0]


def _write(root: Path, kind: str, split: str, name: str, samples: NDArray[np.float32], label: str) -> Clip:
    path = f"{kind}/{name}.flac"
    (root / kind).mkdir(parents=True, exist_ok=True)
    write_flac(root / path, samples)
    return Clip(kind, split, path, len(samples), label, "CC-BY-3.0", "examples")


def _clips(root: Path) -> Iterator[Clip]:
    speech = sorted((CLIPS / "train" / "speech").glob("*.flac"))
    for number, path in enumerate(speech):
        split = "train" if number < 6 else "valid" if number < 8 else "test"
        yield _write(root, "speech", split, path.stem, clip_samples(path.name), path.stem[:2])
    for label in ("birds", "stream", "wind"):
        samples = clip_samples(f"{label}.flac")
        yield _write(root, "noise", "train", label, samples, label)
        yield _write(root, "noise", "valid", f"{label}-valid", np.tile(samples, 4)[: 20 * RATE_HZ], label)
        yield _write(root, "noise", "test", f"{label}-test", np.tile(samples[::-1], 4)[: 20 * RATE_HZ], label)


def make_corpus(root: Path) -> Path:
    """Six utterances to train on, two to validate and the rest to test with, three kinds of noise; the manifest."""
    clips = tuple(_clips(root))
    mixtures = []
    for split in ("valid", "test"):
        speech = [clip for clip in clips if (clip.kind, clip.split) == ("speech", split)]
        noise = [clip for clip in clips if (clip.kind, clip.split) == ("noise", split)]
        for number, snr_db in enumerate((0.0, 10.0)):
            clip, place = speech[number], noise[number]
            mixtures.append(Mixture(f"{split}-{number}", split, clip.path, place.path, 100, snr_db, place.label))
    Manifest(root, "small", clips, tuple(mixtures)).save(root / "manifest.json")
    return root / "manifest.json"
