#!/usr/bin/env bash
# torch.compile takes code for AVX-512 from its cache when PyTorch works with AVX2, and gives wrong values.
#
# One would guess: the cache on disk tells instruction sets apart, as ATEN_CPU_CAPABILITY=avx2 changes the generated
# code. Who measures kernels for AVX2 on a processor with AVX-512 sets this variable. The variable or another processor
# with the same cache folder, such as that of a cluster's home, gives the same situation.
# What happens: the first process compiles loops over 16 values and stores them. The second process, which has vectors
# of 8 values, finds them under the same key. Sums miss half of the values. There is no warning.
#
# Versions: torch 2.13.0 (CPU), on a processor with AVX-512. Needs a C++ compiler. Date: 2026-11-29.
# Output seen:
#   compiled with AVX512, run with AVX512: sum of rows off by 1e-07
#   compiled with AVX512, run with AVX2: sum of rows off by 5e-01
#   compiled with AVX2, run with AVX2: sum of rows off by 1e-07
set -euo pipefail
if ! grep -qw avx512f /proc/cpuinfo; then
    echo "this processor has no AVX-512: nothing to show" >&2
    exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
cat >check.py <<'PYTHON'
import sys

import torch

torch.manual_seed(0)
x = torch.randn(4, 60, 257)


def rows(x):
    return (x.sin() * x.exp()).sum(-1)


compiled_with, should_fit = sys.argv[1], sys.argv[2] == "right"
off = float((torch.compile(rows)(x) - rows(x)).norm() / rows(x).norm())
run_with = torch.backends.cpu.get_cpu_capability()
off_by = "1e-07" if off < 1e-6 else f"{off:.0e}"
print(f"compiled with {compiled_with}, run with {run_with}: sum of rows off by {off_by}")
if (off < 1e-6) != should_fit or run_with != sys.argv[3]:
    sys.exit("changed: the cache tells the instruction sets apart, or the code is wrong without it")
PYTHON
export OMP_NUM_THREADS=1
TORCHINDUCTOR_CACHE_DIR=$folder/shared venv/bin/python check.py AVX512 right AVX512
ATEN_CPU_CAPABILITY=avx2 TORCHINDUCTOR_CACHE_DIR=$folder/shared venv/bin/python check.py AVX512 wrong AVX2
ATEN_CPU_CAPABILITY=avx2 TORCHINDUCTOR_CACHE_DIR=$folder/own venv/bin/python check.py AVX2 right AVX2
