"""The manifest: what is written is read, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lite_rtse_ext.data import Clip, Manifest, ManifestError, Mixture, Pair
from lite_rtse_ext.data.check import check_files
from tests.data.prepare.corpus import make_corpus

SPEECH = Clip("speech", "test", "s.flac", 100, "anna", "CC0-1.0", "own")
NOISE = Clip("noise", "test", "n.flac", 150, "rain")
MIXTURE = Mixture("m", "test", "s.flac", "n.flac", 50, -5.0, "rain")
PAIR = Pair("p", "train", "a/p.flac", "b/p.flac", 10, "p226", 2.5, "café")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, "mine", (SPEECH, NOISE), (MIXTURE,), (PAIR,), {"license": "CC0"})
    manifest.save(tmp_path / "manifest.json")
    assert Manifest.load(tmp_path / "manifest.json") == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert '"licence": "CC0-1.0"' in (tmp_path / "manifest.json").read_text(encoding="utf-8")


def test_selections(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, "mine", (SPEECH, NOISE), (MIXTURE,), (PAIR,))
    assert manifest.select("noise", "test") == [NOISE]
    assert manifest.select("noise", "train") == []
    assert manifest.fixed("test") == [MIXTURE]
    assert manifest.fixed("train") == [PAIR]
    assert dict(manifest.files()) == {"s.flac": 100, "n.flac": 150, "a/p.flac": 10, "b/p.flac": 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format="other"), "its format is 'other'"),
        (lambda content: content.pop("clips"), "'clips' is missing"),
        (lambda content: content["clips"][0].update(colour="red"), "clip 0 has something else than"),
        (lambda content: content["clips"][0].pop("frames"), "clip 0: .*frames"),
        (lambda content: content["clips"][0].update(frames=0), "frames: expected a whole number, 1 to .*, got 0"),
        (lambda content: content["clips"][0].update(frames=True), "frames: expected a whole number"),
        (
            lambda content: content["clips"][1].update(split="dev"),
            "split: expected one of train, valid, test, got 'dev'",
        ),
        (lambda content: content["clips"].append(content["clips"][0]), "clip s.flac is listed twice"),
        (lambda content: content["mixtures"][0].update(noise="s.flac"), "s.flac is no noise clip"),
        (lambda content: content["mixtures"][0].update(noise_start=51), "n.flac is too short"),
    ],
)
def test_faults_are_named(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "manifest.json"
    Manifest(tmp_path, "mine", (SPEECH, NOISE), (MIXTURE,)).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ManifestError, match=message) as caught:
        Manifest.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x80"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.load(path)


def test_faulty_files_are_found(tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    manifest = Manifest.load(path)
    assert check_files(manifest, decode=True) == {}
    gone, cut, inside = (clip.path for clip in manifest.select("speech", "train")[:3])
    (tmp_path / gone).unlink()
    whole = (tmp_path / cut).read_bytes()
    (tmp_path / cut).write_bytes(whole[: len(whole) // 2])
    damaged = bytearray((tmp_path / inside).read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 400] = bytes(400)
    (tmp_path / inside).write_bytes(damaged)

    faults = check_files(manifest, decode=True)
    assert set(faults) == {gone, cut, inside}
    assert all(str(tmp_path / name) in message for name, message in faults.items())
    assert set(check_files(manifest)) == {gone, cut}  # header and end tell no more
