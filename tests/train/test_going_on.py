"""Resumed runs whose settings, folders and data are not what they were."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.models.checkpoint import CheckpointError, read_state_dict
from lite_rtse_ext.train.recipe import ModelRecipe, Recipe, RecipeError, RunRecipe, load_recipe, save_recipe
from lite_rtse_ext.train.resume import check_changes
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.train.interruption import cut_off
from tests.train.runs import QUICK, newest

MODEL = ("model.class_path=tests.train.networks.Mask", "model.arguments={hidden: 4}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def recipe(corpus: Path | str, *settings: str) -> Recipe:
    return load_recipe(QUICK, [f"data.manifest={corpus}", *MODEL, "run.steps=6", "run.save_every=1", *settings])


def resume(folder: Path, *settings: str) -> list[str]:
    """Go on by the recipe in the folder with these settings; what is reported."""
    lines: list[str] = []
    fit(load_recipe(folder / "recipe.yaml", settings), folder, resume=True, progress=False, report=lines.append)
    return lines


def same_weights(one: Path, other: Path) -> bool:
    a, b = newest(one)["state_dict"], newest(other)["state_dict"]
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_settings_of_speed_and_memory_change_nothing(corpus: Path, tmp_path: Path) -> None:
    fit(recipe(corpus), tmp_path / "whole", progress=False)
    cut_off(recipe(corpus), tmp_path / "cut", before=4)
    settings = ("data.workers=1", "data.cache_megabytes=5", "data.damaged=refuse", "run.save_every=2")
    settings += ("run.examples=0", "run.threads=2", "run.deterministic=true", "run.patience=9", "run.accelerator=auto")
    assert resume(tmp_path / "cut", *settings) == ["the run goes on after step 4 of 6"]
    assert same_weights(tmp_path / "whole", tmp_path / "cut")
    assert load_recipe(tmp_path / "cut" / "recipe.yaml") == load_recipe(tmp_path / "whole" / "recipe.yaml", settings)


def test_a_run_can_be_made_longer(corpus: Path, tmp_path: Path) -> None:
    fit(recipe(corpus), tmp_path, progress=False)
    before = [path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()]
    told = resume(tmp_path)
    assert told == ["the run has taken all its 6 steps; it goes on with a greater run.steps"]
    assert [path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()] == before
    assert resume(tmp_path, "run.steps=8") == ["the run goes on after step 6 of 8"]
    assert newest(tmp_path)["global_step"] == 8
    with pytest.raises(RecipeError, match=r"run\.steps: expected at least 8, as the run has taken so many, got 7"):
        resume(tmp_path, "run.steps=7")
    assert load_recipe(tmp_path / "recipe.yaml").run.steps == 8


def test_a_run_that_ended_early_goes_on_with_more_patience(corpus: Path, tmp_path: Path) -> None:
    settings = ("optimizer.learning_rate=0.0", "run.patience=2", "run.steps=50", "run.epoch_batches=2")
    fit(recipe(corpus, *settings), tmp_path, progress=False)
    assert newest(tmp_path)["global_step"] == 6
    (line,) = resume(tmp_path)
    assert line.startswith("the run ended early after step 6, as 2 validations brought no improvement")
    assert newest(tmp_path)["global_step"] == 6
    assert resume(tmp_path, "run.patience=4") == ["the run goes on after step 6 of 50"]
    assert newest(tmp_path)["global_step"] == 10
    resume(tmp_path, "run.patience=0", "run.steps=13")
    assert newest(tmp_path)["global_step"] == 13


def test_before_the_first_checkpoint_a_run_begins_anew(corpus: Path, tmp_path: Path) -> None:
    cut_off(recipe(corpus), tmp_path, before=0)
    assert resume(tmp_path) == ["there is no checkpoint yet: the run begins at its first step"]
    assert newest(tmp_path)["global_step"] == 6


FREE = {
    "data": {"manifest", "damaged", "workers", "cache_megabytes"},
    "run": {"steps", "save_every", "patience", "precision", "compile", "accelerator", "threads"}
    | {"deterministic", "cuda_graph", "fuse", "examples"},
}
OTHERS = {"damaged": "refuse", "monitor_mode": "max", "precision": "bf16-mixed", "accelerator": "gpu"}
DEFAULT = Recipe(run=RunRecipe(monitor="valid/other"))  # whose best value may be the smallest or the largest


def another(name: str, value: Any) -> Any:
    """A value that an option can have beside this one."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (
            (value[0] * 0.5, value[1])
            if any(value) and name != "babble_voices"
            else (1, 10)
            if any(value)
            else (0.5, 0.5)
        )
    if isinstance(value, dict):
        return {"rain": 1.0}
    if isinstance(value, int):
        return value + 1
    return value * 0.5 or 0.25 if isinstance(value, float) else "another"


