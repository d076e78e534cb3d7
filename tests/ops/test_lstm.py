"""The operator ``lstm``: what ``nn.LSTM`` computes, in float32, on the CPU. Gradients: ``test_lstm_gradients.py``."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import deterministic

from lite_rtse_ext.ops import has_cuda, lstm

from ..compare import assert_agrees, assert_all_agree, assert_all_same, assert_same
from .test_isa import RUNNABLE, run_python

pytestmark = pytest.mark.usefixtures("as_before")

NAMES = ("y", "h", "c")
INPUTS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0", "c0")
TOLERANCE = 2e-6  # from float64
ERRORS = (RuntimeError, TypeError)

Arguments = dict[str, Any]


def arguments(
    batch: int = 3,
    frames: int = 7,
    inputs: int = 5,
    units: int = 9,
    bias: bool = True,
    state: bool = True,
    seed: int = 0,
) -> Arguments:
    """Random arguments; weights so large that every gate is used from one end to the other."""
    generator = torch.Generator().manual_seed(seed)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    return {
        "x": random(batch, frames, inputs),
        "weight_ih": random(4 * units, inputs) * 2 / max(1, inputs) ** 0.5,
        "weight_hh": random(4 * units, units) * 2 / units**0.5,
        "bias_ih": random(4 * units) if bias else None,
        "bias_hh": random(4 * units) if bias else None,
        "state": (random(batch, units), random(batch, units)) if state else None,
    }


def run(given: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    y, (h, c) = lstm(**given)
    return y, h, c


def flat(given: Arguments) -> dict[str, Tensor | None]:
    """The operator's tensors by name, h0 and c0 among them."""
    h0, c0 = given["state"] or (None, None)
    return {name: given[name] for name in INPUTS[:5]} | {"h0": h0, "c0": c0}


def torch_outputs(values: dict[str, Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's, in float64, of the operator's tensors by name."""
    (rows, inputs), bias = values["weight_ih"].shape, values["bias_ih"] is not None
    module = nn.LSTM(inputs, rows // 4, bias=bias, batch_first=True, dtype=torch.float64)
    parameters = {f"{name}_l0": values[name] for name in INPUTS[1:5] if values[name] is not None}
    state = None if values["h0"] is None else (values["h0"][None], values["c0"][None])
    y, (h, c) = torch.func.functional_call(module, parameters, (values["x"], state))
    return y, h[0], c[0]


@torch.no_grad()
def exact(given: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's, in float64."""
    return torch_outputs({name: None if v is None else v.double() for name, v in flat(given).items()})


def assert_passes(isa: str, test: str) -> None:
    """A test, ``file::name``, passes in a process of its own that LITE_RTSE_ISA rules."""
    done = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", test, isa=isa)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("batch", [1, 3, 8, 9])
@pytest.mark.parametrize("frames", [1, 2, 63])
@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (5, 16), (16, 5), (257, 257), (258, 33), (1, 258), (40, 100)])
def test_agrees_with_pytorch(batch: int, frames: int, inputs: int, units: int) -> None:
    for optional in (True, False):
        given = arguments(batch, frames, inputs, units, bias=optional, state=optional)
        assert_all_agree(run(given), exact(given), TOLERANCE, NAMES)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_every_instruction_set(isa: str) -> None:
    """The few shapes that take every kernel."""
    assert_passes(isa, f"{__file__}::test_many_frames_and_sequences")


def test_many_frames_and_sequences() -> None:
    """More than are gone through at once, in both directions."""
    for batch, frames, inputs, units in (
        (1, 700, 6, 10),
        (2, 300, 6, 10),
        (300, 3, 6, 10),
        (33, 40, 6, 10),
        (7, 9, 50, 70),
    ):
        given = arguments(batch, frames, inputs, units)
        assert_all_agree(run(given), exact(given), TOLERANCE, NAMES)


def test_one_bias_alone() -> None:
    given = arguments()
    for one, other in (("bias_ih", "bias_hh"), ("bias_hh", "bias_ih")):
        expected = exact(given | {other: torch.zeros_like(given[other])})
        assert_all_agree(run(given | {other: None}), expected, TOLERANCE, NAMES)
        assert not torch.equal(run(given | {other: None})[0], run(given | {one: None})[0])


