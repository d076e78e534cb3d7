"""The compiled library at its edges: memory that is refused, exceptions, and what is written in its file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lite_rtse_ext
from lite_rtse_ext.ops import _native, _register

from .ops.operators import WITH_LSTM, Operator

REFUSED = r"DefaultCPUAllocator: can't allocate memory: you tried to allocate \d+ bytes"
MOST = 10**15  # bytes, more than any machine has and than an address has room for


@pytest.mark.parametrize("operator", WITH_LSTM, ids=str)
def test_too_large_an_input_is_refused_as_by_pytorch(operator: Operator) -> None:
    """Of expanded tensors, which take no memory themselves."""
    tensors = operator.inputs(operator.tiny)
    sizes = {name: (MOST // 8000, *t.shape[1:]) if name in operator.signals else t.shape for name, t in tensors.items()}
    vast = {name: t[:1].expand(sizes[name]) if name in operator.signals else t for name, t in tensors.items()}
    with pytest.raises(RuntimeError, match=REFUSED) as caught:
        operator(vast)
    assert "site-packages" not in str(caught.value)


LITTLE_MEMORY = """
import os, resource
from dataclasses import replace
import torch
from tests.ops.operators import WITH_LSTM, Shape, gradients
torch.set_num_threads(1)
shape = Shape(batch=4, frames=200, bins=65, channels=16, in_channels=16, order=3)
def sweep(operator):
    gradients(operator, operator.inputs(operator.tiny))
    batches = {"gru": 400, "norm_prelu": 40, "pointwise_conv": 400}  # these need little memory for each sequence
    tensors = operator.inputs(replace(shape, batch=batches.get(operator.name, shape.batch)))
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    for megabytes in range(200):
        resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), resource.RLIM_INFINITY))
        try:
            gradients(operator, tensors)
            break
        except RuntimeError as error:
            print(operator, error, flush=True)
for operator in WITH_LSTM:
    if os.fork() == 0:
        sweep(operator)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_whatever_is_refused_says_so() -> None:
    """With a little more memory each time, until both passes have enough: for results, copies and working memory."""
    command = [sys.executable, "-c", LITTLE_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True)
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {operator.name for operator in WITH_LSTM}
    assert [line for line in lines if "DefaultCPUAllocator: can't allocate memory" not in line] == []
    assert any(re.match(rf"\w+ {REFUSED}", line) for line in lines)  # the kernels' own memory


def test_a_gpu_without_memory_has_pytorchs_type() -> None:
    """PyTorch's C interface passes on the words alone."""
    words = "CUDA out of memory. Tried to allocate 20.00 GiB."
    found = _register.of_pytorchs_type(RuntimeError(words))
    assert isinstance(found, torch.OutOfMemoryError)
    assert str(found) == words
    for other in (RuntimeError("another"), NotImplementedError(words), torch.OutOfMemoryError(words)):
        assert _register.of_pytorchs_type(other) is other


@pytest.mark.parametrize("frames", [10**9, 10**12])
def test_an_exception_in_the_library_is_one_in_python(frames: int) -> None:
    with pytest.raises(RuntimeError, match=r"can't allocate memory: you tried to allocate \d+ bytes"):
        _native.cascade_gflops(frames)
    assert _native.cascade_gflops(8) > 0
    assert _native.isa() in _native.isas()


@pytest.mark.parametrize("library", sorted(Path(lite_rtse_ext.__file__).parent.glob("_*.so")), ids=lambda p: p.name)
def test_no_folder_of_the_machine_that_built_it(library: Path) -> None:
    content = library.read_bytes()
    for folder in (str(Path(__file__).parents[1]), "site-packages", sys.prefix):
        assert folder.encode() not in content, folder
