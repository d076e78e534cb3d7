"""Two processes have the gradients of one with the joint batch."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lite_rtse_ext.data.dataset import Example, TrainingExamples
from lite_rtse_ext.train.recipe import load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.forks import ROOT, side_by_side
from tests.train.runs import IMPORTED, QUICK, newest, train

STEPS = 3


def ranks_of(processes: int) -> list[dict[str, str]]:
    """The variables that torchrun gives its processes."""
    if processes == 1:
        return [{}]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    joint = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    joint |= {"LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "tests"}
    return [joint | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def environments(processes: int) -> list[dict[str, str]]:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return [own | rank for rank in ranks_of(processes)]


def gradients(folder: Path, arguments: list[str], processes: int) -> list[dict[str, torch.Tensor]]:
    """Gradients of each step, from the first process."""
    command = [str(ROOT / "tests" / "train" / "gradients.py"), str(folder / "gradients"), *arguments]
    command += ["--out", str(folder / "run"), f"run.devices={processes}"]
    for done in side_by_side(*command, imported=IMPORTED, envs=environments(processes)):
        assert done.returncode == 0, done.stderr
    ranks = [
        [torch.load(folder / "gradients" / f"{rank}-{step}.pt", weights_only=True) for step in range(STEPS)]
        for rank in range(processes)
    ]
    for other in ranks[1:]:
        for a, b in zip(ranks[0], other, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
    return ranks[0]


@pytest.mark.parametrize("delayed_branch_step", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_two_processes_have_the_gradients_of_the_joint_batch(tmp_path: Path, delayed_branch_step: int) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    settings = [
        QUICK,
        "model.class_path=lite_rtse_ext.LiteRTSE",
        "model.arguments={channels: 4, order: 2}",
        "model.delayed_branch=msmo_conv",
        f"model.delayed_branch_step={delayed_branch_step}",
        "optimizer.learning_rate=1e-5",  # Adam's first steps magnify rounding errors of the gradient
        f"run.steps={STEPS}",
        "--data",
        str(corpus),
    ]
    one = gradients(tmp_path / "one", [*settings, "run.batch_size=4"], processes=1)
    two = gradients(tmp_path / "two", [*settings, "run.batch_size=2"], processes=2)
    for step, (alone, joint) in enumerate(zip(one, two, strict=True)):
        branch = [name for name in alone if "msmo_conv" in name]
        assert bool(branch) == (step >= delayed_branch_step)
        for name, gradient in alone.items():
            error = (joint[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
            assert error < 1e-3, (step, name)


def train_as_torchrun_does(arguments: list[str]) -> None:
    command = ["-m", "lite_rtse_ext.cli", "train", *arguments]
    for done in side_by_side(*command, imported=IMPORTED, envs=environments(2)):
        assert done.returncode == 0, done.stderr
        assert "sync_dist" not in done.stderr  # as in a warning of Lightning for each metric


def train_by_torchrun(arguments: list[str]) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = train(arguments, launcher)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "begin", [train_as_torchrun_does, pytest.param(train_by_torchrun, marks=pytest.mark.slow)], ids=lambda f: f.__name__
)
def test_a_run_goes_on_in_another_number_of_processes(
    begin: Callable[[list[str]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process goes on with the batches after those that two have taken, as large as theirs together.

    torchrun itself imports PyTorch three times. That is slow.
    """
    corpus = make_corpus(tmp_path / "corpus")
    settings = ["model.class_path=tests.train.networks.Mask", "run.batch_size=2", "run.devices=2", "run.steps=3"]
    begin([QUICK, *settings, "--data", str(corpus), "--out", str(tmp_path / "run")])
    drawn: list[tuple[int, int]] = []
    usual = TrainingExamples.__getitem__

    def draw(self: TrainingExamples, index: tuple[int, int]) -> Example:
        drawn.append(index)
        return usual(self, index)

    monkeypatch.setattr(TrainingExamples, "__getitem__", draw)
    goes_on = load_recipe(tmp_path / "run" / "recipe.yaml", ["run.devices=1", "run.batch_size=4", "run.steps=6"])
    fit(goes_on, tmp_path / "run", resume=True, progress=False)
    batches = [drawn[start : start + 4] for start in range(0, len(drawn), 4)]
    expected = [(0, 3), (0, 4), (1, 0)]  # five batches make an epoch
    assert batches == [[(epoch, 4 * batch + place) for place in range(4)] for epoch, batch in expected]
    assert newest(tmp_path / "run")["global_step"] == 6
