"""Anyone's own pairs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import FixedExamples, TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.data.prepare.sources.pairs import prepare_pairs
from lite_rtse_ext.data.prepare.splits import Shares
from tests.data.prepare.recordings import noise, put, voice


def put_pair(root: Path, name: str, seconds: float = 2.0, *, seed: int = 0, suffix: str = ".wav") -> None:
    clean = voice(seconds, seed)
    put(root / "clean" / f"{name}.wav", clean)
    put(root / "noisy" / f"{name}{suffix}", clean + noise(seconds, seed + 100))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five speakers, three pairs each, the noisy ones in another format."""
    for number in range(15):
        put_pair(tmp_path, f"s{number % 5}/{number}", seed=number, suffix=".flac")
    return tmp_path


def prepare(root: Path, **options: object) -> tuple[Manifest, str]:
    lines: list[str] = []
    made = prepare_pairs(
        root / "out",
        noisy=root / "noisy",
        clean=root / "clean",
        report=lines.append,
        **options,  # type: ignore[arg-type]
    )
    assert Manifest.load(root / "out" / "manifest.json") == made
    return made, "\n".join(lines)


def test_pairs_are_divided_by_speaker(root: Path) -> None:
    manifest, said = prepare(root)
    assert len(manifest.pairs) == 15
    splits = defaultdict(set)
    for pair in manifest.pairs:
        splits[pair.speaker].add(pair.split)
    assert all(len(own) == 1 for own in splits.values())
    assert set.union(*splits.values()) == {"train", "valid", "test"}
    assert "the first sub-folder is the speaker; divided by speaker, of 5" in said
    assert check_files(manifest, decode=True) == {}


def test_they_are_what_they_were(root: Path) -> None:
    manifest, _ = prepare(root)
    examples = FixedExamples(manifest, "test")
    for example, entry in zip(examples, examples.entries, strict=True):
        number = int(entry.name.split("-")[1])
        np.testing.assert_allclose(example.clean, voice(2.0, number), atol=1e-4)
        np.testing.assert_allclose(example.noisy, voice(2.0, number) + noise(2.0, number + 100), atol=1e-4)
    assert len(TrainingExamples(manifest, MixingOptions(seconds=1.0), seed=0)) > 0


def test_both_sides_are_scaled_by_one_factor(tmp_path: Path) -> None:
    clean = voice(2.0) * 2
    put(tmp_path / "clean" / "a.wav", clean, subtype="FLOAT")
    put(tmp_path / "noisy" / "a.wav", clean + 4 * noise(2.0, 1), subtype="FLOAT")
    manifest, _ = prepare(tmp_path)
    (pair,) = manifest.pairs
    noisy, clean_read = (sf.read(manifest.path(path))[0] for path in (pair.noisy, pair.clean))
    factor = 0.999 / np.abs(clean + 4 * noise(2.0, 1)).max()
    np.testing.assert_allclose(clean_read, clean * factor, atol=1e-4)
    assert np.abs(noisy).max() == pytest.approx(0.999, abs=1e-3)


def spoil(root: Path, kind: str) -> None:
    """Spoils the first pair."""
    noisy, clean = root / "noisy" / "s0" / "0.flac", root / "clean" / "s0" / "0.wav"
    if kind == "length":
        put(noisy, noise(2.1))
    elif kind == "rate":
        put(noisy, noise(6.0), rate=48_000)
    elif kind == "swapped":
        samples = sf.read(noisy)[0], sf.read(clean)[0]
        put(clean, samples[0])
        put(noisy, samples[1])
    elif kind == "identical":
        put(noisy, voice(2.0))
    elif kind == "noisy silent":
        put(noisy, 0 * noise(2.0))
    elif kind == "clean silent":
        put(clean, 0 * noise(2.0))
    elif kind == "another recording":
        put(clean, voice(2.0, 99))
    elif kind == "damaged":
        noisy.write_bytes(b"nonsense")
    elif kind == "alone":
        noisy.unlink()


