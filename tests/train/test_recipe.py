"""Recipes: those of the package, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lite_rtse_ext.train.recipe import Recipe, RecipeError, load_recipe, recipe_names, save_recipe


def test_the_package_has_its_recipes() -> None:
    assert recipe_names() == ["debian", "finetune", "vctk_demand"]


@pytest.mark.parametrize("name", ["debian", "finetune", "vctk_demand"])
def test_recipes_are_read_and_written(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe != Recipe()
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_settings_override_the_file() -> None:
    settings = ["run.steps=7", "optimiser.learning_rate=2e-3", "data.mixing.snr_db=[0, 1]", "model.arguments.order=2"]
    recipe = load_recipe("debian", settings)
    assert recipe.run.steps == 7
    assert recipe.optimiser.learning_rate == 0.002
    assert recipe.data.mixing.snr_db == (0.0, 1.0)
    assert recipe.model.arguments == {"order": 2}
    assert recipe.run.batch_size == load_recipe("debian").run.batch_size


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.stepps=7", "stepps"),
        ("runn.steps=7", "runn"),
        ("run.steps=many", r"run\.steps"),
        ("run.steps=0", r"run\.steps must be at least 1, but is 0"),
        ("run.average=1", r"run\.average must be at least 0 and below 1, but is 1"),
        ("run.precision=8", r"run\.precision"),
        ("data.mixing.snr_db=3", r"data\.mixing\.snr_db"),
        ("data.mixing.snr_db=[3, 1]", "must go from low to high"),
        ("data.mixing.far_babble=1.5", "must be from 0 to 1, but is 1.5"),
        ("model.keep=[0,1]", r"model\.keep must be two shares from 0 to below 1, but is \(0\.0, 1\.0\)"),
        ("model.dropout=1", r"model\.dropout must be at least 0 and below 1, but is 1"),
        ("data.mixing.grains=1.5", "must be from 0 to 1, but is 1.5"),
        ("data.mixing.noise_room=-0.1", "must be from 0 to 1, but is -0.1"),
        ("data.mixing.noise_contour=2", "must be from 0 to 1, but is 2"),
        ("data.mixing.noise_reversed=-1", "must be from 0 to 1, but is -1"),
        ("data.mixing.noise_scrambled=1.1", r"must be from 0 to 1, but is 1\.1"),
        ("data.mixing.grains=0.9", "babble, synthetic and grains must be 1 at most together, but are 1.25"),
        ("data.mixing.noises=[]", "must be chances"),
        ("data.mixing.noises=[1, -1]", "must be chances"),
        ("steps=7", r"must be section\.field=value"),
        ("run.steps", r"must be section\.field=value"),
        ("run.steps.more=1", "steps is no section"),
        ("run.steps=[", "is not YAML"),
    ],
)
def test_faulty_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("debian", [setting])


@pytest.mark.parametrize("text", ["- a\n- b\n", "model: [", "run: 3\n"])
def test_faulty_files_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        load_recipe(path)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert load_recipe(tmp_path / "mine.yaml") == Recipe()
    with pytest.raises(FileNotFoundError):
        load_recipe(tmp_path / "nowhere.yaml")
