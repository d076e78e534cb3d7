"""All networks under one recipe: they see the same examples, and complete results are kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning")
pytest.importorskip("pesq", reason="the extra eval is not installed")

from benchmarks import networks
from benchmarks.networks import Question, answer, main, speeds
from benchmarks.networks_table import table
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.evaluate import run
from lite_rtse_ext.models import create_model
from tests.data.prepare.corpus import make_corpus
from tests.models.networks import MeanMask

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = ["run.steps=2", "run.epoch_batches=2", "run.batch_size=1", "data.mixing.seconds=0.3"]
OPTIONS = ["--no-dnsmos", "--jobs", "1", "--rounds", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def in_this_process(set_up: Any, tasks: list[int], jobs: int) -> Iterator[tuple[int, Any]]:
    judge = set_up()
    yield from ((task, judge(task)) for task in tasks)


@pytest.fixture(autouse=True)
def quiet_and_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    monkeypatch.setattr(run, "run_tasks", in_this_process)


def test_every_network_gets_a_row_and_a_file(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Tensor] = []
    draw = TrainingExamples.__getitem__

    def recorded(self: TrainingExamples, place: Any) -> Any:
        example = draw(self, place)
        seen.append(example.noisy)
        return example

    monkeypatch.setattr(TrainingExamples, "__getitem__", recorded)
    arguments = [str(corpus), *SETTINGS, "--out", str(tmp_path), *OPTIONS, "--results", str(tmp_path / "results")]
    arguments += ["--networks", "mean-mask", "conv-mask"]
    main(arguments)
    half = len(seen) // 2
    assert half >= 2
    assert all(a.equal(b) for a, b in zip(seen[:half], seen[half:], strict=True))
    rows = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["noisy", "mean-mask", "conv-mask"]
    assert len({row.count("|") for row in rows}) == 1
    found = json.loads((tmp_path / "mean-mask-0.json").read_text())
    assert found["parameters"] == sum(p.numel() for p in MeanMask().parameters())
    assert found["training_seconds"] > 0
    assert found["inference"]["eager"]["p50"] > 0
    assert {"si_snr", "pesq", "stoi"} <= found["recordings"][0]["enhanced"].keys()
    means = json.loads((tmp_path / "results" / "networks.json").read_text())
    assert [each["network"] for each in means["networks"]] == ["conv-mask", "mean-mask"]
    assert means["networks"][0]["gain"].keys() == means["noisy"].keys() >= {"si_snr", "pesq", "stoi"}
    assert str(tmp_path) not in json.dumps(means)
    # Nothing is computed again, and another recipe is refused. Results of other networks stay in the means.
    monkeypatch.setattr(networks, "fit", lambda *a, **k: pytest.fail("trains again"))
    main(arguments[:-1])
    assert json.loads((tmp_path / "results" / "networks.json").read_text())["networks"] == means["networks"]
    capsys.readouterr()
    main(arguments)
    assert capsys.readouterr().out.strip().split("\n\n")[-1].splitlines() == rows
    with pytest.raises(SystemExit):
        main([str(corpus), "optimizer.learning_rate=0.5", *arguments[1:]])
    assert "expected a result of this recipe, got one of another" in capsys.readouterr().err


def test_a_network_that_fails_costs_only_its_row(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(question: Question, network: str, seed: int) -> dict[str, Any]:
        if network == "mean-mask":
            raise FloatingPointError("the loss is not finite")
        return RESULT | {"network": network}

    monkeypatch.setattr(networks, "answer", failing)
    with pytest.raises(SystemExit, match="no result of 1 of 2"):
        main([str(corpus), "--out", str(tmp_path), "--networks", "mean-mask", "conv-mask"])
    printed = capsys.readouterr()
    assert "| conv-mask |" in printed.out
    assert "mean-mask, seed 0: the loss is not finite" in printed.err


def test_an_interrupted_training_is_continued(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question(corpus, tmp_path, SETTINGS, opinions=False, jobs=1, rounds=1)
    judge = networks.evaluate
    monkeypatch.setattr(networks, "evaluate", lambda *a, **k: pytest.fail("interrupted"))
    with pytest.raises(pytest.fail.Exception):
        answer(question, "mean-mask", 3)
    monkeypatch.setattr(networks, "evaluate", judge)
    monkeypatch.setattr(networks, "fit", lambda *a, **k: pytest.fail("trains again"))
    found = answer(question, "mean-mask", 3)
    assert found["seed"] == found["recipe"]["run"]["seed"] == 3
    assert found["training_seconds"] > 0


def test_lite_rtse_is_timed_in_plain_pytorch_and_fused() -> None:
    torch.manual_seed(0)
    found = speeds(create_model("lite-rtse", channels=8, order=3).eval(), rounds=1)
    assert len(found["fused"]) >= 3
    assert found["inference"].keys() == {"eager", "fused"}


def recording(name: str, noisy: float, enhanced: float, *errors: str) -> dict[str, Any]:
    sides = {"noisy": {"stoi": noisy}, "enhanced": {"stoi": enhanced}}
    return {"name": name, "errors": list(errors), **sides}


RESULT: dict[str, Any] = {
    "network": "a",
    "seed": 0,
    "parameters": 12_345,
    "mac_per_second": 5e6,
    "latency_ms": 32.0,
    "training_seconds": 100.0,
    "inference": {"eager": {"p50": 0.5}, "fused": {"p50": 0.25}},
    "recordings": [recording("x", 0.5, 0.6), recording("y", 0.7, 0.8)],
}


def test_table_averages_over_seeds_first() -> None:
    other = RESULT | {"seed": 1, "training_seconds": None, "recordings": [recording("x", 0.5, 0.8, "no PESQ")]}
    lines = table([RESULT, other]).splitlines()
    assert lines[2].startswith("| noisy | 0.600 ±")
    # x gains 0.2 on average and y gains 0.1. Student's t of one degree of freedom is 12.706.
    assert lines[3] == f"| a | +0.150 ± {12.706 * 0.05:.3f} | 12,345 | 5.0 | 32 | 100 | 0.5000 | 0.2500 | 2 |"
    assert lines[-1] == "a, seed 1: figures of 1 recordings are missing: x: no PESQ"