SPOILT = {
    "length": "has 33600 samples at 16 kHz, its clean one 32000",
    "rate": "has 48000 Hz, its clean one 16000 Hz",
    "swapped": "seem to be swapped",
    "identical": "the noisy recording is the clean one",
    "noisy silent": "the noisy recording is silent",
    "clean silent": "the clean recording is silent",
    "another recording": "the clean recording is not in the noisy one",
    "damaged": "0.flac",
    "alone": "without a partner: s0/0.wav",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_pairs_with_faults_are_named_and_left_out(root: Path, kind: str) -> None:
    spoil(root, kind)
    manifest, said = prepare(root)
    assert len(manifest.pairs) == 14
    assert "s0-0" not in {pair.name for pair in manifest.pairs}
    faults = [line for line in said.splitlines() if line.startswith("left out: ")]
    assert len(faults) == 1
    assert SPOILT[kind] in faults[0]
    with pytest.raises(AudioError, match="s0/0"):
        prepare(root, refuse=True)


def test_noisy_recordings_that_are_late_are_named(root: Path) -> None:
    assert "late" not in prepare(root)[1]
    for number in (3, 4):
        path = root / "noisy" / f"s{number % 5}" / f"{number}.flac"
        samples = sf.read(path)[0]
        put(path, np.roll(samples, 160 if number == 3 else -80))
    manifest, said = prepare(root)
    assert len(manifest.pairs) == 15
    assert "2 of 15 noisy recordings are late (+) or early (-)" in said
    assert "3.flac by +10.0 ms" in said
    assert "4.flac by -5.0 ms" in said


def test_long_pairs_are_cut_at_pauses(tmp_path: Path) -> None:
    put_pair(tmp_path, "talk", 65.0)
    for number in range(3):
        put_pair(tmp_path, f"{number}", seed=number)
    manifest, _ = prepare(tmp_path)
    parts = [pair for pair in manifest.pairs if pair.name.startswith("talk")]
    assert sum(pair.frames for pair in parts) == 65 * 16_000
    assert max(pair.frames for pair in parts) <= 10 * 16_000
    assert len({pair.split for pair in parts}) == 1
    first = sf.read(manifest.path(parts[0].clean))[0]
    assert np.abs(first[-800:]).max() < 1e-3  # it ends in a pause


def test_names_of_nested_pairs_stay_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("a/b-c", "a-b/c", "d")):
        put_pair(tmp_path, name, seed=number)
    manifest, _ = prepare(tmp_path)
    assert len({pair.name for pair in manifest.pairs}) == 3


def test_recordings_that_would_be_replaced_are_refused(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    with pytest.raises(ManifestError, match=r"noisy: expected a folder that is not filled, got one"):
        prepare_pairs(root, noisy=root / "noisy", clean=root / "clean")
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before


def test_too_few_pairs_are_trained_on(tmp_path: Path) -> None:
    put_pair(tmp_path, "a")
    manifest, said = prepare(tmp_path)
    assert [pair.split for pair in manifest.pairs] == ["train"]
    assert "too few" in said
    manifest, _ = prepare(tmp_path, shares=Shares(0.0, 0.0))
    assert [pair.split for pair in manifest.pairs] == ["train"]


def test_folders_that_do_not_go_together_are_refused(root: Path) -> None:
    with pytest.raises(ManifestError, match="noisy: is given as the folder of noisy and of clean"):
        prepare_pairs(root / "out", noisy=root / "noisy", clean=root / "noisy")
    put(root / "other" / "z.wav", noise(1.0))
    with pytest.raises(ManifestError, match="expected files of the same names, suffixes aside, got none"):
        prepare_pairs(root / "out", noisy=root / "noisy", clean=root / "other", report=lambda line: None)
    put(root / "same" / "z.wav", noise(1.0))
    with pytest.raises(ManifestError, match="every pair was left out"):
        prepare_pairs(root / "out", noisy=root / "other", clean=root / "same", report=lambda line: None)


def test_the_command(root: Path) -> None:
    arguments = ["prepare", "pairs", "--noisy", root / "noisy", "--clean", root / "clean", "--out", root / "out"]
    outcome = CliRunner().invoke(main, list(map(str, arguments)))
    assert outcome.exit_code == 0, outcome.output
    assert "train: " in outcome.output
    assert f"manifest: {root / 'out' / 'manifest.json'}" in outcome.output
