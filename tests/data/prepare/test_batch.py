"""Converting many recordings, of which one ends the process that decodes it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare import batch
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.utils.workers import run_in_order
from tests.data.prepare.recordings import noise, put
from tests.utils.full_disk import full_disk


def convert_or_end(job: Conversion) -> int | AudioError | OSError:
    if "bad" in job.source.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return batch._attempt(job)


def test_a_recording_that_ends_the_decoder_is_named_and_the_others_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "bad", "c", "d")
    jobs = [Conversion(put(tmp_path / f"{name}.wav", noise(0.1)), tmp_path / "out" / f"{name}.flac") for name in names]
    monkeypatch.setattr(batch, "run_in_order", lambda _, jobs, count: run_in_order(convert_or_end, jobs, count))
    lines: list[str] = []
    assert convert_all(jobs, refuse=False, report=lines.append) == [1600, None, 1600, 1600]
    assert len(lines) == 1
    assert str(jobs[1].source) in lines[0]
    assert "SIGSEGV" in lines[0]
    with pytest.raises(AudioError, match=r"bad\.wav"):
        convert_all(jobs, refuse=True, report=lines.append)


def test_a_full_disk_is_no_fault_of_the_recording(tmp_path: Path) -> None:
    job = Conversion(put(tmp_path / "a.wav", noise(1.0)), tmp_path / "a.flac")
    with pytest.raises(OSError, match="can't be written"), full_disk(5000):
        batch._attempt(job)
