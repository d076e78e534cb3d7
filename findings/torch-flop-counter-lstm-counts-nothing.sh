#!/usr/bin/env bash
# PyTorch's FLOP counter counts nothing at all for an LSTM on the CPU.
#
# One would guess: FlopCounterMode counts the matrix products of nn.LSTM, as it does for nn.GRU and nn.RNN.
# What happens: for nn.LSTM the total is 0, without a warning. On the CPU the LSTM runs as one operator of oneDNN, and
# the counter has no formula for it. With oneDNN turned off, the same LSTM with the same input has the right count.
#
# Versions: torch 2.13.0, numpy 2.4.6, x86-64. Date: 2026-11-28.
# Output seen:
#   RNN: true 1638400, counted 1638400, counted without oneDNN 1638400
#   GRU: true 4915200, counted 4915200, counted without oneDNN 4915200
#   LSTM: true 6553600, counted 0, counted without oneDNN 6553600
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIZE, FRAMES = 64, 100
GATES = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}


def counted(layer: nn.Module, onednn: bool) -> int:
    with torch.backends.mkldnn.flags(enabled=onednn), FlopCounterMode(display=False) as counter:
        layer(torch.randn(FRAMES, 1, SIZE))
    return counter.get_total_flops()


as_described = True
for kind, gates in GATES.items():
    true = 2 * FRAMES * gates * (SIZE * SIZE + SIZE * SIZE)
    on, off = (counted(kind(SIZE, SIZE), onednn) for onednn in (True, False))
    print(f"{kind.__name__}: true {true}, counted {on}, counted without oneDNN {off}")
    as_described &= off == true and on == (0 if kind is nn.LSTM else true)
if not as_described:
    sys.exit("changed: the LSTM has a count, or another layer's count differs")
PYTHON
