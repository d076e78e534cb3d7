"""Wrong arguments raise a Python exception that names the argument, what it was and what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from lite_rtse_ext import ops

from .operators import CAUSAL_DWCONV2D as DWCONV
from .operators import CONV_BLOCK as BLOCK
from .operators import MASK_RESIDUAL as RECONSTRUCTION
from .operators import MULTI_ORDER_CONV as MULTI_ORDER
from .operators import OF_EVERY_TYPE, Operator, Shape

ERRORS = (RuntimeError, ValueError, TypeError)
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Wrong:
    """One argument changed so that the call is wrong, and patterns that the message must hold, in any order."""

    operator: Operator
    argument: str
    change: Change
    patterns: tuple[str, ...]

    def message(self) -> str:
        return "(?si)" + "".join(f"(?=.*{pattern})" for pattern in self.patterns)

    def tensors(self, device: torch.device | str) -> dict[str, Tensor]:
        tensors = self.operator.inputs(self.operator.uneven, device=device)
        return tensors | {self.argument: self.change(tensors[self.argument])}


def wrong(operator: Operator, label: str, argument: str, change: Change, *words: str, named: str | None = None) -> Any:
    """A parameter: the message holds the name of the argument (or ``named``) and each of ``words``."""
    patterns = (re.escape(named or argument), *(rf"\b{word}\b" for word in words))
    return pytest.param(Wrong(operator, argument, change, patterns), id=f"{operator}-{label}-{argument}")


def resized(*size: int) -> Change:
    return lambda tensor: tensor.new_zeros(size)


def wrong_for_all() -> list[Any]:
    """What is wrong for every tensor argument of every operator.

    All arguments are held against the first, so where the first is the odd one out the second is named.
    """
    found = []
    for operator in OF_EVERY_TYPE:
        first, second, *_ = names = list(operator.sizes(operator.uneven))
        for name in names:
            named = second if name == first else name
            found += [
                wrong(operator, "other dtype", name, lambda t: t.double(), "(double|float64)", named=named),
                wrong(operator, "other device", name, lambda t: t.to("meta"), "meta", named=named),
                wrong(operator, "rank too low", name, lambda t: t[0]),
                wrong(operator, "rank too high", name, lambda t: t[None]),
            ]
    return found


WRONG_SHAPES = [
    wrong(DWCONV, "channels", "weight", resized(5, 1, 3, 3), "5", "4"),
    wrong(DWCONV, "not depthwise", "weight", resized(4, 4, 3, 3), "4"),
    wrong(DWCONV, "even time taps", "weight", resized(4, 1, 2, 3), "odd", "2"),
    wrong(DWCONV, "even frequency taps", "weight", resized(4, 1, 3, 4), "odd", "4"),
    wrong(DWCONV, "no taps", "weight", resized(4, 1, 0, 3), "0"),
    wrong(DWCONV, "length", "bias", resized(3), "3", "4"),
    wrong(BLOCK, "input channels", "weights[0]", resized(4, 2, 1, 1), "2", "3"),
    wrong(BLOCK, "channels", "weights[1]", resized(5, 1, 3, 3), "5", "4"),
    wrong(BLOCK, "kernel", "weights[1]", resized(4, 1, 5, 5), "5", "3"),
    wrong(BLOCK, "full kernel", "weights[1]", resized(4, 4, 3, 3), "4", "1"),
    wrong(BLOCK, "channels", "weights[2]", resized(4, 5, 1, 1), "5", "4"),
    wrong(BLOCK, "kernel", "weights[2]", resized(4, 4, 3, 3), "3", "1"),
    wrong(BLOCK, "input channels", "weights[3]", resized(4, 4, 1, 1), "4", "3"),
    wrong(BLOCK, "length", "biases[0]", resized(5), "5", "4"),
    wrong(BLOCK, "length", "biases[3]", resized(1), "1", "4"),
    wrong(MULTI_ORDER, "input channels", "weights[0]", resized(16, 4, 1, 1), "4", "3"),
    wrong(MULTI_ORDER, "odd channels", "weights[0]", resized(15, 3, 1, 1), "15"),
    wrong(MULTI_ORDER, "channels without gates", "weights[0]", resized(12, 3, 1, 1), "(12|6)"),
    wrong(MULTI_ORDER, "channels", "weights[1]", resized(13, 1, 3, 3), "13", "14"),
    wrong(MULTI_ORDER, "even kernel", "weights[1]", resized(14, 1, 4, 4), "odd", "4"),
    wrong(MULTI_ORDER, "other kernel", "weights[2]", resized(12, 1, 5, 5), "5", "3"),
    wrong(MULTI_ORDER, "oblong kernel", "weights[1]", resized(14, 1, 3, 5), "3", "5"),
    wrong(MULTI_ORDER, "channels", "weights[3]", resized(4, 3, 1, 1), "3", "2"),
    wrong(MULTI_ORDER, "channels", "weights[4]", resized(4, 4, 1, 1), "4", "8"),
    wrong(MULTI_ORDER, "channels", "weights[5]", resized(1, 7, 1, 1), "7", "8"),
    wrong(MULTI_ORDER, "length", "biases[0]", resized(15), "15", "16"),
    wrong(MULTI_ORDER, "length", "biases[5]", resized(2), "2", "1"),
    wrong(RECONSTRUCTION, "pairs", "spectrogram", resized(2, 6, 5, 3), "3", "2"),
    *(
        wrong(RECONSTRUCTION, label, name, resized(*size), str(size[position]))
        for name in ("mask_logit", "res_mag", "res_real", "res_imag")
        for label, size, position in (
            ("frames and bins swapped", (2, 6, 5), 1),
            ("batch", (3, 5, 6), 0),
            ("frames", (2, 4, 6), 1),
            ("bins", (2, 5, 7), 2),
        )
    ),
]


@pytest.mark.parametrize("case", [*wrong_for_all(), *WRONG_SHAPES])
def test_message_names_the_argument(case: Wrong, device: torch.device) -> None:
    with pytest.raises(ERRORS, match=case.message()):
        case.operator(case.tensors(device))


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_compile_time_message_names_the_argument(case: Wrong) -> None:
    """The same checks hold for fake tensors, so that ``torch.compile`` and ``torch.export`` fail as eager mode does."""
    with pytest.raises(ERRORS, match=case.message()):
        case.operator({name: tensor.to("meta") for name, tensor in case.tensors("cpu").items()})


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64], ids=str)
def test_dtypes_that_are_no_floats(operator: Operator, dtype: torch.dtype, device: torch.device) -> None:
    tensors = {name: t.to(dtype) for name, t in operator.inputs(operator.uneven, device=device).items()}
    with pytest.raises(ERRORS, match=next(iter(tensors))):
        operator(tensors)


@pytest.mark.parametrize("other", [torch.float64, torch.float16, torch.complex64], ids=str)
def test_complex_spectrogram_and_heads_of_another_type(other: torch.dtype, device: torch.device) -> None:
    tensors = RECONSTRUCTION.inputs(Shape(batch=2, frames=5, bins=6, is_complex=True), device=device)
    tensors["res_real"] = tensors["res_real"].to(other)
    with pytest.raises(ERRORS, match="res_real"):
        RECONSTRUCTION(tensors)


@pytest.mark.parametrize("group", ["weights", "biases"])
@pytest.mark.parametrize("change", ["one missing", "one more", "none"])
@pytest.mark.parametrize("operator", [BLOCK, MULTI_ORDER], ids=str)
def test_wrong_number_of_weights(operator: Operator, group: str, change: str, device: torch.device) -> None:
    x, weights, biases = operator.arguments(operator.inputs(operator.uneven, device=device))
    lists = {"weights": weights, "biases": biases}
    right = len(lists[group])
    changed = {"one missing": right - 1, "one more": right + 1, "none": 0}[change]
    lists[group] = (lists[group] + lists[group][-1:])[:changed]
    with pytest.raises(ERRORS, match=f"{group}.*{changed}"):
        operator.function(x, lists["weights"], lists["biases"])


@pytest.mark.parametrize("number", [2, 3, 5])
def test_multi_order_with_as_many_weights_as_no_order_has(number: int, device: torch.device) -> None:
    """An order n has 2n weights and is at least 2."""
    x, weights, biases = MULTI_ORDER.arguments(MULTI_ORDER.inputs(MULTI_ORDER.uneven, device=device))
    with pytest.raises(ERRORS, match=f"weights.*{number}"):
        MULTI_ORDER.function(x, weights[:number], biases[:number])


@pytest.mark.parametrize("nothing", [None, 1.0, "x", [[1.0]]])
def test_arguments_that_are_no_tensors(operator: Operator, nothing: Any) -> None:
    tensors = operator.inputs(operator.uneven)
    _first, *others = operator.arguments(tensors)
    with pytest.raises(ERRORS, match=next(iter(tensors))):
        operator.function(nothing, *others)


@pytest.mark.parametrize("operator", [BLOCK, MULTI_ORDER], ids=str)
def test_a_missing_weight_in_a_list(operator: Operator) -> None:
    x, weights, biases = operator.arguments(operator.inputs(operator.uneven))
    with pytest.raises(ERRORS, match="weights"):
        operator.function(x, [None, *weights[1:]], biases)
    with pytest.raises(ERRORS, match="biases"):
        operator.function(x, weights, [None, *biases[1:]])


def test_a_failed_call_leaves_the_next_one_right(operator: Operator, device: torch.device) -> None:
    tensors = operator.inputs(operator.uneven, device=device)
    expected = operator(tensors)
    for name in tensors:
        with pytest.raises(ERRORS):
            operator(dict(tensors) | {name: tensors[name].double()})
    assert torch.equal(operator(tensors), expected)


@pytest.mark.parametrize("order", [33, 63, 64, 65])
def test_multi_order_of_an_order_no_tensor_can_have(order: int, device: torch.device) -> None:
    """2^(order - 1) channels: the count must not overflow before it is refused."""
    x = torch.zeros(1, 3, 2, 2, device=device)
    weights = [torch.zeros(16, 3, 1, 1, device=device)] * (2 * order)
    for tensors in ((x, weights), (x.to("meta"), [w.to("meta") for w in weights])):
        with pytest.raises(ERRORS, match=f"weights.*{2 * order}"):
            MULTI_ORDER.function(*tensors, [w.new_zeros(16) for w in tensors[1]])


@pytest.mark.skipif(ops.has_cuda(), reason="this build has CUDA kernels")
def test_a_gpu_without_kernels_for_it(operator: Operator) -> None:
    """A build for the CPU says so where it is given a GPU's tensors; fake ones stand for those here."""
    with FakeTensorMode():
        sizes = operator.sizes(operator.uneven)
        tensors = {name: torch.empty(size, device="cuda:0") for name, size in sizes.items()}
        with pytest.raises(RuntimeError, match=rf"{next(iter(tensors))} is on cuda:0, but .* built without CUDA"):
            operator(tensors)
