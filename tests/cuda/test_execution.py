"""How a GPU runs the operators: on the stream that is current, without waiting, in CUDA graphs, the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ..compare import assert_all_same, assert_same
from ..ops.operators import HALF_TYPES, OPERATORS, Operator, Tensors, cotangent, gradients

pytestmark = pytest.mark.cuda

operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)
SLEEP_CYCLES = 100_000_000  # about 50 ms on any GPU: who does not wait for what is enqueued behind it runs too early


def everything(operator: Operator, tensors: Tensors, dy: Tensor | None = None) -> list[Tensor]:
    """The result and all gradients."""
    y, found = gradients(operator, tensors, dy)
    return [y, *found.values()]


def names(tensors: Tensors) -> list[str]:
    return ["result", *(f"gradient of {name}" for name in tensors)]


@operators
def test_work_goes_to_the_current_stream(operator: Operator, gpu: torch.device) -> None:
    """The inputs are written on a side stream, behind a kernel that sleeps: only work behind it there sees them."""
    tensors = operator.inputs(operator.usual, device=gpu)
    dy = cotangent(operator(tensors))
    expected = everything(operator, tensors, dy)
    late = {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}
    torch.cuda.synchronize(gpu)
    stream = torch.cuda.Stream(gpu)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(SLEEP_CYCLES)
        for name, tensor in tensors.items():
            late[name].copy_(tensor)
        found = everything(operator, late, dy)
    stream.synchronize()
    assert_all_same(found, expected, names(tensors))


@operators
def test_gradients_come_on_the_stream_of_the_forward_pass(operator: Operator, gpu: torch.device) -> None:
    """Autograd runs a backward pass on its forward pass's stream, whichever is current; only there dy is in time."""
    leaves = {name: t.requires_grad_() for name, t in operator.inputs(operator.usual, device=gpu).items()}
    dy = cotangent(operator(leaves))
    expected = torch.autograd.grad(operator(leaves), [*leaves.values()], dy)
    late = torch.full_like(dy, float("nan"))
    torch.cuda.synchronize(gpu)
    stream = torch.cuda.Stream(gpu)
    with torch.cuda.stream(stream):
        y = operator(leaves)
        torch.cuda._sleep(SLEEP_CYCLES)
        late.copy_(dy)
    found = torch.autograd.grad(y, [*leaves.values()], late)
    torch.cuda.synchronize(gpu)
    assert_all_same(found, expected, names(leaves)[1:])


@operators
def test_streams_side_by_side(operator: Operator, gpu: torch.device) -> None:
    """Calls on several streams at once, each with scratch memory of its own, do not disturb each other."""
    jobs = [operator.inputs(replace(operator.usual, frames=20 + 7 * i), device=gpu, seed=i) for i in range(4)]
    expected = [everything(operator, tensors) for tensors in jobs]
    torch.cuda.synchronize(gpu)
    streams = [torch.cuda.Stream(gpu) for _ in jobs]
    found: list[list[Tensor]] = []
    for _ in range(5):
        found.clear()
        for stream, tensors in zip(streams, jobs, strict=True):
            with torch.cuda.stream(stream):
                found.append(everything(operator, tensors))
    torch.cuda.synchronize(gpu)
    for ours, theirs, tensors in zip(found, expected, jobs, strict=True):
        assert_all_same(ours, theirs, names(tensors))


@contextmanager
def synchronising_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_synchronising_would_be_seen(gpu: torch.device) -> None:
    """What the next test rests on."""
    with synchronising_is_an_error(), pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device=gpu).item()


@operators
def test_nothing_waits_for_the_gpu(operator: Operator, gpu: torch.device) -> None:
    """Neither PyTorch on our behalf (its debug mode would raise) nor our code: a call returns while the GPU sleeps."""
    tensors = operator.inputs(operator.usual, device=gpu)
    dy = cotangent(operator(tensors))
    everything(operator, tensors, dy)
    torch.cuda.synchronize(gpu)
    with synchronising_is_an_error():
        torch.cuda._sleep(20 * SLEEP_CYCLES)
        everything(operator, tensors, dy)
        done = torch.cuda.current_stream(gpu).record_event()
        assert not done.query(), "the call ended after the work that was enqueued before it"
    torch.cuda.synchronize(gpu)


