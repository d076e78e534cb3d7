"""Gradients of the operator ``lstm``: against PyTorch's in float64, and clause by clause as the other operators'."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import deterministic

from lite_rtse_ext.ops import lstm

from ..compare import assert_all_agree, assert_all_same, assert_same
from .operators import Recorder
from .test_isa import RUNNABLE
from .test_lstm import INPUTS, NAMES, Arguments, arguments, assert_passes, flat, torch_outputs

pytestmark = pytest.mark.usefixtures("as_before")

GRADIENTS = 1e-5  # relative L2, from float64
OPERATOR, BACKWARD = torch.ops.lite_rtse.lstm.default, torch.ops.lite_rtse.lstm_backward.default


def outputs(values: dict[str, Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    h0, c0 = values["h0"], values["c0"]
    y, (h, c) = lstm(*(values[name] for name in INPUTS[:5]), None if h0 is None else (h0, c0))
    return y, h, c


def upstream(given: Arguments, seed: int = 1) -> dict[str, Tensor]:
    """Random dy, dh and dc."""
    batch, frames, units = *given["x"].shape[:2], given["weight_hh"].shape[1]
    generator = torch.Generator().manual_seed(seed)
    sizes = {"y": (batch, frames, units), "h": (batch, units), "c": (batch, units)}
    return {name: torch.randn(size, generator=generator) for name, size in sizes.items()}


def gradients(given: Arguments, grads: dict[str, Tensor], wanted: tuple[str, ...] = INPUTS) -> dict[str, Tensor]:
    """Those of Σ grads · outputs by the inputs that are wanted and given."""
    values = flat(given)
    names = [name for name in wanted if values[name] is not None]
    leaves = values | {name: values[name].detach().requires_grad_() for name in names}
    found = dict(zip(NAMES, outputs(leaves), strict=True))
    result = torch.autograd.grad([found[n] for n in grads], [leaves[n] for n in names], list(grads.values()))
    return dict(zip(names, result, strict=True))


def exact(given: Arguments, grads: dict[str, Tensor]) -> dict[str, Tensor]:
    """PyTorch's, in float64."""
    values = {name: None if v is None else v.double().requires_grad_() for name, v in flat(given).items()}
    names = [name for name in INPUTS if values[name] is not None]
    found = dict(zip(NAMES, torch_outputs(values), strict=True))
    tensors = [values[n] for n in names]
    above = [g.double() for g in grads.values()]
    result = torch.autograd.grad([found[n] for n in grads], tensors, above, allow_unused=True)
    return {n: torch.zeros_like(t) if g is None else g for n, t, g in zip(names, tensors, result, strict=True)}


def assert_exact(given: Arguments, grads: dict[str, Tensor]) -> None:
    found, expected = gradients(given, grads), exact(given, grads)
    assert_all_agree(list(found.values()), list(expected.values()), GRADIENTS, list(found))


SIZES = [(1, 1), (3, 5), (5, 16), (16, 5), (20, 17), (257, 257), (7, 257), (258, 33)]


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("frames", [1, 2, 63])
@pytest.mark.parametrize(("inputs", "units"), SIZES)
def test_agrees_with_pytorch(batch: int, frames: int, inputs: int, units: int) -> None:
    for optional in (True, False):
        given = arguments(batch, frames, inputs, units, bias=optional, state=optional, seed=batch + frames)
        assert_exact(given, upstream(given))


@pytest.mark.parametrize(("bias", "state"), [(True, False), (False, True)])
def test_bias_or_state_alone(bias: bool, state: bool) -> None:
    given = arguments(bias=bias, state=state)
    assert_exact(given, upstream(given))


def test_more_than_is_summed_at_once() -> None:
    """Frames, sequences and units beyond one chunk of each sum and one task."""
    for batch, frames, inputs, units in ((1, 700, 6, 10), (3, 200, 6, 10), (300, 3, 6, 10), (7, 9, 50, 70)):
        given = arguments(batch, frames, inputs, units)
        assert_exact(given, upstream(given))


@pytest.mark.parametrize("isa", RUNNABLE)
def test_every_instruction_set(isa: str) -> None:
    """The few shapes that take every kernel."""
    assert_passes(isa, f"{__file__}::test_more_than_is_summed_at_once")


