"""GaGNet: what is known of the published network, and that pieces with states are the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.models import load_model, model_names, save_model
from lite_rtse_ext.models.checkpoint import CheckpointError
from lite_rtse_ext.models.complexity import cost
from lite_rtse_ext.models.gagnet import GaGNet
from lite_rtse_ext.models.onnx import check_onnx, export_onnx
from lite_rtse_ext.models.registry import find_model
from tests.models.fingerprints import check, filled, first_changed_frame, spectrogram

BATCH_NORM = (0.052363436, (0.007808505, 0.020171058), (-0.004449802, 0.000322305), 0.107800795)
INSTANCE_NORM = (0.107800795, (0.060250804, 0.090642402), (-0.005537043, -0.000181524), 0.107800795)


def test_is_registered() -> None:
    assert "gagnet" in model_names()
    assert find_model("gagnet") is GaGNet


def test_parameters_and_work() -> None:
    found = cost("gagnet")
    assert found.parameters == 5_948_137
    assert found.mac_per_second == pytest.approx(1.33097e9, abs=0.5e4)
    assert (found.look_ahead_frames, found.latency_ms) == (0, 20)
    with torch.device("meta"):
        others = GaGNet(norm="instance"), GaGNet(squeezed=True)
    assert [sum(p.numel() for p in each.parameters()) for each in others] == [5_948_137, 4_857_577]
    assert others[0].look_ahead_frames is others[0].latency_ms is None


@pytest.mark.parametrize(("norm", "figures"), [("batch", BATCH_NORM), ("instance", INSTANCE_NORM)])
def test_fingerprint(norm: str, figures: tuple[float, tuple[float, float], tuple[float, float], float]) -> None:
    check(GaGNet(norm=norm), *figures)


@pytest.mark.parametrize(("norm", "frame"), [("batch", 40), ("instance", 0)])
def test_look_ahead(norm: str, frame: int) -> None:
    assert first_changed_frame(filled(GaGNet(norm=norm))) == frame


def test_look_ahead_in_samples() -> None:
    """With batch norm a sample depends only on the rest of its frame."""
    model = filled(GaGNet())
    waveform = torch.randn(9600, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = waveform.clone()
    other[8000:] *= -0.5
    whole, changed = (enhance_waveform(model, each, high_pass=False) for each in (waveform, other))
    assert 8000 - int(((whole - changed).abs() > 0).nonzero()[0]) == 159


@pytest.mark.parametrize("squeezed", [False, True])
def test_pieces_with_states_are_the_whole(squeezed: bool) -> None:
    """Pieces of one frame, and pieces shorter and longer than what the layers need of the past."""
    model = filled(GaGNet(squeezed=squeezed))
    assert model.context_frames == model.look_ahead_frames == 0
    x, pieces, states = spectrogram(161, 60), [], None
    with torch.no_grad():
        for piece in x.split([1, 1, 7, 30, 2, 19], dim=2):
            enhanced, states = model.advance(piece, 0, states)
            pieces.append(enhanced)
        torch.testing.assert_close(torch.cat(pieces, 2), model(x), rtol=1e-10, atol=1e-12)


def test_states_are_those_of_every_causal_layer() -> None:
    """Five convolutions of the encoder need one frame. Each dilated one needs twice its dilation."""
    _, states = filled(GaGNet()).advance(spectrogram(161, 3))
    assert sorted(state.shape[2] for state in states.values()) == sorted([1] * 5 + 18 * [2, 4, 10, 18])
    assert all(state.shape[:1] == (1,) for state in states.values())


def test_each_utterance_has_its_own_state() -> None:
    model, x = filled(GaGNet()), spectrogram(161, 6)
    both = torch.cat([x, x.flip(1)])
    with torch.no_grad():
        _, states = model.advance(both[:, :, :3])
        together, _ = model.advance(both[:, :, 3:], 0, states)
    torch.testing.assert_close(together, model(both)[:, :, 3:], rtol=1e-10, atol=1e-12)


def test_instance_norm_needs_the_whole_recording() -> None:
    model = GaGNet(norm="instance")
    with pytest.raises(NotImplementedError, match="GaGNet with instance norm needs the whole recording"):
        model.advance(torch.zeros(1, 161, 3, 2))
    with pytest.raises(ValueError, match="GaGNet needs the whole recording, got 9"):
        enhance_waveform(model, torch.zeros(1000), segment_frames=9)


def test_estimates_of_all_modules_are_for_a_loss() -> None:
    model, x = filled(GaGNet()), spectrogram(161)
    magnitude = x.norm(dim=-1, keepdim=True)
    estimates = model.estimates(x / magnitude.sqrt())
    assert [tuple(each.shape) for each in estimates] == [tuple(x.shape)] * 3
    last = estimates[-1]
    torch.testing.assert_close(last * last.norm(dim=-1, keepdim=True), model(x))


def test_frame_by_frame_is_the_whole() -> None:
    model = filled(GaGNet(squeezed=True))
    x, memory = spectrogram(161, 5), model.start()
    with torch.no_grad():
        for t, want in enumerate(model(x).unbind(2)):
            enhanced, memory = model.next_frame(x[:, :, t], memory)
            torch.testing.assert_close(enhanced, want, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_onnxruntime_runs_the_one_frame_graph(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    torch.manual_seed(0)
    model = GaGNet(squeezed=True).eval()
    export_onnx(model, tmp_path / "gagnet.onnx")
    assert check_onnx(tmp_path / "gagnet.onnx", model, frames=6) < 1e-5


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_silence_is_finite(norm: str) -> None:
    torch.manual_seed(0)
    model = GaGNet(norm=norm, squeezed=True)
    x = torch.zeros(2, 161, 5, 2, requires_grad=True)
    model(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, *model.parameters()))


NAMES = {
    "en.meta_unet_list.0.in_conv.0.conv.1.weight": (128, 2, 2, 5),
    "en.meta_unet_list.0.in_conv.1.norm.running_var": (64,),
    "en.meta_unet_list.3.in_conv.2.weight": (64,),
    "en.meta_unet_list.0.enco.3.conv.0.weight": (64, 64, 1, 3),
    "en.meta_unet_list.0.deco.0.deconv.0.weight": (64, 64, 1, 3),
    "en.meta_unet_list.0.deco.1.deconv.0.weight": (128, 64, 1, 3),
    "en.meta_unet_list.2.deco.1.deconv.1.norm.weight": (64,),
    "en.last_conv.0.conv.1.bias": (128,),
    "gags.0.glance_block.in_conv_main.weight": (256, 578, 1),
    "gags.0.glance_block.in_conv_gate.0.weight": (256, 578, 1),
    "gags.1.glance_block.tcn_g.1.tcns.3.in_conv.weight": (64, 256, 1),
    "gags.1.glance_block.tcn_g.1.tcns.3.d_conv.1.norm.bias": (64,),
    "gags.1.glance_block.tcn_g.1.tcns.3.d_conv.3.weight": (64, 64, 3),
    "gags.1.glance_block.tcn_g.1.tcns.3.out_conv.2.weight": (256, 64, 1),
    "gags.2.glance_block.linear_g.0.weight": (161, 256, 1),
    "gags.2.gaze_block.tcm_r.0.tcns.0.d_conv.0.weight": (64,),
    "gags.2.gaze_block.tcm_i.1.tcns.0.d_conv.0.weight": (64,),
    "gags.2.gaze_block.linear_i.weight": (161, 256, 1),
}


def test_names_are_the_public_ones() -> None:
    with torch.device("meta"):
        found = GaGNet().state_dict()
        squeezed = GaGNet(squeezed=True).state_dict()
    assert {name: tuple(found[name].shape) for name in NAMES} == NAMES
    assert "gags.0.gaze_block.tcm_ri.0.tcns.0.in_conv.weight" in squeezed
    assert not [name for name in found if "tcns.0.in_conv.bias" in name]


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("squeezed", [False, True])
def test_a_file_without_a_name_is_recognized(norm: str, squeezed: bool, tmp_path: Path) -> None:
    model = GaGNet(norm=norm, squeezed=squeezed)
    torch.save(model.state_dict(), tmp_path / "public.pt")
    loaded = load_model(tmp_path / "public.pt")
    assert isinstance(loaded, GaGNet)
    assert loaded.config() == {"norm": norm, "squeezed": squeezed}


def test_a_saved_network_is_loaded(tmp_path: Path) -> None:
    model = GaGNet(squeezed=True).eval()
    save_model(model, tmp_path / "file")
    loaded = load_model(tmp_path / "file").eval()
    assert loaded.config() == model.config()
    x = spectrogram(161, 4).float()
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"no parameters of GaGNet: en\."):
        load_model(tmp_path / "other.pt", GaGNet)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"spectrogram: expected \(B, 161, T, 2\), got \(1, 257, 3, 2\)"):
        GaGNet()(torch.zeros(1, 257, 3, 2))
    with pytest.raises(ValueError, match="norm: expected one of batch, instance, got 'layer'"):
        GaGNet(norm="layer")