def test_no_sequences_and_no_inputs() -> None:
    y, h, c = run(arguments(batch=0))
    assert (y.shape, h.shape, c.shape) == ((0, 7, 9), (0, 9), (0, 9))
    silent = arguments(inputs=1)
    silent["x"].zero_()
    none = silent | {"x": silent["x"][:, :, :0], "weight_ih": silent["weight_ih"][:, :0]}
    assert_all_same(run(none), run(silent), NAMES)


def test_large_gates_saturate() -> None:
    """Sums of whole hundreds, which float32 holds exactly: a gate is nowhere near where it turns, or turns as it does
    for small ones."""
    given = arguments()
    given["x"] = (given["x"] * 100).round() * 100
    given["weight_ih"] = given["weight_ih"].sign()
    assert_all_agree(run(given), exact(given), TOLERANCE, NAMES)


def test_any_strides() -> None:
    given = arguments(batch=4)

    def spread(t: Tensor) -> Tensor:
        """The same values, every second element of a larger tensor, dimensions in reverse."""
        return (
            torch.stack([t, t + 1], -1)
            .permute(*reversed(range(t.dim() + 1)))
            .contiguous()
            .permute(*reversed(range(t.dim() + 1)))[..., 0]
        )

    strided = {
        name: tuple(spread(t) for t in value) if isinstance(value, tuple) else spread(value)
        for name, value in given.items()
    }
    assert not strided["x"].is_contiguous()
    expected = run(given)
    assert_all_same(run(strided), expected, NAMES)
    expanded = given | {"x": given["x"][:1].expand(4, -1, -1)}
    assert_all_same(run(expanded), run(expanded | {"x": expanded["x"].clone()}), NAMES)
    assert all(t.is_contiguous() for t in expected)


def test_inputs_are_left_alone() -> None:
    given = arguments()
    before = [t.clone() for t in (given["x"], given["weight_ih"], given["weight_hh"], *given["state"])]
    run(given)
    assert_all_same((given["x"], given["weight_ih"], given["weight_hh"], *given["state"]), before, "abcde")


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_same_bits_for_any_threads_and_neighbours(batch: int) -> None:
    """A sequence's result depends neither on the threads nor on the sequences that go with it."""
    given = arguments(batch, 300, 20, 37)
    found = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        found.append(run(given))
    for other in found[1:]:
        assert_all_same(other, found[0], NAMES)
    for b in range(batch):
        alone = given | {"x": given["x"][b : b + 1], "state": tuple(t[b : b + 1] for t in given["state"])}
        assert_all_same(run(alone), [t[b : b + 1] for t in found[0]], NAMES)


@pytest.mark.parametrize("bias", [True, False])
def test_same_bits_in_every_way_to_call_it(bias: bool) -> None:
    """With gradients and without, in one call and frame by frame, alone and in a batch."""
    given = arguments(8, 31, 33, 37, bias=bias)
    expected = run(given)
    with_gradients = run({n: v.requires_grad_() if isinstance(v, Tensor) else v for n, v in given.items()})
    assert with_gradients[0].requires_grad
    assert_all_same(with_gradients, expected, NAMES)
    with torch.no_grad():
        for i in range(8):
            alone = given | {"x": given["x"][i : i + 1], "state": tuple(t[i : i + 1] for t in given["state"])}
            assert_all_same(run(alone), [e[i : i + 1] for e in expected], NAMES)
        state, outputs = given["state"], []
        for frame in given["x"].split(1, 1):
            y, *state = run(given | {"x": frame, "state": tuple(state)})
            outputs.append(y)
        assert_all_same([torch.cat(outputs, 1), *state], expected, NAMES)


@pytest.mark.parametrize("cut", [1, 100, 256, 299])
def test_cut_in_two_it_is_the_same(cut: int) -> None:
    given = arguments(2, 300, 5, 19)
    y, h, c = run(given)
    first, *state = run(given | {"x": given["x"][:, :cut]})
    second, *end = run(given | {"x": given["x"][:, cut:], "state": tuple(state)})
    assert_all_same((torch.cat([first, second], 1), *end), (y, h, c), NAMES)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_goes_where_pytorch_lets_it_go(value: float) -> None:
    """Into later frames of its own sequence."""
    given = arguments(batch=3, frames=9)
    clean = run(given)
    given["x"][1, 4, 2] = value
    found, expected = run(given), exact(given)
    for ours, theirs, before in zip(found, expected, clean, strict=True):
        assert_same(ours.isnan(), theirs.isnan())
        for sequence in (0, 2):
            assert_same(ours[sequence], before[sequence])
    assert_same(found[0][1, :4], clean[0][1, :4])
    assert not torch.equal(found[0][1, 4:], clean[0][1, 4:])


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_a_nan_parameter_shows(name: str) -> None:
    given = arguments()
    given[name].view(-1)[0] = math.nan
    for ours, theirs in zip(run(given), exact(given), strict=True):
        assert_same(ours.isnan(), theirs.isnan())


