#!/usr/bin/env bash
# ExecuTorch: a buffer that the model changes starts at 0, whatever value the module gave it. No warning.
#
# One would guess: the file holds the module's state. torch.export's program has it, and so has a buffer that is only
# read. A model that runs frame by frame then starts like the module does.
# What happens: for a buffer that forward writes, the file keeps the room and not the value. The first call finds zeros.
# Streaming denoisers keep a running mean of the level, which starts at a typical value so that the first frames are
# not blown up. From 0 the first frame is divided by next to nothing, and the wrong level fades with the mean's time
# constant: seconds. Zeros are right for an LSTM's or a convolution's state, so a test with those finds nothing.
# The pass InitializedMutableBufferPass with the buffer's name keeps the value. The example for Llama uses it for one.
#
# Versions: executorch 1.5.1, torch 2.13.0, numpy 2.4.6. Date: 2026-11-29.
# Output seen (the largest value of each normalized frame, which is about 1 in the module from the start):
#   module:                  frame 1: 1.0, frame 2: 1.0, frame 20: 1.0, frame 200: 1.0
#   torch.export's program:  frame 1: 1.0, frame 2: 1.0, frame 20: 1.0, frame 200: 1.0
#   ExecuTorch:              frame 1: 100.0, frame 2: 50.3, frame 20: 5.5, frame 200: 1.2
#   ExecuTorch and the pass: frame 1: 1.0, frame 2: 1.0, frame 20: 1.0, frame 200: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q executorch==1.5.1 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - 2>warnings <<'PYTHON' || { tail -n 3 warnings >&2; exit 1; }
import sys

import torch
from executorch.exir import ExecutorchBackendConfig, to_edge
from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass
from executorch.runtime import Runtime


class Normalize(torch.nn.Module):
    """Divides a frame by a running mean of its largest value."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.full((1, 1), 0.1))
        self.register_buffer("keep", torch.full((1, 1), 0.99))

    def forward(self, frame):
        largest = frame.abs().amax(1, keepdim=True)
        self.level.copy_(self.keep * self.level + (1 - self.keep) * largest)
        return frame / self.level


frames = 0.1 * torch.sin(torch.arange(160) / 160 * 8 * torch.pi).expand(200, 1, 160).contiguous()
program = torch.export.export(Normalize(), (frames[0],))


def executorch(passes):
    config = ExecutorchBackendConfig(passes=passes)
    built = to_edge(torch.export.export(Normalize(), (frames[0],))).to_executorch(config).buffer
    loaded = Runtime.get().load_program(built)
    method = loaded.load_method("forward")
    # The method uses the memory of both. Its output is one buffer, which the next call fills again.
    return lambda frame, kept=(built, loaded): method.execute([frame])[0].clone()


runs = {
    "module": Normalize(),
    "torch.export's program": program.module(),
    "ExecuTorch": executorch([]),
    "ExecuTorch and the pass": executorch([InitializedMutableBufferPass(["level"])]),
}
found = {}
for name, run in runs.items():
    found[name] = torch.stack([run(frame).abs().max() for frame in frames])
    seen = ", ".join(f"frame {number}: {found[name][number - 1]:.1f}" for number in (1, 2, 20, 200))
    print(f"{name + ':':24} {seen}")
lost = found.pop("ExecuTorch")
if not (lost[0] > 50 and lost[19] > 3 and all((kept - 1).abs().max() < 1e-3 for kept in found.values())):
    sys.exit("changed: ExecuTorch keeps the first value of a buffer")
PYTHON
