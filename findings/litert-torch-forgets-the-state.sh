#!/usr/bin/env bash
# litert-torch: a model that keeps its state in a buffer is converted with no warning, and starts anew at every call.
#
# One would guess: the converted model runs frame by frame like the module, as the program of torch.export does, from
# which it is made. Or the conversion refuses a module that changes its own buffers.
# What happens: what forward writes into a buffer is left out of the converted model. The buffer's first value becomes a
# constant. So a causal convolution that keeps the end of the last frame sees zeros there in each frame, and a GRU that
# keeps its state starts from the first one. The first frame is right, and so is a test on one call. In a stream every
# frame but the first has an error. The package's description does not mention state. A state that is an argument and
# a result of forward works: see the last line.
#
# Versions: litert-torch 0.10.0, torch 2.13.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (50 frames of 160 samples through each, SNR against the module, at most 100 dB):
#   Convolution, torch.export's program: first frame 100 dB, all frames 100 dB
#   Convolution, litert-torch: first frame 100 dB, all frames 9 dB
#   Recurrent, torch.export's program: first frame 100 dB, all frames 100 dB
#   Recurrent, litert-torch: first frame 100 dB, all frames 5 dB
#   Recurrent with its state as an argument, litert-torch: first frame 100 dB, all frames 100 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q litert-torch==0.10.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - >lines 2>&1 <<'PYTHON' || { tail -n 20 lines; exit 1; }
import sys

import litert_torch
import numpy as np
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
FRAMES, SIZE, TAPS = 50, 160, 33


class Convolution(torch.nn.Module):
    """A causal convolution that keeps the end of the last frame."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv1d(1, 1, TAPS, bias=False)
        self.register_buffer("past", torch.zeros(1, 1, TAPS - 1))

    def forward(self, frame):
        whole = torch.cat([self.past, frame], dim=-1)
        self.past.copy_(whole[..., -(TAPS - 1) :])
        return self.layer(whole)


class Recurrent(torch.nn.Module):
    """A GRU that keeps its state."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.GRU(SIZE, SIZE)
        self.register_buffer("state", torch.zeros(1, 1, SIZE))

    def forward(self, frame):
        output, state = self.layer(frame, self.state)
        self.state.copy_(state)
        return output


class Explicit(torch.nn.Module):
    """The GRU with its state as an argument and a result."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, frame, state):
        return self.layer(frame, state)


@torch.no_grad()
def stream(run):
    return np.stack([np.asarray(run(frame)) for frame in frames])


def snr(found, wanted):
    error = np.sum((found - wanted) ** 2)
    return min(10 * np.log10(np.sum(wanted**2) / (error + 1e-20)), 100)


def report(name, found, wanted, right):
    first, all_frames = snr(found[:1], wanted[:1]), snr(found, wanted)
    print(f"seen: {name}: first frame {round(first)} dB, all frames {round(all_frames)} dB")
    return first > 90 and (all_frames > 90 if right else all_frames < 30)


frames = torch.randn(FRAMES, 1, 1, SIZE)
as_described = True
for module in (Convolution().eval(), Recurrent().eval()):
    name = type(module).__name__
    converted = litert_torch.convert(module, (frames[0],))
    program = torch.export.export(module, (frames[0],)).module()
    found = stream(lambda frame: converted(frame))
    exported = stream(program)
    for buffer in module.buffers():
        buffer.zero_()
    wanted = stream(module)
    as_described &= report(f"{name}, torch.export's program", exported, wanted, True)
    as_described &= report(f"{name}, litert-torch", found, wanted, False)
state = torch.zeros(1, 1, SIZE)
converted = litert_torch.convert(Explicit(module.layer).eval(), (frames[0], state))
found = []
for frame in frames:
    output, state = converted(frame, state)
    found.append(np.asarray(output))
    state = torch.from_numpy(np.array(state))
as_described &= report("Recurrent with its state as an argument, litert-torch", np.stack(found), wanted, True)
if not as_described:
    sys.exit("changed: the converted model keeps its state")
PYTHON
sed -n 's/^seen: //p' lines
