"""A minute of what ``python -m tests.stream.endurance`` does for hours, and that it sees what it is there to see."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import ArrayLike

from lite_rtse_ext.stream import Streamer
from tests.stream.conftest import Samples, model
from tests.stream.endurance import SETTLING_S, Report, engine, side_by_side

ROUND_S = 20


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    model("small").save_checkpoint(path)
    return path


def test_a_minute_of_each(weights: Path) -> None:
    reports = side_by_side(weights, 0, [0, 0], ROUND_S)
    assert [report.what for report in reports] == ["engine", "pipe, 16000 Hz", "pipe, 44100 Hz"]
    for report in reports:
        assert report.faults() == []
        assert report.seconds > 3 * ROUND_S - 1
        assert len(report.differences) == 3


class Leaking(Streamer):
    """Takes 64 KiB more for every block, from the system: what the heap has free would hide a leak in it."""

    kept: ClassVar[list[mmap.mmap]] = []

    def feed(self, samples: ArrayLike) -> Samples:
        self.kept.append(mmap.mmap(-1, 1 << 16))
        self.kept[-1].write(bytes(1 << 16))
        return super().feed(samples)


class Losing(Streamer):
    """Gives a sample less, once in a while."""

    def feed(self, samples: ArrayLike) -> Samples:
        enhanced = super().feed(samples)
        return enhanced[:-1] if len(enhanced) == 1000 else enhanced


class Forgetting(Streamer):
    """Begins anew where it should go on, in the end of a probe or anywhere else."""

    def feed(self, samples: ArrayLike) -> Samples:
        if len(np.asarray(samples)) == 2048:
            self.reset()
        return super().feed(samples)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Leaking, "memory grew by"),
        (Losing, "samples gave"),
        (Forgetting, "the probe came out wrong"),
    ],
)
def test_what_is_wrong_is_seen(weights: Path, broken: Any, words: str) -> None:
    report = engine(weights, 0, ROUND_S, broken.from_pretrained)
    Leaking.kept.clear()
    assert any(words in fault for fault in report.faults()), report


def test_a_shift_by_one_sample_is_seen(weights: Path) -> None:
    """Of as many samples as there should be, from somewhere in the first round on."""

    class Late(Streamer):
        last: Samples = np.zeros(1, np.float32)

        def feed(self, samples: ArrayLike) -> Samples:
            late = np.append(Late.last, samples).astype(np.float32)
            Late.last = late[-1:]
            return super().feed(late[:-1])

    report = engine(weights, 0, ROUND_S, Late.from_pretrained)
    assert min(report.differences) > 1e-2
    assert "the probe came out wrong" in report.faults()[-1]


def test_a_report_of_nothing_wrong_has_no_faults() -> None:
    assert SETTLING_S < ROUND_S
    fine = Report("x", 1.0, 512, 1024, 1024, resident_kib=[10, 11], peak_kib=[12, 12], differences=[0.0, 1e-7])
    assert fine.faults() == []
    fine.differences = [0.0]
    assert len(fine.faults()) == 1
