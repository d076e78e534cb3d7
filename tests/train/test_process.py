"""A run leaves the process as it was, and says what became of the processes that drew its examples."""

from __future__ import annotations

import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.data.manifest import Manifest
from lite_rtse_ext.train.callbacks import TrainingError
from lite_rtse_ext.train.process import borrowed_process, clear_errors, is_first_process
from lite_rtse_ext.train.recipe import Recipe, RecipeError, load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.train.runs import QUICK

MODEL = ("model.class_path=tests.train.networks.Mask", "model.arguments={hidden: 4}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def recipe(corpus: Path, *settings: str) -> Recipe:
    return load_recipe(QUICK, [f"data.manifest={corpus}", *MODEL, "run.steps=2", *settings])


def process_state() -> dict[str, Any]:
    return {
        "logging": logging.getLogger("lightning.pytorch").level,
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "random": random.getstate(),
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "denormals": (torch.full((8,), 1e-30) * 1e-10).any(),
        "interruption": signal.getsignal(signal.SIGINT),
    }


@pytest.fixture
def own_settings(thread_count: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What someone has set before training."""
    torch.set_num_threads(2)
    monkeypatch.setenv("PL_GLOBAL_SEED", "mine")
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "level", logging.ERROR)
    return process_state()


@pytest.mark.parametrize("settings", [(), ("run.deterministic=true", "run.threads=1", "run.seed=3")])
def test_a_run_leaves_the_process_as_it_was(
    corpus: Path, tmp_path: Path, own_settings: dict[str, Any], settings: tuple[str, ...]
) -> None:
    fit(recipe(corpus, *settings), tmp_path, progress=False)
    assert process_state() == own_settings


def test_a_run_that_fails_leaves_the_process_as_it_was(
    corpus: Path, tmp_path: Path, own_settings: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError):
        fit(recipe(corpus, "run.monitor=valid/nothing", "run.deterministic=true"), tmp_path, progress=False)
    assert process_state() == own_settings


def test_within_a_run_its_settings_hold(own_settings: dict[str, Any]) -> None:
    with borrowed_process(1):
        assert torch.get_num_threads() == 1
        assert logging.getLogger("lightning.pytorch").level == logging.WARNING
    with borrowed_process(0):
        assert torch.get_num_threads() == 2


def drawing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Something happens in the process that draws the fourth example."""
    usual = TrainingExamples.__getitem__

    def draw(self: TrainingExamples, index: tuple[int, int]) -> Any:
        if index == (0, 3):
            happens()
        return usual(self, index)

    monkeypatch.setattr(TrainingExamples, "__getitem__", draw)


def test_a_process_that_dies_is_told_with_what_to_do(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(TrainingError, match=r"examples has died .*lower data\.workers or .*; --resume goes on") as told:
        fit(recipe(corpus, "data.workers=1"), tmp_path, progress=False)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_process_that_dies_while_it_hands_over_an_example(error: Exception) -> None:
    with pytest.raises(TrainingError, match=r"examples has died \(it ended unexpectedly\)"), clear_errors():
        raise error


def raising(error: BaseException) -> Callable[[], None]:
    def happens() -> None:
        raise error

    return happens


def test_an_interruption_is_no_other_exception(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_settings: dict[str, Any]
) -> None:
    """Lightning makes it the end of the process, and ignores the next one."""
    drawing(monkeypatch, raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(corpus), tmp_path, progress=False)
    assert process_state() == own_settings


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [AudioError("a.flac: damaged"), FileNotFoundError("b.flac: gone")])
def test_errors_are_the_same_from_any_process(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, error: Exception
) -> None:
    drawing(monkeypatch, raising(error))
    with pytest.raises(type(error)) as told:
        fit(recipe(corpus, f"data.workers={workers}"), tmp_path, progress=False)
    assert str(told.value) == str(error)


def test_faults_of_the_program_keep_their_traceback(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, raising(ZeroDivisionError("by mistake")))
    with pytest.raises(ZeroDivisionError, match="Traceback"):
        fit(recipe(corpus, "data.workers=1"), tmp_path, progress=False)


def test_a_file_lost_during_a_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_corpus(tmp_path / "corpus")
    drawing(monkeypatch, lambda: [p.unlink(missing_ok=True) for p in (path.parent / "speech").iterdir()])  # type: ignore[arg-type, return-value]
    manifest = Manifest.load(path)
    with pytest.raises(OSError, match=r"speech/.*\.flac") as told:
        fit(recipe(path, "data.workers=1", "data.damaged=refuse", "run.steps=50"), tmp_path / "run", progress=False)
    assert any(clip.path in str(told.value) for clip in manifest.clips)
    assert "\n" not in str(told.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_the_machine_can_not_do_is_one_line(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="run: No supported gpu backend found"):
        fit(recipe(corpus, "run.accelerator=gpu"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
    ids=str,
)
def test_launchers_tell_the_first_process(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == expected
