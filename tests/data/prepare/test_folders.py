"""Anyone's own recordings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import FixedExamples, TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.data.prepare.sources.folders import FolderOptions, prepare_folders
from tests.data.prepare.recordings import noise, put, voice
from tests.data.prepare.test_convert import write_g722


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
    manifest = prepare(sources, mixtures=10, license="mine")
    assert {clip.label for clip in manifest.clips if clip.kind == "speech"} == {"anna", "ben"}
    assert {clip.label for clip in manifest.clips if clip.kind == "noise"} == {"street", "fan"}
    assert {clip.license for clip in manifest.clips} == {"mine"}
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


@pytest.mark.parametrize("out", [".", "speech", "noise"])
def test_folders_that_would_be_filled_are_refused(sources: Path, out: str) -> None:
    before = sorted(sources.rglob("*"))
    with pytest.raises(ManifestError, match=r"expected a folder that is not filled, got one that --out .* would fill"):
        prepare_folders(sources / out, speech=sources / "speech", noise=sources / "noise", report=lambda line: None)
    assert sorted(sources.rglob("*")) == before


SHARED = {
    "the same": ({"speech": "a", "noise": "a"}, "--speech and --noise: .*, got the same folder, .*a$"),
    "by a link": ({"speech": "link", "noise": "a"}, "--speech and --noise: .*, got the same folder, .*link$"),
    "by dots": ({"speech": "a/../a", "noise": "a"}, "--speech and --noise: .*, got the same folder"),
    "noise inside": ({"speech": "a", "noise": "a/b"}, "--speech and --noise: .*, got .*a/b inside .*a$"),
    "speech inside": ({"speech": "a/b", "noise": "a"}, "--speech and --noise: .*, got .*a/b inside .*a$"),
    "noise as rooms": ({"speech": "ab", "noise": "a", "rooms": "a"}, "--noise and --rooms: .*, got the same folder"),
    "rooms inside": ({"speech": "a", "noise": "ab", "rooms": "a/b"}, "--speech and --rooms: .*, got .*a/b inside .*a$"),
}


@pytest.mark.parametrize("case", SHARED)
def test_folders_that_share_files_are_refused(tmp_path: Path, case: str) -> None:
    for name in ("a/b", "ab"):
        (tmp_path / name).mkdir(parents=True)
        put(tmp_path / name / "0.wav", voice(3.0))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    names, message = SHARED[case]
    folders = {kind: tmp_path / name for kind, name in names.items()}
    with pytest.raises(ManifestError, match=message):
        prepare_folders(tmp_path / "out", **folders, report=lambda line: None)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def fill(folder: Path, files: dict[str, float], make: Callable[[float, int], NDArray[np.float32]]) -> Path:
    """Recordings of so many seconds."""
    for seed, (name, seconds) in enumerate(files.items()):
        put(folder / name, make(seconds, seed))
    return folder


SMALL_SPEECH = {
    "forty utterances": {f"{n}.wav": 4 + n % 5 for n in range(40)},
    "talks of a minute": {f"{n}.wav": 60 for n in range(3)},
    "one talk": {"talk.wav": 150},
    "two talks of two people": {"anna/talk.wav": 70, "ben/talk.wav": 60},
    "three words": {f"{n}.wav": 0.8 for n in range(3)},
    "one utterance": {"0.wav": 6},
}
SMALL_NOISE = {
    "three of 30 s": {f"{n}.wav": 30 for n in range(3)},
    "one of 5 s": {"fan.wav": 5},
    "one of 20 s": {"fan.wav": 20},
    "clicks": {f"{n}.wav": 0.7 for n in range(4)},
    "a long one and clicks": {"fan.wav": 60, "click.wav": 0.3},
}


COMBINATIONS = [(speech, "three of 30 s") for speech in SMALL_SPEECH]
COMBINATIONS += [("three words", kind) for kind in SMALL_NOISE] + [("one utterance", kind) for kind in SMALL_NOISE]


@pytest.mark.parametrize(("speech_kind", "noise_kind"), COMBINATIONS)
def test_small_collections_can_be_trained_on_and_judged_by(tmp_path: Path, speech_kind: str, noise_kind: str) -> None:
    manifest = prepare_folders(
        tmp_path / "out",
        speech=fill(tmp_path / "speech", SMALL_SPEECH[speech_kind], voice),
        noise=fill(tmp_path / "noise", SMALL_NOISE[noise_kind], noise),
        options=FolderOptions(mixtures=7),
        report=lambda line: None,
    )
    assert check_files(manifest) == {}
    TrainingExamples(manifest, MixingOptions(seconds=1.0), seed=0)
    for split in ("valid", "test"):
        examples = FixedExamples(manifest, split)
        assert len(examples) == 7
        for example, entry in zip(examples, examples.entries, strict=True):
            noisy, clean = (side.numpy().astype(float) for side in example)
            snr_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
            assert snr_db == pytest.approx(entry.snr_db, abs=0.1)
            assert 0.3 * 16_000 <= len(clean) <= 10 * 16_000
    longest = max(clip.frames for clip in manifest.clips if clip.kind == "speech")
    assert longest < 20 * 16_000


@pytest.mark.parametrize(
    ("speech_seconds", "noise_seconds", "lacking"), [(0.2, 30, "speech"), (30, 0.2, "noise"), (0.2, 0.2, "speech")]
)
def test_what_can_come_to_nothing_is_refused_before_the_work(
    tmp_path: Path, speech_seconds: float, noise_seconds: float, lacking: str
) -> None:
    with pytest.raises(ManifestError, match=f"holds no recording of {lacking} of 0.5 s or more"):
        prepare_folders(
            tmp_path / "out",
            speech=fill(tmp_path / "speech", {"a.wav": speech_seconds}, voice),
            noise=fill(tmp_path / "noise", {"a.wav": noise_seconds}, noise),
            report=lambda line: None,
        )
    assert not (tmp_path / "out").exists()


def test_silence_is_left_out_of_everything(sources: Path) -> None:
    put(sources / "noise" / "muted.wav", np.zeros(90 * 16_000))
    put(sources / "noise" / "street" / "muted.wav", np.zeros(16_000), subtype="FLOAT")
    put(sources / "speech" / "anna" / "muted.wav", np.full(64_000, 0.25))
    put(sources / "noise" / "half.wav", np.concatenate([noise(40), np.zeros(40 * 16_000)]))
    lines: list[str] = []
    manifest = prepare_folders(sources / "out", speech=sources / "speech", noise=sources / "noise", report=lines.append)
    assert not any("muted" in clip.path for clip in manifest.clips)
    assert {clip.split for clip in manifest.clips if clip.label == "half"} == {"train"}
    said = "\n".join(lines)
    assert f"{sources / 'noise' / 'muted.wav'}: is silent" in said
    assert f"{sources / 'speech' / 'anna' / 'muted.wav'}: is a constant" in said
    assert "2 of 3 pieces of" in said
    with pytest.raises(AudioError, match=r"is (silent|a constant)"):
        prepare_folders(
            sources / "strict",
            speech=sources / "speech",
            noise=sources / "noise",
            options=FolderOptions(refuse=True),
            report=lines.append,
        )


def test_mixtures_keep_away_from_silent_stretches(tmp_path: Path) -> None:
    rare = np.tile(np.concatenate([noise(3), np.zeros(12 * 16_000, np.float32)]), 12)
    put(tmp_path / "noise" / "rare.wav", rare)
    manifest = prepare_folders(
        tmp_path / "out",
        speech=fill(tmp_path / "speech", {f"{n}.wav": 3 for n in range(20)}, voice),
        noise=tmp_path / "noise",
        report=lambda line: None,
    )
    for split in ("valid", "test"):
        examples = FixedExamples(manifest, split)
        assert len(examples) == 60
        assert all((noisy - clean).abs().max() > 0 for noisy, clean in examples)


def test_what_is_not_read_is_counted_and_named(sources: Path) -> None:
    speech = sources / "speech"
    (speech / "notes.txt").write_text("x")
    (speech / "anna" / "film.xyz").write_text("x")
    (speech / "anna" / "._1.wav").write_bytes(bytes(100))
    (speech / "gone.wav").symlink_to(sources / "nowhere.wav")
    put(sources / "elsewhere" / "c.wav", voice(3.0))
    (speech / "cleo").symlink_to(sources / "elsewhere")
    (speech / "anna" / "round").symlink_to(speech)
    lines: list[str] = []
    manifest = prepare_folders(sources / "out", speech=speech, noise=sources / "noise", report=lines.append)
    said = "\n".join(lines)
    for name in ("notes.txt", "film.xyz", "._1.wav", "gone.wav"):
        assert name in said
    assert "speech/cleo/c.wav.flac" in {clip.path for clip in manifest.clips}
    assert sum(clip.kind == "speech" for clip in manifest.clips) == 41


def test_the_folder_to_fill_may_lie_in_that_of_the_recordings(sources: Path) -> None:
    def count() -> int:
        target = sources / "speech" / "out"
        return len(
            prepare_folders(target, speech=sources / "speech", noise=sources / "noise", report=lambda line: None).clips
        )

    assert count() == count()


@pytest.mark.parametrize("name", [f"{'x' * 251}.wav", f"{'語' * 83}.wav", "a\\b\nc.wav"])
def test_awkward_names_are_prepared(tmp_path: Path, name: str) -> None:
    for number in range(3):
        put(tmp_path / "speech" / f"{number}.wav", voice(3, number))
    (tmp_path / "speech" / "0.wav").rename(tmp_path / "speech" / name)
    put(tmp_path / "noise" / "long.wav", noise(30))
    (tmp_path / "noise" / "long.wav").rename(tmp_path / "noise" / name)
    prepare_folders(tmp_path / "out", speech=tmp_path / "speech", noise=tmp_path / "noise", report=lambda line: None)
    manifest = Manifest.load(tmp_path / "out" / "manifest.json")
    assert len([clip for clip in manifest.clips if clip.kind == "speech"]) == 3
    assert check_files(manifest, decode=True) == {}


def test_g722_is_prepared(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "speech").mkdir(exist_ok=True)
        write_g722(tmp_path / "speech" / f"{number}.g722", voice(3.0, number))
    put(tmp_path / "noise" / "fan.wav", noise(30))
    lines: list[str] = []

    def run() -> Manifest:
        return prepare_folders(
            tmp_path / "out", speech=tmp_path / "speech", noise=tmp_path / "noise", report=lines.append
        )

    first = run()
    assert sum(clip.kind == "speech" for clip in first.clips) == 3
    assert not any("left out" in line for line in lines)
    made = {clip.path: first.path(clip.path).stat().st_mtime_ns for clip in first.clips}
    assert {clip.path: first.path(clip.path).stat().st_mtime_ns for clip in run().clips} == made  # kept


def test_a_recording_that_changed_is_converted_again(sources: Path) -> None:
    before = prepare(sources)
    path = put(sources / "speech" / "anna" / "1.wav", voice(3.0, 77))
    os.utime(path, ns=(time.time_ns() + 10**9,) * 2)
    after = prepare(sources)
    assert before.clips == after.clips
    read = sf.read(after.path("speech/anna/1.wav.flac"), dtype="float32")[0]
    np.testing.assert_allclose(read, voice(3.0, 77), atol=1e-4)
