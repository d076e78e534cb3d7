"""A waveform in segments is the waveform in one piece: the states and the context that pass between them are
exact."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lite_rtse_ext import reference
from lite_rtse_ext.audio import istft, remove_offset, stft
from lite_rtse_ext.enhance import enhance_waveform
from lite_rtse_ext.models import create_model
from tests.compare import assert_same


@pytest.fixture(scope="module")
def model() -> reference.LiteRTSE:
    torch.manual_seed(0)
    return reference.LiteRTSE(channels=8, order=3).double()  # float64 shows a missing frame that rounding would hide


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def whole(model: reference.LiteRTSE, waveform: Tensor, high_pass: bool = True) -> Tensor:
    waveform = remove_offset(waveform) if high_pass else waveform
    with torch.no_grad():
        return istft(model(stft(waveform[None]))[0], len(waveform))


@pytest.mark.parametrize("high_pass", [True, False])
@pytest.mark.parametrize("segment_frames", [1, 5, 16, 40, 1024])
@pytest.mark.parametrize("samples", [1, 256, 257, 10_000])
def test_any_segments_give_the_whole(
    model: reference.LiteRTSE, samples: int, segment_frames: int, high_pass: bool
) -> None:
    waveform = torch.rand(samples, dtype=torch.float64) * 0.2 - 0.1
    got = enhance_waveform(model, waveform, segment_frames=segment_frames, high_pass=high_pass)
    want = whole(model, waveform, high_pass)
    assert got.shape == waveform.shape
    assert (got - want).norm() <= 1e-12 * want.norm()


@pytest.mark.parametrize("segment_frames", [None, 20])
def test_the_mode_of_the_network_changes_nothing(segment_frames: int | None) -> None:
    """In training mode, batch norms would use the statistics of the waveform, and change their own."""
    torch.manual_seed(0)
    net = create_model("gtcrn")
    net.erb.eval()
    modes, state = [module.training for module in net.modules()], copy.deepcopy(net.state_dict())
    waveform = torch.rand(10_000) * 0.2 - 0.1
    got = enhance_waveform(net, waveform, segment_frames=segment_frames)
    with pytest.raises(FloatingPointError):
        enhance_waveform(net, 1e30 * waveform, segment_frames=segment_frames)
    assert [module.training for module in net.modules()] == modes
    for name, value in net.state_dict().items():
        assert_same(value, state[name], name)
    assert torch.equal(got, enhance_waveform(net.eval(), waveform, segment_frames=segment_frames))


def test_one_frame_less_of_context_shows(model: reference.LiteRTSE, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above is sharp enough to see the oldest frame that the convolutions still use."""
    waveform = torch.rand(10_000, dtype=torch.float64) * 0.2 - 0.1
    less = model.context_frames - 1
    monkeypatch.setattr(reference.LiteRTSE, "context_frames", less)
    got, want = enhance_waveform(model, waveform, segment_frames=32), whole(model, waveform)
    assert (got - want).norm() > 1e-12 * want.norm()


