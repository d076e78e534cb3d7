"""The operators beyond the CPU: formulas that belong to no device, registrations for a GPU, its want of memory."""

from __future__ import annotations

from typing import NoReturn

import pytest
import torch

from .operators import WITH_LSTM, Operator

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB."


def test_second_derivatives_on_another_device(any_operator: Operator) -> None:
    """On PyTorch's device without data. A formula that makes a tensor on the CPU meets tensors of another device."""
    given = any_operator.inputs(any_operator.tiny)
    leaves = {name: torch.empty_like(each, device="meta").requires_grad_() for name, each in given.items()}
    y = any_operator(leaves)
    first = torch.autograd.grad(y, [*leaves.values()], torch.ones_like(y), create_graph=True)
    penalty = torch.stack([each.square().sum() for each in first]).sum()
    second = torch.autograd.grad(penalty, [*leaves.values()], allow_unused=True, materialize_grads=True)
    for found in (first, second):
        assert [each.shape for each in found] == [each.shape for each in leaves.values()]
        assert {each.device.type for each in (y, *found)} == {"meta"}


@pytest.mark.parametrize("suffix", ["", "_backward"])
def test_derivatives_are_registered_for_a_gpu(any_operator: Operator, suffix: str) -> None:
    """Each entry of the dispatcher's table says where its kernel comes from."""
    keys = ["AutogradCPU", "AutogradCUDA"] + ([] if suffix else ["AutocastCPU", "AutocastCUDA"])
    table = torch._C._dispatch_dump_table(f"lite_rtse::{any_operator.name}{suffix}")
    entries = dict(line.split(": ", 1) for line in table.splitlines() if ": " in line)
    assert [key for key in keys if "fallback" in entries[key]] == []


@pytest.mark.filterwarnings("ignore:Warning only once")
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("operator", WITH_LSTM, ids=str)
def test_want_of_a_gpus_memory_keeps_words_and_type(operator: Operator, inference: bool) -> None:
    """Where a kernel raises the words alone, as PyTorch's C interface passes them on."""

    def refused(*_: object) -> NoReturn:
        raise RuntimeError(OUT_OF_MEMORY)

    tensors = operator.inputs(operator.tiny)
    with torch.library._scoped_library("lite_rtse", "IMPL") as library:
        library.impl(operator.name, refused, "CPU", allow_override=True)
        with torch.inference_mode(inference), pytest.raises(torch.OutOfMemoryError) as caught:
            operator(tensors)
    assert str(caught.value) == OUT_OF_MEMORY
    assert operator(tensors).shape == operator.result_size(operator.tiny)  # the kernel is back
