"""A broken manifest: one error that names the file and the field, whatever is broken."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from lite_rtse_ext.data import Clip, Manifest, ManifestError, Mixture, Pair

ENTRIES = {
    "clips": Clip("noise", "train", "n.flac", 100, "rain", "CC0-1.0", "own"),
    "mixtures": Mixture("m", "test", "s.flac", "n.flac", 0, 1.0, "rain", 10),
    "pairs": Pair("p", "train", "a.flac", "b.flac", 10, "me", 1.0, "rain"),
}
OPTIONAL = {("mixtures", "frames"), ("pairs", "snr_db"), ("pairs", "label")}
WRONG: tuple[object, ...] = (
    None,
    True,
    1.5,
    -3,
    10**400,
    [1],
    {"a": 1},
    "\x1b[31m",
    "\ud800",
    float("nan"),
    float("inf"),
)
KEYS = {"license": "licence"}
"""The keys in the file that are not the fields' names."""
FIELDS = [(where, each.name) for where, entry in ENTRIES.items() for each in fields(entry)]


def row(where: str, **changed: object) -> dict[str, object]:
    """An entry as it stands in the file, with some of its fields changed."""
    return {KEYS.get(name, name): value for name, value in {**asdict(ENTRIES[where]), **changed}.items()}


def holds(where: str, field: str, value: object) -> bool:
    """Whether a value of the list is right after all."""
    if value is None:
        return (where, field) in OPTIONAL
    return field == "snr_db" and value in (1.5, -3) and not isinstance(value, bool)


def load(root: Path, content: object) -> Manifest:
    path = root / "manifest.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return Manifest.load(path)


def content(**more: object) -> dict[str, object]:
    return {"format": "lite-rtse manifest 1", "name": "n", "clips": [], "mixtures": [], "pairs": [], **more}


@pytest.mark.parametrize(("where", "field"), FIELDS)
@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
def test_each_field_of_a_wrong_type_is_named(tmp_path: Path, where: str, field: str, value: object) -> None:
    if holds(where, field, value):
        assert getattr(replace(ENTRIES[where], **{field: value}), field) == value
        return
    rows = [row(where, **{field: value})]
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, content(**{where: rows}))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'manifest.json'}: ")
    assert f"{field}: expected " in message or "not a manifest" in message  # the latter: no JSON at all
    assert message.isprintable()


@pytest.mark.parametrize("field", ["name", "clips", "mixtures", "pairs", "notes"])
@pytest.mark.parametrize("value", [None, 3, "text\n", [None], {"a": 1}, [[1]]])
def test_each_part_of_a_wrong_type_is_named(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ManifestError, match=f"{field.removesuffix('s')}") as caught:
        load(tmp_path, content(**{field: value}))
    assert str(tmp_path / "manifest.json") in str(caught.value)


PATHS = ["/etc/passwd", "../a.flac", "a/../../b.flac", "..", ".", "", "a//b.flac", "a/", "..\\a.flac", "C:\\a", "a\0b"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("where", "field"),
    [("clips", "path"), ("mixtures", "speech"), ("mixtures", "noise"), ("pairs", "noisy"), ("pairs", "clean")],
)
def test_no_path_leaves_the_folder(tmp_path: Path, where: str, field: str, path: str) -> None:
    with pytest.raises(ManifestError, match=f"{field}: expected a path .* stays in the manifest's folder"):
        load(tmp_path, content(**{where: [row(where, **{field: path})]}))


@pytest.mark.parametrize("name", ["", ".", "..", "../../escaped", "/tmp/x", "a/b", "a\\b", "a\nb", "x" * 300])
@pytest.mark.parametrize("where", ["mixtures", "pairs"])
def test_a_name_is_one_file_name(tmp_path: Path, where: str, name: str) -> None:
    with pytest.raises(ManifestError, match="name: expected a name"):
        load(tmp_path, content(**{where: [{**asdict(ENTRIES[where]), "name": name}]}))


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000])
def test_json_that_can_not_be_read_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.load(tmp_path / "manifest.json")


def test_a_mixture_may_use_the_beginning_of_its_speech_only(tmp_path: Path) -> None:
    clips = (Clip("speech", "test", "s.flac", 100, "me"), Clip("noise", "test", "n.flac", 50, "rain"))
    Manifest(tmp_path, "n", clips, (Mixture("m", "test", "s.flac", "n.flac", 10, 0.0, "rain", 40),))
    for frames, path in ((101, "s.flac"), (41, "n.flac"), (None, "n.flac")):
        with pytest.raises(ManifestError, match=f"{path} is too short"):
            Manifest(tmp_path, "n", clips, (Mixture("m", "test", "s.flac", "n.flac", 10, 0.0, "rain", frames),))
