"""Offsets beyond 2³¹ elements; on the CPU in memory that is mapped but, for the most part, never touched."""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ..compare import assert_agrees, assert_same
from .operators import MASK_RESIDUAL, OPERATORS, Operator, Shape, cotangent, double, gradients

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="maps memory as Linux does")

LIMIT = 2**31
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux's value, for Pythons that don't name it
NEEDED_BYTES = 7 * 2**30
NEEDED_GPU_BYTES = 60 * 2**30  # up to six tensors of 4.3 GB, and scratch of several times one
TAIL = 20  # frames that hold something, at the end
WINDOW = 64  # frames that the tail depends on, and more


def untouched(size: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A dense tensor of zeros; on the CPU of pages that take no memory until they are written."""
    if device.type != "cpu":
        return torch.zeros(tuple(size), dtype=dtype, device=device)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    pages = mmap.mmap(-1, math.prod(size) * dtype.itemsize, flags=flags)
    return torch.frombuffer(pages, dtype=dtype).view(tuple(size))


def far_apart(tensor: Tensor) -> Tensor:
    """The same values, with more than 2³¹ elements from each utterance to the next."""
    stride = LIMIT + tensor[0].numel()
    memory = untouched([stride * (len(tensor) - 1) + tensor[0].numel()], tensor.dtype, tensor.device)
    return memory.as_strided(tensor.shape, (stride, *tensor.stride()[1:])).copy_(tensor)


@pytest.fixture
def roomy(device: torch.device) -> torch.device:
    """Each device, with memory freed that earlier tests have used."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        if free < NEEDED_GPU_BYTES:
            pytest.skip(f"needs {NEEDED_GPU_BYTES >> 30} GiB of free GPU memory, there are {free >> 30}")
    return device


def test_strides_beyond_the_limit(operator: Operator, roomy: torch.device) -> None:
    shape = replace(operator.tiny, batch=2)
    tensors = operator.inputs(shape, dtype=torch.float16, device=roomy)
    distant = {name: far_apart(t) if name in operator.signals else t for name, t in tensors.items()}
    y, expected = gradients(operator, tensors)
    found_y, found = gradients(operator, distant, far_apart(cotangent(y)))
    assert_same(found_y, y)
    for name in found:
        assert_same(found[name], expected[name], f"gradient of {name}")


def available_bytes() -> int:
    """Memory that can be used without swapping; plenty where Linux's figure can't be read."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return NEEDED_BYTES
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def tail(tensor: Tensor, dim: int, frames: int) -> Tensor:
    return tensor.narrow(dim, tensor.shape[dim] - frames, frames)


# Not gru, which remembers every frame. The test above has its offsets beyond the limit.
@pytest.mark.slow
@pytest.mark.skipif(available_bytes() < NEEDED_BYTES, reason="needs 7 GB of free memory")
@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_tensors_beyond_the_limit(operator: Operator, roomy: torch.device) -> None:
    """The last frames of a recording with more than 2³¹ values agree with the reference on these frames alone."""
    # The kernels take 16 channels in a third of the time of two.
    channels = 2 if operator is MASK_RESIDUAL else 16
    frames, bins, dtype = 2**21 // channels + 64, 1024, torch.bfloat16
    small = Shape(batch=1, frames=WINDOW, bins=bins, channels=channels, in_channels=channels)
    tensors = operator.inputs(small, dtype=dtype, device=roomy)
    large = dict(tensors)
    for name, dim in operator.signals.items():
        tensors[name].narrow(dim, 0, WINDOW - TAIL).zero_()
        size = [frames if d == dim else n for d, n in enumerate(tensors[name].shape)]
        large[name] = untouched(size, dtype, roomy)
        tail(large[name], dim, WINDOW).copy_(tensors[name])
    assert large[next(iter(operator.signals))].numel() > LIMIT

    leaves = {name: t.requires_grad_(operator is not MASK_RESIDUAL) for name, t in large.items()}
    y = operator(leaves)
    time = operator.time_dim
    dy = cotangent(operator.reference(tensors))
    dy.narrow(time, 0, WINDOW - TAIL).zero_()
    exact, expected = gradients(operator.reference, double(tensors), dy)
    assert_agrees(tail(y, time, TAIL), tail(exact, time, TAIL), 0.02)
    if operator is MASK_RESIDUAL:
        return  # its gradients would take 13 GB

    large_dy = untouched(y.shape, dtype, roomy)
    tail(large_dy, time, WINDOW).copy_(dy)
    y.untyped_storage().resize_(0)  # makes room; the backward pass needs the graph of y, not its values
    found = torch.autograd.grad(y, list(leaves.values()), large_dy)
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        assert gradient.shape == leaf.shape
        if name in operator.signals:
            assert_agrees(tail(gradient, time, TAIL), tail(expected[name], time, TAIL), 0.02, f"gradient of {name}")
        else:
            assert_agrees(gradient, expected[name], 0.02, f"gradient of {name}")
