"""The command as a program: help, start-up, ``bench``, ``info``, and true processes."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest
import torch
from setuptools.config import pyprojecttoml

from lite_rtse_ext import ops
from lite_rtse_ext.audio import read_format
from lite_rtse_ext.cli import main
from lite_rtse_ext.train import named_recipes

from .conftest import Run, assert_one_line, sound

COMMAND = [sys.executable, "-m", "lite_rtse_ext.cli"]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", [[], ["enhance"], ["bench"], ["bench", "stream"], ["info"]])
def test_help_shows_what_to_type(run: Run, command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    if command != ["info"]:
        assert f"\n  {' '.join(['lite-rtse', *(command or ['enhance'])])}" in result.stdout


def test_help_of_train_lists_the_recipes_of_the_package(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = importlib.import_module("lite_rtse_ext.cli.commands.train")
    for name in ("one.yaml", "another.yaml", "notes.txt"):
        (tmp_path / name).touch()
    with monkeypatch.context() as patch:
        patch.setattr(named_recipes, "RECIPES", tmp_path)
        importlib.reload(module)
        assert "(another, one)." in run("train", "--help").stdout
    importlib.reload(module)
    assert "debian" in run("train", "--help").stdout


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="runs in a checkout only")
def test_version_is_the_one_the_package_is_built_with(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setuptools calls the table [tool.setuptools] a beta
        built = pyprojecttoml.read_configuration(ROOT / "pyproject.toml")["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", built)
    assert run("--version").stdout == f"lite-rtse, version {built}\n"


def test_handlers_of_signals_are_put_back(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run("info").exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stays_one_where_a_library_makes_it_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, interruption: signal.Signals
) -> None:
    def work() -> None:
        try:
            signal.raise_signal(interruption)
        except KeyboardInterrupt:
            raise RuntimeError("could not determine the shape") from None

    monkeypatch.setitem(main.commands, "work", click.Command("work", callback=work))
    before = signal.signal(interruption, signal.default_int_handler)
    try:
        result = run("work")
        assert (result.exit_code, result.stderr) == (1, "Aborted!\n")
        assert signal.getsignal(interruption) is signal.default_int_handler
        signal.signal(interruption, signal.SIG_IGN)
        assert run("work").exit_code == 0
    finally:
        signal.signal(interruption, before)


def test_info_names_what_a_bug_report_needs(run: Run) -> None:
    result = run("info")
    assert result.exit_code == 0, result.output
    facts = dict(line.split(":", 1) for line in result.stdout.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["PyTorch"] == torch.__version__
    assert facts["instruction set"] == ops.isa()
    assert facts["available"] == ", ".join(ops.isas())
    assert facts["threads"] == str(torch.get_num_threads())
    assert facts["CUDA kernels"].startswith("for compute capability " if ops.has_cuda() else "not compiled in")
    assert Path(facts["native library"]).is_file()


def test_bench_times_every_operator_and_the_network(tmp_path: Path, run: Run) -> None:
    result = run("bench", "--batch", 1, "--frames", 6, "--rounds", 2, "--json", tmp_path / "bench.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "bench.json").read_text())
    assert [(timing["name"], timing["what"]) for timing in data["timings"]] == [
        (name, what)
        for name in ("causal_dwconv2d", "conv_block", "multi_order_conv", "mask_residual", "LiteRTSE")
        for what in ("forward", "forward + backward")
    ]
    assert all(timing["ratio"]["p50"] > 0 and timing["difference"] < 1e-4 for timing in data["timings"])
    assert data["environment"]["torch"] == torch.__version__
    assert data["environment"]["isa"] == ops.isa()
    assert data["environment"]["threads"] == 1
    assert sum(line.count("×") for line in result.stdout.splitlines()[4:]) == 10


def test_bench_refuses_to_time_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lite_rtse_ext import nn

    exact = nn.CausalDepthwiseConv2d.forward
    monkeypatch.setattr(nn.CausalDepthwiseConv2d, "forward", lambda self, x: exact(self, x) * 1.001)
    result = run("bench", "--batch", 1, "--frames", 4, "--rounds", 1)
    assert_one_line(result, "causal_dwconv2d, forward: fused and eager differ by 1.0e-03, not timed")


def test_bench_finds_an_unwritable_file_before_the_work(tmp_path: Path, run: Run) -> None:
    result = run("bench", "--json", tmp_path / "nowhere" / "bench.json")
    assert_one_line(result, "nowhere", "No such file")
    assert result.stdout == ""


def test_a_true_process(tmp_path: Path, checkpoint: Path) -> None:
    source = sound(tmp_path / "in.flac", 0.4, rate=22_050)
    command = [*COMMAND, "enhance", str(source), str(tmp_path / "out.flac"), "--checkpoint", str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_format(tmp_path / "out.flac") == read_format(source)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr == (
        f"Error: {tmp_path / 'out.flac'}: exists already; --force replaces outputs, --skip-existing leaves them\n"
    )


_AT_EXIT = """
import atexit, gc

def tell(when):
    atexit.register(lambda: print(when, "froze" if gc.get_freeze_count() else "none"))

class Cycle:
    def __init__(self):
        self.me = self

    def __del__(self):
        print("freed")

tell("in the end")
from lite_rtse_ext.cli import main

for _ in range(2):
    main(["models", "--help"], standalone_mode=False)
tell("where libraries end")
gc.disable()
Cycle()
"""


def test_the_interpreter_looks_for_garbage_once_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", _AT_EXIT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ["where libraries end none", "freed", "in the end froze"]


def _heed_interruptions() -> None:
    """Even where the tests run in the background of a shell, whose processes ignore SIGINT and pass that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interruption_at_the_exit_shows_no_traceback() -> None:
    code = _AT_EXIT.replace('print("freed")', "import signal; signal.raise_signal(signal.SIGINT)")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=_heed_interruptions
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_a_process_interrupted_leaves_no_part_of_a_file(
    tmp_path: Path, checkpoint: Path, interruption: signal.Signals
) -> None:
    for number in range(40):
        sound(tmp_path / "in" / f"{number:02}.wav", 20.0)
    target = tmp_path / "out"
    command = [*COMMAND, "enhance", str(tmp_path / "in"), str(target), "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interruptions
    )
    deadline = time.monotonic() + 60
    while not list(target.glob("*.wav")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(interruption)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.strip() == "Aborted!"
    finished = os.listdir(target)
    assert 0 < len(finished) < 40
    assert all(read_format(target / name).seconds == 20.0 for name in finished)


def test_bench_stream_prints_quantiles_and_a_histogram(tmp_path: Path, run: Run) -> None:
    result = run("bench", "stream", "--frames", 8, "--calls", 2, "--json", tmp_path / "stream.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "stream.json").read_text())
    assert (data["frames"], data["streams"], data["precision"], data["paced"]) == (8, 2, "float32", False)
    assert 0 < data["p50"] <= data["p99"] <= data["p999"] <= data["max"]
    shown = dict(line.split()[:2] for line in result.stdout.splitlines() if line.endswith(" ms"))
    assert shown == {
        name: f"{data[key]:.3f}" for name, key in {"p50": "p50", "p99": "p99", "p99.9": "p999", "max": "max"}.items()
    }
    assert f"RTF {data['real_time_factor']:11.4f}    calls a core: {data['calls_a_core']}" in result.stdout
    assert sum(float(line.split()[-2]) for line in result.stdout.splitlines() if line.endswith("%")) == pytest.approx(
        100, abs=0.5
    )
    assert_one_line(run("bench", "stream", "--json", tmp_path / "nowhere" / "x.json"), "nowhere", "No such file")
