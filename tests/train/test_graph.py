"""A run's steps as a graph. On the CPU, a function that is run again stands for CUDA's graphs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.train import module
from lite_rtse_ext.train.graph import StepGraph, step_graph
from lite_rtse_ext.train.loss import Losses
from lite_rtse_ext.train.recipe import Recipe, RunRecipe, load_recipe
from lite_rtse_ext.train.run import fit
from lite_rtse_ext.utils import fallback
from lite_rtse_ext.utils.fallback import FallbackWarning
from tests.data.prepare.corpus import make_corpus
from tests.train.runs import QUICK, newest

GPU = torch.device("cuda", 0)
SMALL = ("model.class_path=lite_rtse_ext.LiteRTSE", "model.arguments={channels: 4, order: 2}", "model.identity=true")


class Repeated:
    """Runs the recorded function anew, into the memory of its first results."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def warm_up(self, work: Callable[[], object]) -> None:
        work()

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        result = work()

        def replay() -> None:
            self.replayed += 1
            losses, _, gradients = work()
            torch._foreach_copy_([result[0], *result[2]], [losses, *gradients])

        return result, replay


class Refusing(Repeated):
    """As CUDA does where a step waits for the GPU."""

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nSearch for ...")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def quiet(thread_count: None) -> Iterator[None]:
    """Without Lightning's advice. Each message of a fallback may come again."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    fallback._warn.cache_clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield


def recipe(corpus: Path, *settings: str) -> Recipe:
    return load_recipe(QUICK, [f"data.manifest={corpus}", "run.steps=6", *settings])


def trained(chosen: Recipe, folder: Path, capture: Repeated | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The newest checkpoint of a run whose steps are computed by a graph, or without one."""

    def graph(net: nn.Module, losses: Callable[[Example], Losses], run: RunRecipe, _: object) -> StepGraph | None:
        return StepGraph(net, losses, capture, run.accumulate) if capture else None

    monkeypatch.setattr(module, "step_graph", graph)
    fit(chosen, folder, progress=False)
    return newest(folder)


def assert_same_run(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["global_step"] == expected["global_step"]
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name


@pytest.mark.parametrize(
    ("settings", "recorded", "replayed"),
    [
        ((), 1, 6),
        (("run.accumulate=2",), 1, 10),  # the last batch of an epoch of five is a step of its own
        (("run.precision=bf16-mixed", "run.average=0.9"), 1, 6),
        ((*SMALL, "model.delayed_branch=msmo_conv", "model.delayed_branch_step=3", "model.dropout=0.1"), 2, 6),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_run_by_graphs_is_the_run_without(
    settings: tuple[str, ...],
    recorded: int,
    replayed: int,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit, with dropout, clipping and validations between the steps."""
    chosen, capture = recipe(corpus, *settings), Repeated()
    found = trained(chosen, tmp_path / "graph", capture, monkeypatch)
    assert (capture.recorded, capture.replayed) == (recorded, replayed)
    assert_same_run(found, trained(chosen, tmp_path / "plain", None, monkeypatch))


def test_a_run_without_a_graph_says_so_once(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe(corpus)
    with pytest.warns(FallbackWarning) as said:
        found = trained(chosen, tmp_path / "graph", Refusing(), monkeypatch)
    words = [str(each.message) for each in said if each.category is FallbackWarning]
    assert words == [
        "train computes every step without a CUDA graph, as none could be recorded: "
        "CUDA error: operation not permitted when stream is capturing"
    ]
    assert_same_run(found, trained(chosen, tmp_path / "plain", None, monkeypatch))


class Running(nn.Module):
    """One layer with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.unused = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)

    def losses(self, batch: Example) -> Losses:
        value = (self.norm(self.layer(batch.noisy)) - batch.clean).square().mean()
        return Losses(value, value, value, value)


def batch_of(count: int, seed: int = 0) -> Example:
    generator = torch.Generator().manual_seed(seed)
    return Example(*torch.randn(2, count, 4, generator=generator))


def test_recording_leaves_statistics_and_random_states_alone() -> None:
    torch.manual_seed(0)
    net = Running()
    graph, state = StepGraph(net, net.losses, Repeated()), torch.get_rng_state()
    found = graph.losses(batch_of(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert net.norm.num_batches_tracked == 1
    assert found is not None
    assert not found.total.requires_grad
    assert graph.hand_over_gradients()
    assert not graph.hand_over_gradients()  # once for each batch
    assert net.unused.weight.grad is None
    earlier = found.total.clone()
    graph.losses(batch_of(3, seed=1))
    assert torch.equal(found.total, earlier)  # whoever keeps a loss keeps its value


def test_gradients_are_memory_of_their_own() -> None:
    """Autograd may give two parameters one tensor. Clipping changes each in place."""
    a, b = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    net = nn.ParameterList([a, b])

    def losses(batch: Example) -> Losses:
        value = ((a + b) * batch.noisy).sum()
        return Losses(value, value, value, value)

    graph = StepGraph(net, losses, Repeated())
    assert graph.losses(batch_of(3)) is not None
    graph.hand_over_gradients()
    assert a.grad is not None
    assert b.grad is not None
    expected = b.grad.clone()
    a.grad.zero_()
    assert torch.equal(b.grad, expected)


def test_another_shape_is_computed_without() -> None:
    net = Running()
    graph = StepGraph(net, net.losses, Repeated())
    assert graph.losses(batch_of(3)) is not None
    with pytest.warns(FallbackWarning, match=r"expected batches of shape \(3, 4\), got \(2, 4\)"):
        assert graph.losses(batch_of(2)) is None
    assert not graph.hand_over_gradients()
    assert graph.losses(batch_of(3)) is not None


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (RunRecipe(devices=2), r"gradients of 2 GPUs are averaged \(run\.devices\)"),
        (RunRecipe(precision="16-mixed"), "scale of the loss changes"),
    ],
    ids=["devices", "16-mixed"],
)
def test_a_setting_that_allows_no_graph_is_named(run: RunRecipe, words: str) -> None:
    net = Running()
    with pytest.warns(FallbackWarning, match=words):
        assert step_graph(net, net.losses, run, GPU) is None


def test_a_gpu_needs_no_option() -> None:
    net, run = Running(), RunRecipe()
    assert step_graph(net, net.losses, run, GPU) is not None
    assert step_graph(net, net.losses, replace(run, cuda_graph=False), GPU) is None
    assert step_graph(net, net.losses, run, torch.device("cpu")) is None


class Copies(TorchDispatchMode):
    """Notes what a CUDA graph can't hold: a tensor from Python's numbers, and a number from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in (torch.ops.aten.lift_fresh, torch.ops.aten._local_scalar_dense):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def test_a_step_neither_copies_constants_nor_waits(corpus: Path) -> None:
    """Once the windows are on the device."""
    enhancer = module.Enhancer(module.InputGain(nn.PReLU(), 1.0), recipe(corpus))
    batch = Example(*(0.1 * torch.randn(2, 2, 4000)))
    for _ in range(2):
        with Copies() as copies:
            losses, _ = enhancer.losses(batch)
            losses.total.backward()
    assert copies.found == []


def test_copies_would_be_seen() -> None:
    x: Tensor = torch.ones(2)
    with Copies() as copies:
        x.new_tensor([1.0, 2.0])
        x.sum().item()
    assert len(copies.found) == 2
