"""What each part of a recipe adds: ``python -m benchmarks.ablations RECIPE --data ALL.json``.

Every row is a short training run: the recipe, shortened, with one thing changed. Its figure is the mean gain of SI-SNR
on the validation mixtures, whose speakers and noises no row trains with. For a row with the convolution branch, the
gain with the branch's output set to zero is given too. Runs that are complete are not repeated.

``--without "NAME=FIELD:PATTERN"`` adds a row whose training lacks some of the data. FIELD is speech or noise, whose
paths the pattern matches, or license. The same NAME can be given more than once. Such a row has a manifest of its own,
which is written beside that of the data.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean

import torch

from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.data.manifest import Clip
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.train.callbacks import TrainingError
from lite_rtse_ext.train.loss import si_snr_db
from lite_rtse_ext.train.recipe import Recipe, load_recipe
from lite_rtse_ext.train.run import BEST_WEIGHTS, fit

RESULTS = Path(__file__).parent / "results" / "ablations.json"
_WITHOUT_BRANCH = [
    "model.delayed_branch=msmo_conv",
    "model.delayed_branch_step=1000000000",
    "model.unit_gain=false",  # a branch that has not joined must put out zeros
    "model.identity=true",
]

ROWS: dict[str, list[str]] = {
    "whole recipe": [],
    "no convolution branch": _WITHOUT_BRANCH,
    "branch to the residual alone, as published": ["model.arguments.mask_branch=false"],
    "no compression": ["model.arguments.compression=1.0"],
    "PyTorch's initial values": ["model.unit_gain=false", "model.identity=true"],
}
FIELDS = ("speech", "noise", "license")
ZEROED = "gain_db_branch_zeroed"
SEEDED = ("whole recipe", "no convolution branch")


def settings(row: str, seed: int, steps: int) -> list[str]:
    """The settings that make a recipe a row of the table."""
    short = [f"run.steps={steps}", f"run.epoch_batches={steps}", f"run.save_every={steps}", "run.average=0.99"]
    return [*short, f"run.seed={seed}", "optimizer.warmup_steps=100", *ROWS.get(row, [])]


def parse_without(texts: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """The fields and patterns of each name in ``--without``.

    Raises:
        ValueError: a text is not NAME=FIELD:PATTERN.
    """
    without: dict[str, list[tuple[str, str]]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        field, colon, pattern = rest.partition(":")
        if not (name and equals and colon and field in FIELDS):
            raise ValueError(f"--without: expected NAME=FIELD:PATTERN with a field of {', '.join(FIELDS)}, got {text}")
        without.setdefault(name, []).append((field, pattern))
    return without


def reduced(path: Path, name: str, patterns: Sequence[tuple[str, str]]) -> Path:
    """Write a manifest without the training clips that a pattern matches, beside ``path``. Returns its path."""

    def matches(clip: Clip) -> bool:
        text = {clip.kind: clip.path, "license": clip.license}
        return any(field in text and fnmatchcase(text[field], pattern) for field, pattern in patterns)

    manifest = Manifest.load(path)
    kept = tuple(clip for clip in manifest.clips if clip.split != "train" or not matches(clip))
    target = path.with_name(f"{path.stem}-without-{slug(name)}.json")
    replace(manifest, clips=kept).save(target)
    return target


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"\W+", "-", name)


@torch.no_grad()
def gain_db(model: SpectrogramModel, manifest: Manifest, high_pass: bool) -> float:
    """The mean gain of SI-SNR on the validation mixtures."""
    gains = []
    examples = FixedExamples(manifest, "valid")
    for noisy, clean in (examples[i] for i in range(len(examples))):
        enhanced = enhance_waveform(model, noisy, high_pass=high_pass)
        gains.append(float(si_snr_db(enhanced, clean) - si_snr_db(noisy, clean)))
    return mean(gains)


def without_branch(model: SpectrogramModel) -> SpectrogramModel:
    """The same network with the output of its convolution branch set to zero."""
    with torch.no_grad():
        for name in ("weight", "bias"):
            model.get_parameter(f"msmo_conv.2.pwconvN.{name}").zero_()
    return model


def measured(recipe: Recipe, folder: Path) -> dict[str, float]:
    """Train a row and judge it. A run that was interrupted is continued. A run that diverges has no figures."""
    try:
        fit(recipe, folder, resume=folder.exists(), progress=False)
    except TrainingError as error:
        print(f"{folder}: {error}")
        return {}
    best = folder / BEST_WEIGHTS
    if not best.exists():  # it diverged in an earlier call
        return {}
    manifest = Manifest.load(recipe.data.manifest)
    result = {"gain_db": gain_db(load_model(folder), manifest, recipe.model.high_pass)}
    if recipe.model.delayed_branch is None:
        result[ZEROED] = gain_db(without_branch(load_model(folder)), manifest, recipe.model.high_pass)
    best.unlink()
    return result


def runs(seeds: int, without: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The rows and seeds to train."""
    for row in (*ROWS, *(f"without {name}" for name in without)):
        yield from ((row, seed) for seed in range(seeds if row in SEEDED else 1))


def table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """The Markdown table: the gains of all seeds."""
    lines = ["| trained with | SI-SNR gain in dB, each seed | the same, branch zeroed |", "|---|---|---|"]
    for row, results in rows.items():
        gains = [f"{result['gain_db']:+.2f}" if result else "diverged" for result in results.values()]
        zeroed = [f"{result[ZEROED]:+.2f}" for result in results.values() if ZEROED in result]
        cells = [", ".join(gains), ", ".join(zeroed)]
        lines.append(f"| {row} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="recipe of the package, or a file")
    parser.add_argument("--data", type=Path, required=True, help="manifest of prepare join")
    parser.add_argument("--without", action="append", default=[], metavar="NAME=FIELD:PATTERN", help="data left out")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the first two rows")
    parser.add_argument("--runs", type=Path, default=Path("ablations"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    without = parse_without(chosen.without)
    content = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"steps": chosen.steps, "rows": {}}
    for row, seed in runs(chosen.seeds, without):
        done = content["rows"].setdefault(row, {})
        if str(seed) in done:
            continue
        name = row.removeprefix("without ")
        data = reduced(chosen.data, name, without[name]) if name in without else chosen.data
        recipe = load_recipe(chosen.recipe, [*settings(row, seed, chosen.steps), f"data.manifest={data}"])
        done[str(seed)] = measured(recipe, chosen.runs / f"{slug(row)}-{seed}")
        print(f"{row}, seed {seed}: {done[str(seed)]}")
        chosen.out.write_text(json.dumps(content, indent=1) + "\n")
    print(table(content["rows"]))


if __name__ == "__main__":
    main()
