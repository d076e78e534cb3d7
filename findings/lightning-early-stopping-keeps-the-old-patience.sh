#!/usr/bin/env bash
# Lightning takes the patience of EarlyStopping from the checkpoint, not from the constructor.
#
# One would guess: a run stopped too early, so one gives EarlyStopping more patience and resumes from the checkpoint.
# The new patience holds, as new arguments of the Trainer (max_epochs) do.
# What happens: the callback's saved state holds the patience and overwrites the new one. There is no warning. With
# patience 6 in place of 2 the run stops after one further epoch, before the loss falls again.
#
# Versions: lightning 2.6.6, torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   asked for patience 2: stopped after epoch 4, patience 2, warnings []
#   resumed, patience 6: stopped after epoch 5, patience 2, warnings []
#   afresh, patience 6: stopped after epoch 10, patience 6, warnings []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lightning==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > show.py <<'PYTHON'
import sys
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

LOSSES = [1.0, 0.5, 0.7, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1]
data = DataLoader(torch.zeros(1, 1))


class Model(lightning.LightningModule):
    """A model whose loss in each epoch is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return (self.weight * batch).sum()

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("loss", torch.tensor(LOSSES[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(patience: int, checkpoint: str | None = None) -> tuple[int, int, list[str]]:
    """Train and give the number of epochs done, the patience that held, and the warnings that name it."""
    stopping = EarlyStopping("loss", patience=patience)
    trainer = lightning.Trainer(
        max_epochs=len(LOSSES), callbacks=[stopping], accelerator="cpu", num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Model(), data, data, ckpt_path=checkpoint)
    trainer.save_checkpoint("last.ckpt")
    return trainer.current_epoch, stopping.patience, [str(w.message) for w in caught if "patience" in str(w.message)]


first = train(patience=2)
print("asked for patience 2: stopped after epoch {}, patience {}, warnings {}".format(*first))
resumed = train(patience=6, checkpoint="last.ckpt")
print("resumed, patience 6: stopped after epoch {}, patience {}, warnings {}".format(*resumed))
fresh = train(patience=6)
print("afresh, patience 6: stopped after epoch {}, patience {}, warnings {}".format(*fresh))
if (first, resumed, fresh) != ((4, 2, []), (5, 2, []), (len(LOSSES), 6, [])):
    sys.exit("changed: the new patience holds, or the numbers of epochs differ")
PYTHON
venv/bin/python -W ignore show.py 2>log || { cat log >&2; exit 1; }
