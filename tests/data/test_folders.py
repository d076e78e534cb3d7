"""Anyone's own recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import ManifestError
from lite_rtse_ext.data.folders import FolderOptions, prepare_folders


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Speech of two people, short noise of one kind, long noise of another, a room."""
    random = np.random.default_rng(0)
    layout = {
        **{f"speech/{who}/{n}.wav": 3.0 for who in ("anna", "ben") for n in range(20)},
        **{f"noise/street/{n}.flac": 5.0 for n in range(20)},
        "noise/fan.wav": 40.0,
        "rooms/hall.wav": 0.2,
    }
    for name, seconds in layout.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, random.normal(0, 0.1, round(seconds * 16_000)), 16_000)
    return tmp_path


def prepare(sources: Path, **options: object):  # type: ignore[no-untyped-def]
    return prepare_folders(
        sources / "out",
        speech=sources / "speech",
        noise=sources / "noise",
        rooms=sources / "rooms",
        options=FolderOptions(**options),  # type: ignore[arg-type]
        report=lambda line: None,
    )


def test_names_of_folders_tell_speakers_and_noises(sources: Path) -> None:
    manifest = prepare(sources, mixtures=10, licence="mine")
    assert {clip.label for clip in manifest.clips if clip.kind == "speech"} == {"anna", "ben"}
    assert {clip.label for clip in manifest.clips if clip.kind == "noise"} == {"street", "fan"}
    assert {clip.licence for clip in manifest.clips} == {"mine"}
    assert [clip.split for clip in manifest.clips if clip.kind == "room"] == ["train"]
    assert len(manifest.fixed("valid")) == len(manifest.fixed("test")) == 10
    assert len([clip for clip in manifest.clips if clip.kind == "speech"]) == 40


def test_long_noise_is_cut_in_three_that_follow_one_another(sources: Path) -> None:
    manifest = prepare(sources, valid_share=0.2, test_share=0.1)
    parts = {clip.split: clip for clip in manifest.clips if clip.label == "fan"}
    assert {split: clip.frames / 16_000 for split, clip in parts.items()} == {"train": 28, "valid": 8, "test": 4}
    whole = sf.read(sources / "noise" / "fan.wav")[0]
    joined = np.concatenate([sf.read(manifest.path(parts[s].path))[0] for s in ("train", "valid", "test")])
    np.testing.assert_allclose(joined, whole, atol=1e-4)


def test_adding_a_file_moves_no_other(sources: Path) -> None:
    before = {clip.path: clip.split for clip in prepare(sources).clips}
    sf.write(sources / "speech" / "anna" / "more.wav", np.sin(np.arange(48_000)), 16_000)
    after = {clip.path: clip.split for clip in prepare(sources).clips}
    assert before.items() < after.items()


def test_files_of_one_name_are_kept_apart(sources: Path) -> None:
    sf.write(sources / "speech" / "anna" / "1.flac", np.sin(np.arange(32_000)), 16_000)
    manifest = prepare(sources)
    paths = {clip.path for clip in manifest.clips}
    assert {"speech/anna/1.wav.flac", "speech/anna/1.flac.flac"} <= paths


def test_faults_are_named(sources: Path) -> None:
    with pytest.raises(ManifestError, match="nowhere: no such folder"):
        prepare_folders(sources / "out", speech=sources / "nowhere", noise=sources / "noise")
    (sources / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty: no audio files"):
        prepare_folders(sources / "out", speech=sources / "empty", noise=sources / "noise")
    with pytest.raises(ValueError, match="must leave something to train on"):
        FolderOptions(valid_share=0.6, test_share=0.4)
    (sources / "speech" / "anna" / "bad.wav").write_bytes(b"nonsense")
    assert not any("bad" in clip.path for clip in prepare(sources).clips)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        prepare(sources, refuse=True)
