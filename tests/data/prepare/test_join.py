"""One manifest of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lite_rtse_ext.cli import main
from lite_rtse_ext.data.manifest import Clip, Manifest, ManifestError, Mixture, Pair
from lite_rtse_ext.data.prepare.sources.join import join_manifests


def prepared(folder: Path, *, pairs: bool = False) -> Path:
    """A manifest of two training clips, of a mixture for validation and, if asked for, of training pairs."""
    folder.mkdir(parents=True)
    clips = (
        Clip("speech", "train", "a.flac", 100, "anna", "CC-BY-4.0"),
        Clip("noise", "train", "b.flac", 100, "fan", "GPL-2.0-only"),
        Clip("speech", "valid", "c.flac", 100, "carl", "GPL-2.0-only"),
        Clip("noise", "valid", "d.flac", 100, "fan", "CC0-1.0"),
    )
    mixtures = (Mixture("m1", "valid", "c.flac", "d.flac", 0, 5.0, "fan"),)
    listed = (Pair("p1", "train", "n.flac", "o.flac", 100, "otto"),) if pairs else ()
    Manifest(folder, folder.name, clips, mixtures, listed).save(folder / "manifest.json")
    return folder / "manifest.json"


def test_all_files_keep_their_place(tmp_path: Path) -> None:
    sources = [prepared(tmp_path / "x", pairs=True), prepared(tmp_path / "y" / "z")]
    joined = join_manifests(tmp_path / "both.json", sources)
    assert Manifest.load(tmp_path / "both.json") == joined
    assert [clip.path for clip in joined.clips][::4] == ["x/a.flac", "y/z/a.flac"]
    assert [(mixture.name, mixture.noise) for mixture in joined.mixtures] == [
        ("x-m1", "x/d.flac"),
        ("y-z-m1", "y/z/d.flac"),
    ]
    assert [(pair.name, pair.noisy) for pair in joined.pairs] == [("x-p1", "x/n.flac")]
    for clip in joined.clips:
        assert joined.path(clip.path).parent in (tmp_path / "x", tmp_path / "y" / "z")


def test_the_notes_of_all_sources_are_kept(tmp_path: Path) -> None:
    """They may state a license that asks for attribution."""
    sources = [prepared(tmp_path / name) for name in ("x", "y/z", "plain")]
    for source, notes in zip(sources, ({"licence": "CC-BY-4.0"}, {"licence": "MIT", "by": "Yves"}, {}), strict=True):
        replace(Manifest.load(source), notes=notes).save(source)
    joined = join_manifests(tmp_path / "all.json", sources)
    assert joined.notes == {
        "x/manifest.json: licence": "CC-BY-4.0",
        "y/z/manifest.json: licence": "MIT",
        "y/z/manifest.json: by": "Yves",
    }


def test_folders_of_similar_names_can_be_joined(tmp_path: Path) -> None:
    sources = [prepared(tmp_path / name, pairs=True) for name in ("y-z", "y/z", "y-z-m1")]
    joined = join_manifests(tmp_path / "all.json", sources)
    found = [(mixture.name, mixture.noise) for mixture in joined.mixtures]
    assert found == [("y-z-m1", "y-z/d.flac"), ("y-z-m1-2", "y/z/d.flac"), ("y-z-m1-m1", "y-z-m1/d.flac")]
    assert [pair.name for pair in joined.pairs] == ["y-z-p1", "y-z-p1-2", "y-z-m1-p1"]


def test_deep_folders_can_be_joined(tmp_path: Path) -> None:
    deep = "/".join(3 * ["ä" * 50])
    joined = join_manifests(tmp_path / "all.json", [prepared(tmp_path / deep / name) for name in "xy"])
    assert len({mixture.name for mixture in joined.mixtures}) == 2
    assert {mixture.noise for mixture in joined.mixtures} == {f"{deep}/x/d.flac", f"{deep}/y/d.flac"}


def test_one_source_can_judge_and_licenses_can_be_chosen(tmp_path: Path) -> None:
    sources = [prepared(tmp_path / "x"), prepared(tmp_path / "y")]
    lines: list[str] = []
    patterns = ["cc-by-*"]
    joined = join_manifests(
        tmp_path / "both.json", sources, judge_by=sources[1:], only_license=patterns, report=lines.append
    )
    assert [clip.path for clip in joined.clips] == ["x/a.flac", "y/a.flac", "y/c.flac", "y/d.flac"]
    assert [mixture.name for mixture in joined.mixtures] == ["y-m1"]
    assert lines == [
        "kept: 2 files with a license like cc-by-*",
        "left out: files with the licenses GPL-2.0-only (2)",
    ]


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    inside, outside = prepared(tmp_path / "in" / "x"), prepared(tmp_path / "y")
    target = tmp_path / "in" / "both.json"
    with pytest.raises(ManifestError, match="expected a manifest in"):
        join_manifests(target, [inside, outside])
    with pytest.raises(ManifestError, match="judge_by: expected one of the joined"):
        join_manifests(target, [inside], judge_by=[outside])
    with pytest.raises(ManifestError, match=r"only_license: expected .* CC-BY-4\.0 \(1\), GPL.*got \['nothing'"):
        join_manifests(target, [inside], only_license=["nothing"])
    Manifest(tmp_path / "in", "w", Manifest.load(inside).clips[2:]).save(tmp_path / "in" / "w.json")
    with pytest.raises(ManifestError, match="no training data is left"):
        join_manifests(target, [tmp_path / "in" / "w.json"])
    with pytest.raises(ManifestError, match="got training pairs"):
        join_manifests(target, [prepared(tmp_path / "in" / "z", pairs=True)], only_license=["*"])
    before = inside.read_bytes()
    with pytest.raises(ManifestError, match="expected a new file"):
        join_manifests(inside, [inside])
    assert inside.read_bytes() == before
    assert not target.exists()


def test_the_command(tmp_path: Path) -> None:
    sources = [str(prepared(tmp_path / name)) for name in "xy"]
    target = tmp_path / "both.json"
    result = CliRunner().invoke(main, ["prepare", "join", *sources, "--out", str(target), "--judge-by", sources[0]])
    assert result.exit_code == 0, result.output
    assert f"manifest: {target}" in result.output
    assert "1 fixed mixtures" in result.output
    result = CliRunner().invoke(main, ["prepare", "join", str(tmp_path / "none.json"), "--out", str(target)])
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
