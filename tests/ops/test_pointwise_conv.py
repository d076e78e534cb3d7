"""The contract of pointwise_conv, which is of float32: accuracy, derivatives, any layout, threads, tracing, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from lite_rtse_ext import reference
from lite_rtse_ext.ops import pointwise_conv

from ..compare import assert_agrees, assert_all_agree, assert_all_same, assert_same
from .operators import POINTWISE, Shape, Tensors, cases, check_against_reference, cotangent, double, gradients

CASES = cases([POINTWISE])
EMPTY = cases([POINTWISE], "empty")
both_kinds = pytest.mark.parametrize(("operator", "shape"), [*CASES, *EMPTY])


def given(shape: Shape = POINTWISE.usual, seed: int = 0) -> dict[str, Tensor]:
    return POINTWISE.inputs(shape, seed=seed)


def everything(tensors: Tensors, dy: Tensor | None = None) -> list[Tensor]:
    y, found = gradients(POINTWISE, tensors, dy)
    return [y, *found.values()]


NAMES = ["y", "x", "weight", "bias"]


@both_kinds
def test_result_and_gradients(operator: object, shape: Shape) -> None:
    check_against_reference(POINTWISE, shape, torch.float32, "cpu")


@pytest.mark.parametrize("channels", [*range(1, 7), *range(15, 18), *range(31, 34), 79, 80, 81, 96, 257])
def test_sizes_around_vectors_and_tiles(channels: int) -> None:
    for shape in (
        Shape(channels=channels, frames=19, in_channels=7),
        Shape(in_channels=channels, frames=5, channels=21),
        Shape(frames=channels, channels=6, in_channels=3, batch=3, bias=False),
    ):
        check_against_reference(POINTWISE, shape, torch.float32, "cpu")


@pytest.mark.parametrize("wanted", [("x",), ("weight",), ("bias",), ("x", "bias"), ("weight", "bias")], ids=str)
def test_some_gradients_alone(wanted: tuple[str, ...]) -> None:
    tensors = given()
    _, all_of_them = gradients(POINTWISE, tensors)
    leaves = {name: t.requires_grad_(name in wanted) for name, t in given().items()}
    y = POINTWISE(leaves)
    found = torch.autograd.grad(y, [leaves[name] for name in wanted], cotangent(y))
    assert_all_same(found, [all_of_them[name] for name in wanted], list(wanted))


def test_second_and_third_derivatives() -> None:
    results = []
    for call, tensors in ((POINTWISE, given()), (POINTWISE.reference, double(given()))):
        leaves = {name: t.requires_grad_() for name, t in tensors.items()}
        above = cotangent(POINTWISE(given())).to(leaves["x"]).requires_grad_()
        first = torch.autograd.grad(call(leaves).sin(), [*leaves.values()], above, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [*leaves.values(), above], create_graph=True)
        results.append([*first, *second, *torch.autograd.grad(second[0].square().sum(), [leaves["x"], above])])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])


def test_any_number_of_threads_and_any_batch(thread_count: None) -> None:
    for shape in (Shape(batch=3, frames=403, channels=70, in_channels=300), Shape(batch=1, frames=20, channels=600)):
        tensors = given(shape)
        torch.set_num_threads(1)
        expected = everything(tensors)
        for threads in (2, 3, 8):
            torch.set_num_threads(threads)
            assert_all_same(everything(tensors), expected, NAMES)
        one = POINTWISE(tensors | {"x": tensors["x"][-1:, :, : shape.frames // 2]})
        assert_same(one, expected[0][-1:, :, : shape.frames // 2])


def test_a_nan_stays_in_its_point() -> None:
    tensors, poisoned = given(), given()
    poisoned["x"][1, 2, 7] = float("nan")
    clean, y = POINTWISE(tensors), POINTWISE(poisoned)
    assert y[1, :, 7].isnan().all()
    y[1, :, 7] = clean[1, :, 7]
    assert_same(y, clean)


LAYOUTS = {
    "channels last": lambda t: t.mT.contiguous().mT if t.dim() > 1 else t,
    "every other": lambda t: torch.stack([t, t], -1)[..., 0],
    "a step behind": lambda t: torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout: str) -> None:
    change = LAYOUTS[layout]
    tensors = given()
    dy = cotangent(POINTWISE(tensors))
    found = everything({name: change(t) for name, t in tensors.items()}, change(dy))
    assert_all_same(found, everything(tensors, dy), NAMES)


def test_an_expanded_gradient() -> None:
    leaves = {name: t.requires_grad_() for name, t in given().items()}
    found = torch.autograd.grad(POINTWISE(leaves).sum(), [*leaves.values()])
    ones = torch.ones(POINTWISE.result_size(POINTWISE.usual))
    assert_all_same(found, everything(given(), ones)[1:], NAMES[1:])


@pytest.mark.parametrize(("operator", "shape"), [CASES[0], CASES[5], *EMPTY])
def test_opcheck(operator: object, shape: Shape) -> None:
    tensors = [t.requires_grad_() for t in given(shape).values()]
    bias = tensors[2] if len(tensors) > 2 else None
    opcheck(torch.ops.lite_rtse.pointwise_conv.default, (*tensors[:2], bias))
    dy = POINTWISE(given(shape)).requires_grad_()
    for flags in ((True, True), (True, False), (False, True)):
        opcheck(torch.ops.lite_rtse.pointwise_conv_backward.default, (dy, *tensors[:2], *flags))


def test_compile_and_export() -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return pointwise_conv(x.sin(), weight, bias).cos()

    for frames in (8, 13):
        tensors = given(Shape(frames=frames, channels=5))
        compiled = torch.compile(Layer(), backend="aot_eager", fullgraph=True, dynamic=True)
        assert_same(compiled(*tensors.values()), Layer()(*tensors.values()))
    dynamic = ({2: torch.export.Dim("frames")}, None, None)
    exported = torch.export.export(Layer(), tuple(tensors.values()), dynamic_shapes=dynamic).module()
    longer = given(Shape(frames=21, channels=5))
    assert_same(exported(*longer.values()), Layer()(*longer.values()))


def test_vmap_over_signals_and_over_weights() -> None:
    samples = [given(seed=seed) for seed in range(3)]
    stacked = {name: torch.stack([s[name] for s in samples]) for name in samples[0]}
    for mapped in (("x",), ("weight",), tuple(stacked)):
        chosen = {name: stacked[name] if name in mapped else samples[0][name] for name in stacked}
        dims = tuple(0 if name in mapped else None for name in stacked)
        expected = [POINTWISE(samples[0] | {name: s[name] for name in mapped}) for s in samples]
        assert_agrees(torch.func.vmap(pointwise_conv, dims)(*chosen.values()), torch.stack(expected), 1e-6)


def test_autocast_computes_in_full_precision() -> None:
    tensors = given()
    with torch.autocast("cpu", torch.bfloat16):
        y = pointwise_conv(*(t.bfloat16() for t in tensors.values()))
    assert y.dtype == torch.float32
    assert_agrees(y, reference.pointwise_conv(*(t.bfloat16().double() for t in tensors.values())), 2e-6)


WRONG = {
    "a type": ({"x": torch.zeros(2, 3, 4).double()}, r"x has dtype .*, must be"),
    "a rank": ({"x": torch.zeros(3, 4)}, r"x has shape \(3, 4\), must be \(\*, \*, \*\)"),
    "channels": ({"weight": torch.zeros(5, 4)}, r"weight has shape \(5, 4\), must be \(\*, 3\): \(outputs, channels"),
    "a kernel": ({"weight": torch.zeros(5, 3, 1)}, r"weight has shape \(5, 3, 1\)"),
    "the weight's type": ({"weight": torch.zeros(5, 3).double()}, r"weight has dtype .*, must be that of x"),
    "a bias": ({"bias": torch.zeros(4)}, r"bias has shape \(4,?\), must be \(5\): \(outputs\)"),
    "a device": ({"bias": torch.zeros(5, device="meta")}, r"bias is on .*, must be on the device of x"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_errors_name_the_argument(change: dict[str, Tensor], words: str) -> None:
    right = {"x": torch.zeros(2, 3, 4), "weight": torch.zeros(5, 3), "bias": torch.zeros(5)}
    with pytest.raises(RuntimeError, match=words):
        pointwise_conv(**(right | change))
    if "device" not in words:
        with pytest.raises(RuntimeError, match=words):
            pointwise_conv(**{name: t.to("meta") for name, t in (right | change).items()})


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="x is list"):
        pointwise_conv([1.0], torch.zeros(5, 3))  # type: ignore[arg-type]


def test_wrong_gradients_of_the_result_are_refused() -> None:
    x, weight = torch.zeros(2, 3, 4), torch.zeros(5, 3)
    for dy, words in ((torch.zeros(2, 5, 3), "dy has shape"), (torch.zeros(2, 5, 4).double(), "dy has dtype")):
        for device in ("cpu", "meta"):
            with pytest.raises(RuntimeError, match=words):
                torch.ops.lite_rtse.pointwise_conv_backward(*(t.to(device) for t in (dy, x, weight)), True, True)
