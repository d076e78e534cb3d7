"""What the tests of the command share: a checkpoint of a small network, sounds, and a way to call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from lite_rtse_ext import reference
from lite_rtse_ext.cli import main

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The commands set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_file(reference.LiteRTSE(channels=4, order=2).state_dict(), path)
    return path


@pytest.fixture
def run() -> Run:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def enhance(run: Run, checkpoint: Path) -> Run:
    def call(*arguments: object) -> Result:
        return run("enhance", *arguments, "--checkpoint", checkpoint)

    return call


def sound(path: Path, seconds: float = 0.2, rate: int = 16_000, channels: int = 1) -> Path:
    """Writes a tone, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    sf.write(path, np.tile(0.3 * np.sin(2 * np.pi * 440 * time)[:, None], channels), rate)
    return path


def assert_one_line(result: Result, *words: str) -> None:
    """The command failed with one line on stderr that holds these words."""
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    for word in words:
        assert word in lines[0]
