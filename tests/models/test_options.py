"""The network's options: compressed and standardized magnitudes, and the branch in the mask."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lite_rtse_ext import LiteRTSE, reference
from lite_rtse_ext.models import create_model
from lite_rtse_ext.models.checkpoint import CheckpointError, load_model
from lite_rtse_ext.reference import compressed
from lite_rtse_ext.stream import Network, Streamer
from tests.compare import assert_agrees
from tests.fusion.changes import Adapter
from tests.stream.conftest import noise, run

SMALL: dict[str, Any] = {"channels": 8, "order": 3}
OPTIONS: list[dict[str, Any]] = [
    {"compression": 0.3},
    {"mask_branch": True},
    {"compression": 0.5, "mask_branch": True},
]


def networks(options: dict[str, Any], bins: int = 257) -> tuple[LiteRTSE, reference.LiteRTSE]:
    torch.manual_seed(3)
    fused = LiteRTSE(bins=bins, **SMALL, **options)
    fused.input_mean.uniform_(0, 1)
    fused.input_scale.uniform_(0.5, 2)
    plain = reference.LiteRTSE(bins=bins, **SMALL, **options)
    plain.load_state_dict(fused.state_dict())
    return fused, plain


def test_the_published_network_has_no_more_keys() -> None:
    assert not any(name.startswith("input") for name in LiteRTSE().state_dict())
    assert LiteRTSE().config() == {
        "bins": 257,
        "channels": 64,
        "order": 5,
        "depthwise": True,
        "compression": 1.0,
        "mask_branch": False,
    }


@pytest.mark.parametrize("options", OPTIONS)
def test_the_formula(options: dict[str, Any]) -> None:
    _, plain = networks(options, bins=9)
    x = torch.randn(2, 9, 5, 2)
    exponent, to_mask = options.get("compression", 1.0), options.get("mask_branch", False)

    def read(m: torch.Tensor) -> torch.Tensor:
        return (m**exponent - plain.input_mean) * plain.input_scale

    m = x.norm(dim=-1).mT
    features = plain.msmo_conv(read(m)[:, None])[:, 0]
    logit = plain.fc1(plain.lstm1(read(m))[0]) + to_mask * features
    fused = torch.cat([read(m), read(m * logit.sigmoid()), features], dim=-1)
    z = plain.lstm2(plain.fc2(fused))[0]
    expected = plain.mask_residual(x, logit, plain.to_mag(z), plain.to_real(z), plain.to_imag(z))
    assert_agrees(plain(x), expected, 1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_fused_network_agrees_with_its_gradients(options: dict[str, Any]) -> None:
    fused, plain = (net.double() for net in networks(options, bins=9))
    x, weights = torch.randn(2, 2, 9, 11, 2, dtype=torch.float64)
    results = []
    for net in (fused, plain):
        leaf = x.clone().requires_grad_()
        y = net(leaf)
        (y * weights).sum().backward()
        results.append([y, leaf.grad, *(p.grad for p in net.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert_agrees(ours, theirs, 1e-9)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_finite_on_digital_silence(options: dict[str, Any]) -> None:
    fused, _ = networks(options, bins=9)
    x = torch.randn(1, 9, 11, 2)
    x[:, :, 4] = 0
    x.requires_grad_()
    fused(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fused.parameters())


@pytest.mark.parametrize("options", OPTIONS)
def test_pieces_are_the_whole(options: dict[str, Any]) -> None:
    fused, plain = networks(options)
    x = torch.randn(1, 257, 700, 2)
    with torch.no_grad():
        assert_agrees(fused(x), plain(x), 1e-5)


def test_compression_is_differentiable_at_silence() -> None:
    m = torch.zeros(3, requires_grad=True)
    compressed(m, 0.3).sum().backward()
    assert m.grad is not None
    assert not m.grad.any()
    assert compressed(torch.full((2,), 4.0, dtype=torch.float16), 0.5).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("value", [0.0, -0.3, 1.1, float("nan")])
def test_an_impossible_exponent_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="compression: expected a number above 0 and at most 1"):
        LiteRTSE(**SMALL, compression=value)
    state = {name: value.numpy() for name, value in LiteRTSE(**SMALL).state_dict().items()}
    with pytest.raises(ValueError, match="compression must be above 0"):
        Network(state, compression=value)


@pytest.mark.parametrize("value", ["no", 0, None], ids=str)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (LiteRTSE, "depthwise"),
        (LiteRTSE, "mask_branch"),
        (partial(reference.ConvBlock, 1, 4), "depthwise"),
        (partial(create_model, "dccrn"), "complex_lstm"),
        (partial(create_model, "gagnet"), "squeezed"),
        (partial(Network, {}), "mask_branch"),
    ],
)
def test_switches_are_true_or_false(make: Callable[..., Any], name: str, value: object) -> None:
    """Text such as "no" counts as True in Python."""
    with pytest.raises(TypeError, match=f"^{name}: expected True or False, got {value!r}$"):
        make(**{name: value})


@pytest.mark.parametrize("options", OPTIONS)
def test_files_state_the_options(tmp_path: Path, options: dict[str, Any]) -> None:
    fused, _ = networks(options)
    path = tmp_path / "net.safetensors"
    fused.save_checkpoint(path)
    again = load_model(path)
    assert again.config() == fused.config()
    x = torch.randn(1, 257, 6, 2)
    assert torch.equal(again(x), fused(x))
    signal = noise(4000)
    streams = [
        Streamer.from_pretrained(path),
        Streamer.from_model(torch.nn.DataParallel(fused)),
        Streamer(pickle.loads(pickle.dumps(Network.from_pretrained(path)))),
    ]
    outputs = [run(streamer, [signal]) for streamer in streams]
    assert_agrees(torch.from_numpy(outputs[0]), fused.enhance(torch.from_numpy(signal)), 1e-5)
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_a_file_that_states_nothing_is_refused(tmp_path: Path) -> None:
    fused, _ = networks(OPTIONS[0])
    path = tmp_path / "net.safetensors"
    save_file(fused.state_dict(), path)
    with pytest.raises(CheckpointError, match="states compression and mask_branch"):
        LiteRTSE.from_checkpoint(path)
    with pytest.raises(ValueError, match="input_mean belongs to a network with compression or mask_branch"):
        Streamer.from_pretrained(path)
    fused.load_checkpoint(path)  # this network states them


def test_parameters_of_other_options_are_refused(tmp_path: Path) -> None:
    fused, _ = networks({"compression": 0.5})
    path = tmp_path / "net.safetensors"
    fused.save_checkpoint(path)
    other, _ = networks({"compression": 0.3})
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"compression: expected 0\.3, as in this network, got 0\.5"):
        other.load_checkpoint(path)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("config", ['{"compression": "0.3"}', '{"compression": true}', '{"mask_branch": 1}'])
def test_options_of_another_type_are_refused(tmp_path: Path, config: str) -> None:
    fused, _ = networks(OPTIONS[2])
    path = tmp_path / "net.safetensors"
    fused.save_checkpoint(path)
    save_file(load_file(path), path, metadata={"format": "pt", "architecture": "lite-rtse", "config": config})
    with pytest.raises(ValueError, match="config: expected a number as compression"):
        Streamer.from_pretrained(path)
    with pytest.raises(CheckpointError, match=r"(compression|mask_branch): expected "):
        LiteRTSE.from_checkpoint(path)


@pytest.mark.parametrize("options", [{}, *OPTIONS])
def test_a_branch_whose_last_layer_is_zero_is_not_computed(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    net = LiteRTSE(**SMALL, **options)
    last = net.msmo_conv[2].pwconvN
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.25)
    x = torch.randn(1, 257, 20, 2)
    expected = net(x)  # with gradients, so all of it is computed
    calls: list[int] = []
    original = type(net.msmo_conv).forward
    monkeypatch.setattr(
        type(net.msmo_conv), "forward", lambda self, *inputs: calls.append(1) or original(self, *inputs)
    )
    with torch.no_grad():
        skipped = net(x)
        assert not calls
        handle = last.register_forward_hook(lambda *_: None)
        computed = net(x)
        assert calls
        handle.remove()
        net.msmo_conv[2].pwconvN = Adapter(last)
        assert (net(x) - skipped).abs().max() > 1e-3
        net.msmo_conv[2].pwconvN = last
    assert torch.equal(skipped, computed)
    assert torch.equal(skipped, expected)
    signal = noise(3000)
    output = run(Streamer.from_model(net), [signal])
    assert_agrees(torch.from_numpy(output), net.enhance(torch.from_numpy(signal)), 1e-5)
