"""The counts that ``python -m lite_rtse_ext.models.complexity`` prints, against sums done by hand."""

from __future__ import annotations

import pytest

from lite_rtse_ext.models import complexity

BINS = 257
LSTM = 2 * 4 * BINS * BINS


def test_depthwise_variant_by_hand() -> None:
    found = complexity.count(depthwise=True)
    conv_blocks = sum(cin * 32 + 32 * 9 + 32 * 32 + cin * 32 for cin in (1, 32))
    depthwise = 49 * (124 + 120 + 112 + 96)
    pointwise = 32 * 128 + sum(2 * gate * gate for gate in (4, 8, 16, 32)) + 64
    assert found.mac_per_frame == {
        "mask": LSTM + BINS**2,
        "Conv-Blocks": BINS * conv_blocks,
        "Multi-Order block": BINS * (depthwise + pointwise),
        "fusion": 3 * BINS**2 + LSTM,
        "residual heads": 3 * BINS**2,
    }


def test_full_variant_has_full_convolutions() -> None:
    depthwise, full = complexity.count(depthwise=True), complexity.count(depthwise=False)
    more = 2 * 9 * (32 * 32 - 32)
    assert full.total_mac_per_frame - depthwise.total_mac_per_frame == BINS * more
    assert full.total_parameters - depthwise.total_parameters == more


@pytest.mark.parametrize(("depthwise", "parameters"), [(True, 1_559_245), (False, 1_577_101)])
def test_parameters(depthwise: bool, parameters: int) -> None:
    assert complexity.count(depthwise).total_parameters == parameters


@pytest.mark.parametrize("biases", [True, False])
def test_count_per_frame_does_not_depend_on_frames(biases: bool) -> None:
    assert complexity.count(frames=1, biases=biases) == complexity.count(frames=5, biases=biases)


def test_biases_are_one_mac_each() -> None:
    exact, counted = complexity.count(), complexity.count(biases=True)
    added = {stage: counted.mac_per_frame[stage] - exact.mac_per_frame[stage] for stage in complexity.STAGES}
    multi_order = 128 + (124 + 120 + 112 + 96) + 2 * (4 + 8 + 16 + 32) + 1
    assert added == {
        "mask": 2 * 4 * BINS + BINS,
        "Conv-Blocks": BINS * 2 * 4 * 32,
        "Multi-Order block": BINS * multi_order,
        "fusion": BINS + 2 * 4 * BINS,
        "residual heads": 3 * BINS,
    }


@pytest.mark.parametrize("depthwise", [True, False])
def test_published_figures_are_reproduced(depthwise: bool) -> None:
    counted = complexity.count(depthwise, biases=True).total_mac_per_frame * complexity.PUBLISHED_FRAMES
    assert round(counted / 1e9, 2) == complexity.PUBLISHED[depthwise] / 1e9
    exact = complexity.count(depthwise).total_mac_per_frame * complexity.FRAMES_PER_SECOND
    assert exact == pytest.approx(complexity.PUBLISHED[depthwise], rel=0.04)


def test_table_prints(capsys: pytest.CaptureFixture[str]) -> None:
    complexity.main()
    printed = capsys.readouterr().out
    for figure in ("1,559,245", "1,577,101", "published: 0.66 G", "published: 0.95 G", "0.6582 G", "0.9473 G"):
        assert figure in printed
