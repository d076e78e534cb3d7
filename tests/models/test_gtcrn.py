"""GTCRN is the published network: its values, its bands, its counts, and the names and shapes of its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lite_rtse_ext.audio.io import AudioFormat, read, write
from lite_rtse_ext.cli import main
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.models import CheckpointError, create_model, load_model
from lite_rtse_ext.models.checkpoint import write_state_dict
from lite_rtse_ext.models.gtcrn import GTCRN
from tests.models.fingerprints import check

Shapes = dict[str, tuple[int, ...]]


def named(prefix: str, **shapes: tuple[int, ...]) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def norm(prefix: str, channels: int) -> Shapes:
    each = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return named(prefix, **each, num_batches_tracked=())


def gru(prefix: str, inputs: int, hidden: int, directions: int = 1) -> Shapes:
    return {
        f"{prefix}.{name}_l0{suffix}": (3 * hidden, *size)
        for suffix in ("", "_reverse")[:directions]
        for name, size in (
            ("weight_ih", (inputs,)),
            ("weight_hh", (hidden,)),
            ("bias_ih", ()),
            ("bias_hh", ()),
        )
    }


def temporal(prefix: str, transposed: bool) -> Shapes:
    return {
        **named(f"{prefix}.point_conv1", weight=(24, 16, 1, 1) if transposed else (16, 24, 1, 1), bias=(16,)),
        **norm(f"{prefix}.point_bn1", 16),
        **named(f"{prefix}.point_act", weight=(1,)),
        **named(f"{prefix}.depth_conv", weight=(16, 1, 3, 3), bias=(16,)),
        **norm(f"{prefix}.depth_bn", 16),
        **named(f"{prefix}.depth_act", weight=(1,)),
        **named(f"{prefix}.point_conv2", weight=(16, 8, 1, 1) if transposed else (8, 16, 1, 1), bias=(8,)),
        **norm(f"{prefix}.point_bn2", 8),
        **gru(f"{prefix}.tra.att_gru", 8, 16),
        **named(f"{prefix}.tra.att_fc", weight=(8, 16), bias=(8,)),
    }


def dual_path(prefix: str) -> Shapes:
    shapes: Shapes = {}
    for part, hidden, directions in (("intra", 4, 2), ("inter", 8, 1)):
        for number in (1, 2):
            shapes |= gru(f"{prefix}.{part}_rnn.rnn{number}", 8, hidden, directions)
        shapes |= named(f"{prefix}.{part}_fc", weight=(16, 16), bias=(16,))
        shapes |= named(f"{prefix}.{part}_ln", weight=(33, 16), bias=(33, 16))
    return shapes


def public_shapes() -> Shapes:
    """The names and shapes in the public checkpoints."""
    shapes = {"erb.erb_fc.weight": (64, 192), "erb.ierb_fc.weight": (192, 64)}
    for prefix, weight, channels in (
        ("encoder.en_convs.0", (16, 9, 1, 5), 16),
        ("encoder.en_convs.1", (16, 8, 1, 5), 16),
        ("decoder.de_convs.3", (16, 8, 1, 5), 16),
        ("decoder.de_convs.4", (16, 2, 1, 5), 2),
    ):
        shapes |= named(f"{prefix}.conv", weight=weight, bias=(channels,)) | norm(f"{prefix}.bn", channels)
        shapes |= {} if channels == 2 else named(f"{prefix}.act", weight=(1,))
    for number in range(3):
        shapes |= temporal(f"encoder.en_convs.{number + 2}", False) | temporal(f"decoder.de_convs.{number}", True)
    return shapes | dual_path("dpgrnn1") | dual_path("dpgrnn2")


def public_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.tensor(7) if name.endswith("tracked") else torch.rand(shape, generator=generator)
        for name, shape in public_shapes().items()
    }


def test_its_values_are_the_published_ones() -> None:
    low, high = (-0.057277810, 0.194650674), (-0.956168598, 0.192538963)
    check(create_model("gtcrn"), 0.409862747, low, high, 0.488911388)


def test_its_bands_share_out_every_bin() -> None:
    bands = GTCRN().erb
    torch.testing.assert_close(bands.erb_fc.weight.sum(0), torch.ones(192))
    assert bands.erb_fc.weight[0, :3].tolist() == [1, 0, 0]
    assert torch.equal(bands.ierb_fc.weight, bands.erb_fc.weight.T)


def test_the_published_count_of_products_is_reproduced() -> None:
    """The published count is for 63 frames, and includes products with the zeros before the recording."""
    with torch.device("meta"):
        model = GTCRN().eval()
    products = []
    for frames in (1, 3):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 257, frames, 2, device="meta"))
        products.append(counter.get_total_flops() / 2)
    assert (products[0] + 31 * (products[1] - products[0])) / 1e6 == pytest.approx(26.60, abs=0.005)


def test_it_has_the_parameters_of_the_public_checkpoints() -> None:
    assert {name: tuple(value.shape) for name, value in GTCRN().state_dict().items()} == public_shapes()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_public_checkpoint_is_recognized(prefix: str, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": value for name, value in public_state().items()}
    torch.save({"epoch": 1, "optimizer": {"state": {}}, "model": state}, tmp_path / "public.tar")
    loaded = load_model(tmp_path / "public.tar")
    assert isinstance(loaded, GTCRN)
    for name, value in public_state().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_public_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    state = public_state() | {"encoder.en_convs.0.conv.weight": torch.zeros(16, 9, 1, 3)}
    write_state_dict(tmp_path / "file", state)
    with pytest.raises(CheckpointError, match=r"of another shape: encoder\.en_convs\.0\.conv\.weight"):
        load_model(tmp_path / "file")


@pytest.mark.parametrize("suffix", [".tar", ".safetensors"])
def test_the_command_takes_a_public_checkpoint(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = GTCRN().eval(), tmp_path / f"public{suffix}"
    if suffix == ".tar":
        torch.save({"model": model.state_dict()}, path)
    else:
        write_state_dict(path, model.state_dict())
    noisy = 0.1 * torch.randn(2000)
    write(tmp_path / "in.wav", noisy.numpy()[:, None], AudioFormat(16_000, 1, "WAV", "FLOAT"))
    files = [str(tmp_path / name) for name in ("in.wav", "out.wav")]
    done = CliRunner().invoke(main, ["enhance", *files, "--checkpoint", str(path)])
    assert done.exit_code == 0, done.output
    assert abs(read(tmp_path / "out.wav")[0][:, 0] - enhance_waveform(model, noisy).numpy()).max() < 1e-5
