"""DCCRN: what is known of the published network, its masks, its transform, and checkpoints of the public code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lite_rtse_ext.audio.spectrogram import frames_of, istft, stft
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.models import create_model, load_model, model_names, save_model
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.models.complexity import cost
from lite_rtse_ext.models.dccrn import DCCRN
from lite_rtse_ext.models.registry import find_model
from tests.models.fingerprints import check, filled, first_changed_frame, spectrogram

SMALL: dict[str, Any] = {"channels": [4, 4, 6], "lstm_units": 6}
WIDE, PAPER, NARROW = (32, 64, 128, 256, 256, 256), (32, 64, 128, 128, 256, 256), (16, 32, 64, 128, 256, 256)


def small(**config: Any) -> DCCRN:
    torch.manual_seed(0)
    return DCCRN(**SMALL, **config).eval()


def test_is_registered() -> None:
    assert "dccrn" in model_names()
    assert find_model("dccrn") is DCCRN


@pytest.mark.parametrize(
    ("channels", "units", "complex_lstm", "norm", "parameters"),
    [
        (WIDE, 256, True, "batch", 3_671_053),
        (WIDE, 256, True, "complex", 3_671_917),
        (WIDE, 256, False, "batch", 4_719_629),
        (PAPER, 256, False, "batch", 3_981_581),
        (PAPER, 256, True, "complex", 2_933_741),
        (NARROW, 256, False, "batch", 3_742_349),
        (NARROW, 128, False, "batch", 2_495_117),
    ],
)
def test_parameters(channels: tuple[int, ...], units: int, complex_lstm: bool, norm: Any, parameters: int) -> None:
    with torch.device("meta"):
        model = DCCRN(channels, units, complex_lstm, norm)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("channels", "units", "complex_lstm", "mac_per_second"),
    [(WIDE, 256, True, 8.533e9), (WIDE, 256, False, 8.554e9), (NARROW, 128, False, 3.774e9)],
)
def test_work(channels: tuple[int, ...], units: int, complex_lstm: bool, mac_per_second: float) -> None:
    found = cost("dccrn", channels=channels, lstm_units=units, complex_lstm=complex_lstm)
    assert found.mac_per_second == pytest.approx(mac_per_second, abs=0.5e6)
    assert (found.look_ahead_frames, found.latency_ms) == (6, 62.5)


@pytest.mark.parametrize(
    ("config", "figures"),
    [
        (
            {},
            (0.616857799, (-0.980674779, 0.334382216), (0.551852912, 0.939354827), 0.612039228),
        ),
        (
            {"norm": "complex"},
            (0.621486394, (-0.992439127, 0.297655956), (0.549724253, 0.940602133), 0.612229582),
        ),
        (
            {"channels": NARROW, "lstm_units": 128, "complex_lstm": False},
            (0.619069309, (0.397399296, -0.956874228), (-0.364638133, 1.026629514), 0.581043487),
        ),
    ],
    ids=["batch norm", "complex batch norm", "real LSTM"],
)
def test_fingerprint(config: dict[str, Any], figures: Any) -> None:
    check(DCCRN(**config), *figures)


@pytest.mark.parametrize("norm", ["batch", "complex"])
def test_six_frames_of_look_ahead(norm: str) -> None:
    model = filled(DCCRN(channels=(8, 8, 8, 8, 8, 8), lstm_units=8, norm=norm))
    assert first_changed_frame(model) == 40 - model.look_ahead_frames == 34


def test_look_ahead_in_samples() -> None:
    """A sample depends on the rest of its frame and on six more hops."""
    torch.manual_seed(0)
    model = DCCRN(channels=(8, 8, 8, 8, 8, 8), lstm_units=8).double().eval()
    waveform = torch.randn(12_000, dtype=torch.float64)
    other = waveform.clone()
    other[8000:] *= -0.5
    whole, changed = (enhance_waveform(model, each, high_pass=False) for each in (waveform, other))
    assert 8000 - int((whole != changed).nonzero()[0]) == 899


def test_the_whole_recording_is_needed() -> None:
    with pytest.raises(NotImplementedError, match="needs the whole recording"):
        small().advance(spectrogram(257).float())
    with pytest.raises(NotImplementedError, match="dccrn cannot run frame by frame: it needs the whole recording"):
        small().start()
    with pytest.raises(ValueError, match="DCCRN needs the whole recording, got 9"):
        enhance_waveform(small(), torch.zeros(1000), segment_frames=9)


def by_angles(mask: Tensor, x: Tensor) -> Tensor:
    magnitude = mask.abs().tanh() * (x.abs().square() + 1e-8).sqrt()
    return torch.polar(magnitude, x.angle() + mask.angle())


@pytest.mark.parametrize("kind", ["E", "C", "R"])
def test_masks(kind: str) -> None:
    """All kinds apply the same output of the decoder. The R kind tells what it is."""
    x = spectrogram(257)
    model = small(mask=kind).double()
    decoded = model._masks(x.permute(0, 3, 1, 2)[:, :, 1:])
    mask, bins = torch.complex(*decoded.unbind(1)), torch.view_as_complex(x)[:, 1:]
    want = {
        "E": by_angles(mask, bins),
        "C": mask * bins,
        "R": torch.complex(mask.real * bins.real, mask.imag * bins.imag),
    }[kind]
    enhanced = torch.view_as_complex(model(x).contiguous())
    assert not enhanced[:, 0].any()
    torch.testing.assert_close(enhanced[:, 1:], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["E", "C", "R"])
@pytest.mark.parametrize("norm", ["batch", "complex"])
def test_silence_is_finite(kind: str, norm: str) -> None:
    model = small(mask=kind, norm=norm).train()
    enhanced = model(torch.zeros(2, 257, 5, 2))
    enhanced.square().sum().backward()
    assert not enhanced.any()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_transform_is_the_published_one() -> None:
    signal = DCCRN.signal
    n = torch.arange(1600, dtype=torch.float64)
    transformed = stft((0.1 * n).sin(), signal)
    assert transformed.shape == (257, 19)
    assert float(torch.view_as_real(transformed).abs().mean()) == pytest.approx(0.68293966, abs=1e-8)
    x = torch.view_as_complex(spectrogram(257))[0]
    assert frames_of(900, signal) == 12
    waveform = istft(x, 900, signal)
    assert float(waveform.abs().mean()) == pytest.approx(0.00409562747, abs=1e-10)
    assert float(waveform[450]) == pytest.approx(0.00050438695, abs=1e-11)


def public_state(model: DCCRN) -> dict[str, Tensor]:
    """What the public code saves: the constants of its transforms as well."""
    constants = {"stft.weight": (514, 1, 400), "istft.weight": (514, 1, 400)}
    constants |= {"istft.window": (1, 400, 1), "istft.enframe": (400, 1, 400)}
    return {name: torch.zeros(shape) for name, shape in constants.items()} | model.state_dict()


@pytest.mark.parametrize("complex_lstm", [True, False])
@pytest.mark.parametrize("norm", ["batch", "complex"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_public_checkpoint_is_recognized(complex_lstm: bool, norm: str, prefix: str, tmp_path: Path) -> None:
    model = small(complex_lstm=complex_lstm, norm=norm)
    torch.save({prefix + k: v for k, v in public_state(model).items()}, tmp_path / "public.pt")
    loaded = load_model(tmp_path / "public.pt")
    assert isinstance(loaded, DCCRN)
    assert loaded.config() == model.config()
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_public_checkpoint_loads_strictly(tmp_path: Path) -> None:
    state = public_state(small())
    del state["encoder.1.2.weight"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(CheckpointError, match=r"missing: encoder\.1\.2\.weight"):
        load_model(tmp_path / "short.pt", DCCRN)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"no parameters of DCCRN: encoder\.0\.0\.real_conv\.weight"):
        load_model(tmp_path / "other.pt", DCCRN)


NAMES = {
    "encoder.0.0.real_conv.weight": (16, 1, 5, 2),
    "encoder.0.0.imag_conv.bias": (16,),
    "encoder.5.1.running_mean": (256,),
    "encoder.5.2.weight": (1,),
    "decoder.0.0.real_conv.weight": (256, 128, 5, 2),
    "decoder.4.1.num_batches_tracked": (),
    "decoder.5.0.imag_conv.weight": (32, 1, 5, 2),
    "enhance.0.real_lstm.weight_ih_l0": (512, 512),
    "enhance.1.imag_lstm.weight_ih_l0": (512, 128),
    "enhance.1.r_trans.weight": (512, 128),
    "enhance.1.i_trans.bias": (512,),
}
OTHER_NAMES = {
    "encoder.0.1.Wrr": (16,),
    "decoder.0.1.RVri": (128,),
    "enhance.weight_ih_l1": (1024, 256),
    "tranform.weight": (1024, 256),
}


def test_names_are_the_public_ones() -> None:
    with torch.device("meta"):
        usual = DCCRN().state_dict()
        other = DCCRN(norm="complex", complex_lstm=False).state_dict()
    assert {name: tuple(usual[name].shape) for name in NAMES} == NAMES
    assert {name: tuple(other[name].shape) for name in OTHER_NAMES} == OTHER_NAMES
    assert not [name for name in usual if name.startswith("decoder.5.1")]


def test_a_saved_network_is_loaded(tmp_path: Path) -> None:
    model = small(norm="complex", mask="C")
    save_model(model, tmp_path / "file")
    loaded = load_model(tmp_path / "file").eval()
    x = spectrogram(257).float()
    assert loaded.config() == model.config()
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"norm": "layer"}, "norm: expected one of batch, complex, got 'layer'"),
        ({"mask": "X"}, "mask: expected one of E, C, R, got 'X'"),
        ({"channels": [4, 5]}, "out_channels: expected an even number above 0, got 5"),
        ({"channels": []}, "channels: expected 1 to 8 stages, got 0"),
        ({"channels": [2] * 9}, "channels: expected 1 to 8 stages, got 9"),
        ({"lstm_units": 3}, "lstm_units: expected an even number above 0, got 3"),
    ],
)
def test_impossible_sizes_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_model("dccrn", **config)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spectrogram: expected \(B, 257, T, 2\), got \(1, 161, 3, 2\)"):
        small()(torch.zeros(1, 161, 3, 2))


def test_no_frames_give_no_frames() -> None:
    assert small()(torch.zeros(1, 257, 0, 2)).shape == (1, 257, 0, 2)
