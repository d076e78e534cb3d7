"""Batch norm and PReLU of this package: torch's modules in all but how they run."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from lite_rtse_ext import fuse, ops, unfuse
from lite_rtse_ext import nn as fused
from lite_rtse_ext.nn import norm_prelu
from lite_rtse_ext.utils import fallback

from ..compare import assert_all_agree, assert_all_same
from ..ops.operators import Recorder


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator also runs for few values."""
    monkeypatch.setattr(norm_prelu, "_FEWEST", 0)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def results(module: nn.Module, x: Tensor, steps: int = 2) -> list[Tensor]:
    """Output, gradients and buffers after some calls, the last in evaluation."""
    x = x.detach().requires_grad_()
    found = []
    for training in (True,) * steps + (False,):
        y = module.train(training)(x)
        loss = (y * random(*y.shape, seed=3).to(y)).sum()
        gradients = torch.autograd.grad(loss, [x, *module.parameters()], materialize_grads=True)
        found += [y, *gradients, *(buffer.clone() for buffer in module.buffers())]
    return found


def agree(ours: nn.Module, plain: nn.Module, x: Tensor) -> None:
    with Recorder() as recorder:
        found = results(ours, x)
    assert recorder.calls
    expected = results(copy.deepcopy(plain).double(), x.double())
    assert_all_agree(found, expected, 2e-5, [str(i) for i in range(len(found))])


OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "Keras": {"eps": 1e-3, "momentum": 0.01},
    "cumulative": {"momentum": None},
    "not affine": {"affine": False},
    "untracked": {"track_running_stats": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    ("kind", "size"), [("BatchNorm2d", (3, 5, 6, 7)), ("BatchNorm1d", (3, 5, 9)), ("BatchNorm1d", (8, 5))], ids=str
)
def test_batch_norm_is_torchs(kind: str, size: tuple[int, ...], options: dict[str, Any]) -> None:
    ours, plain = getattr(fused, kind)(5, **options), getattr(nn, kind)(5, **options)
    assert list(ours.state_dict()) == list(plain.state_dict())
    agree(ours, plain, 2 * random(*size) + 1)


@pytest.mark.parametrize(
    "changes",
    [{"track_running_stats": False}, {"num_batches_tracked": None}, {"num_batches_tracked": None, "momentum": None}],
    ids=str,
)
def test_batch_norm_is_torchs_after_its_attributes_were_changed(changes: dict[str, Any]) -> None:
    ours, plain = fused.BatchNorm2d(5), nn.BatchNorm2d(5)
    for norm in (ours, plain):
        for name, value in changes.items():
            setattr(norm, name, value)
    agree(ours, plain, 2 * random(3, 5, 6, 7) + 1)


@pytest.mark.parametrize("slopes", [1, 5])
@pytest.mark.parametrize("size", [(3, 5, 6, 7), (3, 5)], ids=str)
def test_prelu_is_torchs(size: tuple[int, ...], slopes: int) -> None:
    agree(fused.PReLU(slopes), nn.PReLU(slopes), random(*size))