class Captured:
    """A function of tensors in a CUDA graph: call it with other values for the same tensors."""

    def __init__(self, function: Callable[[], list[Tensor]], inputs: list[Tensor]) -> None:
        self.inputs = inputs
        side = torch.cuda.Stream(inputs[0].device)
        side.wait_stream(torch.cuda.current_stream(inputs[0].device))
        with torch.cuda.stream(side):  # what PyTorch asks for before a capture: three runs on a stream of their own
            for _ in range(3):
                function()
        torch.cuda.current_stream(inputs[0].device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function()

    def __call__(self, *values: Tensor) -> list[Tensor]:
        with torch.no_grad():
            for tensor, value in zip(self.inputs, values, strict=True):
                tensor.copy_(value)
        self.graph.replay()
        return [output.clone() for output in self.outputs]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@operators
def test_cuda_graphs(operator: Operator, dtype: torch.dtype, gpu: torch.device) -> None:
    """Forward and backward pass captured once and replayed on other values give what eager mode gives.

    A capture fails where anything in it allocates past PyTorch, or waits for the device.
    """
    sets = [operator.inputs(operator.usual, dtype=dtype, device=gpu, seed=seed) for seed in range(3)]
    dys = [cotangent(operator(tensors), seed) for seed, tensors in enumerate(sets)]
    expected = [everything(operator, tensors, dy) for tensors, dy in zip(sets, dys, strict=True)]
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in sets[0].items()}
    dy = dys[0].clone()

    def step() -> list[Tensor]:
        y = operator(leaves)
        return [y.detach(), *torch.autograd.grad(y, [*leaves.values()], dy)]

    captured = Captured(step, [*leaves.values(), dy])
    for i in (1, 2, 0, 1):
        assert_all_same(captured(*sets[i].values(), dys[i]), expected[i], names(leaves))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF_TYPES], ids=str)
@operators
def test_the_same_bits_every_time(operator: Operator, dtype: torch.dtype, gpu: torch.device) -> None:
    """However the GPU schedules the blocks: beside other work, on any stream, run after run."""
    shape = replace(operator.usual, batch=5, frames=403, bins=65)
    tensors = operator.inputs(shape, dtype=dtype, device=gpu)
    expected = everything(operator, tensors)
    stream, load = torch.cuda.Stream(gpu), torch.randn(2048, 2048, device=gpu)
    for _ in range(20):
        with torch.cuda.stream(stream):
            load = load @ load / 2048
        assert_all_same(everything(operator, tensors), expected, names(tensors))
    torch.cuda.synchronize(gpu)


@operators
def test_memory_is_pytorchs_and_given_back(operator: Operator, gpu: torch.device) -> None:
    """Scratch memory comes out of PyTorch's allocator and is back there when the call returns."""
    tensors = operator.inputs(replace(operator.usual, batch=2, frames=200, bins=257), device=gpu)
    operator(tensors)

    def in_use() -> int:
        return int(torch.cuda.memory_stats(gpu)["requested_bytes.all.current"])

    before = in_use()
    y = operator(tensors)
    assert in_use() - before == y.numel() * y.element_size()
    del y
    assert in_use() == before


@operators
def test_a_failed_call_leaves_no_error_behind(operator: Operator, gpu: torch.device) -> None:
    tensors = operator.inputs(operator.usual, device=gpu)
    expected = operator(tensors)
    first = next(iter(tensors))
    with pytest.raises(RuntimeError, match="dtype"):
        operator(dict(tensors) | {first: tensors[first].double()})
    torch.cuda.synchronize(gpu)
    assert_same(operator(tensors), expected)
