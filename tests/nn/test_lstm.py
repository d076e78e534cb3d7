"""``nn.LSTM`` of this package: torch's module in all but how it runs in float32 on the CPU."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from lite_rtse_ext import fuse, unfuse
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn.lstm import CHOICE, LSTM, PERSISTENT, _pytorch_has, _reason
from lite_rtse_ext.nn.recurrent import CUDNN, chosen_on_cuda
from lite_rtse_ext.ops import lstm

from ..compare import assert_agrees, assert_all_agree, assert_all_same
from ..ops.operators import Recorder

NAMES = ("y", "h", "c")


def both(*sizes: int, **options: Any) -> tuple[fused.LSTM, nn.LSTM]:
    """Ours and torch's, with the same parameters."""
    torch.manual_seed(0)
    ours = fused.LSTM(*sizes, **{"batch_first": True} | options)
    plain = nn.LSTM(*sizes, **{"batch_first": True} | options)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def flat(result: Any) -> tuple[Tensor, Tensor, Tensor]:
    y, (h, c) = result
    return y, h, c


def operator_runs(call: Callable[[], Any]) -> bool:
    with Recorder() as recorder:
        call()
    return bool(recorder.calls)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_inference_runs_the_operator(bias: bool, with_state: bool) -> None:
    ours, plain = both(5, 9, bias=bias)
    x, state = random(3, 7, 5), (random(1, 3, 9, seed=1), random(1, 3, 9, seed=2)) if with_state else None
    assert list(ours.state_dict()) == list(plain.state_dict())
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert operator_runs(lambda: ours(x, state))
            assert_all_agree(flat(ours(x, state)), flat(plain(x, state)), 2e-6, NAMES)
    ours.requires_grad_(False)
    assert operator_runs(lambda: ours(x, state))


def test_the_state_goes_on() -> None:
    ours, _ = both(5, 9)
    x = random(2, 20, 5)
    with torch.no_grad():
        whole = flat(ours(x))
        first, state = ours(x[:, :6])
        second, end = ours(x[:, 6:], state)
    assert_all_same((torch.cat([first, second], 1), *end), whole, NAMES)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
def test_training_runs_the_operator(bias: bool, with_state: bool) -> None:
    ours, plain = both(5, 9, bias=bias)
    exact = copy.deepcopy(plain).double()
    gradients = []
    for module, dtype in ((ours, torch.float32), (exact, torch.float64)):
        tensors = [random(3, 7, 5), random(1, 3, 9, seed=1), random(1, 3, 9, seed=2)]
        x, *state = (t.to(dtype).requires_grad_() for t in tensors)
        y, (h, c) = module(x, tuple(state) if with_state else None)
        inputs = [x, *(state if with_state else []), *module.parameters()]
        gradients.append(torch.autograd.grad(y.square().sum() + h.sum() + c.sum(), inputs))
    assert_all_agree(*gradients, 1e-5, [str(i) for i in range(len(gradients[0]))])
    assert operator_runs(lambda: ours(random(3, 7, 5)))
    ours.requires_grad_(False)
    assert operator_runs(lambda: ours(random(3, 7, 5).requires_grad_()))


def test_gradients_reach_the_parameters() -> None:
    """Three steps of an optimizer: the same parameters as torch's, each gradient a tensor of its own."""
    ours, plain = both(5, 9)
    for module in (ours, plain):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            module(random(3, 7, 5, seed=step))[0].square().mean().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.01)
            optimizer.step()
    assert ours.bias_ih_l0.grad.data_ptr() != ours.bias_hh_l0.grad.data_ptr()
    expected = [p.double() for p in plain.parameters()]
    assert_all_agree(list(ours.parameters()), expected, 1e-6, list(dict(ours.named_parameters())))


