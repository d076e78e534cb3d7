"""Speed of the whole network in inference and training: ``python -m benchmarks.model``.

A training step is forward pass, mean squared error, backward pass and PyTorch's fused AdamW. Its three parts are also
timed separately. The learning rate is 0: the optimizer does the same arithmetic, and every round computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks import show
from benchmarks.harness import Entry, Report, Settings, compare, parse, report, variant_entries
from benchmarks.variants import VARIANTS, Runnable
from lite_rtse_ext.benchmark.operators import Case, candidate, case
from lite_rtse_ext.benchmark.timing import Candidate

TRAINING = ("training step", "forward, recorded", "backward of the loss", "optimizer")
LIMITS = {"forward, recorded": 1e-5, "backward of the loss": 1e-4, "optimizer": 1e-4, "training step": 1e-4}


class Training:
    """A network with its optimizer and the parts of a training step.

    ``runnable`` is the network as a module, or its compiled form.
    """

    def __init__(self, runnable: Runnable, case: Case) -> None:
        assert isinstance(runnable, nn.Module)
        self.runnable = runnable
        (self.noisy,), self.clean = case.inputs, case.output_gradient
        self.parameters = list(runnable.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.0, fused=True)

    def loss(self) -> Tensor:
        """Run the forward pass with recording for autograd, and return the loss."""
        return torch.nn.functional.mse_loss(self.runnable(self.noisy), self.clean)

    def start(self) -> Tensor:
        """Clear the gradients and return the loss of a step."""
        self.optimizer.zero_grad()
        return self.loss()

    def backward(self, loss: Tensor) -> list[Tensor]:
        """Run the backward pass and return the gradients of the parameters."""
        loss.backward()  # type: ignore[no-untyped-call]
        return self.gradients()

    def update(self, gradients: list[Tensor]) -> list[Tensor]:
        """Run the optimizer step and return the gradients unchanged."""
        self.optimizer.step()
        return gradients

    def gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]


def training_candidate(name: str, runnable: Runnable, case: Case, what: str = "training step") -> Candidate:
    """Make a candidate of one part of :data:`TRAINING`. The forward pass returns the loss, others the gradients."""
    training = Training(runnable, case)
    parts: dict[str, Candidate] = {
        "training step": Candidate(name, lambda _: training.update(training.backward(training.start()))),
        "forward, recorded": Candidate(name, lambda _: [training.loss()]),
        "backward of the loss": Candidate(name, training.backward, training.start),
        "optimizer": Candidate(name, training.update, lambda: training.backward(training.start())),
    }
    return parts[what]


def add_inference(to: Report, settings: Settings, variants: Sequence[str] = tuple(VARIANTS)) -> None:
    """Compare the variants in inference, recorded as pass "forward" of case "LiteRTSE"."""
    this = case("LiteRTSE", settings.batch, settings.frames, device=settings.device)

    def make(name: str, runnable: Runnable, suited: Case) -> Candidate:
        return candidate(name, runnable, suited, "forward")

    expected = make("eager", this.reference, this).run()
    compare(to, this, "forward", variant_entries(this, _suited(variants, settings), True, make), expected, settings)


def add_training(
    to: Report, settings: Settings, parts: Sequence[str] = TRAINING, variants: Sequence[str] = tuple(VARIANTS)
) -> None:
    """Compare the variants in a training step and its parts. Each variant is built and compiled once."""
    this = case("LiteRTSE", settings.batch, settings.frames, device=settings.device)
    trained = [name for name in _suited(variants, settings) if VARIANTS[name].trains]
    built = {name: VARIANTS[name].build(this, False) for name in trained if name not in settings.without}
    for what in parts:
        make = _maker(built, what)
        expected = training_candidate("eager", this.reference, this, what).run()
        expected = [tensor.detach().clone() for tensor in expected]
        compare(to, this, what, [make(name) for name in trained], expected, settings, limit=LIMITS[what])


def _suited(variants: Sequence[str], settings: Settings) -> list[str]:
    return [name for name in variants if settings.device == "cuda" or not VARIANTS[name].graph]


def _maker(built: dict[str, tuple[Runnable, Case]], what: str) -> Callable[[str], Entry]:
    return lambda name: Entry(name, lambda: training_candidate(name, *built[name], what))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments)
    answer = report("model", settings)
    add_inference(answer, settings)
    add_training(answer, settings)
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
