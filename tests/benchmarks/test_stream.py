"""The instrument of frames: what it returns and refuses. What it finds is no test's matter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import stream
from benchmarks.stream import ENGINE
from lite_rtse_ext.benchmark.frames import SKIPPED


def test_figures_of_the_engine_and_of_every_peer_that_is_installed() -> None:
    missing: list[str] = []
    threads = torch.get_num_threads()
    found = stream.figures(SKIPPED + 2, 1, batches=[2], missing=missing)
    assert set(found) | {line.split(":")[0] for line in missing} == {
        *(
            f"engine, {precision}{calls}"
            for precision in ("float32", "int24", "int16", "int8")
            for calls in ("", ", 2 calls")
        ),
        *stream.PEERS,
    }
    for name, figure in found.items():
        assert figure.times.frames == len(figure.seconds) == 2
        assert figure.times.streams == (2 if "2 calls" in name else 1)
        assert figure.relative == pytest.approx(np.median(figure.seconds) / np.median(found[ENGINE].seconds))
    assert torch.get_num_threads() == threads


def test_what_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = stream.waveform
    monkeypatch.setattr(stream, "waveform", lambda enhanced: right(enhanced) + 1e-3)
    monkeypatch.setattr(stream, "_in_turns", lambda *_: pytest.fail("timed"))
    with pytest.raises(RuntimeError, match=r"eager PyTorch, one frame differs from the network by .*, not timed"):
        stream.figures(SKIPPED + 1, 1)


def test_a_stretch_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="frames must be more than 20, which are not counted, but are 20"):
        stream.figures(SKIPPED, 1)


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream.main(["--frames", str(SKIPPED + 2), "--rounds", "1", "--batches", "--results", str(tmp_path)])
    printed = capsys.readouterr().out
    data = json.loads((tmp_path / "stream.json").read_text(encoding="utf-8"))
    settings = {"frames": SKIPPED + 2, "rounds": 1, "batches": [], "full": False, "paced": False, "neighbors": 0}
    assert data["settings"] == settings
    for record in data["records"]:
        line = next(line for line in printed.splitlines() if line.startswith(record["name"] + "  "))
        assert f"{record['p50']:.3f}" in line
        assert f"{record['p99']:.3f}" in line