def changes() -> Iterator[Any]:
    default = DEFAULT
    for section in dataclasses.fields(default):
        options = getattr(default, section.name)
        for each in dataclasses.fields(options):
            value = getattr(options, each.name)
            if each.name != "mixing":
                changed = dataclasses.replace(options, **{each.name: another(each.name, value)})
                new = dataclasses.replace(default, **{section.name: changed})
                yield pytest.param(f"{section.name}.{each.name}", new, id=f"{section.name}.{each.name}")
    for each in dataclasses.fields(default.data.mixing):
        value = getattr(default.data.mixing, each.name)
        mixing = dataclasses.replace(default.data.mixing, **{each.name: another(each.name, value)})
        new = dataclasses.replace(default, data=dataclasses.replace(default.data, mixing=mixing))
        yield pytest.param(f"data.mixing.{each.name}", new, id=f"data.mixing.{each.name}")


@pytest.mark.parametrize(("name", "changed"), list(changes()))
def test_every_setting_may_change_or_is_refused_by_name(name: str, changed: Recipe) -> None:
    section, _, option = name.partition(".")
    if option in FREE.get(section, ()):
        check_changes(DEFAULT, changed)
        return
    shown = r"run\.batch_size · run\.devices" if option in ("batch_size", "devices") else name
    with pytest.raises(RecipeError, match=rf"a resumed run can't change {shown}: expected .*, got .*: the "):
        check_changes(DEFAULT, changed)


def test_processes_may_change_with_the_batch() -> None:
    one, two = (Recipe(run=RunRecipe(batch_size=size, devices=count)) for size, count in ((8, 1), (4, 2)))
    check_changes(one, two)
    check_changes(two, one)


def test_arguments_may_be_tuples(tmp_path: Path) -> None:
    """The file of the run has lists in their place."""
    one = Recipe(model=ModelRecipe("dccrn", {"channels": (4, 4), "nested": {"a": [(1, 2)]}}))
    save_recipe(one, tmp_path / "recipe.yaml")
    check_changes(load_recipe(tmp_path / "recipe.yaml"), one)


def test_several_changes_are_all_named(corpus: Path, tmp_path: Path) -> None:
    fit(recipe(corpus), tmp_path, progress=False)
    kept = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(RecipeError, match=r"model\.arguments: .*; loss\.si_snr: expected 0\.01, got 0\.5: .*"):
        resume(tmp_path, "model.arguments={hidden: 5}", "loss.si_snr=0.5", "data.workers=1", "run.steps=9")
    assert (tmp_path / "recipe.yaml").read_bytes() == kept