KINDS = {
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "frames first": {"batch_first": False},
    "three layers in both directions": {"num_layers": 3, "bidirectional": True, "bias": False},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("with_state", [True, False])
def test_any_layers_and_directions(options: dict[str, Any], with_state: bool) -> None:
    ours, plain = both(5, 9, **options)
    exact = copy.deepcopy(plain).double()
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    results = []
    for module, dtype in ((ours, torch.float32), (exact, torch.float64)):
        tensors = [random(3, 7, 5), random(layers, 3, 9, seed=1), random(layers, 3, 9, seed=2)]
        if not plain.batch_first:
            tensors[0] = tensors[0].transpose(0, 1)
        x, *state = (t.to(dtype).requires_grad_() for t in tensors)
        y, (h, c) = module(x, tuple(state) if with_state else None)
        inputs = [x, *(state if with_state else []), *module.parameters()]
        results.append([y, h, c, *torch.autograd.grad(y.square().sum() + h.sum() + c.sum(), inputs)])
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])
    assert operator_runs(lambda: ours(tensors[0].float()))


OTHERS = {
    "a projection": {"proj_size": 4},
    "dropout between layers": {"num_layers": 2, "dropout": 0.5},
    "float64": {"dtype": torch.float64},
    "bfloat16": {"dtype": torch.bfloat16},
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
@torch.no_grad()
def test_what_the_operator_is_not_for_is_torchs(options: dict[str, Any]) -> None:
    ours, plain = both(5, 9, **options)
    x, results = random(3, 7, 5).to(options.get("dtype", torch.float32)), []
    assert not operator_runs(lambda: ours(x))
    for module in (ours, plain):
        torch.manual_seed(0)
        results.append(flat(module(x)))
    assert_all_same(*results, NAMES)


@torch.no_grad()
def test_inputs_that_the_operator_is_not_for_are_torchs() -> None:
    ours, plain = both(5, 9)
    one = random(7, 5)
    assert_all_same(flat(ours(one)), flat(plain(one)), NAMES)
    packed = pack_sequence([random(7, 5), random(4, 5, seed=1)])
    assert_all_same([ours(packed)[0].data], [plain(packed)[0].data], ["y"])
    with torch.autocast("cpu", torch.bfloat16):
        assert operator_runs(lambda: ours(one[None])) != _pytorch_has(torch.bfloat16)
        if _pytorch_has(torch.bfloat16):
            assert ours(one[None])[0].dtype == plain(one[None])[0].dtype


WRONG = {
    "no frames": ((3, 0, 5), None),
    "inputs": ((3, 7, 4), None),
    "four dimensions": ((1, 3, 7, 5), None),
    "no dimension": ((), None),
    "state of another batch": ((3, 7, 5), (1, 2, 9)),
    "state without layers": ((3, 7, 5), (3, 9)),
}


@pytest.mark.parametrize(("size", "state_size"), WRONG.values(), ids=WRONG)
@torch.no_grad()
def test_errors_are_torchs(size: tuple[int, ...], state_size: tuple[int, ...] | None) -> None:
    ours, plain = both(5, 9)
    state = None if state_size is None else (torch.zeros(state_size), torch.zeros(state_size))
    messages = []
    for module in (ours, plain):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            module(torch.zeros(size), state)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@torch.no_grad()
def test_no_sequences() -> None:
    ours, _ = both(5, 9)
    assert [tuple(t.shape) for t in flat(ours(torch.zeros(0, 7, 5)))] == [(0, 7, 9), (1, 0, 9), (1, 0, 9)]


@torch.no_grad()
def test_parameters_of_now_are_used() -> None:
    """Nothing is kept from one call to the next."""
    ours, plain = both(5, 9)
    x = random(3, 7, 5)
    ours(x)
    for module in (ours, plain):
        module.weight_hh_l0.mul_(-2)
        module.bias_ih_l0.data = torch.ones(36)
    assert_all_agree(flat(ours(x)), flat(plain(x)), 2e-6, NAMES)


@torch.no_grad()
def test_copies_and_pickles() -> None:
    ours, _ = both(5, 9)
    x = random(3, 7, 5)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for twin in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert operator_runs(lambda twin=twin: twin(x))
        assert_all_same(flat(twin(x)), flat(ours(x)), NAMES)


def test_compiles_whole_where_rnns_are_allowed() -> None:
    """Inference and a training step."""
    ours, _ = both(5, 9)
    x = random(3, 7, 5)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            assert_all_same(flat(compiled(x)), flat(ours(x)), NAMES)
        results = []
        for module in (compiled, ours):
            y, (h, c) = module(x)
            loss = y.square().sum() + h.sum() + c.sum()
            results.append([y, *torch.autograd.grad(loss, list(ours.parameters()))])
        assert_all_same(*results, ["y", *dict(ours.named_parameters())])
    torch._dynamo.reset()


@torch.no_grad()
def test_fuse_swaps_torchs_and_only_those_that_it_can_be() -> None:
    model = nn.ModuleDict(
        {
            "one": nn.LSTM(5, 9, batch_first=True),
            "deep": nn.LSTM(5, 9, num_layers=2, batch_first=True),
            "both": nn.LSTM(5, 9, bidirectional=True),
            "projected": nn.LSTM(5, 9, proj_size=4, batch_first=True),
        }
    )
    x = random(3, 7, 5)
    expected = {name: flat(module(x)) for name, module in model.items()}
    report = fuse(model)
    fused_paths = ["one", "deep", "both"]
    assert [(f.path, f.block, f.operator) for f in report.fused] == [(p, "LSTM", "lstm") for p in fused_paths]
    assert not report.left
    assert operator_runs(lambda: model["one"](x))
    for name, module in model.items():
        assert_all_agree(flat(module(x)), expected[name], 2e-6, NAMES)
    assert fuse(model).already == fused_paths
    assert_agrees(copy.deepcopy(model)["one"](x)[0], expected["one"][0], 2e-6)
    assert unfuse(model) == fused_paths
    assert type(model["one"]) is nn.LSTM


def test_fuse_leaves_one_with_a_forward_of_its_own() -> None:
    module = nn.LSTM(5, 9, batch_first=True)
    module.forward = lambda x: x  # type: ignore[method-assign]
    (left,) = fuse(module).left
    assert left.operator == "lstm"
    assert "it has a forward of its own" in left.reason


@pytest.mark.parametrize("value", ["", CUDNN, PERSISTENT])
def test_what_computes_on_cuda_can_be_chosen(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, value)
    assert chosen_on_cuda(CHOICE, PERSISTENT) == (value or "cudnn")


def test_another_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "fast")
    with pytest.raises(ValueError, match="LITE_RTSE_LSTM: expected 'cudnn' or 'persistent', got 'fast'"):
        chosen_on_cuda(CHOICE, PERSISTENT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": torch.float64}, "takes float32, not torch.float64"),
        ({"dtype": torch.bfloat16}, "takes float32, not torch.bfloat16"),
        ({"num_layers": 2, "dropout": 0.5}, "has no dropout between layers"),
    ],
)
def test_why_the_operator_does_not_run_is_said(change: dict[str, Any], reason: str) -> None:
    module = LSTM(3, 4, **change)
    assert reason in _reason(module, torch.ones(1, 1, 3, dtype=module.weight_hh_l0.dtype))


def test_half_types_are_refused_on_the_cpu() -> None:
    x, *weights = (torch.ones(size, dtype=torch.bfloat16) for size in ((1, 2, 3), (4, 3), (4, 1)))
    with pytest.raises(RuntimeError, match=r"x has dtype BFloat16, must be Float$"):
        lstm(x, *weights)


def test_autocast_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    with torch.autocast("cpu", torch.bfloat16):
        assert _reason(LSTM(3, 4), torch.ones(1, 1, 3)) == "the operator lstm has no autocast on the CPU"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_that_pytorch_has_no_lstm_for(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without AVX-512."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    module, x = LSTM(3, 4), random(1, 2, 3)
    expected, _ = module(x)
    with torch.autocast("cpu", dtype):
        y, _ = module(x)
    assert torch.equal(y, expected)
    y.sum().backward()
    assert module.weight_hh_l0.grad is not None
