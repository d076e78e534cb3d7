"""``nn.GRU`` of this package: torch's module in all but how it runs."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from lite_rtse_ext import fuse, ops, unfuse
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn import gru as gru_module
from lite_rtse_ext.nn.recurrent import CUDNN
from lite_rtse_ext.utils import fallback

from ..compare import assert_agrees, assert_all_agree, assert_all_same
from ..ops.operators import Recorder

NAMES = ("y", "h")

# Fake tensors stand for those of a GPU.
pytestmark = pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN:UserWarning")


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Forgets which fallbacks were stated before."""
    fallback._warn.cache_clear()


def both(*sizes: int, **options: Any) -> tuple[fused.GRU, nn.GRU]:
    """Ours and torch's, with the same parameters."""
    torch.manual_seed(0)
    ours, plain = fused.GRU(*sizes, **options), nn.GRU(*sizes, **options)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def operator_runs(call: Callable[[], Any]) -> bool:
    with Recorder() as recorder:
        call()
    return bool(recorder.calls)


KINDS = {
    "plain": {},
    "without biases": {"bias": False},
    "both directions": {"bidirectional": True},
    "frames first": {"batch_first": False},
    "two layers": {"num_layers": 2},
    "three layers in both directions": {"num_layers": 3, "bidirectional": True, "batch_first": False},
    "float64": {"dtype": torch.float64},
}


@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_operator_computes_it(options: dict[str, Any], with_state: bool) -> None:
    """Values, and all gradients, against float64."""
    options = {"batch_first": True} | options
    ours, plain = both(5, 9, **options)
    dtype = options.get("dtype", torch.float32)
    exact = copy.deepcopy(plain).double()
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    x = random(3, 7, 5) if options["batch_first"] else random(7, 3, 5)
    results = []
    for module, kind in ((ours, dtype), (exact, torch.float64)):
        tensors = [t.to(kind).requires_grad_() for t in (x, random(layers, 3, 9, seed=1))]
        y, h = module(tensors[0], tensors[1] if with_state else None)
        inputs = [*tensors[: 1 + with_state], *module.parameters()]
        results.append([y, h, *torch.autograd.grad(y.square().sum() + h.sum(), inputs)])
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert_all_agree(*results, 1e-5, [str(i) for i in range(len(results[0]))])
    assert operator_runs(lambda: ours(x.to(dtype)))
    assert ours(x.to(dtype))[0].is_contiguous()


@torch.no_grad()
def test_inference_runs_the_operator() -> None:
    ours, plain = both(5, 9, batch_first=True)
    x = random(3, 7, 5)
    assert operator_runs(lambda: ours(x))
    assert_all_agree(ours(x), plain(x), 2e-6, NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x)[0].dtype == plain(x)[0].dtype


def said(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught if w.category is fallback.FallbackWarning]


@torch.no_grad()
def test_fallbacks_are_torchs_and_said_once() -> None:
    ours, plain = both(5, 9, batch_first=True)
    packed = pack_sequence([random(7, 5), random(4, 5, seed=1)])
    assert said(lambda: ours(packed)) == ["GRU computes as torch.nn.GRU: the operator gru takes no packed sequence"]
    assert not said(lambda: ours(packed))
    assert_all_same([ours(packed)[0].data], [plain(packed)[0].data], ["y"])
    deep, _ = both(5, 9, num_layers=2, dropout=0.5, batch_first=True)
    (message,) = said(lambda: deep(random(3, 7, 5)))
    assert "no dropout between layers" in message
    assert operator_runs(lambda: deep.eval()(random(3, 7, 5)))


def computed_by(
    monkeypatch: pytest.MonkeyPatch, kernels: bool = True, fits: bool = True
) -> tuple[list[str], list[str]]:
    """What computes a GRU on a GPU, for which fake tensors stand, and what is said about it."""
    called: list[str] = []
    monkeypatch.setattr(nn.GRU, "forward", lambda self, x, hx=None: called.append("torch"))
    monkeypatch.setattr(nn.GRU, "reset_parameters", lambda self: None)
    monkeypatch.setattr(gru_module, "_fused", lambda *a: called.append("operator"))
    monkeypatch.setattr(ops, "has_cuda", lambda: kernels)
    monkeypatch.setattr(gru_module, "gru_fits", lambda *a: fits)
    with torch._subclasses.FakeTensorMode():
        ours = fused.GRU(5, 9, batch_first=True, device="cuda:0")
        return called, said(lambda: ours(torch.empty(3, 7, 5, device="cuda:0")))


def test_on_a_gpu_the_operator_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gru_module.CHOICE, gru_module.FUSED)
    assert computed_by(monkeypatch) == (["operator"], [])


@pytest.mark.parametrize("value", ["", CUDNN])
def test_on_a_gpu_cudnn_computes_it_otherwise(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(gru_module.CHOICE, value)
    assert computed_by(monkeypatch) == (["torch"], [])


def test_another_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gru_module.CHOICE, "fast")
    with pytest.raises(ValueError, match="LITE_RTSE_GRU: expected 'cudnn' or 'fused', got 'fast'"):
        computed_by(monkeypatch)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("kernels", "this build has no CUDA kernels"), ("fits", "gru with 9 units does not fit on cuda:0")],
)
def test_why_cudnn_computes_on_a_gpu_is_said(missing: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gru_module.CHOICE, gru_module.FUSED)
    called, (message,) = computed_by(monkeypatch, **{missing: False})
    assert called == ["torch"]
    assert f"{reason}, so cuDNN computes it" in message