def test_every_output_is_written() -> None:
    strict, filled = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    given = [arguments(b, t, 5, units) for b, t, units in ((1, 1, 1), (3, 7, 9), (9, 40, 17))]
    expected = [run(each) for each in given]
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = True  # with NaN
    try:
        assert torch.empty(1000).isnan().all()
        for each, before in zip(given, expected, strict=True):
            assert_all_same(run(each), before, NAMES)
    finally:
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(strict)


WRONG = {
    "x": (lambda t: t[0], r"x has shape \(7, 5\), must be \(\*, \*, \*\)"),
    "x of no frames": (lambda t: t[:, :0], r"x has shape \(3, 0, 5\), must have at least one frame"),
    "x in float64": (lambda t: t.double(), r"x has dtype"),
    "weight_ih": (lambda t: t[:, 1:], r"weight_ih has shape \(36, 4\), must be \(36, 5\)"),
    "weight_hh": (lambda t: t[:4], r"weight_hh has shape \(4, 9\), must be \(36, 9\)"),
    "weight_hh of no units": (lambda t: t[:0, :0], r"weight_hh has shape \(0, 0\), must have at least one unit"),
    "weight_hh in float64": (lambda t: t.double(), r"weight_hh has dtype \S+, must be that of x"),
    "bias_ih": (lambda t: t[1:], r"bias_ih has shape \(35\S*\), must be \(36\)"),
    "bias_hh": (lambda t: t[None], r"bias_hh has shape \(1, 36\), must be \(36\)"),
    "state": (lambda state: (state[0][:2], state[1]), r"h0 has shape \(2, 9\), must be \(3, 9\)"),
    "state of c": (lambda state: (state[0], state[1][:, :8]), r"c0 has shape \(3, 8\), must be \(3, 9\)"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", WRONG)
def test_message_names_the_argument(case: str, device: str) -> None:
    change, message = WRONG[case]
    given, name = arguments(), case.split()[0]
    given[name] = change(given[name])
    moved = torch.utils._pytree.tree_map_only(Tensor, lambda t: t.to(device), given)
    with pytest.raises(ERRORS, match=message):
        run(moved)


@pytest.mark.parametrize("nothing", [None, 1.0, [[1.0]]])
def test_x_that_is_no_tensor(nothing: Any) -> None:
    with pytest.raises(ERRORS, match="x"):
        run(arguments() | {"x": nothing})


def test_arguments_in_wrong_places() -> None:
    """The message is a line, without the values of tensors."""
    x, weight_ih, weight_hh, bias_ih, bias_hh, (h0, c0) = arguments().values()
    weights, biases = (x, weight_ih, weight_hh), (bias_ih, bias_hh)
    cases: dict[str, tuple[Any, ...]] = {
        "state is Tensor, must be a pair (h, c) of tensors": (*weights, *biases, h0, c0),
        "state is a sequence of 1, must be a pair (h, c) of tensors": (*weights, *biases, (h0,)),
        "bias_ih is tuple, must be a torch.Tensor": (*weights, biases),
        "c0 is float, must be a torch.Tensor": (*weights, *biases, (h0, 0.0)),
        "reverse is Tensor, must be True or False": (*weights, *biases, (h0, c0), c0),
    }
    for message, wrong in cases.items():
        with pytest.raises(TypeError) as caught:
            lstm(*wrong)
        assert str(caught.value) == message


@pytest.mark.skipif(has_cuda(), reason="this build has CUDA kernels")
def test_a_gpus_tensors_are_refused_in_words() -> None:
    with torch._subclasses.FakeTensorMode(), pytest.raises(RuntimeError, match="x is on cuda:0"):
        lstm(torch.empty(1, 2, 3, device="cuda:0"), torch.empty(4, 3), torch.empty(4, 1))


def opcheck(given: dict[str, Any], keep: bool) -> None:
    state = given.pop("state") or (None, None)
    torch.library.opcheck(torch.ops.lite_rtse.lstm.default, (*given.values(), *state, False, keep))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("optional", [True, False])
def test_opcheck(optional: bool, keep: bool) -> None:
    opcheck(arguments(bias=optional, state=optional), keep)


@pytest.mark.parametrize("keep", [True, False])
def test_opcheck_with_frames_first_in_memory(keep: bool) -> None:
    given = arguments()
    given["x"] = given["x"].transpose(0, 1).contiguous().transpose(0, 1)
    opcheck(given, keep)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_of_any_length(backend: str) -> None:
    compiled = torch.compile(lambda **given: run(given), fullgraph=True, dynamic=True, backend=backend)
    given = [arguments(batch, frames) for batch, frames in ((6, 11), (4, 40), (8, 7))]
    compiled(**given[0])
    with torch._dynamo.config.patch(error_on_recompile=True):
        for each in given:
            assert_all_same(compiled(**each), run(each), NAMES)


def test_vmap() -> None:
    """Over whatever has another dimension: signals, or weights of an ensemble."""
    samples = [arguments(seed=seed) for seed in range(3)]
    flat = [(*(v for n, v in given.items() if n != "state"), *given["state"]) for given in samples]

    def call(*values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *others, h0, c0 = values
        y, (h, c) = lstm(*others, (h0, c0))
        return y, h, c

    found = torch.vmap(call)(*(torch.stack(column) for column in zip(*flat, strict=True)))
    expected = [torch.stack(column) for column in zip(*(call(*values) for values in flat), strict=True)]
    assert_all_same(found, expected, NAMES)
    signal = torch.stack([given["x"] for given in samples], 1)
    found = torch.vmap(call, in_dims=(1, *[None] * 6))(signal, *flat[0][1:])
    assert_same(found[0][2], call(flat[2][0], *flat[0][1:])[0])


def test_autocast_runs_it_in_float32() -> None:
    given = arguments()
    half = given | {name: given[name].bfloat16() for name in ("x", "weight_ih", "weight_hh")}
    raised = half | {name: half[name].float() for name in ("x", "weight_ih", "weight_hh")}
    with torch.autocast("cpu", torch.bfloat16):
        found = run(half)
    assert found[0].dtype == torch.float32
    assert_all_same(found, run(raised), NAMES)


def test_export() -> None:
    class Module(nn.Module):
        def forward(self, x: Tensor, weight_ih: Tensor, weight_hh: Tensor) -> Tensor:
            return lstm(x * 2, weight_ih, weight_hh)[0] + 1

    given = [arguments()[name] for name in ("x", "weight_ih", "weight_hh")]
    frames = torch.export.Dim("frames", min=2, max=64)
    program = torch.export.export(Module(), tuple(given), dynamic_shapes=({1: frames}, None, None))
    assert any(node.target is torch.ops.lite_rtse.lstm.default for node in program.graph.nodes)
    for x in (given[0], torch.randn(3, 20, 5)):
        assert_agrees(program.module()(x, *given[1:]), Module()(x, *given[1:]), 1e-7)


def test_frames_first_in_memory_are_computed_in_place() -> None:
    """The same bits as for a dense input, and results in the order of the input."""
    torch.manual_seed(0)
    parameters = [torch.randn(size) * 0.3 for size in ((36, 5), (36, 9), (36,), (36,))]
    for reverse in (False, True):
        found = []
        for frames_first in (False, True):
            x = torch.randn((7, 3, 5), generator=torch.Generator().manual_seed(1)).transpose(0, 1)
            x = (x if frames_first else x.contiguous()).detach().requires_grad_()
            leaves = [p.clone().requires_grad_() for p in parameters]
            y, (h, c) = lstm(x, *leaves, reverse=reverse)
            assert y.transpose(0, 1).is_contiguous() == frames_first
            weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
            gradients = torch.autograd.grad((y * weight).sum() + h.sum() - c.sum(), [x, *leaves])
            assert gradients[0].transpose(0, 1).is_contiguous() == frames_first
            found.append([y, h, c, *gradients])
        assert_all_same(found[1][:4], found[0][:4], ["y", "h", "c", "x"])
        assert_all_agree(found[1], found[0], 1e-6, [str(i) for i in range(len(found[0]))])
