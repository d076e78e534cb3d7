"""The load test of the call server: it measures a real server, and its result says what was found."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="websockets is not installed: pip install lite-rtse-ext[server]")

from benchmarks import calls
from benchmarks.calls import CpuClockLoop, Load, held

LOAD = Load("cpu", 10, 100, 1.0, 2.0, 3.0, 0.0, 0.1, 0.2, 20.0)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the core of a process and reads /proc")
def test_it_measures_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls.main(["--calls", "2", "--seconds", "1.5", "--results", str(tmp_path)])
    data = json.loads((tmp_path / "calls.json").read_text(encoding="utf-8"))
    assert [record["clock"] for record in data["records"]] == ["cpu", "wall"]
    for record in data["records"]:
        assert record["calls"] == 2
        assert record["packets"] == 2 * 25  # those after the first second
        assert 0 < record["p50"] <= record["p99"] <= record["max"]
        assert record["cpu_ms"] > 0
        assert data["held"][record["clock"]] == (2 if record["p99"] < 16 else 0)
    assert "calls that one core holds at p99 < 16 ms" in capsys.readouterr().out


def test_the_cpu_clock_skips_idle_time_and_counts_work() -> None:
    async def scenario() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        began, real = loop.time(), time.perf_counter()
        await asyncio.sleep(100)
        real, slept = time.perf_counter() - real, loop.time() - began
        cpu, began = time.process_time(), loop.time()
        sum(range(1_000_000))
        return real, slept, (loop.time() - began) / (time.process_time() - cpu)

    loop = CpuClockLoop()
    real, slept, share = loop.run_until_complete(scenario())
    loop.close()
    assert real < 20
    assert slept == pytest.approx(100, abs=1)
    assert share == pytest.approx(1, abs=0.1)


def test_what_is_held_ends_at_the_first_load_that_is_late() -> None:
    loads = [replace(LOAD, calls=number, p99=p99) for number, p99 in ((30, 15.9), (10, 5.0), (40, 16.0), (50, 9.0))]
    assert held(loads) == 30
    assert held([replace(LOAD, p99=16.0)]) == 0