@pytest.mark.parametrize("names", [("y",), ("h",), ("c",), ("y", "c"), ("h", "c")])
def test_some_outputs_alone(names: tuple[str, ...]) -> None:
    for given in (arguments(), arguments(frames=1, state=False)):
        assert_exact(given, {name: upstream(given)[name] for name in names})


def test_what_is_kept_changes_no_bit_of_the_outputs() -> None:
    for shape in ((1, 1, 1, 1), (3, 7, 5, 9), (2, 300, 20, 37)):
        values = flat(arguments(*shape))
        kept = outputs(values | {"x": values["x"].clone().requires_grad_()})
        assert kept[0].requires_grad
        assert_all_same([t.detach() for t in kept], outputs(values), NAMES)


@pytest.mark.parametrize("wanted", [*((name,) for name in INPUTS), ("x", "c0"), ("weight_hh", "bias_hh", "h0")])
def test_some_inputs_alone(wanted: tuple[str, ...]) -> None:
    """They get what they get beside the others."""
    given = arguments()
    grads = upstream(given)
    everything = gradients(given, grads)
    found = gradients(given, grads, wanted)
    assert_all_same(list(found.values()), [everything[name] for name in wanted], wanted)


def test_what_nobody_asked_for_is_not_computed() -> None:
    x, weight_ih, weight_hh, *others, h0, c0 = flat(arguments()).values()
    y, _, _, gates, cells = OPERATOR(x, weight_ih, weight_hh, *others, h0, c0, False, True)
    whole = [(3, 7, 5), (36, 5), (36, 9), (36,), (3, 9), (3, 9)]
    for asked in itertools.product((True, False), repeat=3):
        found = BACKWARD(y, None, None, x, weight_ih, weight_hh, *others, h0, c0, y, gates, cells, False, *asked)
        is_asked = [asked[0], asked[1], asked[1], asked[1], asked[2], asked[2]]
        assert [tuple(t.shape) for t in found] == [s if a else (0,) for s, a in zip(whole, is_asked, strict=True)]


def test_training_asks_for_what_it_needs() -> None:
    """The first layer of a network has no gradient by its signal, nor either layer one by a state of zeros."""
    values = flat(arguments(state=False))
    parameters = {name: values[name].requires_grad_() for name in INPUTS[1:5]}
    y = outputs(values | parameters)[0]
    with Recorder() as recorder:
        y.sum().backward()
    (asked,) = [args[-3:] for function, args in recorder.calls if function is BACKWARD]
    assert asked == (False, True, False)


def test_biases_have_tensors_of_their_own() -> None:
    given = arguments()
    found = gradients(given, upstream(given))
    assert_same(found["bias_ih"], found["bias_hh"])
    found["bias_ih"].zero_()
    assert found["bias_hh"].any()


def test_without_what_forward_keeps_it_is_computed_again() -> None:
    values = {name: v.requires_grad_() for name, v in flat(arguments()).items()}
    results = []
    for keep in (True, False):
        y, h, c, gates, cells = OPERATOR(*values.values(), False, keep)
        assert gates.shape == (3, 7 * keep, 36)
        assert cells.shape == (3, 7 * keep, 9)
        results.append(torch.autograd.grad(y.square().sum() + h.sum() + c.sum(), list(values.values())))
    assert_all_same(*results, INPUTS)


def test_any_strides() -> None:
    given = arguments(batch=4)
    grads = {"y": torch.randn(9, 7, 4).permute(2, 1, 0), "h": torch.randn(9, 4).t(), "c": torch.randn(4, 18)[:, ::2]}
    expected = gradients(given, {name: g.contiguous() for name, g in grads.items()})
    assert_all_same(list(gradients(given, grads).values()), list(expected.values()), INPUTS)
    for value in (1.0, 0.5):
        ones = {"y": torch.tensor(value).expand(4, 7, 9)}
        expected = gradients(given, {"y": ones["y"].contiguous()})
        assert_all_same(list(gradients(given, ones).values()), list(expected.values()), INPUTS)
    values = flat(given)
    strided = {name: v.t().contiguous().t() if v.dim() == 2 else v for name, v in values.items()}
    strided["x"] = values["x"].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    moved = strided | {"state": (strided["h0"], strided["c0"])}
    found = gradients(moved, upstream(given))
    assert_all_same(list(found.values()), list(gradients(given, upstream(given)).values()), INPUTS)


