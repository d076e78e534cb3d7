"""Judging a network, and the command for it."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner, Result

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.data.prepare.convert import write_flac
from lite_rtse_ext.evaluate import run as judge
from lite_rtse_ext.evaluate.journal import Journal, stamp
from lite_rtse_ext.evaluate.metrics import METRICS, measure
from lite_rtse_ext.evaluate.run import evaluate
from lite_rtse_ext.evaluate.sources import ManifestSource
from lite_rtse_ext.evaluate.summary import table
from lite_rtse_ext.models import pretrained
from lite_rtse_ext.models.checkpoint import CheckpointError
from tests.data.prepare.corpus import clip_samples, make_corpus


class DeadlySource(ManifestSource):
    """Its first recording ends the process that reads it."""

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        if index == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)


class RenamedSource(ManifestSource):
    """With other names."""

    def __init__(self, manifest: Path, split: str, names: list[str]) -> None:
        super().__init__(manifest, split)
        self.entries = [replace(entry, name=name) for entry, name in zip(self.entries, names, strict=True)]


def judged(model: Path, manifest: Path) -> list[judge.Result]:
    """All results of the test split, without the processes."""
    source = ManifestSource(manifest, "test")
    targets = [None] * len(source.entries)
    one = judge._Judge(model, partial(ManifestSource, manifest, "test"), targets, False, torch.get_num_threads())
    return [one(index) for index in range(len(source.entries))]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, thread_count: None) -> None:
    """Judges here what a process of its own would be given, and hands over what it would send."""

    def run_tasks(set_up: Callable[[], judge._Judge], tasks: Sequence[int], jobs: int) -> Iterator[Any]:
        task = pickle.loads(pickle.dumps(set_up))()
        yield from (pickle.loads(pickle.dumps((number, task(number)))) for number in tasks)

    monkeypatch.setattr(judge, "run_tasks", run_tasks)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_results_are_those_of_the_network(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    results = evaluate(
        model_path,
        partial(ManifestSource, corpus, "test"),
        jobs=2,
        opinions=False,
        audio=tmp_path,
        progress=lambda *step: done.append(step),
    )
    examples, model = FixedExamples(Manifest.load(corpus), "test"), LiteRTSE.from_checkpoint(model_path)
    assert done == [(1, 2), (2, 2)]
    assert [result.name for result in results] == [entry.name for entry in examples.entries]
    for index, result in enumerate(results):
        noisy, clean = examples[index]
        enhanced = model.enhance(noisy)
        assert result.errors == ()
        assert result.seconds == len(clean) / 16_000  # nothing is appended
        assert result.noisy["pesq"] == pytest.approx(measure("pesq", noisy.numpy(), clean.numpy()), abs=1e-3)
        assert result.enhanced["si_snr"] == pytest.approx(measure("si_snr", enhanced.numpy(), clean.numpy()), abs=1e-3)
        written, rate = sf.read(tmp_path / f"{result.name}.wav", dtype="float32")
        assert rate == 16_000
        torch.testing.assert_close(torch.from_numpy(written), enhanced.clamp(-1, 1), rtol=0, atol=1e-4)


def test_a_process_that_dies_costs_one_recording(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unfinished.jsonl", {})
    lost, kept = evaluate(model_path, partial(DeadlySource, corpus, "test"), jobs=1, opinions=False, journal=journal)
    assert (lost.name, lost.errors) == ("test-0", ("its process died (SIGKILL)",))
    assert (kept.name, kept.errors, set(kept.enhanced)) == ("test-1", (), set(METRICS))
    entry = ManifestSource(corpus, "test").entries[1]
    again = Journal(tmp_path / "unfinished.jsonl", {})
    assert (again.count, again.result("test-1", stamp(map(Path, entry.files)))) == (1, kept)


def test_a_recording_that_can_not_be_read_is_reported(model_path: Path, tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    gone = Manifest.load(path).fixed("test")[0].speech
    (tmp_path / gone).unlink()
    result, other = judged(model_path, path)
    assert (result.noisy, result.enhanced, len(result.errors)) == ({}, {}, 1)
    assert gone in result.errors[0]
    assert other.errors == ()


def test_noise_that_is_silent_is_named_and_counts_nowhere(model_path: Path, tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    muted, loud = Manifest.load(path).fixed("test")
    frames = len(sf.read(tmp_path / muted.noise)[0])
    write_flac(tmp_path / muted.noise, np.zeros(frames, np.float32))
    result, other = judged(model_path, path)
    assert (result.noisy, result.enhanced) == ({}, {})
    assert "the noisy recording is the clean one: expected an SI-SNR of at most 60 dB" in result.errors[0]
    assert muted.noise in result.errors[0]
    assert other.noisy["si_snr"] == pytest.approx(loud.snr_db, abs=1)
    assert "2 recordings; not in the means: 1 with errors" in table([result, other])


def test_a_network_that_mutes_gains_nothing(corpus: Path, tmp_path: Path) -> None:
    model = LiteRTSE(channels=4, order=2)
    with torch.no_grad():
        for name in ("to_mag", "fc1"):
            getattr(model, name).weight.zero_()
            getattr(model, name).bias.fill_(-200.0 if name == "fc1" else 0.0)
    model.save_checkpoint(tmp_path / "mute.safetensors")
    results = judged(tmp_path / "mute.safetensors", corpus)
    assert [(result.enhanced, result.silent) for result in results] == [({}, True)] * 2
    assert results[0].errors == ("the enhanced recording is silent",)
    assert table(results).endswith("2 recordings; not in the means: 2 whose enhanced side is silent")


@pytest.mark.usefixtures("in_this_process")
def test_the_command_leaves_tables_and_plots(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    out, backend = tmp_path / "judged", matplotlib.rcParams._get_backend_or_none()
    outcome = run(model_path, "--data", corpus, "--jobs", 1, "--out", out, "--audio", "--no-dnsmos")
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
    assert matplotlib.rcParams._get_backend_or_none() == backend


@pytest.mark.usefixtures("in_this_process")
def test_recordings_need_no_clean_side(model_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("speechmos", reason="speechmos, which has DNSMOS's networks, is not installed")
    calls, out = tmp_path / "calls", tmp_path / "calls" / "judged"
    (calls / "sub").mkdir(parents=True)
    speech = clip_samples("it-dir-instr")
    sf.write(calls / "mono.wav", speech[:40_000], 16_000)
    sf.write(calls / "sub" / "stereo.ogg", np.stack([speech, speech], 1)[:60_000], 48_000)
    sf.write(calls / "silent.flac", np.zeros(16_000), 16_000)
    (calls / "notes.txt").write_text("no sound")
    (calls / "damaged.wav").write_bytes(b"no sound either")
    outcome = run(model_path, "--recordings", calls, "--jobs", 1, "--out", out, "--audio")
    assert outcome.exit_code == 1
    assert f"Error: damaged.wav: {calls / 'damaged.wav'}: not an audio file" in outcome.output
    assert f"Error: silent.flac: the noisy recording is silent ({calls / 'silent.flac'})" in outcome.output
    rows = list(csv.DictReader((out / "recordings.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows] == ["damaged.wav", "mono.wav", "silent.flac", "sub/stereo.ogg"]
    assert all(1 <= float(rows[1][f"{side}_dnsmos_{scale}"]) <= 5 for side in ("noisy", "enhanced")
               for scale in ("sig", "bak", "ovrl", "p808"))  # fmt: skip
    assert {path.relative_to(out / "audio").as_posix() for path in out.rglob("*.wav")} == {"mono.wav", "sub/stereo.wav"}
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["recordings"], summary["all"]["dnsmos_ovrl"]["improvement"]["count"]) == (4, 2)
    assert (out / "spectrograms_largest_gain.png").exists()
    assert not (out / "gains.png").exists()  # neither SNR nor noise is known


def test_no_recording_is_replaced(model_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("speechmos", reason="speechmos, which has DNSMOS's networks, is not installed")
    path = tmp_path / "calls" / "audio" / "a.wav"
    path.parent.mkdir(parents=True)
    sf.write(path, clip_samples("it-dir-instr")[:16_000], 16_000)
    before = path.read_bytes()
    outcome = run(model_path, "--recordings", path.parent, "--out", tmp_path / "calls", "--audio", "--jobs", 1)
    assert (outcome.exit_code, path.read_bytes()) == (1, before)
    assert list(tmp_path.rglob("*.*")) == [path]
    assert outcome.stderr == f"Error: {path}: is a recording itself, which is never replaced; give another --out\n"


def test_what_an_interrupted_run_has_judged_is_taken_over(corpus: Path, model_path: Path, tmp_path: Path) -> None:
    """Figures that no network has: nothing is judged anew."""
    make_source = partial(ManifestSource, corpus, "test")
    planted = [judge.Result(entry.name, None, None, 1.0, {"stoi": 9.0}) for entry in make_source().entries]
    journal = Journal(tmp_path / "unfinished.jsonl", {})
    for entry, result in zip(make_source().entries, planted, strict=True):
        journal.add(result, stamp(map(Path, entry.files)))
    assert evaluate(model_path, make_source, journal=Journal(tmp_path / "unfinished.jsonl", {})) == planted


@pytest.mark.usefixtures("in_this_process")
def test_names_in_a_manifest_write_nothing_elsewhere(model_path: Path, corpus: Path, tmp_path: Path) -> None:
    outside = partial(RenamedSource, corpus, "test", ["../../escaped", f"{tmp_path}/absolute"])
    evaluate(model_path, outside, jobs=1, opinions=False, audio=tmp_path / "judged" / "audio")
    assert [each.name for each in tmp_path.iterdir()] == ["judged"]
    assert len(list((tmp_path / "judged" / "audio").rglob("*.wav"))) == 2


def test_without_a_model_the_one_that_comes_with_the_package_is_judged(
    corpus: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Path] = []
    monkeypatch.setattr(pretrained, "_WEIGHTS", model_path)
    monkeypatch.setattr(judge, "evaluate", lambda model, *_, **__: models.append(model) or [])
    outcome = run("--data", corpus, "--no-dnsmos")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert models == [model_path]


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
    outcome = run(chosen, "--data", tmp_path / data if data else corpus, "--out", tmp_path / "judged")
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert len(outcome.output.strip().splitlines()) == 1
    assert not (tmp_path / "judged").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "m.json", "--audio"], "--audio needs --out"),
        ([], "give either --data or --recordings"),
        (["--data", "m.json", "--recordings", "calls"], "give either --data or --recordings"),
        (["--recordings", "calls", "--no-dnsmos"], "--no-dnsmos leaves no figure for --recordings"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    outcome = run("m", *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.output


def test_folders_without_recordings_are_refused(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (("empty", "no audio files in this folder"), ("gone", "no such file or folder")):
        outcome = run(model_path, "--recordings", tmp_path / folder)
        assert outcome.exit_code == 1
        assert message in outcome.output
    outcome = run(model_path, "--recordings", tmp_path / "empty", "--out", tmp_path / "empty")
    assert outcome.exit_code == 1
    assert "is the folder of recordings itself" in outcome.output


def test_other_files_are_no_models(corpus: Path) -> None:
    with pytest.raises(CheckpointError):
        evaluate(corpus, partial(ManifestSource, corpus, "test"))
