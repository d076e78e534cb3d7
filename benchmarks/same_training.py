"""Training of the fused network beside the plain one: ``python -m benchmarks.same_training DATA/manifest.json``.

Both begin with the same parameters, see the same examples and take the same steps. The steps are interleaved: a step of
one network, then the same step of the other. So a slowdown of the machine affects both. The Multi-Order block takes
part from the first step. The losses of every step and of some fixed mixtures in between are recorded. The times of the
steps alone are recorded, too. From these follows the time that each network needs to reach the best validation loss
that both reach.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import show
from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.dataset import Example, FixedExamples, TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.train.denormals import flushed_denormals
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.network import build_network
from lite_rtse_ext.train.recipe import ModelRecipe, OptimizerRecipe, Recipe, RunRecipe

RESULTS = Path(__file__).parent / "results"
NETWORKS = {"eager": "lite_rtse_ext.reference.LiteRTSE", "fused": "lite_rtse_ext.LiteRTSE"}
_VALIDATION_SECONDS = 2
_LEVEL = 0.0625


@dataclass
class Side:
    """One of the two runs.

    Args:
        module: network and loss.
        optimizer: optimizer of the network's parameters.
        losses: loss of each step.
        seconds: time of each step.
        validation: for each validation, the number of steps taken and the loss on the fixed mixtures.
    """

    module: Enhancer
    optimizer: torch.optim.Optimizer
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    def step(self, batch: Example, share: float) -> None:
        """Take one optimizer step with the learning rate multiplied by ``share``."""
        begin = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = share * group["initial_lr"]
        loss = self.module.losses(batch)[0].total
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - begin)
        self.losses.append(float(loss.detach()))

    @torch.no_grad()
    def validate(self, batch: Example) -> None:
        """Compute and record the loss on fixed examples."""
        self.validation.append((len(self.losses), float(self.module.losses(batch)[0].total)))

    def seconds_to(self, loss: float) -> float:
        """Return the time of all steps until a validation reached this loss. One must have reached it."""
        steps = next(steps for steps, value in self.validation if value <= loss)
        return sum(self.seconds[:steps])


def make_side(class_path: str, recipe: Recipe, examples: TrainingExamples) -> Side:
    """Make a run: a network with initial values that depend on the seed, and an optimizer."""
    torch.manual_seed(recipe.run.seed)
    network = build_network(ModelRecipe(class_path, input_gain=_LEVEL, normalize_input=True), examples)
    module = Enhancer(network, recipe)
    options = recipe.optimizer
    optimizer = torch.optim.AdamW(module.parameters(), lr=options.learning_rate, betas=options.betas)
    for group in optimizer.param_groups:
        group["initial_lr"] = options.learning_rate
    return Side(module, optimizer)


def compare(manifest: Manifest, steps: int, batch: int, seconds: float, every: int, seed: int = 0) -> dict[str, Side]:
    """Train both networks.

    Args:
        manifest: the data, including mixtures for validation.
        steps: number of steps of each network.
        batch: examples per step.
        seconds: length of an example in seconds.
        every: steps between validations.
        seed: seed of initial values and examples.

    Raises:
        RuntimeError: the networks do not begin with the same values.
    """
    options = MixingOptions(seconds=seconds, noises=(1.0,), speed=(0.9, 1.1))
    recipe = Recipe(optimizer=OptimizerRecipe(), run=RunRecipe(seed=seed))
    examples = TrainingExamples(manifest, options, seed, cache_megabytes=400)
    sides = {name: make_side(path, recipe, examples) for name, path in NETWORKS.items()}
    states = [side.module.state_dict() for side in sides.values()]
    if states[0].keys() != states[1].keys() or any(not states[0][key].equal(states[1][key]) for key in states[0]):
        raise RuntimeError("the networks do not begin with the same values")
    fixed = _validation(manifest)
    for step in range(steps):
        drawn = _stacked([examples[0, step * batch + place] for place in range(batch)])
        order = list(sides.values())
        for side in order if step % 2 else order[::-1]:
            side.step(drawn, min(1.0, (step + 1) / recipe.optimizer.warmup_steps))
        if (step + 1) % every == 0:
            for side in sides.values():
                side.validate(fixed)
    return sides


def _validation(manifest: Manifest) -> Example:
    """Load the first seconds of every fifth mixture. Shorter mixtures are omitted."""
    examples, length = FixedExamples(manifest, "valid"), _VALIDATION_SECONDS * SAMPLE_RATE_HZ
    whole = (examples[index] for index in range(0, len(examples), 5))
    return _stacked([Example(noisy[:length], clean[:length]) for noisy, clean in whole if len(clean) >= length])


def _stacked(examples: list[Example]) -> Example:
    return Example(torch.stack([each.noisy for each in examples]), torch.stack([each.clean for each in examples]))


def results(sides: dict[str, Side]) -> dict[str, Any]:
    """Return the results for JSON: loss curves, times, and the largest relative differences of the curves."""
    eager, fused = sides["eager"], sides["fused"]
    goal = max(min(value for _, value in side.validation) for side in sides.values())
    apart = [abs(a - b) / max(abs(a), 1e-3) for a, b in zip(eager.losses, fused.losses, strict=True)]
    return {
        "largest_difference_of_a_step": max(apart),
        "largest_difference_of_the_first_ten_steps": max(apart[:10]),
        "validation_loss_to_reach": goal,
        "seconds_to_it": {name: side.seconds_to(goal) for name, side in sides.items()},
        "seconds_a_step": {name: sum(side.seconds) / len(side.seconds) for name, side in sides.items()},
        "losses": {name: side.losses for name, side in sides.items()},
        "validation": {name: side.validation for name, side in sides.items()},
    }


def draw(sides: dict[str, Side]) -> Callable[[Any], None]:
    """Plot both curves against steps. Where they agree, one covers the other."""

    def onto(axes: Any) -> None:
        for (name, side), style in zip(sides.items(), ({"lw": 4, "alpha": 0.4}, {"lw": 1.2}), strict=True):
            axes.plot(range(1, len(side.losses) + 1), side.losses, color="tab:blue", label=f"{name}, training", **style)
            axes.plot(*zip(*side.validation, strict=True), color="tab:red", label=f"{name}, validation", **style)
        axes.set(xlabel="step", ylabel="loss")
        axes.legend()

    return onto


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="of lite-rtse prepare")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=20, help="steps between validations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with flushed_denormals():
        sides = compare(Manifest.load(options.manifest), options.steps, options.batch, options.seconds, options.every)
    found = results(sides)
    settings = {name: getattr(options, name) for name in ("steps", "batch", "seconds", "every", "threads")}
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "same_training.json"
    path.write_text(json.dumps(settings | {"torch": torch.__version__} | found, indent=1) + "\n", encoding="utf-8")
    for name in (
        "largest_difference_of_the_first_ten_steps",
        "largest_difference_of_a_step",
        "validation_loss_to_reach",
    ):
        print(f"{name.replace('_', ' ')}: {found[name]:.2g}")
    for name, side in sides.items():
        reached = side.seconds_to(found["validation_loss_to_reach"])
        print(f"{name}: {found['seconds_a_step'][name]:.3f} s a step, {reached:.0f} s to that loss")
    print(show.figure(options.results / "same_training.png", draw(sides), (9, 5)))


if __name__ == "__main__":
    main()
