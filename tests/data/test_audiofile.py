"""Prepared audio is read rightly or refused, whatever its sample type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import Manifest, Pair
from lite_rtse_ext.data.audiofile import AudioCache
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions
from tests.data.prepare.recordings import noise, put

READ = {
    ("WAV", "PCM_U8"): 1 / 100,
    ("WAV", "PCM_16"): 1e-4,
    ("WAV", "PCM_24"): 1e-4,
    ("WAV", "PCM_32"): 1e-4,
    ("WAVEX", "PCM_16"): 1e-4,
    ("FLAC", "PCM_S8"): 1 / 100,
    ("FLAC", "PCM_16"): 1e-4,
    ("FLAC", "PCM_24"): 1e-4,
}
REFUSED = [
    *(("WAV", kind) for kind in ("FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    *((kind, "PCM_16") for kind in ("AIFF", "AU", "CAF", "RF64", "W64")),
]


def pairs(root: Path, container: str, subtype: str) -> tuple[Manifest, int]:
    frames = 8000
    for side in ("noisy", "clean"):
        put(root / f"{side}.audio", noise(0.5), format=container, subtype=subtype)
        frames = sf.info(root / f"{side}.audio").frames
    return Manifest(root, "m", pairs=(Pair("a", "train", "noisy.audio", "clean.audio", frames, "me"),)), frames


@pytest.mark.parametrize(("container", "subtype"), READ)
@pytest.mark.parametrize("megabytes", [0, 10])
def test_whole_numbers_are_read(tmp_path: Path, container: str, subtype: str, megabytes: float) -> None:
    manifest, frames = pairs(tmp_path, container, subtype)
    assert check_files(manifest, decode=True) == {}
    read = AudioCache(megabytes).read(tmp_path / "noisy.audio", frames, 100, 4000)
    np.testing.assert_allclose(read, noise(0.5)[100:4100], atol=READ[container, subtype])
    options = MixingOptions(seconds=0.5)
    assert TrainingExamples(manifest, options, seed=0, refuse_damaged=True)[0, 0].clean.std() > 0.09


@pytest.mark.parametrize(("container", "subtype"), REFUSED)
def test_other_samples_are_refused_in_words(tmp_path: Path, container: str, subtype: str) -> None:
    manifest, _ = pairs(tmp_path, container, subtype)
    faults = check_files(manifest, decode=True)
    assert set(faults) == {"noisy.audio", "clean.audio"}
    assert all("expected WAV or FLAC with PCM samples, got " in fault for fault in faults.values())
    with pytest.raises(AudioError, match="expected WAV or FLAC with PCM samples"):
        _ = TrainingExamples(manifest, MixingOptions(seconds=0.5), seed=0, refuse_damaged=True)[0, 0]
