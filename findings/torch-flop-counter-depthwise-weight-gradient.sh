#!/usr/bin/env bash
# PyTorch's FLOP counter ignores the groups in a convolution's weight gradient.
#
# One would guess: a convolution's gradient for the weight costs as much as its forward pass. For a depthwise
# convolution (groups == channels) both are smaller than the ungrouped ones by the number of channels.
# What happens: FlopCounterMode counts the forward pass and the gradient for the input with the groups. It counts the
# gradient for the weight as if there were one group. With 64 channels it is 64 times too many. So a training step of a
# network with depthwise convolutions seems to cost many times more than it does.
#
# Versions: torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   groups  true  forward  gradient(input)  gradient(weight)
#   1 2457600 2457600 2457600 2457600
#   64 38400 38400 38400 2457600
#   depthwise, gradient(weight): 64 times too many
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import torch
from torch.nn.functional import conv1d
from torch.utils.flop_counter import FlopCounterMode

CHANNELS, TAPS, FRAMES = 64, 3, 100


def counted(groups: int) -> tuple[int, int, int]:
    """Give what is counted for the forward pass, the input's gradient and the weight's gradient."""
    sound = torch.randn(1, CHANNELS, FRAMES + TAPS - 1, requires_grad=True)
    weight = torch.randn(CHANNELS, CHANNELS // groups, TAPS, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        out = conv1d(sound, weight, groups=groups).sum()
    totals = [forward.get_total_flops()]
    for wanted in (sound, weight):
        out = conv1d(
            sound if wanted is sound else sound.detach(), weight if wanted is weight else weight.detach(), groups=groups
        ).sum()
        with FlopCounterMode(display=False) as backward:
            torch.autograd.grad(out, wanted)
        totals.append(backward.get_total_flops())
    return tuple(totals)


print("groups  true  forward  gradient(input)  gradient(weight)")
rows = {}
for groups in (1, CHANNELS):
    true = 2 * CHANNELS * (CHANNELS // groups) * TAPS * FRAMES
    rows[groups] = true, *counted(groups)
    print(groups, *rows[groups])
true, forward, by_input, by_weight = rows[CHANNELS]
print(f"depthwise, gradient(weight): {by_weight // true} times too many")
if not (len(set(rows[1])) == 1 and forward == by_input == true and by_weight == CHANNELS * true):
    sys.exit("changed: the count of the weight's gradient is no longer too large by the number of groups")
PYTHON
