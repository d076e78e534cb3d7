"""The rows of the ablation table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ablations
from lite_rtse_ext.data.manifest import Clip, Manifest
from lite_rtse_ext.train.network import construct
from lite_rtse_ext.train.recipe import load_recipe


@pytest.mark.parametrize("row", ablations.ROWS)
def test_each_row_changes_the_recipe_of_the_weights(row: str) -> None:
    recipe = load_recipe("mask_branch", ablations.settings(row, 1, 7))
    assert (recipe.run.steps, recipe.run.seed) == (7, 1)
    construct(recipe.model)
    same_model = recipe.model == load_recipe("mask_branch").model
    assert same_model == (row == "whole recipe")


def test_a_row_without_some_of_the_data_has_a_manifest_of_its_own(tmp_path: Path) -> None:
    clips = tuple(
        Clip(kind, split, f"{source}/{kind}-{split}.flac", 10, "x", "GPL-2.0-only" if source == "old" else "CC0-1.0")
        for kind in ("speech", "noise")
        for split in ("train", "valid")
        for source in ("old", "new")
    )
    path = tmp_path / "all.json"
    Manifest(tmp_path, "all", clips).save(path)

    def left_out(*texts: str) -> set[str]:
        ((name, patterns),) = ablations.parse_without(texts).items()
        kept = Manifest.load(ablations.reduced(path, name, patterns)).clips
        return {clip.path for clip in clips} - {clip.path for clip in kept}

    assert left_out("old noise=noise:old/*") == {"old/noise-train.flac"}
    assert left_out("new voices=speech:new/*") == {"new/speech-train.flac"}
    assert left_out("copyleft=license:GPL*") == {"old/noise-train.flac", "old/speech-train.flac"}
    assert len(left_out("much=license:GPL*", "much=noise:*")) == 3
    for wrong in ("", "name", "name=path", "name=label:x", "=speech:x"):
        with pytest.raises(ValueError, match="expected NAME=FIELD:PATTERN"):
            ablations.parse_without([wrong])


def test_rows_and_table() -> None:
    rows = list(ablations.runs(2, ["new noise"]))
    assert rows.count(("whole recipe", 1)) == rows.count(("no convolution branch", 1)) == 1
    assert rows[-1] == ("without new noise", 0)
    text = ablations.table(
        {"a": {"0": {"gain_db": 1.0, "gain_db_branch_zeroed": -2.0}, "1": {"gain_db": 3.0}, "2": {}}}
    )
    assert text.splitlines()[-1] == "| a | +1.00, +3.00, diverged | -2.00 |"
