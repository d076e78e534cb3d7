"""Forked processes are as those that Python starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .forks import python, side_by_side

SCRIPT = "import os, sys; print(sys.argv, os.getcwd(), sys.path[0], os.environ['COLOR'], __name__)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", SCRIPT, "-a", "b"),
        ("-m", "script", "-a", "b"),
        ("folder/script.py", "-a", "b"),
        ("-c", "import sys; sys.exit(3)"),
        ("-c", "import sys; sys.exit('in words')"),
        ("-c", "import sys; sys.exit()"),
        ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        ("-c", "import sys; print('é', flush=True); print('last', file=sys.stderr); sys.stdin.read()"),
        ("-c", "import os; os.write(1, b'low level'); os._exit(4)"),
    ],
)
def test_what_is_printed_and_the_exit_code(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for path in (tmp_path / "script.py", tmp_path / "folder" / "script.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(SCRIPT)
    env = os.environ | {"COLOR": "blue"}
    forked = python(*arguments, cwd=tmp_path, env=env)
    usual = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (usual.returncode, usual.stdout, usual.stderr)


def test_what_is_raised_is_printed() -> None:
    done = python("-c", "raise ValueError('wrong')")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: wrong\n")


def test_no_process_knows_of_another(tmp_path: Path) -> None:
    """Each waits for what the other leaves, so they run at the same time, and none finds what one before imported."""
    code = (
        "import os, sys, time; own, other = os.environ['PAIR'].split(); open(own, 'x').close(); assert 'wave' not in"
        " sys.modules; import wave\nwhile not os.path.exists(other): time.sleep(0.01)"
    )
    pairs = [f"{tmp_path}/a {tmp_path}/b", f"{tmp_path}/b {tmp_path}/a", f"{tmp_path}/c {tmp_path}/a"]
    first = side_by_side("-c", code, envs=[os.environ | {"PAIR": pair} for pair in pairs[:2]])
    last = python("-c", code, env=os.environ | {"PAIR": pairs[2]})
    assert [(done.returncode, done.stderr) for done in (*first, last)] == [(0, "")] * 3
