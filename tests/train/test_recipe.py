"""Recipes: those of the package, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.train.named_recipes import recipe_names
from lite_rtse_ext.train.recipe import (
    DataRecipe,
    ModelRecipe,
    Recipe,
    RecipeError,
    RunRecipe,
    load_recipe,
    save_recipe,
)


def test_the_package_has_its_recipes() -> None:
    assert recipe_names() == ["debian", "finetune", "many_voices", "mask_branch", "vctk_demand"]


@pytest.mark.parametrize("name", ["debian", "finetune", "many_voices", "mask_branch", "vctk_demand"])
def test_recipes_are_read_and_written(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe != Recipe()
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_settings_override_the_file() -> None:
    settings = ["run.steps=7", "optimizer.learning_rate=2e-3", "data.mixing.snr_db=[0, 1]", "model.arguments.order=2"]
    recipe = load_recipe("debian", settings)
    assert recipe.run.steps == 7
    assert recipe.optimizer.learning_rate == 0.002
    assert recipe.data.mixing.snr_db == (0.0, 1.0)
    assert recipe.model.arguments == {"order": 2}
    assert recipe.run.batch_size == load_recipe("debian").run.batch_size


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.stepps=7", r"debian: run\.stepps: there is no such option$"),
        ("runn.steps=7", "debian: runn: there is no such option$"),
        ("run.steps=many", r"debian: run\.steps: expected a valid integer, got 'many'$"),
        ("run.steps=", r"run\.steps: expected a valid integer, got None"),
        ("run.steps=0", r"run\.steps: expected greater than or equal to 1, got 0"),
        ("run.average=1", r"run\.average: expected less than 1, got 1"),
        ("run.monitor=valid/loss", r"debian: run: monitor_mode: expected min for valid/loss, got max$"),
        ("run.monitor_mode=min", r"run: monitor_mode: expected max for valid/si_snr_improvement, got min$"),
        ("run.precision=8", r"run\.precision: expected '32-true', 'bf16-mixed' or '16-mixed', got 8"),
        ("data.mixing=3", r"data\.mixing: expected"),
        ("data.mixing.snr_db=3", r"data\.mixing\.snr_db: expected a valid tuple, got 3"),
        ("data.mixing.snr_db=[3]", r"data\.mixing\.snr_db\.1: is missing"),
        ("data.mixing.snr_db=[3, 1]", r"data\.mixing\.snr_db: expected a range from low to high, got \[3\.0, 1\.0\]"),
        ("data.mixing.speed=[.nan, 1]", r"data\.mixing\.speed\.0: expected"),
        (
            "data.mixing.babble_reverb_prob=1.5",
            r"data\.mixing\.babble_reverb_prob: expected less than or equal to 1, got 1\.5",
        ),
        ("model.min_gain=[0,1]", r"model\.min_gain\.1: expected less than 1, got 1"),
        ("model.min_gain=[0,0.1,2]", r"model\.min_gain\.2: expected less than 1, got 2"),
        ("model.min_gain=[0]", r"model\.min_gain: expected at least 2 items, got \[0\]"),
        ("model.min_gain=[0,0,0,0]", r"model\.min_gain: expected at most 3 items, got \[0, 0, 0, 0\]"),
        (
            "data.mixing.granular_prob=0.9",
            r"data\.mixing: babble \+ synthetic \+ granular_prob: expected at most 1 together, got 1\.25",
        ),
        ("data.mixing.noise_weights={rain: -1}", r"data\.mixing\.noise_weights\.rain: expected"),
        ("loss.compression=0", r"loss\.compression: expected"),
        ("3.4=5", "debian: 3: there is no such option"),
        ("steps=7", r"must be section\.field=value"),
        ("run.steps", r"must be section\.field=value"),
        ("run.steps.more=1", "steps is no section"),
        ("run.steps=[", "not YAML"),
        ("run.steps=2020-13-45", r"run\.steps=2020-13-45: not YAML"),
        pytest.param("run.steps=" + 10_000 * "[", "not YAML", id="deep"),
    ],
)
def test_faulty_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("debian", [setting])


def test_several_faults_are_all_named() -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe("debian", ["run.steps=0", "model.input_gain=0", "data.workers=-1"])
    assert all(name in str(refused.value) for name in ("run.steps", "model.input_gain", "data.workers"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        b"- a\n- b\n",
        b"model: [",
        b"run: 3\n",
        b"run: []\n",
        b"3: 4\n",
        b"run: {1: 2}\n",
        b"run: {steps: 3}\nrun: {seed: 4}\n",
        b"run:\n  steps: 3\n  steps: 4\n",
        b"run: {[1]: 2}\n",
        b"run: {steps: 2020-13-45}\n",
        b"run: !!python/object/apply:os.getcwd []\n",
        b"\xff\xfe\xfa",
        b"run: \x00",
        pytest.param(10_000 * b"[", id="deep"),
    ],
)
def test_faulty_files_are_named(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(RecipeError, match=r"mine\.yaml: ") as refused:
        load_recipe(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["2e-3", "2.0e-3", "2.e-3", ".2e-2", "0.002", "2E-03", "20e-4"])
def test_numbers_may_have_exponents(text: str) -> None:
    assert load_recipe("debian", [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == 0.002
    assert load_recipe("debian", ["optimizer.learning_rate=+1.5e+2"]).optimizer.learning_rate == 150


def test_empty_sections_are_the_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model:\nrun:\nloss:\noptimizer:\ndata:\n  mixing:\n")
    assert load_recipe(path) == Recipe()
    set_there = load_recipe(path, ["run.steps=3", "data.mixing.seconds=2"])
    assert set_there == Recipe(data=DataRecipe(mixing=MixingOptions(seconds=2)), run=RunRecipe(steps=3))


def test_arguments_that_no_file_can_hold_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.arguments: expected .*, got"):
        save_recipe(Recipe(model=ModelRecipe(arguments={"where": tmp_path})), tmp_path / "recipe.yaml")
    assert not list(tmp_path.iterdir())


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert load_recipe(tmp_path / "mine.yaml") == Recipe()
    with pytest.raises(FileNotFoundError):
        load_recipe(tmp_path / "nowhere.yaml")
