"""Simulated rooms."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.check import check_files
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions, direct_sound
from lite_rtse_ext.data.prepare.sources.rooms import FOLDER, Room, draw_room, prepare_rooms, simulate
from tests.data.prepare.corpus import make_corpus

pytest.importorskip("pyroomacoustics")
RATE_HZ = 16_000


def decay_seconds(response: np.ndarray) -> float:
    """The time of a decay by 60 dB, from -5 to -25 dB of the energy that remains."""
    remaining = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    level_db = 10 * np.log10(remaining / remaining[0] + 1e-12)
    return 3 * (int(np.argmax(level_db < -25)) - int(np.argmax(level_db < -5))) / RATE_HZ


def test_rooms_are_of_many_kinds() -> None:
    rooms = [draw_room(3, number) for number in range(300)]
    assert rooms == [draw_room(3, number) for number in range(300)]
    assert len({room.rt60_seconds for room in rooms}) == 300
    assert draw_room(4, 0) != rooms[0]
    times = [room.rt60_seconds for room in rooms]
    assert 0.1 <= min(times) < 0.15
    assert 0.75 < max(times) <= 0.8
    for room in rooms:
        places = np.array([room.source, room.microphone])
        assert (places >= 0.3).all()
        assert (places <= np.array(room.size) - 0.3).all()
        assert np.linalg.norm(places[0] - places[1]) >= 0.3
        assert min(room.size) >= 2.2
        assert max(room.size) <= 10


def test_a_response_begins_with_the_direct_sound_and_decays_as_its_room() -> None:
    decays = []
    for rt60_seconds in (0.2, 0.4):
        response = simulate(Room((5.2, 4.1, 2.7), rt60_seconds, (1.5, 1.1, 1.3), (1.5, 2.1, 1.3)), 7)
        assert response.dtype == np.float32
        assert np.abs(response).max() == pytest.approx(0.999, abs=1e-4)
        assert int(np.argmax(np.abs(response))) == pytest.approx(32, abs=6)  # the source is near
        assert direct_sound(response) == pytest.approx(32, abs=10)
        decays.append(decay_seconds(response))
    np.testing.assert_allclose(decays, [0.2, 0.4], rtol=0.35)  # Sabine's formula is approximate
    assert decays[1] > 1.5 * decays[0]


def test_a_response_depends_on_room_and_seed() -> None:
    room = Room((3.0, 2.6, 2.4), 0.12, (1.0, 1.0, 1.0), (2.0, 1.5, 1.4))
    response = simulate(room, 7)
    np.testing.assert_array_equal(response, simulate(room, 7))
    assert not np.array_equal(response[:400], simulate(room, 8)[:400])


SEED = next(seed for seed in range(1000) if all(draw_room(seed, number).rt60_seconds < 0.25 for number in range(3)))
"""Rooms that are fast to simulate."""


def prepare(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", "rooms", "--out", str(folder), *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms") / "new"
    outcome = prepare(folder, "--count", 3, "--seed", SEED)
    assert outcome.exit_code == 0, outcome.output
    assert "3 of 3 rooms" in outcome.output
    assert "in 3 files" in outcome.output
    return folder


def test_rooms_are_listed_with_what_they_are(made: Path) -> None:
    manifest = Manifest.load(made / "manifest.json")
    assert check_files(manifest, decode=True) == {}
    assert [clip.path for clip in manifest.select("room", "train")] == [
        f"{FOLDER}/{SEED}-{number:06}.wav" for number in range(3)
    ]
    for number, clip in enumerate(manifest.clips):
        room = draw_room(SEED, number)
        assert f"room {number}: " in clip.source
        assert f"RT60 {room.rt60_seconds:.2f} s" in clip.source
        samples, rate_hz = sf.read(made / clip.path, dtype="float32")
        assert rate_hz == RATE_HZ
        np.testing.assert_allclose(samples, simulate(room, number), atol=1 / 32768)


def test_what_is_complete_is_kept_and_the_rest_is_made(made: Path) -> None:
    """A file that was cut short, and one that is not there."""
    first, second, third = (made / clip.path for clip in Manifest.load(made / "manifest.json").clips)
    before = [path.read_bytes() for path in (first, second, third)]
    os.utime(first, ns=(1, 1))
    second.write_bytes(before[1][: len(before[1]) // 2])
    third.unlink()
    prepare_rooms(made, count=3, seed=SEED, report=lambda line: None)
    assert [path.read_bytes() for path in (first, second, third)] == before
    assert first.stat().st_mtime_ns == 1


def test_rooms_join_what_is_prepared_and_are_trained_with(made: Path, tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    before = Manifest.load(path)
    (tmp_path / FOLDER).mkdir(parents=True)
    for source in sorted((made / FOLDER).iterdir()):
        (tmp_path / FOLDER / source.name).write_bytes(source.read_bytes())
    for count in (3, 2, 2):  # later calls replace the rooms of earlier ones
        manifest = prepare_rooms(tmp_path, count=count, seed=SEED, report=lambda line: None)
        assert Manifest.load(path) == manifest
        assert dataclasses.replace(manifest, clips=manifest.clips[:-count]) == before
        assert {clip.kind for clip in manifest.clips[-count:]} == {"room"}
    options = MixingOptions(seconds=0.5, no_noise=1.0)
    dry, wet = (
        TrainingExamples(manifest, dataclasses.replace(options, reverb_prob=chance), seed=1)[0, 0]
        for chance in (0.0, 1.0)
    )
    assert dry.noisy.equal(dry.clean)
    assert not wet.noisy.equal(wet.clean)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--count", 0), ("--count", 10**6 + 1), ("--count", "many"), ("--seed", -1), ("--seed", 2**32)],
)
def test_bad_options_are_refused_by_name(tmp_path: Path, option: str, value: object) -> None:
    arguments = {"--count": 1, "--seed": 0} | {option: value}
    outcome = prepare(tmp_path / "out", *(part for pair in arguments.items() for part in pair))
    assert outcome.exit_code == 2
    assert option in outcome.output
    if isinstance(value, int):
        with pytest.raises(ValueError, match=rf"{option[2:]}: expected a whole number, .* got {value}"):
            prepare_rooms(tmp_path / "out", **{"count": 1, "seed": 0, option[2:]: value})
    assert not (tmp_path / "out").exists()


def test_another_file_of_the_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("notes of mine")
    with pytest.raises(ManifestError, match="not a manifest"):
        prepare_rooms(tmp_path, count=1)
    assert (tmp_path / "manifest.json").read_text() == "notes of mine"


def test_a_missing_package_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    outcome = prepare(tmp_path / "out", "--count", 1)
    assert outcome.exit_code == 1
    assert outcome.output.splitlines() == [
        "Error: simulated rooms need the package pyroomacoustics: pip install 'lite-rtse-ext[rooms]'"
    ]
    assert not (tmp_path / "out").exists()