def test_a_run_goes_on_from_any_folder(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recipe names the data, and what it began with, by absolute paths; the latter is no longer needed."""
    fit(recipe(corpus, "run.steps=2"), tmp_path / "first", progress=False)
    shutil.copy(tmp_path / "first" / "best.safetensors", tmp_path / "first.safetensors")
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(corpus, tmp_path)
    settings = ("model.initial=first.safetensors",)
    fit(recipe(relative, *settings), Path("whole"), progress=False)
    cut_off(recipe(relative, *settings), Path("cut"), before=3)
    kept = load_recipe("cut/recipe.yaml")
    assert kept.data.manifest == str(corpus)
    assert kept.model.initial == str(tmp_path / "first.safetensors")
    (tmp_path / "first.safetensors").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume(Path("../cut"))
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


def test_run_and_data_may_be_moved(tmp_path: Path) -> None:
    """The best weights so far stay the best, and nothing is written where the run was."""
    settings = ("optimizer.learning_rate=2.0", "optimizer.warmup_steps=20", "run.steps=12", "run.epoch_batches=2")
    settings += ("run.examples=0",)
    chosen = recipe(make_corpus(tmp_path / "corpus"), *settings)
    fit(chosen, tmp_path / "whole", progress=False)
    cut_off(chosen, tmp_path / "cut", before=10)
    best = newest(tmp_path / "whole", "best.ckpt")["global_step"]
    assert best < 10
    shutil.copytree(tmp_path / "cut", tmp_path / "copy")
    old = {path: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()}
    (tmp_path / "corpus").rename(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="--data says where it is"):
        resume(tmp_path / "copy")
    resume(tmp_path / "copy", f"data.manifest={tmp_path / 'data' / 'manifest.json'}")
    assert same_weights(tmp_path / "whole", tmp_path / "copy")
    assert newest(tmp_path / "copy", "best.ckpt")["global_step"] == best
    weights = [read_state_dict(tmp_path / name / "best.safetensors") for name in ("whole", "copy")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert {path: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()} == old


def test_other_data_is_refused(corpus: Path, tmp_path: Path) -> None:
    cut_off(recipe(corpus), tmp_path / "run", before=4)
    manifest = Manifest.load(corpus)
    less = dataclasses.replace(manifest, clips=manifest.clips[1:])
    less.save(corpus.parent / "less.json")
    with pytest.raises(ManifestError, match=r"less\.json: expected the recordings that the run began with, got others"):
        resume(tmp_path / "run", f"data.manifest={corpus.parent / 'less.json'}")
    assert load_recipe(tmp_path / "run" / "recipe.yaml").data.manifest == str(corpus)
    more_to_test_with = dataclasses.replace(manifest, mixtures=(*manifest.fixed("valid"),), name="another")
    more_to_test_with.save(corpus.parent / "more.json")
    resume(tmp_path / "run", f"data.manifest={corpus.parent / 'more.json'}")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", "half", "another file"])
def test_a_damaged_checkpoint_is_named(corpus: Path, tmp_path: Path, content: bytes | str) -> None:
    cut_off(recipe(corpus), tmp_path, before=2)
    path = tmp_path / "checkpoints" / "last.ckpt"
    if content == "another file":
        torch.save({"global_step": 3}, path)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: not a checkpoint that a run can go on from \(.+\)"):
        resume(tmp_path)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["train", *(str(each) for each in arguments)])
    return result.exit_code, result.output


def test_the_command_takes_settings_with_resume(corpus: Path, tmp_path: Path) -> None:
    cut_off(recipe(corpus), tmp_path, before=3)
    code, shown = run("--resume", "--out", tmp_path, "data.cache_megabytes=2", "run.steps=7", "--data", corpus)
    assert code == 0, shown
    assert "the run goes on after step 3 of 7" in shown
    kept = load_recipe(tmp_path / "recipe.yaml")
    assert (kept.data.cache_megabytes, kept.run.steps) == (2.0, 7)
    code, shown = run("--resume", "--out", tmp_path, "loss.complex=1", "run.seed=3")
    assert code == 1
    assert "can't change loss.complex: expected 0.7, got 1.0" in shown
    assert "run.seed: expected 0, got 3" in shown
    assert len(shown.strip().splitlines()) == 1
    code, shown = run("--resume", "--out", tmp_path, "debian")
    assert code == 2
    assert "takes settings alone, got debian" in shown
    code, shown = run("--out", tmp_path)
    assert code == 2
    assert "give a recipe" in shown


@pytest.mark.parametrize("name", ["a 'b' \"c\"", "a: b", "2024", "x # y", "back\\slash"])
def test_data_may_have_any_name(tmp_path: Path, name: str) -> None:
    code, shown = run(QUICK, "--out", tmp_path / "run", "--data", tmp_path / name)
    assert code == 1
    assert f"{tmp_path / name}: no such manifest" in shown


@pytest.mark.parametrize("text", [b"model: [", b"run: 3", b"\xff", b"run: {nothing: 1}"])
def test_a_broken_recipe_in_the_folder_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    code, shown = run("--resume", "--out", tmp_path)
    assert code == 1
    assert shown.startswith(f"Error: {tmp_path / 'recipe.yaml'}: ")
    assert len(shown.strip().splitlines()) == 1


def test_a_run_without_data_says_so(tmp_path: Path) -> None:
    code, shown = run(QUICK, "--out", tmp_path)
    assert code == 1
    assert "data.manifest: expected the path of a manifest (--data), got nothing" in shown
