"""The minimum gain in Lite-RTSE's weights: what it is, and how it is changed."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.models.checkpoint import CheckpointError, load_model, load_parameters, save_model, write_state_dict
from lite_rtse_ext.models.metadata import read_metadata
from lite_rtse_ext.models.min_gain import change, factor, per_bin, reduced
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.stream import Network, Streamer
from tests.models.networks import GruMask

USUAL, LOWER = (0.1, 0.2, 0.4), (0.02, 0.05)


def small(min_gain: tuple[float, ...] | None) -> LiteRTSE:
    torch.manual_seed(0)
    net = LiteRTSE(channels=4, order=2).eval()
    net.min_gain = min_gain
    return net


def noise() -> torch.Tensor:
    return 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(1))


def level_db(samples: torch.Tensor) -> float:
    return float(10 * samples[8000:].square().mean().log10())


def test_it_rises_over_an_octave() -> None:
    found, frequencies = per_bin(257, (0.05, 0.25)), np.linspace(0, 8000, 257)
    np.testing.assert_allclose(found[frequencies <= 1000], 0.05)
    np.testing.assert_allclose(found[frequencies >= 2000], 0.25)
    assert found[45] == pytest.approx(0.05 + 0.2 * 0.4919, abs=1e-3)  # 1406 Hz, half an octave up
    assert (np.diff(found) >= 0).all()


def test_it_may_differ_above_7_khz() -> None:
    found, usual = per_bin(257, (0.05, 0.2, 0.4)), per_bin(257, (0.05, 0.2))
    frequencies = np.linspace(0, 8000, 257)
    np.testing.assert_allclose(found[frequencies <= 6800], usual[frequencies <= 6800])
    np.testing.assert_allclose(found[frequencies >= 7200], 0.4)
    assert found[224] == pytest.approx(0.3)  # 7 kHz


@pytest.mark.parametrize(("before", "after"), [(USUAL, LOWER), (LOWER, USUAL), (USUAL, (0.0, 0.0))])
def test_a_change_is_one_of_the_gain(before: tuple[float, ...], after: tuple[float, ...]) -> None:
    """With p a gain g becomes p + (1 - p) g, in the direction that the network gives it."""
    plain, changed = small(before), small(before)
    change(changed, after)
    assert changed.min_gain == after
    x = torch.randn(1, 257, 9, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        of_plain, of_changed = (torch.view_as_complex(net(x)) for net in (plain, changed))
    p, q = (torch.from_numpy(per_bin(257, each)).float().unsqueeze(1) for each in (before, after))
    scale = (1 - q) / (1 - p)
    added = (of_changed - scale * of_plain).abs()
    torch.testing.assert_close(added, (q - scale * p).abs() * torch.view_as_complex(x).abs(), rtol=1e-4, atol=1e-5)


def test_noise_is_turned_down_by_more_and_speech_files_say_by_how_much(tmp_path: Path) -> None:
    levels = []
    for extra_db in (0, 6, 20, math.inf):
        net = LiteRTSE.from_pretrained(extra_reduction_db=extra_db)
        assert net.min_gain == pytest.approx([gain * 10 ** (-extra_db / 20) for gain in (0.07, 0.2, 0.4)])
        levels.append(level_db(net.enhance(noise())))
        net.save_checkpoint(tmp_path / "file")
        assert json.loads(read_metadata(tmp_path / "file")["min_gain"]) == list(net.min_gain)
        assert load_model(tmp_path / "file").min_gain == net.min_gain
    gained = -np.diff(levels)
    assert levels[0] - levels[2] <= 20  # the network itself lets some noise through
    assert 4 < gained[0] <= 6.5
    assert (gained > 0.5).all()


@pytest.mark.parametrize("extra_db", [0, 6.0, np.float32(12), math.inf])
def test_the_engine_has_the_same(extra_db: float) -> None:
    expected = LiteRTSE.from_pretrained(extra_reduction_db=extra_db).enhance(noise()).numpy()
    streamer = Streamer.from_pretrained(extra_reduction_db=extra_db)
    got = np.concatenate([streamer.feed(noise().numpy()), streamer.flush()])
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_nothing_changes_without_a_reduction() -> None:
    usual, other = LiteRTSE.from_pretrained(), LiteRTSE.from_pretrained(extra_reduction_db=0)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in usual.state_dict().items())


def test_a_change_has_the_precision_of_the_parameters() -> None:
    """There and back again costs a few roundings of float64."""
    plain = small(USUAL).double()
    net = copy.deepcopy(plain)
    change(net, LOWER)
    assert net.to_mag.weight.dtype == torch.float64
    assert (net.to_mag.weight - plain.to_mag.weight).abs().max() > 1e-3
    change(net, USUAL)
    for name, value in plain.to_mag.named_parameters():
        torch.testing.assert_close(net.to_mag.get_parameter(name), value, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("extra_db", "error", "message"),
    [
        (-1, ValueError, "extra_reduction_db: expected a number of dB from 0 up, got -1"),
        (math.nan, ValueError, "extra_reduction_db: expected a number of dB from 0 up, got nan"),
        ("6", TypeError, "extra_reduction_db: expected a number of dB from 0 up, got '6'"),
        (True, TypeError, "extra_reduction_db: expected a number of dB from 0 up, got True"),
    ],
)
def test_wrong_numbers_are_refused(extra_db: object, error: type[Exception], message: str) -> None:
    for build in (LiteRTSE.from_pretrained, Streamer.from_pretrained):
        with pytest.raises(error) as raised:
            build(extra_reduction_db=extra_db)
        assert str(raised.value) == message


def test_weights_that_do_not_state_theirs_are_refused(tmp_path: Path) -> None:
    small(None).save_checkpoint(tmp_path / "file")
    for build in (LiteRTSE.from_checkpoint, Streamer.from_pretrained):
        build(tmp_path / "file")
        expected = "extra_reduction_db: expected 0 for weights that do not state their min_gain, got 3$"
        with pytest.raises(ValueError, match=expected):
            build(tmp_path / "file", extra_reduction_db=3)
        with pytest.raises(ValueError, match=r"^extra_reduction_db: expected a number of dB"):
            build(tmp_path / "file", extra_reduction_db=-3)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0.1", "[0.1]", "[0.1, 0.2, 0.3, 0.4]", "[0.1, 1]", "[0, -0.1]", "[true, 0]", "[NaN, 0]"),
        *(f"[0, {'9' * 400}]", "[1e-400, 0]", f"[0, -0.{'0' * 400}1]"),
    ],
)
def test_faulty_metadata_are_refused(text: str, tmp_path: Path) -> None:
    net = small(None)
    write_state_dict(tmp_path / "file", net.state_dict(), {"architecture": "lite-rtse", "min_gain": text})
    expected = "min_gain: expected two or three numbers from 0 to below 1, got "
    with pytest.raises(CheckpointError, match=expected):
        LiteRTSE.from_checkpoint(tmp_path / "file")
    with pytest.raises(CheckpointError, match=expected):
        net.load_checkpoint(tmp_path / "file")
    with pytest.raises(ValueError, match=expected):
        Network.from_pretrained(tmp_path / "file")


def test_loading_parameters_brings_their_minimum_gain(tmp_path: Path) -> None:
    small(USUAL).save_checkpoint(tmp_path / "stated")
    small(None).save_checkpoint(tmp_path / "unknown")
    net = small(LOWER)
    net.load_checkpoint(tmp_path / "stated")
    assert net.min_gain == USUAL
    net.load_checkpoint(tmp_path / "unknown")
    assert net.min_gain is None


def test_a_reduction_is_one_of_every_part() -> None:
    assert reduced((0.1, 0.2), 20) == pytest.approx((0.01, 0.02))
    assert reduced((0.1, 0.2, 0.4), math.inf) == (0, 0, 0)
    assert reduced(None, 0) is None
    assert (factor(None, 0), factor(USUAL, 0), factor(USUAL, math.inf)) == (1, 1, 0)
    assert read_metadata(pretrained_path())["min_gain"] == "[0.07, 0.2, 0.4]"


def test_computed_weights_are_refused() -> None:
    """Pruning computes the weight before each call. A change of it would be lost."""
    net = small(USUAL)
    prune.l1_unstructured(net.to_mag, "weight", 0.5)
    bias = net.to_mag.bias.clone()
    with pytest.raises(TypeError, match="to_mag: expected parameters weight and bias, got none named weight"):
        net.reduce_more(6)
    assert net.min_gain == USUAL
    assert torch.equal(net.to_mag.bias, bias)


class OwnMinGain(GruMask):
    """Another network, with an option of the same name."""

    architecture = "own-min-gain"
    min_gain = 0.0

    def __init__(self, hidden: int = 4, min_gain: float = 0.1) -> None:
        super().__init__(hidden)
        self.min_gain = min_gain


def test_other_networks_may_have_an_attribute_of_this_name(tmp_path: Path) -> None:
    save_model(OwnMinGain(min_gain=0.3), tmp_path / "file")
    assert "min_gain" not in read_metadata(tmp_path / "file")
    loaded = load_model(tmp_path / "file", OwnMinGain)
    assert loaded.min_gain == 0.3
    load_parameters(loaded, tmp_path / "file")
    assert loaded.min_gain == 0.3
