"""``nn.Conv1d`` of this package: torch's module in all but how large 1x1 convolutions run in inference on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import fuse
from lite_rtse_ext import nn as fused

from ..compare import assert_agrees, assert_same


def random(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def both(inputs: int, outputs: int, bias: bool = True) -> tuple[fused.Conv1d, nn.Conv1d]:
    torch.manual_seed(0)
    ours, plain = (kind(inputs, outputs, 1, bias=bias) for kind in (fused.Conv1d, nn.Conv1d))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (2, 37), (3, 128)])
def test_inference_agrees(batch: int, frames: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, kernel = [], torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *values: calls.append(1) or kernel(*values))
    ours, plain = both(257, 129, bias)
    x = random(batch, 257, frames)
    assert_agrees(ours(x), plain(x), 1e-6)
    assert calls
    every_second = random(batch, 257, 2 * frames)[..., ::2]
    assert_agrees(ours(every_second), plain(every_second), 1e-6)


def test_all_else_is_torchs() -> None:
    ours, plain = both(257, 129)
    x = random(2, 257, 9)
    assert_same(ours(x), plain(x))  # a gradient is needed
    with torch.no_grad():
        assert_same(ours(x[0]), plain(x[0]))
        assert_agrees(torch.vmap(ours)(x[:, None]), torch.vmap(plain)(x[:, None]), 1e-6)
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(ours(x), plain(x))
        with pytest.raises(RuntimeError, match="to have 257 channels"):
            ours(x[:, :5])
        assert_same(ours.double()(x.double()), plain.double()(x.double()))


def test_fuse_finds_large_ones_of_one_tap() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv1d(257, 129, 1), nn.Conv1d(129, 64, 1), nn.Conv1d(64, 300, 3), nn.Conv1d(300, 300, 1, groups=2)]
    plain = nn.Sequential(*layers)
    model = copy.deepcopy(plain)
    assert [finding.path for finding in fuse(model).fused] == ["0"]
    with torch.no_grad():
        assert_agrees(model(random(1, 257, 9)), plain(random(1, 257, 9)), 1e-5)