def test_what_the_operator_does_not_take_is_torchs() -> None:
    norm, act = fused.BatchNorm2d(5), fused.PReLU()
    with pytest.raises(ValueError, match="expected 4D input"):
        norm(random(3, 5, 6))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(random(1, 5, 1, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(random(3, 5, 6, 7).bfloat16()).dtype == torch.bfloat16
    assert_all_same([act(random(4))], [nn.PReLU()(random(4))], ["y"])


@pytest.mark.parametrize(("make", "size"), [(lambda: fused.BatchNorm2d(5), (3, 5, 6, 7)), (fused.PReLU, (3, 5))])
def test_without_cuda_kernels_it_is_torchs_on_a_gpu_and_says_so(
    make: Any, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fake tensors stand for those of a GPU."""
    monkeypatch.setattr(ops, "has_cuda", lambda: False)
    fallback._warn.cache_clear()
    monkeypatch.setattr(nn.modules.batchnorm._BatchNorm, "forward", lambda module, x: x)
    monkeypatch.setattr(nn.PReLU, "forward", lambda module, x: x)
    with warnings.catch_warnings(record=True) as caught, torch._subclasses.FakeTensorMode():
        warnings.simplefilter("always")
        make()(torch.empty(*size, device="cuda:0"))
    assert ["this build has no CUDA kernels" in str(w.message) for w in caught] == [True]


class Block(nn.Module):
    """A convolution, a batch norm and a PReLU, in a forward with an argument that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.PReLU(5)

    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        return self.act(self.bn(self.conv(x)[..., 1:]))


class BothRead(Block):
    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        y = self.bn(self.conv(x))
        return self.act(y) + y


class Twice(Block):
    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        return self.act(self.bn(self.conv(x))) + self.bn(self.conv(-x))


class InTraining(Block):
    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        y = self.bn(self.conv(x))
        return self.act(y) if self.training else y


class ByValue(Block):
    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        y = self.bn(self.conv(x))
        return self.act(y) if x.sum() > 1e9 else self.act(-y)


class WithoutMore(Block):
    """It depends on an argument with a default which layer comes next."""

    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        y = self.bn(self.conv(x))
        return self.act(y if cut is not None else -y)


class Replaced(Block):
    """Its forward is that of the instance."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = partial(BothRead.forward, self)  # type: ignore[method-assign]

    def __deepcopy__(self, memo: Any) -> Replaced:
        twin = Replaced()
        twin.load_state_dict(self.state_dict())
        return twin


def calls(model: nn.Module, x: Tensor) -> int:
    with Recorder() as recorder:
        model(x)
    return len(recorder.calls)


@pytest.mark.parametrize(
    ("make", "together"),
    [(Block, True), (lambda: nn.Sequential(nn.BatchNorm2d(2), nn.PReLU()), True)]
    + [(kind, False) for kind in (BothRead, Twice, InTraining, ByValue, WithoutMore, Replaced)],
)
def test_fuse_joins_a_batch_norm_with_the_prelu_that_alone_reads_it(make: Any, together: bool) -> None:
    torch.manual_seed(0)
    plain = make()
    for buffer in plain.buffers():
        buffer.data.add_(1)
    model, x = copy.deepcopy(plain), random(3, 2, 7, 9)
    before = [dict(vars(module)) for module in model.modules()]
    fuse(model)
    agree(model, plain, x)
    for twin in (model, copy.deepcopy(model)):
        twin.train()
        assert (calls(twin, x) == 1) == together
    with torch.no_grad():
        assert_all_agree([model(x.double().float())], [model(x)], 1e-6, ["y"])
        doubled, expected = copy.deepcopy(model).double(), copy.deepcopy(plain).double()
        expected.load_state_dict(doubled.state_dict())
        assert_all_agree([doubled(x.double())], [expected.train()(x.double())], 1e-12, ["float64"])
    fuse(model)
    unfuse(model)
    assert [set(vars(module)) for module in model.modules()] == [set(each) for each in before]


ORDERS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "a part of channels_last": lambda x: x.contiguous(memory_format=torch.channels_last)[..., 1:],
    "frames before bins": lambda x: x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1),
    "one frame": lambda x: x[:, :, :1].contiguous(memory_format=torch.channels_last),
    "one channel": lambda x: x[:, :1].contiguous(memory_format=torch.channels_last),
    "one value for all": lambda x: x[:, :, :1, :1].expand(x.shape),
}


@pytest.mark.parametrize("in_order", ORDERS.values(), ids=ORDERS)
def test_any_memory_order(in_order: Any) -> None:
    """A joined PReLU is computed once, whoever computes the batch norm."""
    x = in_order(random(3, 5, 6, 7))
    plain = nn.Sequential(nn.BatchNorm2d(x.shape[1]), nn.PReLU(x.shape[1]))
    ours = copy.deepcopy(plain)
    fuse(ours)
    found, expected = results(ours, x), results(plain.double(), x.double())
    assert_all_agree(found, expected, 2e-5, [str(i) for i in range(len(found))])


def test_channels_last_is_kept_and_left_to_pytorch() -> None:
    model, x = nn.Sequential(nn.BatchNorm2d(5), nn.PReLU(5)), ORDERS["channels_last"](random(3, 5, 6, 7))
    fuse(model)
    for training in (True, False):
        with Recorder() as recorder:
            y = model.train(training)(x)
        assert not recorder.calls
        assert y.is_contiguous(memory_format=torch.channels_last)


class Remembers(Block):
    """Its forward keeps what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None
        self.all: list[Tensor] = []

    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        self.last = super().forward(x)
        self.all.append(self.last)
        self.register_buffer("kept", self.last, persistent=False)
        return self.last


def test_what_a_forward_keeps_is_as_before_fuse() -> None:
    model = Remembers()
    fuse(model)
    assert model.bn._pair.layers() == (model.bn, model.act)
    assert (model.last, model.all, dict(model.named_buffers(recurse=False))) == (None, [], {})


class RemembersNorm(Block):
    """Its forward keeps the result of the batch norm, from which other code may read it."""

    def __init__(self, keep: Any) -> None:
        super().__init__()
        self.keep, self.last = keep, None
        self.all: dict[str, Any] = {"list": [], "deque": deque(maxlen=3)}

    def forward(self, x: Tensor, cut: Any = None) -> Tensor:
        y = self.bn(self.conv(x))
        self.keep(self, y)
        return self.act(y)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (lambda module, y: setattr(module, "last", y), lambda module: module.last),
        (lambda module, y: module.all["list"].append((y,)), lambda module: module.all["list"][-1][0]),
        (lambda module, y: module.all["deque"].append(y), lambda module: module.all["deque"][-1]),
    ],
    ids=["attribute", "list", "deque"],
)
def test_a_norm_whose_result_a_forward_keeps_computes_for_itself(keep: Any, kept: Any) -> None:
    plain, x = RemembersNorm(keep), random(3, 2, 7, 9)
    model = copy.deepcopy(plain)
    fuse(model)
    assert (len(model.all["list"]), len(model.all["deque"])) == (0, 0)
    with torch.no_grad():
        assert_all_agree([model(x), kept(model)], [plain(x), kept(plain)], 1e-5, ["y", "kept"])


def _replace(name: str, make: Any) -> Any:
    def change(model: nn.Module) -> None:
        torch.manual_seed(1)
        setattr(model, name, make())

    return change


@pytest.mark.parametrize(
    "change",
    [
        nn.SyncBatchNorm.convert_sync_batchnorm,
        *(_replace("bn", make) for make in (nn.Identity, lambda: nn.GroupNorm(1, 5), lambda: nn.BatchNorm2d(5))),
        *(_replace("act", make) for make in (nn.Identity, lambda: nn.PReLU(init=0.5))),
        lambda model: model.bn.register_forward_hook(lambda module, inputs, y: 2 * y),
        lambda model: model.act.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],)),
    ],
    ids=["SyncBatchNorm", "no norm", "GroupNorm", "another norm", "no PReLU", "another PReLU", "hook", "pre-hook"],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_layer_that_was_replaced_is_computed(change: Any, again: bool) -> None:
    torch.manual_seed(0)
    plain = Block()
    for buffer in plain.buffers():
        buffer.data.add_(1)
    model = copy.deepcopy(plain)
    fuse(model)
    for each in (model, plain):
        change(each)
        each.eval()  # SyncBatchNorm trains on GPUs only
    if again:
        fuse(model)
    agree(model, plain, random(3, 2, 7, 9))


