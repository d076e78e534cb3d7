"""``lite-rtse train``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lite_rtse_ext.train.named_recipes import recipe_names
from lite_rtse_ext.utils.extras import require
from lite_rtse_ext.utils.path_name import PathName

_HELP = f"""Train a network by RECIPE: a YAML file, or one of those that come with the package
({", ".join(recipe_names())}).

SETTINGS, like run.steps=1000, override the file. The folder of the run gets the recipe, best.safetensors (the best
weights by validation, which `lite-rtse enhance --checkpoint` takes), checkpoints to resume from, and logs that
TensorBoard shows. A run that was cut off, however rudely, goes on with --resume as if it had never stopped.

With --resume there may be SETTINGS, too, which go into the recipe of the run: those of speed and memory, such as
data.workers=2 or run.precision=bf16-mixed, another run.steps, and --data or teacher.checkpoint where the file has
moved. What would make another run of it, such as another network or loss, is refused.

Several processes or GPUs: torchrun --nproc-per-node N -m lite_rtse_ext.cli train … run.devices=N

\b
lite-rtse train debian --data debian/manifest.json --out run
lite-rtse train --resume --out run
"""


@click.command(help=_HELP)
@click.argument("arguments", nargs=-1, metavar="[RECIPE] [SETTINGS]...")
@click.option("--out", "folder", type=PathName(), required=True, help="Folder of the run.")
@click.option("--data", "manifest", type=PathName(), help="Manifest; the same as data.manifest=PATH.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder; it has its recipe.")
def train(arguments: tuple[str, ...], folder: Path, manifest: Path | None, resume: bool) -> None:
    recipe, settings = _recipe_and_settings(arguments, resume)
    require("training", "train", ("torch", "lightning", "pydantic", "tensorboard", "yaml"))
    from lite_rtse_ext.train.recipe import load_recipe
    from lite_rtse_ext.train.run import RECIPE, fit

    if manifest:
        settings = (*settings, f"data.manifest={json.dumps(str(manifest))}")
    chosen = load_recipe(recipe or folder / RECIPE, settings)
    fit(chosen, folder, resume=resume, report=lambda line: click.echo(line, err=True))
    click.echo(f"best weights: {folder / 'best.safetensors'}")


def _recipe_and_settings(arguments: tuple[str, ...], resume: bool) -> tuple[str | None, tuple[str, ...]]:
    if "" in arguments:
        raise click.BadParameter("expected a name, got an empty one", param_hint="'[RECIPE] [SETTINGS]...'")
    if not resume:
        if not arguments:
            raise click.UsageError("give a recipe for a new run, or --resume for the one in the folder")
        return arguments[0], arguments[1:]
    recipes = [each for each in arguments if "=" not in each]
    if recipes:
        raise click.UsageError(
            f"--resume goes by the recipe in the folder, so it takes settings alone, got {recipes[0]}"
        )
    return None, arguments
