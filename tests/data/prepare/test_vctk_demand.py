"""VCTK-DEMAND: a release of a dozen utterances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.prepare.sources import vctk_demand as vctk
from lite_rtse_ext.data.prepare.sources.vctk_demand import prepare_vctk_demand

NAMES = {"trainset_28spk": [f"p226_{n:03}" for n in range(12)], "testset": ["p232_001", "p257_002"]}


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of the release, with twelve and two utterances, a quarter of the former for validation."""
    root, random = tmp_path / "release", np.random.default_rng(0)
    for name, utterances in NAMES.items():
        for side in ("clean", "noisy"):
            folder = root / f"{side}_{name}_wav"
            folder.mkdir(parents=True)
            for utterance in utterances:
                sf.write(folder / f"{utterance}.wav", random.normal(0, 0.1, 4800), 48_000)
    (root / "log_testset.txt").write_text("p232_001 bus 17.5\np257_002 cafe 2.5\n")
    monkeypatch.setattr(vctk, "TRAIN_UTTERANCES", 12)
    monkeypatch.setattr(vctk, "VALID_UTTERANCES", 3)
    sets = {
        split: (*entry[:3], len(utterances))
        for (split, entry), utterances in zip(vctk._SETS.items(), NAMES.values(), strict=True)
    }
    monkeypatch.setattr(vctk, "_SETS", sets)
    return root


def test_the_release_becomes_pairs(release: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    prepare_vctk_demand(release, tmp_path / "out", report=lines.append)
    manifest = Manifest.load(tmp_path / "out" / "manifest.json")
    splits = [pair.split for pair in manifest.pairs]
    assert [splits.count(split) for split in ("train", "valid", "test")] == [9, 3, 2]
    assert {(p.name, p.label, p.snr_db) for p in manifest.pairs if p.split == "test"} == {
        ("p232_001", "bus", 17.5),
        ("p257_002", "cafe", 2.5),
    }
    assert {pair.speaker for pair in manifest.pairs} == {"p226", "p232", "p257"}
    assert all(sf.info(manifest.path(path)).frames == frames == 1600 for path, frames in manifest.files())
    assert lines == ["log_trainset_28spk.txt is not there: results can't be told apart by noise and SNR"]


def test_the_validation_list_depends_on_names_alone() -> None:
    names = [f"p{speaker}_{number:03}" for speaker in range(226, 254) for number in range(414)][: vctk.TRAIN_UTTERANCES]
    held_out = vctk._held_out(names)
    assert len(held_out) == 1572
    assert held_out == vctk._held_out(names[::-1])
    assert len({name[:4] for name in held_out}) == 28  # every speaker


def test_missing_folders_are_named(release: Path, tmp_path: Path) -> None:
    (release / "noisy_testset_wav").rename(release / "elsewhere")
    with pytest.raises(ManifestError, match="lacks noisy_testset_wav; unpack"):
        prepare_vctk_demand(release, tmp_path / "out")


def damage(release: Path, kind: str) -> str:
    """Damages an utterance; returns what has to be named."""
    noisy = release / "noisy_trainset_28spk_wav"
    if kind == "alone":
        (noisy / "p226_004.wav").unlink()
        return f"{release / 'clean_trainset_28spk_wav'}: without a partner: p226_004"
    if kind == "nonsense":
        (noisy / "p226_004.wav").write_bytes(b"nonsense")
    if kind == "length":
        sf.write(noisy / "p226_004.wav", np.sin(np.arange(4000)), 48_000)
    return str(noisy / "p226_004.wav")


@pytest.mark.parametrize("kind", ["alone", "nonsense", "length"])
def test_damaged_utterances_are_named_and_left_out(release: Path, tmp_path: Path, kind: str) -> None:
    named, lines = damage(release, kind), []
    manifest = prepare_vctk_demand(release, tmp_path / "out", report=lines.append)
    assert any(line.startswith(f"left out: {named}") for line in lines)
    assert len(manifest.pairs) == 13
    assert "p226_004" not in {pair.name for pair in manifest.pairs}
    assert any("11 train utterances, where the release has 12" in line for line in lines) == (kind == "alone")


@pytest.mark.parametrize("kind", ["alone", "nonsense", "length"])
def test_damaged_utterances_are_refused_if_asked(release: Path, tmp_path: Path, kind: str) -> None:
    named = damage(release, kind)
    with pytest.raises((ManifestError, AudioError)) as caught:
        prepare_vctk_demand(release, tmp_path / "out", refuse=True, report=lambda line: None)
    assert str(caught.value).startswith(named)


def test_a_list_that_makes_no_sense_is_refused(release: Path, tmp_path: Path) -> None:
    (release / "log_testset.txt").write_text("p232_001 bus\n")
    with pytest.raises(ManifestError, match=r"log_testset\.txt:1: expected name, noise and SNR"):
        prepare_vctk_demand(release, tmp_path / "out", report=lambda line: None)