def test_no_sequences_and_no_inputs() -> None:
    given = arguments(batch=0)
    found = gradients(given, upstream(given))
    assert found["x"].shape == (0, 7, 5)
    for name in INPUTS[1:5]:
        assert_same(found[name], torch.zeros_like(given[name]))
    silent = arguments(inputs=1)
    silent["x"].zero_()
    none = silent | {"x": silent["x"][:, :, :0], "weight_ih": silent["weight_ih"][:, :0]}
    found, expected = gradients(none, upstream(none)), gradients(silent, upstream(silent))
    assert (found["x"].shape, found["weight_ih"].shape) == ((3, 7, 0), (36, 0))
    assert_all_same([found[n] for n in INPUTS[2:]], [expected[n] for n in INPUTS[2:]], INPUTS[2:])


@pytest.mark.parametrize("shape", [(1, 300, 20, 37), (5, 300, 20, 37), (8, 40, 5, 100)])
def test_same_bits_for_any_threads_and_every_time(shape: tuple[int, ...]) -> None:
    given = arguments(*shape)
    grads = upstream(given)
    found = []
    for threads in (1, 2, 3, 5, 1, 2):
        torch.set_num_threads(threads)
        found.append(list(gradients(given, grads).values()))
    for other in found[1:]:
        assert_all_same(other, found[0], INPUTS)


def test_a_sequence_depends_on_no_other() -> None:
    """Gradients by its signal and its state: the same bits alone as beside others, a NaN of which stays there."""
    given = arguments(batch=5, frames=20)
    grads = upstream(given)
    together = gradients(given, grads)
    for b in range(5):
        part = slice(b, b + 1)
        alone = given | {"x": given["x"][part], "state": tuple(t[part] for t in given["state"])}
        found = gradients(alone, {name: g[part] for name, g in grads.items()})
        names = ("x", "h0", "c0")
        assert_all_same([found[n] for n in names], [together[n][part] for n in names], names)
    for where in ("x", "y"):
        spoilt, bad = given | {"x": given["x"].clone()}, {name: g.clone() for name, g in grads.items()}
        (spoilt if where == "x" else bad)[where][1, 4, 2] = math.nan
        found = gradients(spoilt, bad)
        for name in ("x", "h0", "c0"):
            assert_same(found[name][[0, 2, 3, 4]], together[name][[0, 2, 3, 4]])
            assert found[name][1].isnan().any()
        assert all(found[name].isnan().any() for name in INPUTS[1:5])


def test_every_gradient_is_written() -> None:
    strict, filled = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    given = [arguments(b, t, i, units) for b, t, i, units in ((1, 1, 1, 1), (3, 7, 5, 9), (9, 40, 100, 17))]
    expected = [gradients(each, upstream(each)) for each in given]
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = True  # with NaN
    try:
        assert torch.empty(1000).isnan().all()
        for each, before in zip(given, expected, strict=True):
            assert_all_same(list(gradients(each, upstream(each)).values()), list(before.values()), INPUTS)
    finally:
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(strict)


def test_inputs_are_left_alone() -> None:
    given = arguments()
    grads = upstream(given)
    before = [t.clone() for t in (*flat(given).values(), *grads.values())]
    gradients(given, grads)
    assert_all_same([*flat(given).values(), *grads.values()], before, (*INPUTS, "dy", "dh", "dc"))


def backward_arguments(given: Arguments) -> dict[str, Any]:
    values = flat(given)
    y, _, _, gates, cells = OPERATOR(*values.values(), False, True)
    grads = upstream(given)
    named = {f"d{name}": g for name, g in grads.items()}
    named |= {name: values[name] for name in INPUTS}
    named |= {"y": y, "gates": gates, "cells": cells, "reverse": False}
    return named | {"input": True, "parameters": True, "state": True}


