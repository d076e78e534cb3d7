#!/usr/bin/env bash
# A compiled PyTorch function loses the forward-mode derivative, or gives a wrong one, and says nothing.
#
# One would guess: torch.compile does not change what a function computes. A dual tensor of torch.autograd.forward_ad
# goes in, and the result has a tangent, or there is an exception.
# What happens: with the backend "inductor", the default, the values are right. The tangent of a sine is missing (None).
# The tangent of a convolution with ReLU is that of the convolution alone: not zero where ReLU cuts off. The code that
# inductor writes knows nothing of tangents, and only the convolution, an operator of PyTorch, makes one.
# The backends "eager" and "aot_eager" give the right tangents.
#
# Needs a C++ compiler and Python's headers, which inductor uses on the CPU.
# Versions: torch 2.13.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   double_sine, not compiled: tangent [1.08, 1.51, 1.82, 1.98, 1.98, 1.82, 1.51, 1.08]
#   double_sine, eager: tangent right
#   double_sine, aot_eager: tangent right
#   double_sine, inductor: tangent None
#   conv_relu, not compiled: tangent [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
#   conv_relu, eager: tangent right
#   conv_relu, aot_eager: tangent right
#   conv_relu, inductor: tangent [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"
cat > show.py <<'PYTHON'
import sys

import torch
from torch.autograd import forward_ad
from torch.nn.functional import conv1d, relu

point, direction = torch.linspace(-1, 1, 8).reshape(1, 1, 8), torch.ones(1, 1, 8)
mean = torch.full((1, 1, 3), 1 / 3)


def double_sine(x: torch.Tensor) -> torch.Tensor:
    return 2 * torch.sin(x)


def conv_relu(x: torch.Tensor) -> torch.Tensor:
    return relu(conv1d(x, mean))


def value_and_tangent(function, backend: str | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    torch._dynamo.reset()
    compiled = torch.compile(function, backend=backend) if backend else function
    with forward_ad.dual_level():
        value, tangent = forward_ad.unpack_dual(compiled(forward_ad.make_dual(point, direction)))
    return value, tangent


def rounded(tensor: torch.Tensor | None) -> list[float] | None:
    return None if tensor is None else [round(x, 2) for x in tensor.flatten().tolist()]


as_described = True
for function in (double_sine, conv_relu):
    true_value, true_tangent = value_and_tangent(function, None)
    print(f"{function.__name__}, not compiled: tangent {rounded(true_tangent)}")
    for backend in ("eager", "aot_eager", "inductor"):
        value, tangent = value_and_tangent(function, backend)
        same = tangent is not None and torch.allclose(tangent, true_tangent)
        print(f"{function.__name__}, {backend}: tangent {'right' if same else rounded(tangent)}")
        as_described &= torch.allclose(value, true_value) and same == (backend != "inductor")
if not as_described:
    sys.exit("changed: inductor gives the right tangents or refuses, or another backend differs")
PYTHON
venv/bin/python show.py
