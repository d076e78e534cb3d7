"""Judging a network, and the command for it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import soundfile as sf
import torch
from click.testing import CliRunner

from lite_rtse_ext import LiteRTSE, pretrained
from lite_rtse_ext.checkpoint import CheckpointError
from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.evaluate.metrics import measure
from lite_rtse_ext.evaluate.run import evaluate
from tests.data.corpus import make_corpus


def test_results_are_those_of_the_network(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    results = evaluate(model_path, corpus, jobs=2, audio=tmp_path, progress=lambda *step: done.append(step))
    examples, model = FixedExamples(Manifest.load(corpus), "test"), LiteRTSE.from_checkpoint(model_path)
    assert done == [(1, 2), (2, 2)]
    assert [result.name for result in results] == [entry.name for entry in examples.entries]
    for index, result in enumerate(results):
        noisy, clean = examples[index]
        enhanced = model.enhance(noisy)
        assert result.errors == ()
        assert result.noisy["pesq"] == pytest.approx(measure("pesq", noisy.numpy(), clean.numpy()), abs=1e-3)
        assert result.enhanced["si_snr"] == pytest.approx(measure("si_snr", enhanced.numpy(), clean.numpy()), abs=1e-3)
        written, rate = sf.read(tmp_path / f"{result.name}.wav", dtype="float32")
        assert rate == 16_000
        torch.testing.assert_close(torch.from_numpy(written), enhanced.clamp(-1, 1), rtol=0, atol=1e-4)


def test_a_recording_that_can_not_be_read_is_reported(model_path: Path, tmp_path: Path) -> None:
    path = make_corpus(tmp_path / "corpus")
    gone = Manifest.load(path).mixtures[2].speech
    (tmp_path / "corpus" / gone).unlink()
    outcome = CliRunner().invoke(
        main, ["evaluate", str(model_path), "--data", str(path), "--jobs", "1", "--out", str(tmp_path / "out")]
    )
    assert outcome.exit_code == 1
    assert "Error: test-0: " in outcome.output
    assert gone in outcome.output
    rows = list(csv.DictReader((tmp_path / "out" / "recordings.csv").open(encoding="utf-8")))
    assert len(rows) == 2
    assert gone in rows[0]["errors"]
    assert rows[1]["errors"] == ""


def test_the_command_leaves_tables_and_plots(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    arguments = ["evaluate", str(model_path), "--data", str(corpus), "--jobs", "1", "--out", str(out), "--audio"]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == {
        "recordings.csv",
        "summary.json",
        "gains.png",
        "recordings.png",
        "audio",
        *(f"spectrograms_{gain}_gain.png" for gain in ("smallest", "middle", "largest")),
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["all"]["pesq"]["enhanced"]["count"] == 2
    assert set(summary["by_snr_db"]) == {"0", "10"}


def test_without_a_model_the_one_that_comes_with_the_package_is_judged(
    corpus: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_WEIGHTS", model_path)
    named, unnamed = (
        CliRunner().invoke(main, ["evaluate", *model, "--data", str(corpus), "--jobs", "1"])
        for model in ([str(model_path)], [])
    )
    assert unnamed.exit_code == 0, unnamed.output
    assert unnamed.output == named.output


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("nowhere.safetensors", None, "nowhere.safetensors: No such file"),
        (None, "nowhere.json", "nowhere.json: No such file"),
        ("manifest.json", None, "not a checkpoint"),
    ],
)
def test_faults_are_one_line(
    corpus: Path, model_path: Path, tmp_path: Path, model: str | None, data: str | None, message: str
) -> None:
    chosen = corpus if model == "manifest.json" else tmp_path / model if model else model_path
    outcome = CliRunner().invoke(main, ["evaluate", str(chosen), "--data", str(tmp_path / data if data else corpus)])
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert len(outcome.output.strip().splitlines()) == 1


def test_other_files_are_no_models(corpus: Path) -> None:
    with pytest.raises(CheckpointError):
        evaluate(corpus, corpus)
    outcome = CliRunner().invoke(main, ["evaluate", "m", "--data", str(corpus), "--audio"])
    assert outcome.exit_code == 2
    assert "--audio needs --out" in outcome.output
