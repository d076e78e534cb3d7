"""The same bits every time: run after run, for any number of threads, from any memory, beside other calls."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils import deterministic

from ..compare import assert_all_same, assert_same
from .operators import HALF_TYPES, OF_EVERY_TYPE, Operator, Shape, cotangent, gradients

pytestmark = pytest.mark.usefixtures("thread_count")


def everything(operator: Operator, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The result and all gradients."""
    y, found = gradients(operator, tensors)
    return {"result": y, **found}


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor], when: str) -> None:
    assert_all_same([*found.values()], [*expected.values()], [f"{name}, {when}" for name in expected])


def long_and_wide(operator: Operator) -> list[Shape]:
    """One long utterance and several short ones: enough work for several threads in either direction."""
    return [replace(operator.usual, batch=1, frames=403), replace(operator.usual, batch=7, frames=50, bins=65)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF_TYPES], ids=str)
def test_any_number_of_threads(operator: Operator, dtype: torch.dtype, device: torch.device) -> None:
    for shape in long_and_wide(operator):
        tensors = operator.inputs(shape, dtype=dtype, device=device)
        torch.set_num_threads(1)
        expected = everything(operator, tensors)
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            assert_same_bits(everything(operator, tensors), expected, f"{threads} threads, {shape}")


def test_batch_and_length_do_not_matter(operator: Operator, device: torch.device) -> None:
    """An utterance gives the same bits alone as in a batch, and its beginning the same as the whole of it."""
    if not operator.alone:
        pytest.skip("the statistics are those of the batch")
    tensors = operator.inputs(replace(operator.usual, frames=150), device=device)
    y = operator(tensors)
    alone = operator({n: t[1:2] if n in operator.signals else t for n, t in tensors.items()})
    assert_same(alone, y[1:2], "alone")
    for frames in (1, 40, 149):
        beginning = {
            n: t.narrow(operator.signals[n], 0, frames) if n in operator.signals else t for n, t in tensors.items()
        }
        assert_same(operator(beginning), y.narrow(operator.time_dim, 0, frames), f"{frames} frames")


@contextmanager
def poisoned_allocations(sizes: list[torch.Size], dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Fresh tensors hold NaN: PyTorch fills what it allocates, and memory just freed, in these sizes, is full of it."""
    strict = torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = True
    try:
        assert torch.empty(1000, dtype=dtype, device=device).isnan().all()
        freed = [torch.full(size, float("nan"), dtype=dtype, device=device) for size in sizes for _ in range(3)]
        del freed
        yield
    finally:
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(strict)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_output_is_written(operator: Operator, dtype: torch.dtype, device: torch.device) -> None:
    """Nothing is left of what the memory of results, gradients or scratch held before."""
    shapes = [operator.usual, replace(operator.usual, frames=1, bins=1), *operator.empty]
    for shape in shapes:
        if shape.is_complex and dtype != torch.float32:
            continue
        tensors = operator.inputs(shape, dtype=dtype, device=device)
        expected = everything(operator, tensors)
        with poisoned_allocations([t.shape for t in expected.values()], dtype, device):
            found = everything(operator, tensors)
        for name, tensor in found.items():
            assert torch.isfinite(tensor).all(), f"{name} of {shape} holds memory that was never written"
        assert_same_bits(found, expected, f"poisoned memory, {shape}")


def some_shapes(operator: Operator) -> list[Shape]:
    """The accuracy shapes that take little time, the large ones among the small."""
    return [shape for shape in operator.shapes if shape.batch * shape.frames * shape.bins * shape.channels < 70_000]


def test_scratch_is_clean_whatever_ran_before(operator: Operator, device: torch.device) -> None:
    """Scratch memory is kept between calls: large then small, and dtypes in turn, leave no trace in each other."""
    jobs = [
        operator.inputs(shape, dtype=dtype, device=device)
        for shape in some_shapes(operator)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        if not (shape.is_complex and dtype == torch.bfloat16)
    ]
    expected = [everything(operator, tensors) for tensors in jobs]
    order = list(range(len(jobs)))
    random.Random(0).shuffle(order)
    for i in [*order, *sorted(order, key=lambda i: -next(iter(jobs[i].values())).numel())]:
        assert_same_bits(everything(operator, jobs[i]), expected[i], f"job {i}")


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_from_several_python_threads(threads: int, device: torch.device) -> None:
    """All operators at once, each call with its own shape, as a server with a thread per request makes them."""
    torch.set_num_threads(threads)
    jobs = [
        (operator, operator.inputs(shape, device=device))
        for operator in OF_EVERY_TYPE
        for shape in some_shapes(operator)
    ]
    expected = [everything(operator, tensors) for operator, tensors in jobs]
    order = list(range(len(jobs))) * 3
    random.Random(1).shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        for i, found in zip(order, pool.map(lambda i: everything(*jobs[i]), order), strict=True):
            assert_same_bits(found, expected[i], f"{jobs[i][0]}, job {i}")


def test_backward_twice(operator: Operator, device: torch.device) -> None:
    """A graph that is kept gives the same gradients again."""
    leaves = {n: t.requires_grad_() for n, t in operator.inputs(operator.usual, device=device).items()}
    y = operator(leaves)
    first = torch.autograd.grad(y, list(leaves.values()), cotangent(y), retain_graph=True)
    second = torch.autograd.grad(y, list(leaves.values()), cotangent(y))
    assert_all_same(second, first, list(leaves))