def test_autocast_on_a_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gru_module.CHOICE, gru_module.FUSED)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: True)
    called, (message,) = computed_by(monkeypatch)
    assert called == ["torch"]
    assert "no autocast on CUDA" in message


WRONG = {
    "no frames": ((3, 0, 5), None),
    "inputs": ((3, 7, 4), None),
    "four dimensions": ((1, 3, 7, 5), None),
    "state of another batch": ((3, 7, 5), (1, 2, 9)),
    "state without layers": ((3, 7, 5), (3, 9)),
}


@pytest.mark.parametrize(("size", "state_size"), WRONG.values(), ids=WRONG)
@torch.no_grad()
def test_errors_are_torchs(size: tuple[int, ...], state_size: tuple[int, ...] | None) -> None:
    ours, plain = both(5, 9, batch_first=True)
    messages = []
    for module in (ours, plain):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            module(torch.zeros(size), None if state_size is None else torch.zeros(state_size))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@torch.no_grad()
def test_other_inputs_are_torchs() -> None:
    ours, plain = both(5, 9)
    assert_all_same(ours(random(7, 5)), plain(random(7, 5)), NAMES)
    assert [tuple(t.shape) for t in ours(torch.zeros(7, 0, 5))] == [(7, 0, 9), (1, 0, 9)]


@torch.no_grad()
def test_copies_and_pickles() -> None:
    ours, _ = both(5, 9, bidirectional=True)
    x = random(7, 3, 5)
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for twin in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert operator_runs(lambda twin=twin: twin(x))
        assert_all_same(twin(x), ours(x), NAMES)


def test_compiles_whole_where_rnns_are_allowed() -> None:
    ours, _ = both(5, 9, bidirectional=True)
    x = random(7, 3, 5)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        results = []
        for module in (compiled, ours):
            y, h = module(x)
            results.append([y, *torch.autograd.grad(y.square().sum() + h.sum(), list(ours.parameters()))])
        assert_all_same(*results, ["y", *dict(ours.named_parameters())])
    torch._dynamo.reset()


class Grouped(nn.Module):
    """Two GRUs, each on half of the channels, as in the dual-path blocks of small networks."""

    def __init__(self, channels: int, units: int, **options: Any) -> None:
        super().__init__()
        self.first = nn.GRU(channels // 2, units // 2, batch_first=True, **options)
        self.second = nn.GRU(channels // 2, units // 2, batch_first=True, **options)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states = (None, None) if h is None else h.chunk(2, -1)
        found = [
            layer(part.contiguous(), None if state is None else state.contiguous())
            for layer, part, state in zip((self.first, self.second), x.chunk(2, -1), states, strict=True)
        ]
        return torch.cat([y for y, _ in found], -1), torch.cat([h for _, h in found], -1)


class DualPath(nn.Module):
    """Along the bins in both directions, then along the frames, each with a linear layer, a norm and a sum."""

    def __init__(self, bins: int = 6, channels: int = 8) -> None:
        super().__init__()
        self.intra = Grouped(channels, channels // 2, bidirectional=True)
        self.inter = Grouped(channels, channels)
        self.linear = nn.ModuleList(nn.Linear(channels, channels) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm((bins, channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, bins, channels = x.shape
        along_bins = self.intra(x.reshape(-1, bins, channels))[0].reshape(batch, frames, bins, channels)
        x = x + self.norm[0](self.linear[0](along_bins))
        sequences = x.transpose(1, 2).reshape(-1, frames, channels)
        along_frames = self.inter(sequences)[0].reshape(batch, bins, frames, channels).transpose(1, 2)
        return x + self.norm[1](self.linear[1](along_frames))


def test_fuse_finds_them_inside_other_modules() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(DualPath(), DualPath()), random(2, 7, 6, 8).requires_grad_()

    def step() -> list[Tensor]:
        y = model(x)
        return [y, *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]

    expected = step()
    report = fuse(model)
    paths = [f"{i}.{path}.{part}" for i in (0, 1) for path in ("intra", "inter") for part in ("first", "second")]
    assert [(f.path, f.block, f.operator) for f in report.fused] == [(path, "GRU", "gru") for path in paths]
    assert not report.left
    with Recorder() as recorder:
        found = step()
    assert len(recorder.calls) == 2 * len(paths)
    assert_all_agree(found, expected, 1e-5, [str(i) for i in range(len(found))])
    assert_agrees(copy.deepcopy(model)(x), expected[0], 1e-5)
    assert unfuse(model) == paths
    assert type(model[0].intra.first) is nn.GRU


def test_fuse_leaves_one_with_a_forward_of_its_own() -> None:
    module = nn.GRU(5, 9)
    module.forward = lambda x: x  # type: ignore[method-assign]
    (left,) = fuse(module).left
    assert left.operator == "gru"
    assert "it has a forward of its own" in left.reason


def test_several_run_as_one() -> None:
    """The module of a meta device lends its forward to the parameters of others."""
    ours = [both(5, 9, num_layers=2)[0].requires_grad_(False) for _ in range(2)]
    ours[1].weight_hh_l1.mul_(2)
    parameters, _ = torch.func.stack_module_state(ours)
    shell, x = copy.deepcopy(ours[0]).to("meta"), random(7, 3, 5)
    together = torch.vmap(lambda values: torch.func.functional_call(shell, values, (x,))[0])(parameters)
    assert_all_agree(together, torch.stack([module(x)[0] for module in ours]), 1e-6, ["first", "second"])
