"""The operator ``gru`` in what it has of its own: the state, both directions, and what ``nn.GRU`` computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import ops, reference
from lite_rtse_ext.ops import _native

from ..compare import assert_all_agree, assert_all_same, assert_same
from .operators import HALF_TYPES, Recorder
from .test_isa import RUNNABLE
from .test_lstm import assert_passes

Named = dict[str, Tensor]
OPERATOR, BACKWARD = torch.ops.lite_rtse.gru.default, torch.ops.lite_rtse.gru_backward.default
FORWARD_TOLERANCE, TOLERANCE = 2e-6, 1e-5  # from float64


def arguments(
    batch: int = 19, frames: int = 7, inputs: int = 5, units: int = 9, directions: int = 2, bias: bool = True
) -> Named:
    """Random arguments by name; weights so large that every gate is used from one end to the other."""
    generator = torch.Generator().manual_seed(batch + frames)

    def random(*size: int, scale: float = 1.0) -> Tensor:
        return torch.randn(size, generator=generator) * scale

    named = {"x": random(batch, frames, inputs)}
    for d in range(directions):
        named[f"weights[{2 * d}]"] = random(3 * units, inputs, scale=2 / max(1, inputs) ** 0.5)
        named[f"weights[{2 * d + 1}]"] = random(3 * units, units, scale=2 / units**0.5)
    for i in range(2 * directions if bias else 0):
        named[f"biases[{i}]"] = random(3 * units)
    return named | {"state": random(directions, batch, units)}


def lists(named: Named) -> tuple[list[Tensor], list[Tensor]]:
    return [[t for n, t in named.items() if n.startswith(kind)] for kind in ("weights", "biases")]


def run(named: Named) -> tuple[Tensor, Tensor]:
    return ops.gru(named["x"], *lists(named), named.get("state"))


def by_pytorch(named: Named) -> tuple[Tensor, Tensor]:
    weights, biases = lists(named)
    rows, inputs = weights[0].shape
    both, dtype = len(weights) == 4, named["x"].dtype
    module = nn.GRU(inputs, rows // 3, bias=bool(biases), batch_first=True, bidirectional=both, dtype=dtype)
    parameters = {}
    for i, weight in enumerate(weights):
        end = f"{'ih' if i % 2 == 0 else 'hh'}_l0{'_reverse' if i > 1 else ''}"
        parameters[f"weight_{end}"] = weight
        if biases:
            parameters[f"bias_{end}"] = biases[i]
    return torch.func.functional_call(module, parameters, (named["x"], named.get("state")))


def with_gradients(call: Any, named: Named, wanted: list[str] | None = None) -> tuple[list[Tensor], Named]:
    """y, h, and the gradients of a function of both."""
    leaves = {name: t.detach().requires_grad_(wanted is None or name in wanted) for name, t in named.items()}
    y, h = call(leaves)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
    found = [name for name in leaves if leaves[name].requires_grad]
    grads = torch.autograd.grad((y * weight).sum() + h.square().sum(), [leaves[name] for name in found])
    return [y.detach(), h.detach()], dict(zip(found, grads, strict=True))


def check(named: Named) -> None:
    outputs, found = with_gradients(run, named)
    exact, expected = with_gradients(by_pytorch, {name: t.double() for name, t in named.items()})
    assert_all_agree(outputs, exact, FORWARD_TOLERANCE, ("y", "h"))
    assert_all_agree([*found.values()], [*expected.values()], TOLERANCE, [*found])


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_agrees_with_pytorch(directions: int, bias: bool, with_state: bool) -> None:
    for batch, frames, inputs, units in ((1, 1, 1, 1), (5, 3, 3, 2), (19, 7, 5, 9), (3, 40, 8, 16), (33, 65, 4, 4)):
        named = arguments(batch, frames, inputs, units, directions, bias)
        check(named if with_state else {n: t for n, t in named.items() if n != "state"})


def test_many_sequences_and_units() -> None:
    """More than one block of sequences to a task, and more numbers than one task has sums for."""
    for batch, frames, inputs, units in ((1100, 3, 3, 5), (50, 3, 260, 200), (2, 20, 12, 257)):
        check(arguments(batch, frames, inputs, units))


@pytest.mark.parametrize("isa", RUNNABLE)
def test_every_instruction_set(isa: str) -> None:
    assert_passes(isa, f"{__file__}::test_many_sequences_and_units")


@pytest.mark.parametrize("dtype", [torch.float64, *HALF_TYPES], ids=str)
def test_other_types(dtype: torch.dtype) -> None:
    """Of the values that the type holds, to its precision."""
    tolerance = {torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    named = {name: t.to(dtype) for name, t in arguments().items()}
    outputs, found = with_gradients(run, named)
    exact, expected = with_gradients(by_pytorch, {name: t.double() for name, t in named.items()})
    assert {t.dtype for t in (*outputs, *found.values())} == {dtype}
    for ours, theirs in zip([*outputs, *found.values()], [*exact, *expected.values()], strict=True):
        assert (ours.double() - theirs).norm() <= tolerance * theirs.norm()


def test_cut_in_two_it_is_the_same() -> None:
    named = arguments(directions=1, frames=70)
    y, h = run(named)
    for cut in (1, 32, 69):
        first, state = run(named | {"x": named["x"][:, :cut]})
        second, end = run(named | {"x": named["x"][:, cut:], "state": state})
        assert_all_same((torch.cat([first, second], 1), end), (y, h), ("y", "h"))


def test_the_second_direction_is_the_first_of_the_reversed_sequence() -> None:
    named = arguments()
    weights, biases = lists(named)
    backward, last = ops.gru(named["x"].flip(1), weights[2:], biases[2:], named["state"][1:])
    y, h = run(named)
    assert_same(y[..., 9:].flip(1), backward)
    assert_same(h[1:], last)


def test_the_last_state_has_memory_of_its_own() -> None:
    for directions in (1, 2):
        y, h = run(arguments(directions=directions))
        before = y.clone()
        h.zero_()
        assert_same(y, before)
        assert h.is_contiguous()


@pytest.mark.parametrize("frozen", ["x", "parameters", "state", "weights[1]", "biases[2]"])
def test_some_gradients_alone(frozen: str) -> None:
    """They are what they are beside the others, and nothing more is computed."""
    named = arguments()
    _, everything = with_gradients(run, named)
    kinds = {"parameters": [name for name in named if name not in ("x", "state")]}
    wanted = [name for name in named if name not in kinds.get(frozen, [frozen])]
    with Recorder() as recorder:
        _, found = with_gradients(run, named, wanted)
    assert_all_same([*found.values()], [everything[name] for name in wanted], wanted)
    (asked,) = [args[-3:] for function, args in recorder.calls if function is BACKWARD]
    assert asked == (frozen != "x", frozen != "parameters", frozen != "state")


def test_what_is_not_kept_is_computed_again() -> None:
    named = {name: t.requires_grad_() for name, t in arguments().items()}
    results = []
    for keep in (True, False):
        y, kept = OPERATOR(named["x"], *lists(named), named["state"], keep)
        assert bool(kept.numel()) == keep
        results.append(torch.autograd.grad(y.square().sum(), list(named.values())))
    assert_all_same(*results, [*named])


def test_no_inputs() -> None:
    silent = arguments(inputs=1)
    silent["x"].zero_()
    none = silent | {name: silent[name][..., :0] for name in ("x", "weights[0]", "weights[2]")}
    (outputs, found), (expected, gradients) = with_gradients(run, none), with_gradients(run, silent)
    assert_all_same(outputs, expected, ("y", "h"))
    assert found["x"].shape == (19, 7, 0)
    rest = [name for name in found if found[name].numel()]
    assert_all_same([found[name] for name in rest], [gradients[name] for name in rest], rest)


def tiny() -> Named:
    return {name: t.double().requires_grad_() for name, t in arguments(2, 3, 2, 3).items()}


def test_gradcheck() -> None:
    named = tiny()

    def call(*values: Tensor) -> tuple[Tensor, Tensor]:
        return run(dict(zip(named, values, strict=True)))

    assert torch.autograd.gradcheck(call, tuple(named.values()), atol=1e-6, rtol=1e-5)
    assert torch.autograd.gradgradcheck(call, tuple(named.values()), atol=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_opcheck(bias: bool, keep: bool) -> None:
    named = {name: t.requires_grad_() for name, t in arguments(3, frames=2, bias=bias).items()}
    torch.library.opcheck(OPERATOR, (named["x"], *lists(named), named["state"], keep))


def test_opcheck_of_the_backward() -> None:
    named = {name: t.requires_grad_() for name, t in arguments(3, frames=2).items()}
    with Recorder() as recorder:
        with_gradients(run, named)
    (values,) = [args for function, args in recorder.calls if function is BACKWARD]
    values = torch.utils._pytree.tree_map_only(Tensor, lambda t: t.detach().requires_grad_(), values)
    torch.library.opcheck(BACKWARD, values)
    torch.library.opcheck(BACKWARD, (*values[:-3], False, True, False))


def test_vmap_over_a_state_and_weights() -> None:
    samples = [arguments(3, frames=4), {n: t * 0.5 for n, t in arguments(3, frames=4).items()}]
    names = list(samples[0])
    for mapped in (["state"], ["weights[1]"], names):
        stacked = [torch.stack([s[n] for s in samples]) if n in mapped else samples[0][n] for n in names]
        dims = tuple(0 if name in mapped else None for name in names)
        found = torch.vmap(lambda *v: run(dict(zip(names, v, strict=True))), in_dims=dims)(*stacked)
        each = [run(samples[0] | {name: s[name] for name in mapped}) for s in samples]
        expected = [torch.stack(column) for column in zip(*each, strict=True)]
        assert_all_same(found, expected, ("y", "h"))


def test_several_gradients_at_once() -> None:
    leaves = {name: t.double().requires_grad_() for name, t in arguments(2, frames=3).items()}
    y, _ = run(leaves)
    several = torch.stack([y.detach(), torch.ones_like(y)])
    found = torch.autograd.grad(y, [*leaves.values()], several, retain_graph=True, is_grads_batched=True)
    each = [torch.autograd.grad(y, [*leaves.values()], dy, retain_graph=True) for dy in several]
    assert_all_agree(found, [torch.stack(column) for column in zip(*each, strict=True)], 1e-12, [*leaves])


def test_autocast_runs_it_in_float32() -> None:
    named = arguments()
    half = named | {name: named[name].bfloat16() for name in ("x", "weights[0]", "state")}
    raised = {name: t.float() for name, t in half.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = run(half)
    assert_all_same(found, run(raised), ("y", "h"))


def test_reference_is_pytorchs() -> None:
    for with_state in (True, False):
        named = {n: t.double() for n, t in arguments().items() if with_state or n != "state"}
        y = reference.gru(named["x"], *lists(named), named.get("state"))
        assert_all_agree([y], [by_pytorch(named)[0]], 1e-14, ["y"])


WRONG = {
    "x": (lambda t: t[0], r"x has shape \(7, 5\), must be \(\*, \*, \*\)"),
    "x of no frames": (lambda t: t[:, :0], r"x has shape \(19, 0, 5\), must have at least one frame"),
    "x of integers": (lambda t: t.int(), r"x has dtype"),
    "weights[0]": (lambda t: t[:, 1:], r"weights\[0\] has shape \(27, 4\), must be \(27, 5\)"),
    "weights[1] of no units": (lambda t: t[:0, :0], r"weights\[1\] has shape \(0, 0\), must have at least one unit"),
    "weights[2] in float64": (lambda t: t.double(), r"weights\[2\] has dtype \S+, must be that of x"),
    "weights[3]": (lambda t: t[:9], r"weights\[3\] has shape \(9, 9\), must be \(27, 9\)"),
    "biases[1]": (lambda t: t[None], r"biases\[1\] has shape \(1, 27\), must be \(27\S*\)"),
    "biases[2]": (lambda t: t[1:], r"biases\[2\] has shape \(26\S*\), must be \(27\S*\)"),
    "state": (lambda t: t[:1], r"h0 has shape \(1, 19, 9\), must be \(2, 19, 9\)"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", WRONG)
def test_message_names_the_argument(case: str, device: str) -> None:
    change, message = WRONG[case]
    named, name = arguments(), case.split()[0]
    named[name] = change(named[name])
    with pytest.raises(RuntimeError, match=message):
        run({name: t.to(device) for name, t in named.items()})


KEPT = {
    "device": (lambda t: t.to("meta"), "kept is on meta, must be on the device of x, cpu"),
    "dtype": (lambda t: t.double(), "kept has dtype"),
    "shape": (lambda t: t[1:], "kept has shape"),
}


@pytest.mark.parametrize("case", KEPT)
def test_message_names_what_the_forward_pass_kept(case: str) -> None:
    change, message = KEPT[case]
    named = arguments(3, frames=2)
    y, kept = OPERATOR(named["x"], *lists(named), named["state"], True)
    with pytest.raises(RuntimeError, match=message):
        BACKWARD(y, named["x"], *lists(named), named["state"], y, change(kept), True, True, True)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_wrong_numbers_of_tensors(device: str) -> None:
    named = {name: t.to(device) for name, t in arguments().items()}
    weights, biases = lists(named)
    for number in (0, 1, 3, 5):
        with pytest.raises(RuntimeError, match=f"weights has {number} tensors, must have 2 for each of one or two"):
            ops.gru(named["x"], (weights * 2)[:number], biases)
        if number:
            with pytest.raises(RuntimeError, match=f"biases has {number} tensors, must have 4 or none"):
                ops.gru(named["x"], weights, (biases * 2)[:number])


def test_a_state_that_is_no_tensor() -> None:
    named = arguments()
    with pytest.raises(TypeError, match=r"^state is tuple, must be a torch\.Tensor$"):
        ops.gru(named["x"], *lists(named), (named["state"], named["state"]))  # type: ignore[arg-type]


def test_a_build_for_the_cpu_refuses_a_gpus_tensors_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "has_cuda", lambda: False)
    with torch._subclasses.FakeTensorMode(), pytest.raises(RuntimeError, match="x is on cuda:0"):
        ops.gru(torch.empty(1, 2, 3, device="cuda:0"), [torch.empty(3, 3), torch.empty(3, 1)])
