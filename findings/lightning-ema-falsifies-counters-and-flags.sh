#!/usr/bin/env bash
# Lightning's EMAWeightAveraging averages counters and flags too, and leaves wrong ones in the model.
#
# One would guess: a moving average is taken of weights, and of buffers where that has a meaning, as BatchNorm's means.
# A counter or a flag is copied.
# What happens: by default every buffer is averaged and the result is put back into the buffer's own type. An integer
# loses its fraction at each update, so with the default decay of 0.999 a counter that grows by one stays at its first
# value. A flag that turned from True to False stays True, as 0.999 is not zero. No warning. The model after fit
# has these values, and so has the checkpoint. A model that warms up by such a flag stays in its warm-up.
# With use_buffers=False counters and flags have the model's last values.
#
# Versions: lightning 2.6.6, torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   no average: steps 200, warming up False, batches of BatchNorm 200; checkpoint: 200, False, 200
#   the default: steps 1, warming up True, batches of BatchNorm 1; checkpoint: 1, True, 1
#   use_buffers=False: steps 200, warming up False, batches of BatchNorm 200; checkpoint: 200, False, 200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lightning==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > show.py <<'PYTHON'
import sys

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

STEPS = 200
data = DataLoader(torch.zeros(STEPS, 4, 1), batch_size=1)


class Model(lightning.LightningModule):
    """A model with a counter of its own, a flag for its first ten steps, and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(1)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("warming_up", torch.tensor(True))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        self.steps += 1
        self.warming_up.fill_(bool(self.steps < 10))
        return self.norm(batch[0]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def state(values: dict[str, torch.Tensor]) -> tuple[int, bool, int]:
    return tuple(values[name].item() for name in ("steps", "warming_up", "norm.num_batches_tracked"))


as_described = True
last, frozen = (STEPS, False, STEPS), (1, True, 1)
for name, callbacks, expected in (
    ("no average", [], last),
    ("the default", [EMAWeightAveraging()], frozen),
    ("use_buffers=False", [EMAWeightAveraging(use_buffers=False)], last),
):
    model = Model()
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint("last.ckpt")
    saved = state(torch.load("last.ckpt", weights_only=True)["state_dict"])
    print("{}: steps {}, warming up {}, batches of BatchNorm {}".format(name, *state(model.state_dict())), end="")
    print("; checkpoint: {}, {}, {}".format(*saved))
    as_described &= state(model.state_dict()) == saved == expected
if not as_described:
    sys.exit("changed: the default copies counters and flags, or the others no longer do")
PYTHON
venv/bin/python -W ignore show.py 2>log || { cat log >&2; exit 1; }
