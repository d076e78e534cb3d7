"""Jobs in processes, of which some end theirs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data.prepare import batch as batch_convert
from lite_rtse_ext.data.prepare.batch import Conversion, convert_all
from lite_rtse_ext.data.prepare.workers import WorkerDied, in_processes
from tests.data.prepare.recordings import noise, put


def work(job: int | str) -> int:
    if job == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "crashed":
        os.abort()
    if job == "left":
        os._exit(3)
    if job == "raised":
        raise AudioError("what it raises")
    assert isinstance(job, int)
    time.sleep(0.01 * (job % 3))
    return job * job


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(processes: int) -> None:
    assert list(in_processes(work, range(12), processes)) == [job * job for job in range(12)]
    assert list(in_processes(work, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_ends_its_process_is_lost_alone(processes: int) -> None:
    results = list(in_processes(work, [1, "killed", 2, "crashed", "left", 3], processes))
    lost = {index: str(result) for index, result in enumerate(results) if isinstance(result, WorkerDied)}
    assert [result for result in results if not isinstance(result, WorkerDied)] == [1, 4, 9]
    assert lost.keys() == {1, 3, 4}
    assert "SIGKILL" in lost[1]
    assert "SIGABRT" in lost[3]
    assert "exit code 3" in lost[4]


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(AudioError, match="what it raises"):
        list(in_processes(work, [1, "raised", *range(100)], 2))


def convert_or_end(job: Conversion) -> int | AudioError | OSError:
    if "bad" in job.source.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return batch_convert._attempt(job)


def test_a_recording_that_ends_the_decoder_is_named_and_the_others_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "bad", "c", "d")
    jobs = [Conversion(put(tmp_path / f"{name}.wav", noise(0.1)), tmp_path / "out" / f"{name}.flac") for name in names]
    monkeypatch.setattr(batch_convert, "in_processes", lambda _, jobs, count: in_processes(convert_or_end, jobs, count))
    lines: list[str] = []
    assert convert_all(jobs, refuse=False, report=lines.append) == [1600, None, 1600, 1600]
    assert len(lines) == 1
    assert str(jobs[1].source) in lines[0]
    assert "SIGSEGV" in lines[0]
    with pytest.raises(AudioError, match=r"bad\.wav"):
        convert_all(jobs, refuse=True, report=lines.append)
