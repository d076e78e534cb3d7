#!/usr/bin/env bash
# An ONNX export drops the addition of a constant up to 1e-8, which a logarithm or a power may depend on.
#
# One would guess: torch.onnx.export keeps x + 1e-8, as it does x + 1e-6. Networks for speech add such constants to a
# power before a logarithm or a root, so that silence has a finite level.
# What happens: the optimizer of onnxscript takes a constant that is close to 0 for 0, with an absolute tolerance of
# 1e-8, and removes the addition. log10(x + 1e-8) of silence is then -inf in the graph and -8 in PyTorch. There is no
# warning, and for sounds the two agree.
#
# Versions: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   log10(x + 1e-06) at 0: PyTorch -6.0, graph -6.0
#   log10(x + 1e-08) at 0: PyTorch -8.0, graph -inf
#   log10(x + 1e-10) at 0: PyTorch -10.0, graph -inf
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

warnings.simplefilter("ignore")
np.seterr(divide="ignore")


class Level(torch.nn.Module):
    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, power):
        return (power + self.constant).log10()


seen = []
silence = torch.zeros(1, 4)
for constant in (1e-6, 1e-8, 1e-10):
    model = Level(constant)
    torch.onnx.export(model, (silence,), "level.onnx", dynamo=True, verbose=False)
    graph = ReferenceEvaluator(onnx.load("level.onnx"))
    (levels,) = graph.run(None, {graph.input_names[0]: silence.numpy()})
    seen.append((round(float(model(silence)[0, 0])), float(levels[0, 0])))
    print(f"log10(x + {constant:g}) at 0: PyTorch {seen[-1][0]:.1f}, graph {seen[-1][1]:.1f}")
if [graph for _, graph in seen] != [-6.0, -np.inf, -np.inf] or [own for own, _ in seen] != [-6, -8, -10]:
    sys.exit("changed: the graph no longer loses the small constants, or loses others")
PYTHON
