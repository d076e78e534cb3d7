"""Runs in this process that are cut off before a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.train.module import Enhancer
from lite_rtse_ext.train.recipe import Recipe
from lite_rtse_ext.train.run import fit


class Interrupted(Exception):
    """Stands for whatever ends a run."""


def cut_off(recipe: Recipe, folder: Path, before: int, resume: bool = False) -> None:
    """Train until an exception comes before a step."""
    usual = Enhancer.training_step

    def step(self: Enhancer, batch: Example, batch_idx: int) -> torch.Tensor:
        if self.global_step == before:
            raise Interrupted
        return usual(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Enhancer, "training_step", step)
        with pytest.raises(Interrupted):
            fit(recipe, folder, resume=resume, progress=False)
