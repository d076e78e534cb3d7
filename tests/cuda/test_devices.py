"""Several GPUs, and tensors on different devices."""

from __future__ import annotations

import re

import pytest
import torch

from ..compare import assert_all_same, assert_same
from ..conftest import why_no_cuda
from ..ops.operators import CAUSAL_DWCONV2D, OPERATORS, Operator, cotangent, gradients

operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)
one_gpu = pytest.mark.cuda
two_gpus = pytest.mark.cuda(2)


@pytest.fixture
def second_gpu(gpu: torch.device) -> torch.device:
    if why_no_cuda(2):
        pytest.skip(why_no_cuda(2))
    return torch.device("cuda", 1)


@one_gpu
@operators
def test_a_tensor_on_another_device_is_named(operator: Operator, gpu: torch.device) -> None:
    """Each argument but the first on the CPU, then the first alone: a message, no crash; the next call is right."""
    tensors = operator.inputs(operator.tiny, device=gpu)
    expected = operator(tensors)
    first, second, *_ = tensors
    for name in tensors:
        named = second if name == first else name  # all are held against the first
        with pytest.raises(RuntimeError, match=rf"{re.escape(named)} is on .*device of {first}"):
            operator(dict(tensors) | {name: tensors[name].cpu()})
    assert_same(operator(tensors), expected)


@one_gpu
@operators
def test_a_gradient_on_another_device_is_refused(operator: Operator, gpu: torch.device) -> None:
    tensors = operator.inputs(operator.tiny, device=gpu)
    dy = cotangent(operator(tensors)).cpu()
    backward = getattr(torch.ops.lite_rtse, f"{operator.name}_backward").default
    arguments = [a for a in operator.arguments(tensors) if a is not tensors.get("bias")]
    options = [1] if operator is CAUSAL_DWCONV2D else []  # the dilation
    with pytest.raises(RuntimeError, match="dy is on the CPU, must be on the device of"):
        backward(dy, *arguments, *options, True, True)


@two_gpus
@operators
def test_the_second_gpu(operator: Operator, second_gpu: torch.device) -> None:
    """Work goes where the tensors are, not where the current device is; that stays what it was."""
    tensors = operator.inputs(operator.usual, device=second_gpu)
    with torch.cuda.device(second_gpu):
        y, expected = gradients(operator, tensors)
    with torch.cuda.device(0):
        found_y, found = gradients(operator, tensors)
        assert torch.cuda.current_device() == 0
    assert found_y.device == second_gpu
    assert_all_same([found_y, *found.values()], [y, *expected.values()], ["result", *found])


@two_gpus
@operators
def test_two_gpus_in_turns(operator: Operator, gpu: torch.device, second_gpu: torch.device) -> None:
    """The same bits on two GPUs of one kind, with their calls enqueued side by side."""
    if torch.cuda.get_device_properties(gpu).name != torch.cuda.get_device_properties(second_gpu).name:
        pytest.skip("the two GPUs are of different kinds, for which launches are planned differently")
    tensors = operator.inputs(operator.usual)
    results = []
    for device in (gpu, second_gpu) * 3:
        y, found = gradients(operator, {name: tensor.to(device) for name, tensor in tensors.items()})
        results.append([y, *found.values()])
    for result in results[1:]:
        for ours, theirs in zip(result, results[0], strict=True):
            assert_same(ours.cpu(), theirs.cpu())


@two_gpus
@operators
def test_a_tensor_on_the_other_gpu_is_named(operator: Operator, gpu: torch.device, second_gpu: torch.device) -> None:
    tensors = operator.inputs(operator.tiny, device=gpu)
    name = list(tensors)[1]
    with pytest.raises(RuntimeError, match=rf"{re.escape(name)} is on cuda:1, must be on the device of .*cuda:0"):
        operator(dict(tensors) | {name: tensors[name].to(second_gpu)})


@two_gpus
@operators
def test_the_second_gpus_stream(operator: Operator, second_gpu: torch.device) -> None:
    """A side stream of a device that is not current: inputs written late on it are seen."""
    tensors = operator.inputs(operator.usual, device=second_gpu)
    y = operator(tensors)
    late = {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}
    torch.cuda.synchronize(second_gpu)
    stream = torch.cuda.Stream(second_gpu)
    with torch.cuda.stream(stream):  # makes the second device current, which the next line undoes
        torch.cuda._sleep(100_000_000)
        for name, tensor in tensors.items():
            late[name].copy_(tensor)
        with torch.cuda.device(0):
            found = operator(late)
    torch.cuda.synchronize(second_gpu)
    assert_same(found, y)
