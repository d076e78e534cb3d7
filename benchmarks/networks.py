"""All networks under one recipe: ``python -m benchmarks.networks DATA/manifest.json --out FOLDER``.

Every network sees the same examples, in the same order, with the same loss and schedule. It then enhances the test
mixtures of the manifest. Its best weights by validation are judged, not its last ones. The recipe is
``networks.yaml``, and settings on the command line override it. Only Lite-RTSE gets settings of its own, which its own
recipes have as well. The loss compares spectrograms of the network's own transform.

Each network and seed has a folder. A result is written as soon as it is complete. The same command again continues an
interrupted training and keeps complete results. In the end the means of all results of this recipe that the folder has
go to ``networks.json``, also those of other networks and seeds.

Times are those of this machine. Do not compare them if it was busy. Training seconds are those of a step, validations
included, times the number of steps. Inference is timed with weights as trained, on one utterance, with one thread.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import RESULTS
from benchmarks.networks_table import summary, table
from lite_rtse_ext import LiteRTSE, fuse, reference
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles, measure
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.evaluate.journal import Journal, files_of_model, stamp
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.evaluate.run import evaluate
from lite_rtse_ext.evaluate.sources import ManifestSource
from lite_rtse_ext.interface import SpectrogramModel
from lite_rtse_ext.models.complexity import cost
from lite_rtse_ext.models.registry import model_names
from lite_rtse_ext.train.recipe import Recipe, anchored, load_recipe, plain
from lite_rtse_ext.train.resume import read_progress
from lite_rtse_ext.train.run import fit, last_checkpoint
from lite_rtse_ext.utils.atomic_file import replacing

RECIPE = Path(__file__).with_name("networks.yaml")
OWN_SETTINGS: Mapping[str, Sequence[str]] = {
    "lite-rtse": ("model.normalize_input=true", "model.identity=true"),  # without them its training may diverge
}
_TIMED_SECONDS = 4
_TIMES = "times.json"


@dataclass(frozen=True)
class Question:
    """What is compared.

    Args:
        manifest: path of the manifest.
        out: folder of the runs and results.
        settings: settings that override the recipe.
        split: split of the mixtures that are judged.
        opinions: whether to compute the DNSMOS scores.
        jobs: number of processes that judge.
        rounds: number of times that inference is timed.
    """

    manifest: Path
    out: Path
    settings: Sequence[str] = ()
    split: str = "test"
    opinions: bool = True
    jobs: int | None = None
    rounds: int = 7

    def recipe(self, network: str, seed: int) -> Recipe:
        """The recipe of a network: that of all, with its name and the seed."""
        own = [f"run.seed={seed}", f"data.manifest={json.dumps(str(self.manifest))}"]
        return anchored(
            load_recipe(RECIPE, [f"model.class_path={network}", *OWN_SETTINGS.get(network, ()), *self.settings, *own])
        )

    def about(self, network: str, seed: int) -> dict[str, Any]:
        """What identifies a result. A result of another question is not taken for one of this."""
        recipe = json.loads(json.dumps(plain(self.recipe(network, seed))))
        return {"network": network, "seed": seed, "recipe": recipe, "split": self.split, "opinions": self.opinions}


class OtherQuestion(ValueError):
    """The folder holds a result of another recipe."""


def answer(question: Question, network: str, seed: int) -> dict[str, Any]:
    """Return the result of a network and seed: the one that is complete, or a new one.

    Raises:
        OtherQuestion: the folder holds a result of another recipe.
        OSError, ValueError, RuntimeError, ArithmeticError: the training or the judgement failed.
    """
    folder = question.out / f"{network}-{seed}"
    path, about = folder.with_suffix(".json"), question.about(network, seed)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not _answers(found, about):
            raise OtherQuestion(f"{path}: expected a result of this recipe, got one of another: choose another --out")
        return found
    recipe = question.recipe(network, seed)
    _train(recipe, folder)
    model = load_model(folder)
    found = about | _counts(network, recipe.model.arguments)
    found |= {"training_seconds": _training_seconds(folder, recipe), **speeds(model, question.rounds)}
    found |= {"recordings": _judge(question, folder, about), "environment": asdict(environment("cpu"))}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return found


def _answers(found: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    return {key: found.get(key) for key in about} == about


def complete(question: Question) -> list[dict[str, Any]]:
    """Return the results of the question that the folder holds: those of all networks and seeds."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(question.out.glob("*-*.json"))]
    return [each for each in found if _answers(each, question.about(each["network"], each["seed"]))]


