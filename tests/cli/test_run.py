"""What is seen of a run: the progress bar, the summary, and messages about names of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from lite_rtse_ext.audio import read_format
from lite_rtse_ext.cli.jobs import Job
from lite_rtse_ext.cli.run import _summary, run_jobs
from lite_rtse_ext.enhance import Enhanced

from .conftest import Run, assert_one_line, sound

ODD_NAMES = {
    "not UTF-8": (b"caf\xe9", r"caf\udce9"),
    "line end": (b"two\nlines", r"two\nlines"),
    "escape sequence": (b"\x1b[31mred", r"\x1b[31mred"),
    "brackets": (b"[a] {b} %s", "[a] {b} %s"),
    "two spaces": (b"a  b", "a  b"),
    "CJK": ("声音".encode(), "声音"),
}


@pytest.fixture(params=ODD_NAMES)
def odd(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A name, and how messages show it."""
    name, shown = ODD_NAMES[request.param]
    return os.fsdecode(name), shown


def test_names_of_every_kind_are_named_in_a_line(tmp_path: Path, enhance: Run, odd: tuple[str, str]) -> None:
    name, shown = odd
    for folder in ("in", f"in/{name}"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.wav").touch()
    sound(tmp_path / "in" / "fine.wav")
    result = enhance(tmp_path / "in", tmp_path / "out")
    shown = shown.replace(r"\n", " ")  # as all line ends of the messages of libraries
    assert sorted(result.stderr.splitlines()) == sorted(
        [
            f"Error: {tmp_path}/in/{shown}.wav: the file is empty",
            f"Error: {tmp_path}/in/{shown}/{shown}.wav: the file is empty",
        ]
    )
    assert result.exit_code == 1
    assert read_format(tmp_path / "out" / "fine.wav").seconds == 0.2


def test_remarks_name_names_of_every_kind(tmp_path: Path, enhance: Run, odd: tuple[str, str]) -> None:
    name, shown = odd
    sound(tmp_path / "in" / "fine.wav")
    (tmp_path / "in" / f"{name}.txt").touch()
    result = enhance(tmp_path / "in", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, f"1 left out, no sound: {shown}.txt\n")
    assert_one_line(enhance(tmp_path / f"{name}.wav", tmp_path / "x.wav"), f"{shown}.wav: no such file or folder")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_standard_output_cannot_encode_is_shown_all_the_same(encoding: str) -> None:
    """In a process of its own, whose standard output is strict."""
    script = "import click\nfrom lite_rtse_ext.cli import main\n"
    script += "@main.command()\ndef show(): click.echo('p20–p80 \\udce9')\nmain(['show'])"
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"p20")
    assert done.stdout.endswith(b"?\n" if encoding == "ascii" else b"\\udce9\n")  # click mends ASCII itself


class _Bar:
    """A progress bar that notes where it gets to."""

    def __init__(self, length: int, **_: object) -> None:
        self.length, self.position = length, 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, more: int) -> None:
        assert more >= 0
        self.position += more
        assert self.position <= self.length


def _finish(parts: list[float]) -> Callable[[Job, Callable[[float], None]], Enhanced]:
    def enhance(job: Job, progress: Callable[[float], None]) -> Enhanced:
        for part in parts:
            progress(part)
        return Enhanced(sum(parts), 0.1)

    return enhance


@pytest.mark.parametrize("stated", [None, 0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("parts", [[], [0.25, 0.75], [0.3] * 7])
def test_the_bar_ends_where_the_headers_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: float | None, parts: list[float]
) -> None:
    """Whatever comes out of the files: headers may tell nothing, too little or too much."""
    bars: list[_Bar] = []

    def make(**options: int) -> _Bar:
        bars.append(_Bar(**options))
        return bars[-1]

    class Format:
        seconds = stated

    monkeypatch.setattr(click, "progressbar", make)
    monkeypatch.setattr("lite_rtse_ext.audio.read_format", lambda path: Format)
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("a", "b")]
    assert run_jobs(_finish(parts), jobs, 1) == 0
    assert bars[0].length == bars[0].position == round(2 * 100 * (stated or 0))


