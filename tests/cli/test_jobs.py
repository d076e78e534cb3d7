"""What ``lite-rtse enhance`` settles before any work: which file goes where, and what is done again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lite_rtse_ext.cli.jobs import Job, JobError, Plan, permit, plan

READ = frozenset({".wav", ".flac", ".m4a", ".mp2"})
WRITTEN = frozenset({".wav", ".flac"})


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")


def settle(source: Path, target: Path) -> Plan:
    return plan(source, target, READ, WRITTEN)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a.wav", "a.wav"),
        ("deep/er/a.FLAC", "deep/er/a.FLAC"),
        ("phone.m4a", "phone.m4a.wav"),
        ("deep/B.MP2", "deep/B.MP2.wav"),
        ("\udce9.m4a", "\udce9.m4a.wav"),
    ],
)
def test_a_file_goes_to_its_name_or_to_wav_behind_it(tmp_path: Path, name: str, output: str) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    fill(source, name)
    assert settle(source, target).jobs == [Job(source / name, target / output)]
    target.mkdir()
    single = settle(source / name, target).jobs
    assert single == [Job(source / name, target / Path(output).name)]
    named = settle(source / name, tmp_path / "as.named").jobs
    assert named == [Job(source / name, tmp_path / "as.named")]


def test_two_inputs_for_one_output_are_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.m4a", "a.m4a.wav")
    with pytest.raises(JobError) as refused:
        settle(tmp_path / "in", tmp_path / "out")
    for name in ("out/a.m4a.wav: expected one input for an output", "in/a.m4a and ", "in/a.m4a.wav"):
        assert name in str(refused.value)


def test_two_outputs_that_are_one_file_by_a_link_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.wav", "b.wav")
    fill(tmp_path / "out", "a.wav")
    (tmp_path / "out" / "b.wav").symlink_to("a.wav")
    with pytest.raises(JobError, match=r"out/b\.wav: expected one input for an output, got .*a\.wav and .*b\.wav"):
        settle(tmp_path / "in", tmp_path / "out")


def test_what_is_left_out_is_remarked(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.wav", "b.webm", "._a.wav")
    assert settle(tmp_path / "in", tmp_path / "out").remarks == [
        "1 left out, as .webm is not read: b.webm",
        "1 left out, hidden: ._a.wav",
    ]


def test_a_folder_without_audio_says_what_it_has(tmp_path: Path) -> None:
    fill(tmp_path / "in", "._a.wav", "b.webm", "c.txt")
    with pytest.raises(JobError) as refused:
        settle(tmp_path / "in", tmp_path / "out")
    assert str(refused.value) == (
        f"{tmp_path / 'in'}: no audio files in this folder; 1 left out, as .webm is not read: b.webm; "
        "1 left out, hidden: ._a.wav; 1 left out, no sound: c.txt"
    )


def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()

    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        settle(tmp_path / "in", tmp_path / "out")


def test_outputs_that_exist(tmp_path: Path) -> None:
    jobs = [Job(Path(f"{name}.wav"), tmp_path / f"{name}.wav") for name in ("new", "done", "empty")]
    new, done, empty = (job.target for job in jobs)
    fill(tmp_path, "done.wav")
    empty.touch()
    with pytest.raises(JobError, match=r"done\.wav and 1 more exist already; --force replaces"):
        permit(jobs, force=False, skip_existing=False)
    forced, skipped = permit(jobs, force=True, skip_existing=False)
    assert ([job.overwrite for job in forced], skipped) == ([True, True, True], 0)
    resumed, skipped = permit(jobs, force=False, skip_existing=True)
    assert ([(job.target, job.overwrite) for job in resumed], skipped) == ([(new, False), (empty, True)], 1)
    done.unlink()
    empty.unlink()
    assert permit(jobs, force=False, skip_existing=False) == (jobs, 0)


def test_a_name_that_gets_too_long_stops_no_other_file(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.wav", "x" * 250 + ".m4a")
    settled = settle(tmp_path / "in", tmp_path / "out")
    assert len(permit(settled.jobs, force=False, skip_existing=True)[0]) == 2