def _train(recipe: Recipe, folder: Path) -> None:
    """Train, or continue an interrupted training. Add the steps and seconds to the folder's times."""
    begun = _steps_taken(recipe, folder)
    if begun == recipe.run.steps:
        return
    start = time.perf_counter()
    trainer = fit(recipe, folder, resume=True)
    times = [*_times(folder), {"steps": trainer.global_step - begun, "seconds": time.perf_counter() - start}]
    with replacing(folder / _TIMES) as temporary:
        temporary.write_text(json.dumps(times) + "\n", encoding="utf-8")


def _steps_taken(recipe: Recipe, folder: Path) -> int:
    newest = last_checkpoint(folder)
    return read_progress(newest, recipe).step if newest else 0


def _times(folder: Path) -> list[dict[str, float]]:
    path = folder / _TIMES
    found: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return found


def _training_seconds(folder: Path, recipe: Recipe) -> float | None:
    """Seconds of a step times the steps. None if every part of the training was interrupted before it was timed."""
    times = _times(folder)
    steps, seconds = (sum(each[key] for each in times) for key in ("steps", "seconds"))
    return seconds / steps * recipe.run.steps if steps else None


def _counts(network: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = cost(network, **arguments)
    return {name: getattr(found, name) for name in ("parameters", "mac_per_second", "latency_ms")}


def _judge(question: Question, folder: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of every mixture. An interrupted judgement is continued."""
    make_source = partial(ManifestSource, question.manifest, question.split)
    journal = Journal(
        folder / "unfinished.jsonl", about | {"files": stamp(files_of_model(folder / "best.safetensors"))}
    )
    results = evaluate(folder, make_source, jobs=question.jobs, opinions=question.opinions, journal=journal)
    journal.remove()
    return [asdict(result) for result in results]


def speeds(model: SpectrogramModel, rounds: int) -> dict[str, Any]:
    """Seconds of inference per second of sound, with plain PyTorch and with the fused operators.

    The runs of both are interleaved.

    Returns:
        "inference": percentiles by the two names. "fused": the blocks that run the operators.
    """
    eager, fused = _plain(model), _plain(model)
    report = fuse(fused)
    waveform = 0.1 * torch.randn(_TIMED_SECONDS * eager.signal.sample_rate, generator=torch.Generator().manual_seed(0))

    def timed(network: SpectrogramModel) -> Callable[[Any], list[Tensor]]:
        return lambda _: [enhance_waveform(network, waveform)]

    sides = {"eager": eager, "fused": fused}
    times = measure([Candidate(name, timed(side), threads=1) for name, side in sides.items()], rounds)
    found = {name: asdict(Quantiles.of([s / _TIMED_SECONDS for s in times.seconds[name]])) for name in sides}
    return {"inference": found, "fused": [str(finding) for finding in report.fused]}


def _plain(model: SpectrogramModel) -> SpectrogramModel:
    """A copy in plain PyTorch."""
    if not isinstance(model, LiteRTSE):
        return copy.deepcopy(model)
    network = reference.LiteRTSE(**model.config())
    network.load_state_dict(model.state_dict())
    return network.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, time, and print a table in Markdown after every result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="of lite-rtse prepare")
    parser.add_argument("settings", nargs="*", help="settings of the recipe, such as run.steps=6000")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and results")
    parser.add_argument("--networks", nargs="+", default=model_names(), choices=model_names(), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--split", default="test")
    parser.add_argument("--no-dnsmos", action="store_true", help="leave DNSMOS out, which takes most of the time")
    parser.add_argument("--jobs", type=int, help="processes that judge; by default one for each usable core")
    parser.add_argument("--rounds", type=int, default=7, help="times that inference is timed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for networks.json, the means of all")
    options = parser.parse_intermixed_args(arguments)
    question = Question(
        options.manifest,
        options.out,
        options.settings,
        options.split,
        not options.no_dnsmos,
        options.jobs,
        options.rounds,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    results, missing = [], []
    for seed, network in itertools.product(options.seeds, options.networks):
        try:
            results.append(answer(question, network, seed))
            print(table(results), end="\n\n", flush=True)
        except OtherQuestion as error:
            parser.error(str(error))
        except (ArithmeticError, ImportError, OSError, RuntimeError, ValueError) as error:
            missing.append(f"{network}, seed {seed}: {error}")
            print(missing[-1], file=sys.stderr, flush=True)
    if missing:
        sys.exit(f"no result of {len(missing)} of {len(results) + len(missing)}")
    _save(options.results / "networks.json", question, complete(question))


def _save(path: Path, question: Question, results: Sequence[Mapping[str, Any]]) -> None:
    about = {"settings": list(question.settings), "split": question.split, "environment": results[0]["environment"]}
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        text = json.dumps({"date": date} | about | summary(results), indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
