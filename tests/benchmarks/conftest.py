"""The instrument is tested without taking time: small shapes, fake clocks, a given peak and bandwidth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("benchmarks", reason="runs in a checkout only")

from benchmarks.harness import Report, Settings, report
from lite_rtse_ext.ops import _native


@pytest.fixture(autouse=True)
def given_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "fma_peak_gflops", lambda seconds=0.0: 100.0)
    monkeypatch.setattr(_native, "copy_gbps", lambda seconds=0.0: 10.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads on a busy machine mostly wait for one another
    yield
    torch.set_num_threads(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(batch=1, frames=4, rounds=2, warm_up=0, results=tmp_path)


@pytest.fixture
def answer(settings: Settings) -> Report:
    return report("question", settings)
