"""Short training runs in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.forks import ROOT, python

QUICK = str(Path(__file__).with_name("quick.yaml"))
IMPORTED = ("lightning.pytorch", "lite_rtse_ext.train.run", "torch.utils.tensorboard")
"""By each run; it takes seconds."""


def train(
    arguments: Sequence[str], launcher: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """``lite-rtse train`` in a process of its own, or in those that a launcher starts."""
    command = ["-m", "lite_rtse_ext.cli", "train", *arguments]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **environment}
    if not launcher:
        return python(*command, imported=IMPORTED, env=environment)
    return subprocess.run([*launcher, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def newest(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    """The newest checkpoint of a run, or another one."""
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / name, weights_only=True)
    return checkpoint
