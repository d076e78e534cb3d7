"""``lite-rtse train`` that also saves the gradients of each step: ``gradients.py FOLDER ARGUMENTS…``."""

import os
import sys
from pathlib import Path

import torch

from lite_rtse_ext.cli import main
from lite_rtse_ext.train.module import Enhancer


def save(self: Enhancer, optimizer: torch.optim.Optimizer) -> None:
    """Save the gradients, by this process's rank and the step."""
    gradients = {name: p.grad.clone() for name, p in self.net.named_parameters() if p.grad is not None}
    torch.save(gradients, folder / f"{os.environ.get('RANK', '0')}-{self.global_step}.pt")


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
Enhancer.on_before_optimizer_step = save  # type: ignore[method-assign]
main(["train", *sys.argv[2:]])
