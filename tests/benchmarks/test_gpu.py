"""A pass on a machine with a GPU, as far as it goes without one: its parts, their limits, and what a cut-off leaves."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import kernels
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import build, counters, network, parts
from benchmarks.gpu.record import CUT_OFF, FAILED, PASSED, Part, Record, Results, outcomes, run

PYTHON = (sys.executable, "-c")
ROOT = command.ROOT


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def ended(part: Part, results: Results, limit_s: float = 30.0) -> Record:
    record = run(part, results, limit_s, results.folder, {})
    assert results.read(part.name) == record
    return record


@pytest.mark.parametrize(("code", "status"), [("pass", PASSED), ("raise SystemExit(2)", FAILED)])
def test_a_part_leaves_a_record(results: Results, code: str, status: str) -> None:
    assert ended(Part("one", (*PYTHON, code), 5), results).status == status


def test_a_program_that_is_missing_is_named_in_the_log(results: Results) -> None:
    assert ended(Part("one", ("/no/such/program",), 5), results).status == FAILED
    assert "/no/such/program" in results.log("one").read_text()


def test_a_part_that_takes_too_long_is_ended_with_all_that_it_started(results: Results) -> None:
    marker = results.folder / "survived"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(marker)!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    began = time.monotonic()
    record = ended(Part("long", (*PYTHON, code), 1), results, limit_s=1.0)
    assert (record.status, record.reason) == (CUT_OFF, "not finished after 1 s")
    assert time.monotonic() - began < 10
    time.sleep(3)
    assert not marker.exists()


VERBOSE = """
tests/ops/test_a.py::test_b[cpu-(2, 3)] PASSED      [ 33%]
tests/ops/test_a.py::test_c[cuda] FAILED            [ 66%]
tests/ops/test_a.py::test_d """


def test_the_outcomes_of_tests_are_read_from_a_log_that_was_cut_off() -> None:
    assert outcomes(VERBOSE) == {
        "tests/ops/test_a.py::test_b[cpu-(2, 3)]": "PASSED",
        "tests/ops/test_a.py::test_c[cuda]": "FAILED",
    }


def test_what_passed_before_is_not_tested_again(results: Results) -> None:
    """The pass before was cut off behind its first test. This one runs the second test alone."""
    folder = results.folder / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text("def test_a(): raise SystemExit(9)\ndef test_b(): pass\n")
    results.write(
        Record("t", CUT_OFF, tests={"tests/test_x.py::test_a": "PASSED", "tests/test_x.py::test_b": "FAILED"})
    )
    options = ("-v", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".")
    part = Part("t", (sys.executable, "-u", "-m", "pytest", *options, "tests/test_x.py"), 60, tests=True)
    record = ended(part, results, limit_s=60.0)
    assert (record.status, record.counts) == (PASSED, "2 PASSED")
    assert "1 deselected" in results.log("t").read_text()


def test_the_limits_fit_into_nine_minutes(results: Results) -> None:
    found = parts.parts(results, ROOT / "pyproject.toml", rehearse=False)
    assert parts.BUILD_LIMIT_S + sum(part.limit_s for part in found) <= parts.BUDGET_S <= 540
    assert len({part.name for part in found}) == len(found)
    order = [part.name.partition("-")[0] for part in found]
    assert order.index("test") < order.index("memcheck") < order.index("operators") < order.index("counters")
    files = [word for part in found for word in part.command if word.startswith("tests/")]
    assert all((ROOT / name).is_file() for name in files)


def test_a_rehearsal_has_the_same_parts(results: Results) -> None:
    real, rehearsed = (parts.parts(results, ROOT / "pyproject.toml", flag) for flag in (False, True))
    assert [part.name for part in real] == [part.name for part in rehearsed]


def quick(monkeypatch: pytest.MonkeyPatch, *found: Part) -> None:
    """A pass of these parts and no build."""
    monkeypatch.setattr(command, "parts", lambda *_: list(found))
    monkeypatch.setattr(build, "build", lambda root, folder, results, *_: _built(folder, results))
    monkeypatch.setattr(build, "fingerprint", lambda *_: "here")
    monkeypatch.setattr(build, "machine", lambda _: build.Machine("a card", "2", ""))


def _built(folder: Path, results: Results) -> Record:
    folder.mkdir(exist_ok=True)
    return results.write(Record("build", PASSED))


def test_a_second_pass_runs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = "import pathlib; f = pathlib.Path('{}'); f.write_text(f.read_text() + 'x' if f.exists() else 'x'); {}"
    stuck = "import time, os; time.sleep(0 if os.path.exists('again') else 60)"
    quick(
        monkeypatch,
        Part("good", (*PYTHON, count.format("good", "")), 20),
        Part("bad", (*PYTHON, count.format("bad", "raise SystemExit(1)")), 20),
        Part("stuck", (*PYTHON, count.format("stuck", stuck)), 2),
        Part("tool", ("no-such-tool",), 2, "no-such-tool"),
    )
    arguments = ["--out", str(tmp_path), "--rehearse"]
    assert command.main(arguments) == 1
    assert "stuck; cut off" in (first := capsys.readouterr().out)
    assert "tool; left out; 0 s; no-such-tool was not found" in first
    folder = tmp_path / "here" / "run"
    (folder / "again").touch()
    assert command.main(arguments) == 1  # one part failed, and still has
    assert {name: (folder / name).read_text() for name in ("good", "bad", "stuck")} == {
        "good": "x",
        "bad": "x",
        "stuck": "xx",
    }


def test_parts_without_time_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch, Part("late", (*PYTHON, "pass"), 20))
    assert command.main(["--out", str(tmp_path), "--budget", "0"]) == 3
    assert "late; not run; 0 s; no time was left\n1 parts are missing" in capsys.readouterr().out
    assert command.main(["--out", str(tmp_path)]) == 0


def test_without_a_gpu_a_pass_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "machine", lambda _: "no CUDA GPU on this machine")
    with pytest.raises(SystemExit):
        command.main([])
    assert "no CUDA GPU on this machine" in capsys.readouterr().err


CARD = build.Machine("card", "2.11", "9.0")


def test_a_carried_library_serves_a_machine_without_nvcc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Results
) -> None:
    for name in ("lite_rtse_ext", "benchmarks", "tests", "build/cuda/run/lite_rtse_ext"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lite_rtse_ext" / "ops.py").write_text("def has_cuda(): return True\n")
    (tmp_path / "setup.py").write_text("raise SystemExit('no nvcc')\n")
    failed = build.build(tmp_path, tmp_path / "run", results, CARD, None)
    assert failed.status == FAILED
    assert "exit status 1" in failed.reason
    assert "--library names another" in failed.reason
    (tmp_path / "build/cuda/run" / build.LIBRARY).write_bytes(b"built before")
    built = build.build(tmp_path, tmp_path / "run", results, CARD, None)
    assert (built.status, "that of an earlier `make cuda` is used" in built.reason) == (PASSED, True)
    assert (tmp_path / "run" / build.LIBRARY).read_bytes() == b"built before"
    assert build.build(tmp_path, tmp_path / "run", results, CARD, None) == built


def test_results_are_of_one_card_and_one_state_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "csrc").mkdir()
    (tmp_path / "setup.py").write_text("")
    first = build.fingerprint(tmp_path, CARD, None)
    assert first.startswith("card-")
    assert first != build.fingerprint(tmp_path, build.Machine("card", "2.12", "9.0"), None)
    (tmp_path / "csrc" / "a.cu").write_text("")
    changed = build.fingerprint(tmp_path, CARD, None)
    (tmp_path / "csrc" / "a.cu").write_text("x")
    assert changed != build.fingerprint(tmp_path, CARD, None)


def test_the_network_is_timed_and_resumed(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    path = results.data("network")
    network.main(["eager", str(path), "--rehearse"])
    found = json.loads(path.read_text())
    names = [f"{what}, {precision}" for precision in network.PRECISIONS for what in network.PASSES]
    assert all(found[name]["ratio"]["p50"] > 0 for name in names)
    assert all(found[name]["difference"] < (1e-4 if "float32" in name else 0.2) for name in names)
    del found[names[1]]
    path.write_text(json.dumps(found))
    capsys.readouterr()
    network.main(["eager", str(path), "--rehearse"])
    assert [line.split(" {")[0] for line in capsys.readouterr().out.splitlines()] == [names[1]]


def test_a_graph_is_left_out_in_words_on_the_cpu(results: Results) -> None:
    network.main(["fused graph", str(results.data("graph")), "--rehearse"])
    found = json.loads(results.data("graph").read_text())
    assert found["training step, float32"] == {"left out": "a CUDA graph is for a GPU"}


KERNEL = "void lite_rtse::cuda::(anonymous namespace)::gates_backward<float, 4>(lite_rtse::cuda::Gates<float>)"


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        (KERNEL, "gates_backward"),
        ("aten::addmm", "addmm"),
        ("void lite_rtse::cuda::reduce_rows(float*)", "reduce_rows"),
    ],
)
def test_function_names(kernel: str, name: str) -> None:
    assert counters.function_name(kernel) == name


NCU = """#!/bin/sh
echo "==PROF== Connected"
echo '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
echo '"0","gates_backward","Memory Throughput","%","62.5"'
"""


def test_the_counters_of_the_slowest_kernels_are_read(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = [{"name": KERNEL.replace("gates_backward", f"kernel_{i}"), "launches": 1, "us": float(i)} for i in range(7)]
    named.append({"name": "cudnn::lstm", "launches": 1, "us": 99.0})
    step = {"case": "LiteRTSE", "what": "training step", "side": "fused", "us": 9.0, "kernels": named}
    times = results.folder / "kernels.json"
    times.write_text(json.dumps({"steps": [step]}))
    (tmp_path / "ncu").write_text(NCU)
    (tmp_path / "ncu").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    counters.main([str(times), str(results.data("counters"))])
    found = json.loads(results.data("counters").read_text())
    assert list(found) == [f"kernel_{i}" for i in (6, 5, 4, 3, 2)]
    assert found["kernel_6"] == {"Memory Throughput [%]": "62.5"}
    (tmp_path / "ncu").write_text("#!/bin/sh\necho '==ERROR== no permission'\n")
    counters.main([str(times), str(results.data("refused"))])
    assert json.loads(results.data("refused").read_text())["kernel_6"] == {"left out": "==ERROR== no permission"}


def test_the_operators_are_timed_and_resumed(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels, "OPERATORS", ("mask_residual",))
    arguments = ["--rehearse", "--resume", "--results", str(results.folder)]
    kernels.main(arguments)
    path = results.folder / "kernels.json"
    first = json.loads(path.read_text())["steps"]
    assert len(first) == 8
    assert all(step["us"] > 0 and step["kernels"] for step in first)
    path.write_text(json.dumps({"steps": first[:7]}))
    monkeypatch.setattr(kernels, "training_candidate", None)  # what is there is not measured again
    kernels.main(arguments)
    again = json.loads(path.read_text())["steps"]
    assert again[:7] == first[:7]
    assert len(again) == 8