WRONG = {
    "dy": (lambda t: t[:, 1:], r"dy has shape \(3, 6, 9\), must be \(3, 7, 9\)"),
    "dh": (lambda t: t[1:], r"dh has shape \(2, 9\), must be \(3, 9\)"),
    "dc in float64": (lambda t: t.double(), r"dc has dtype \S+, must be that of x"),
    "x in float64": (lambda t: t.double(), r"x has dtype"),
    "weight_ih": (lambda t: t[:, 1:], r"weight_ih has shape \(36, 4\), must be \(36, 5\)"),
    "weight_hh": (lambda t: t[:4], r"weight_hh has shape \(4, 9\), must be \(36, 9\)"),
    "bias_hh": (lambda t: t[1:], r"bias_hh has shape \(35\S*\), must be \(36\)"),
    "h0": (lambda t: t[None], r"h0 has shape \(1, 3, 9\), must be \(3, 9\)"),
    "y": (lambda t: t[..., :8], r"y has shape \(3, 7, 8\), must be \(3, 7, 9\)"),
    "gates": (lambda t: t[:, :0], r"gates has shape \(3, 0, 36\), must be \(3, 7, 36\)"),
    "cells": (lambda t: t[:2], r"cells has shape \(2, 7, 9\), must be \(3, 7, 9\)"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", WRONG)
def test_message_names_the_argument(case: str, device: str) -> None:
    change, message = WRONG[case]
    given, name = backward_arguments(arguments()), case.split()[0]
    given[name] = change(given[name])
    moved = torch.utils._pytree.tree_map_only(Tensor, lambda t: t.to(device), given)
    with pytest.raises(RuntimeError, match=message):
        BACKWARD(*moved.values())


@pytest.mark.parametrize("optional", [True, False])
def test_opcheck(optional: bool) -> None:
    """Of the forward with gradients, which checks them under torch.compile too, and of the backward."""
    given = flat(arguments(bias=optional, state=optional))
    values = [None if v is None else v.requires_grad_() for v in given.values()]
    torch.library.opcheck(OPERATOR, (*values, False, True))
    given = backward_arguments(arguments(bias=optional, state=optional))
    if not optional:
        given |= {"dy": None, "dc": None, "input": False}
    torch.library.opcheck(BACKWARD, tuple(given.values()))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_of_any_length(backend: str) -> None:
    compiled = torch.compile(outputs, fullgraph=True, dynamic=True, backend=backend)
    samples = [arguments(batch, frames) for batch, frames in ((6, 11), (4, 40), (8, 7))]

    def training(call: Any, given: Arguments) -> list[Tensor]:
        values = {name: v.detach().requires_grad_() for name, v in flat(given).items()}
        y, h, c = call(values)
        return [y, *torch.autograd.grad(y.square().sum() + h.sum() + c.sum(), list(values.values()))]

    training(compiled, samples[0])
    with torch._dynamo.config.patch(error_on_recompile=True):
        for given in samples:
            assert_all_same(training(compiled, given), training(outputs, given), ("y", *INPUTS))


def test_vmap() -> None:
    """Gradients of a sum over mapped signals are those of each."""
    given = arguments()
    values = {name: v.requires_grad_() for name, v in flat(given).items()}
    signals = torch.stack([arguments(seed=seed)["x"] for seed in range(3)]).requires_grad_()
    mapped = torch.vmap(lambda x: outputs(values | {"x": x})[0])(signals)
    each = torch.stack([outputs(values | {"x": x})[0] for x in signals])
    tensors = [signals, values["weight_hh"]]
    found, expected = (torch.autograd.grad(y.square().sum(), tensors) for y in (mapped, each))
    assert_all_agree(found, [t.double() for t in expected], 1e-6, ("x", "weight_hh"))


def test_autocast_trains_in_float32() -> None:
    given = arguments()
    half = {name: v.bfloat16().requires_grad_() for name, v in flat(given).items()}
    raised = {name: v.detach().float().requires_grad_() for name, v in half.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(outputs(half)[0].square().sum(), list(half.values()))
    expected = torch.autograd.grad(outputs(raised)[0].square().sum(), list(raised.values()))
    assert_all_same(found, [t.bfloat16() for t in expected], INPUTS)


def test_checkpointing() -> None:
    values = {name: v.requires_grad_() for name, v in flat(arguments()).items()}

    def run(again: bool) -> list[Tensor]:
        checkpoint = torch.utils.checkpoint.checkpoint
        y = checkpoint(lambda: outputs(values)[0], use_reentrant=False) if again else outputs(values)[0]
        return list(torch.autograd.grad(y.square().sum(), list(values.values())))

    assert_all_same(run(True), run(False), INPUTS)


def test_backward_twice_over_one_graph() -> None:
    values = {name: v.requires_grad_() for name, v in flat(arguments()).items()}
    y = outputs(values)[0].square().sum()
    first = torch.autograd.grad(y, list(values.values()), retain_graph=True)
    assert_all_same(torch.autograd.grad(y, list(values.values())), first, INPUTS)