def test_context_is_that_of_the_convolutions() -> None:
    assert reference.LiteRTSE().context_frames == 2 + 2 + 4 * 6
    assert reference.LiteRTSE(channels=8, order=3).context_frames == 2 + 2 + 2 * 6
    assert reference.LiteRTSE(depthwise=False).context_frames == 2 + 2 + 4 * 6


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-6), (torch.bfloat16, 0.1)])
def test_the_model_may_have_another_dtype(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    single = reference.LiteRTSE(channels=8, order=3)
    other = reference.LiteRTSE(channels=8, order=3).to(dtype)
    other.load_state_dict(single.state_dict())
    waveform = torch.rand(3000) * 0.2 - 0.1
    got, want = (enhance_waveform(net, waveform, segment_frames=5) for net in (other, single))
    assert got.dtype == waveform.dtype
    assert (got - want).norm() <= tolerance * want.norm()


def test_progress_adds_up_to_the_length(model: reference.LiteRTSE) -> None:
    steps: list[int] = []
    enhance_waveform(model, torch.zeros(10_000), segment_frames=24, progress=steps.append)
    assert len(steps) == 1 + 3  # 24 of 41 frames, then 8 at a time behind the context of 16
    assert sum(steps) == 10_000


def test_no_samples_give_no_samples(model: reference.LiteRTSE) -> None:
    assert enhance_waveform(model, torch.zeros(0), segment_frames=5).shape == (0,)


def test_no_gradient_is_recorded(model: reference.LiteRTSE) -> None:
    assert not enhance_waveform(model, torch.rand(1000), segment_frames=5).requires_grad


def test_utterances_are_enhanced_each_by_itself(model: reference.LiteRTSE) -> None:
    waveform = torch.rand(2, 3, 5000, dtype=torch.float64) * 0.2 - 0.1
    for segment_frames in (None, 5):
        got = enhance_waveform(model, waveform, segment_frames=segment_frames)
        want = torch.stack([whole(model, each) for each in waveform.flatten(0, 1)]).view_as(waveform)
        assert (got - want).norm() <= 1e-12 * want.norm()


def test_wrong_arguments_are_named(model: reference.LiteRTSE) -> None:
    with pytest.raises(ValueError, match="segment_frames: expected at least 1, got 0"):
        enhance_waveform(model, torch.zeros(100), segment_frames=0)
    with pytest.raises(TypeError, match="model: expected a SpectrogramModel, got Linear"):
        enhance_waveform(torch.nn.Linear(1, 1), torch.zeros(100))  # type: ignore[arg-type]


@pytest.mark.parametrize("segment_frames", [None, 7])
def test_a_network_gets_its_own_signal(segment_frames: int | None) -> None:
    other = reference.LiteRTSE(bins=65, channels=8, order=3).double()
    waveform = torch.rand(3000, dtype=torch.float64) * 0.2 - 0.1
    with torch.no_grad():
        want = istft(other(stft(waveform[None], other.signal))[0], 3000, other.signal)
    got = enhance_waveform(other, waveform, segment_frames=segment_frames, high_pass=False)
    assert (got - want).norm() <= 1e-12 * want.norm()


def test_a_result_that_is_not_finite_ends_the_work(model: reference.LiteRTSE) -> None:
    waveform, steps = torch.zeros(10_000, dtype=torch.float64), []
    waveform[5000] = 1e300
    with pytest.raises(FloatingPointError, match="the network's result is not finite"):
        enhance_waveform(model, waveform, segment_frames=7, progress=steps.append)
    assert sum(steps) <= 5000


@pytest.mark.parametrize("segment_frames", [None, 16])
@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"wet": 0.5}, 0.5),
        ({"wet": 0}, 0.0),
        ({"attenuation_limit_db": 20}, 0.9),
        ({"attenuation_limit_db": 0}, 0.0),
        ({"attenuation_limit_db": math.inf}, 1.0),
    ],
)
def test_the_noisy_signal_is_mixed_in(
    model: reference.LiteRTSE, segment_frames: int | None, options: dict[str, float], share: float
) -> None:
    noisy = 0.1 * torch.randn(2, 5000, dtype=torch.float64) + 0.25  # the offset stays in the noisy part
    enhanced = enhance_waveform(model, noisy, segment_frames=segment_frames)
    mixed = enhance_waveform(model, noisy, segment_frames=segment_frames, **options)
    torch.testing.assert_close(mixed, share * enhanced + (1 - share) * noisy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wet": 1.5}, "wet: expected a share from 0 to 1, got 1.5"),
        ({"attenuation_limit_db": -1.0}, "attenuation_limit_db: expected None or a number of dB from 0 up, got -1.0"),
    ],
)
def test_impossible_mixtures_are_refused(model: reference.LiteRTSE, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        enhance_waveform(model, torch.zeros(100), **options)