def test_files_that_fail_fill_the_bar_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = _Bar(0)

    def make(length: int, **_: object) -> _Bar:
        bar.length = length
        return bar

    def fail(job: Job, progress: Callable[[float], None]) -> Enhanced:
        progress(0.05)
        raise ValueError("it is broken")

    monkeypatch.setattr(click, "progressbar", make)
    source = sound(tmp_path / "a.wav")
    assert run_jobs(fail, [Job(source, tmp_path / "b.wav")], 1) == 1
    assert bar.position == bar.length == 20
    assert "a.wav: it is broken" in capsys.readouterr().err


def test_an_error_of_the_system_without_a_name_gets_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(job: Job, progress: Callable[[float], None]) -> Enhanced:
        raise OSError(28, "No space left on device")

    assert run_jobs(fail, [Job(sound(tmp_path / "a.wav"), tmp_path / "b.wav")], 1) == 1
    assert f"Error: {tmp_path / 'a.wav'}: No space left on device\n" in capsys.readouterr().err


def test_a_summary_of_no_audio_has_no_factor() -> None:
    assert _summary([0.0], 0.5) == "1 file, 0.0 s of audio in 0.5 s"
    assert _summary([1.0, 1.0], 0.5) == "2 files, 2.0 s of audio in 0.5 s, RTF 0.250"


def test_an_empty_output_is_done_again(tmp_path: Path, enhance: Run) -> None:
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / "in" / name)
    sound(tmp_path / "out" / "a.wav", seconds=0.1)
    (tmp_path / "out" / "b.wav").touch()
    result = enhance(tmp_path / "in", tmp_path / "out", "--skip-existing")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 skipped, as the output exists\n1 file, 0.2 s")
    assert [read_format(tmp_path / "out" / name).seconds for name in ("a.wav", "b.wav")] == [0.1, 0.2]


def test_a_folder_as_users_have_it(tmp_path: Path, enhance: Run) -> None:
    folder = tmp_path / "in"
    sound(folder / "x.wav")
    sound(tmp_path / "elsewhere" / "y.wav")
    (folder / "linked").symlink_to("../elsewhere")
    (folder / "linked too").symlink_to("../elsewhere")
    (folder / "._x.wav").write_bytes(b"\0\5\x16\7" + bytes(100))
    (folder / "notes.txt").touch()
    (folder / "film.xyz").touch()
    result = enhance(folder, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 files, 0.4 s of audio in ")
    assert result.stderr.splitlines() == [
        "1 left out, a link to a folder that is read in another place: linked too",
        "1 left out, as .xyz is not read: film.xyz",
        "1 left out, hidden: ._x.wav",
        "1 left out, no sound: notes.txt",
        "1 linked, gone into: linked",
    ]
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.wav")) == [
        "linked/y.wav",
        "x.wav",
    ]


def test_a_sub_folder_that_cannot_be_read_is_an_error_and_the_others_go_on(
    tmp_path: Path, enhance: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound(tmp_path / "in" / "a.wav")
    sound(tmp_path / "in" / "locked" / "b.wav")
    scan = os.scandir

    def refuse(path: str) -> object:  # whoever is root may read everything
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = enhance(tmp_path / "in", tmp_path / "out")
    assert_one_line(result, f"{tmp_path / 'in' / 'locked'}: Permission denied")
    assert result.stdout.startswith("1 file, 0.2 s")
    again = enhance(tmp_path / "in", tmp_path / "out", "--skip-existing")
    assert_one_line(again, "locked: Permission denied")
    assert again.stdout == "1 skipped, as the output exists\n"


def test_an_output_may_have_any_name(tmp_path: Path, enhance: Run, odd: tuple[str, str]) -> None:
    target = tmp_path / f"{odd[0]}.wav"
    result = enhance(sound(tmp_path / "in.wav"), target)
    assert result.exit_code == 0, result.output
    assert target.stat().st_size == (tmp_path / "in.wav").stat().st_size
    assert_one_line(enhance(tmp_path / "in.wav", target), f"{odd[1]}.wav: exists already".replace(r"\n", " "))


@pytest.mark.parametrize("name", ["phone.m4a", "browser.webm"])
def test_containers_without_sound_are_left_out(name: str, enhance: Run, tmp_path: Path) -> None:
    sound(tmp_path / "in" / "talk.wav")
    (tmp_path / "in" / name).write_bytes(b"\0\0\0\x18ftypM4A ")
    result = enhance(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 0
    assert f"1 left out, no sound in it that can be read: {name}" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.wav"]