@pytest.mark.parametrize("name", ["bn", "act"])
def test_a_layer_copied_alone_computes_for_itself(name: str) -> None:
    plain = Block()
    model = copy.deepcopy(plain)
    fuse(model)
    whole, alone = copy.deepcopy(model), copy.deepcopy(getattr(model, name))
    assert calls(whole, random(3, 2, 7, 9)) == 1
    agree(alone, getattr(plain, name), random(3, 5, 5, 6))


@pytest.mark.parametrize("name", ["bn", "act"])
def test_a_wrapped_layer_is_computed(name: str) -> None:
    torch.manual_seed(0)
    plain = Block()
    model = copy.deepcopy(plain)
    fuse(model)
    setattr(model, name, checkpoint_wrapper(getattr(model, name)))
    agree(model, plain, random(3, 2, 7, 9))
    unfuse(model)
    assert {type(layer) for layer in plain.modules()} <= {type(layer) for layer in model.modules()}


def test_the_report_names_the_norm_that_computes_a_prelu() -> None:
    report = fuse(nn.Sequential(Block(), Twice()))
    assert {each.path: each.computed_by for each in report.fused if each.block == "PReLU"} == {
        "0.act": "0.bn",
        "1.act": "",
    }
    assert "0.act: PReLU, norm_prelu, computed by 0.bn" in str(report).replace("  ", "").splitlines()


def test_unfusing_one_of_two_separates_them() -> None:
    torch.manual_seed(0)
    plain = Block()
    model = copy.deepcopy(plain)
    fuse(model)
    unfuse(model.act)
    agree(model, plain, random(3, 2, 7, 9))


def test_hooks_keep_them_apart_and_shared_layers_too() -> None:
    hooked, shared = Block(), Block()
    hooked.bn.register_forward_hook(lambda *_: None)
    wrapper = nn.ModuleList([shared, nn.Sequential(shared.bn)])
    for model in (hooked, wrapper):
        fuse(model)
    x = random(3, 2, 7, 9)
    assert calls(hooked, x) == 2
    assert calls(shared, x) == 2


def test_few_values_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_prelu, "_FEWEST", 3 * 5 * 5 * 6 + 1)
    torch.manual_seed(0)
    plain = Block()
    model = copy.deepcopy(plain)
    fuse(model)
    x = random(3, 2, 7, 9)
    found, expected = results(model, x), results(plain, x)
    assert_all_same(found, expected, [str(i) for i in range(len(found))])
    assert calls(model, x) == 0
    assert calls(model, random(4, 2, 7, 9)) == 1


def test_joined_layers_compile() -> None:
    model = Block()
    fuse(model)
    x = random(3, 2, 7, 9)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    names = [str(i) for i in range(100)]
    found, expected = results(compiled, x, 1), results(model, x, 1)
    assert_all_agree(found, expected, 1e-5, names[: len(found)])
