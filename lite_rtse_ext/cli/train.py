"""``lite-rtse train``."""

from __future__ import annotations

from pathlib import Path

import click

from lite_rtse_ext.cli.errors import one_line, require_packages


@click.command()
@click.argument("recipe", required=False)
@click.argument("settings", nargs=-1)
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--data", "manifest", type=click.Path(path_type=Path), help="Manifest; the same as data.manifest=PATH.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder; it has its recipe.")
def train(recipe: str | None, settings: tuple[str, ...], folder: Path, manifest: Path | None, resume: bool) -> None:
    """Train a network by RECIPE: a YAML file, or one of those that come with the package (debian, vctk_demand,
    finetune).

    SETTINGS, like run.steps=1000, override the file. The folder of the run gets the recipe, best.safetensors (the best
    weights by validation, which `lite-rtse enhance --checkpoint` takes), checkpoints to resume from, and logs that
    TensorBoard shows. A run that was cut off, however rudely, goes on with --resume as if it had never stopped.

    Several processes or GPUs: torchrun --nproc-per-node N -m lite_rtse_ext.cli train … run.devices=N

    \b
    lite-rtse train debian --data debian/manifest.json --out run
    lite-rtse train --resume --out run
    """
    with one_line():
        if resume == bool(recipe):
            raise click.UsageError("give a recipe for a new run, or --resume for the one in the folder")
        require_packages("training", "train", ("lightning", "pydantic", "tensorboard", "yaml"))
        from lite_rtse_ext.train.fit import RECIPE, fit
        from lite_rtse_ext.train.recipe import load_recipe

        if resume:
            chosen = load_recipe(folder / RECIPE)
        else:
            extra = (f"data.manifest={manifest}",) if manifest else ()
            chosen = load_recipe(str(recipe), (*settings, *extra))
        fit(chosen, folder, resume=resume)
        click.echo(f"best weights: {folder / 'best.safetensors'}")
