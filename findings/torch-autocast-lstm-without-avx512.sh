#!/usr/bin/env bash
# torch's LSTM under autocast in bfloat16 raises an error on x86 processors without AVX-512.
#
# One would guess: autocast works on every processor, if slowly. Linear layers and convolutions do. The GRU stays in
# float32, as without autocast.
# What happens: autocast casts the inputs of oneDNN's LSTM. oneDNN has no LSTM in bfloat16 for AVX2, and torch does not
# ask before the call. The message is about a primitive descriptor, and names neither the type nor the processor.
# Where a processor has AVX-512, this script tells oneDNN to use AVX2 alone.
#
# Versions: torch 2.13.0. Date: 2026-12-01.
# Output seen, on an AMD EPYC with AVX2:
#   Linear under autocast: bfloat16
#   Conv1d under autocast: bfloat16
#   GRU under autocast: float32
#   LSTM without autocast: float32
#   LSTM under autocast: RuntimeError: could not create a primitive descriptor for the LSTM forward propagation primitive
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
ONEDNN_MAX_CPU_ISA=AVX2 venv/bin/python - <<'PYTHON'
import contextlib
import sys

import torch
from torch import nn

assert torch.__version__.partition("+")[0] == "2.13.0", torch.__version__
x = torch.randn(5, 2, 8)


def attempt(module, autocast):
    with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
        try:
            y = module(x)
        except RuntimeError as error:
            return "RuntimeError: " + str(error).partition(".")[0]
    return str((y[0] if isinstance(y, tuple) else y).dtype).removeprefix("torch.")


lstm = nn.LSTM(8, 8)
seen = {
    "Linear under autocast": attempt(nn.Linear(8, 8), True),
    "Conv1d under autocast": attempt(nn.Conv1d(2, 8, 3), True),
    "GRU under autocast": attempt(nn.GRU(8, 8), True),
    "LSTM without autocast": attempt(lstm, False),
    "LSTM under autocast": attempt(lstm, True),
}
for what, result in seen.items():
    print(f"{what}: {result}")
expected = ["bfloat16", "bfloat16", "float32", "float32"]
failed = seen["LSTM under autocast"].startswith("RuntimeError: could not create a primitive descriptor for the LSTM")
if list(seen.values())[:4] != expected or not failed:
    sys.exit("the behavior has changed")
PYTHON
