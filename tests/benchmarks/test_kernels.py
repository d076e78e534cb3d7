"""Where a GPU's time goes: the table of what was found, and that it takes a GPU to find it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import kernels
from benchmarks.harness import RESULTS


def step(side: str, us: float, *launched: tuple[str, float, float]) -> dict[str, object]:
    parts = [{"name": name, "launches": launches, "us": part} for name, launches, part in launched]
    return {"case": "conv_block", "what": "forward + backward", "side": side, "us": us, "kernels": parts}


def test_the_table_sets_steps_and_their_kernels_side_by_side() -> None:
    steps = [
        step("fused", 2000.0, ("ours", 2, 900.0), ("reduce", 1, 100.0)),
        step("eager", 8000.0, ("theirs", 3, 6000)),
    ]
    answer = {"date": "today", "gpu": "a GPU", "torch": "3", "batch": 2, "frames": 5, "ceilings": {}, "steps": steps}
    lines = [line.split() for line in kernels.table(answer).splitlines()]
    assert ["conv_block,", "forward", "+", "backward", "2.00", "1.00", "8.00", "6.00", "4.0", "6.0"] in lines
    assert ["ours", "2", "900"] in lines
    assert ["theirs", "3", "6000"] not in lines


def test_what_was_measured_can_be_read() -> None:
    answer = json.loads((RESULTS / "kernels.json").read_text(encoding="utf-8"))
    assert "LiteRTSE, training step" in kernels.table(answer)


def test_without_a_gpu_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        kernels.main(["--results", str(tmp_path)])
    assert "needs a GPU and a build with CUDA kernels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.cuda
def test_small_steps_on_a_gpu(gpu: torch.device) -> None:
    found = list(kernels.steps(1, 4))
    assert {(s.case, s.side) for s in found} == {
        (c, s) for c in (*kernels.OPERATORS, "LiteRTSE") for s in kernels.SIDES
    }
    fused = next(s for s in found if (s.case, s.what, s.side) == ("multi_order_conv", "forward", "fused"))
    assert any("cascade_forward" in kernel.name for kernel in fused.kernels)
    assert all(s.busy_us > 0 for s in found)
