#!/usr/bin/env bash
# torch.compile takes the backward pass of an operator from its cache after the operator's gradient has changed.
#
# One would guess: the cache on disk knows what a compiled function calls. Who installs a new version of a package with
# custom operators, or corrects the formula of a gradient, gets the new gradient.
# What happens: the key is made of the graph of the forward pass, which names the operator only. A process that finds
# the forward pass in the cache takes the backward pass from there, too. So it computes the old gradient, and there is
# no warning. If the new version has changed the arguments of an operator that the old formula calls, there is an error
# in place of a wrong gradient.
# What to do: empty the cache's folder after an upgrade, or set TORCH_COMPILE_CACHE_KEY_TAG to the package's version.
#
# Versions: torch 2.13.0 (CPU). Needs a C++ compiler and Python's headers. Date: 2026-12-01.
# Output seen:
#   formula 2, cache empty: compiled gradient 2.0, not compiled 2.0
#   formula 3, same cache: compiled gradient 2.0, not compiled 3.0
#   formula 3, same cache, other tag: compiled gradient 3.0, not compiled 3.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
export TORCHINDUCTOR_CACHE_DIR="$folder/cache" OMP_NUM_THREADS=1
cat >show.py <<'PYTHON'
import sys

import torch

words, factor, expected = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])


@torch.library.custom_op("demo::same", mutates_args=())
def same(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@same.register_fake
def _(x):
    return torch.empty_like(x)


same.register_autograd(lambda ctx, grad: grad * factor)


def gradient(function):
    x = torch.ones(8, requires_grad=True)
    (found,) = torch.autograd.grad(function(x).sum(), x)
    return float(found[0])


def twice(x):
    return same(x) + 0.0


compiled, plain = gradient(torch.compile(twice)), gradient(twice)
print(f"formula {factor:.0f}, {words}: compiled gradient {compiled}, not compiled {plain}")
if compiled != expected or plain != factor:
    sys.exit(f"changed: expected a compiled gradient of {expected}")
PYTHON
venv/bin/python show.py "cache empty" 2 2
venv/bin/python show.py "same cache" 3 2
TORCH_COMPILE_CACHE_KEY_TAG=2.0 venv/bin/python show.py "same cache, other tag" 3 3
