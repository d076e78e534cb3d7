"""Every option of every option class refuses what it can't be, by name."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import pytest
from pydantic import ValidationError

from lite_rtse_ext.data.mixing import MixingOptions
from lite_rtse_ext.train.loss import LossOptions
from lite_rtse_ext.train.recipe import DataRecipe, ModelRecipe, OptimizerRecipe, Recipe, RunRecipe
from lite_rtse_ext.utils.options import explain

CLASSES: tuple[type[Any], ...] = (
    MixingOptions, LossOptions, ModelRecipe, DataRecipe, OptimizerRecipe, RunRecipe, Recipe
)  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")
NUMBERS = (NAN, INFINITE, -INFINITE, 1e300, -1e300, "text", "1", True, None, [1.0], {}, 1j)
NO_NUMBERS = (3, None, b"text", ["text"], {}, True)


def wrong_values(default: Any) -> tuple[Any, ...]:
    """What an option with this default can't be."""
    if isinstance(default, bool):
        return 1, 0.0, "yes", "true", None, [True], {}
    if isinstance(default, int):
        return *NUMBERS, -1, 1.5, 10**30
    if isinstance(default, float):
        return NUMBERS
    if isinstance(default, str):
        return NO_NUMBERS
    if isinstance(default, tuple):
        low, high = default
        return (
            3.0,
            None,
            "ab",
            {"a": 1},
            [],
            *([low, wrong] for wrong in NUMBERS),
            *([wrong, high] for wrong in NUMBERS),
        )
    if isinstance(default, dict):
        return 3, None, [1], "text", {3: 1.0}
    if default is None:
        return 3, True, ["text"], b"text", {}
    return 3, None, [1], "text", {"nothing": 1}, {3: 1}


def default_of(option: Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not MISSING else option.default


@pytest.mark.parametrize(
    ("kind", "option"),
    [pytest.param(kind, each, id=f"{kind.__name__}.{each.name}") for kind in CLASSES for each in fields(kind)],
)
def test_every_option_refuses_what_it_can_not_be(kind: type[Any], option: Field[Any]) -> None:
    optional = "None" in str(option.type)
    for value in wrong_values(default_of(option)):
        if optional and value is None:
            continue
        with pytest.raises(ValueError, match=option.name) as refused:
            kind(**{option.name: value})
        assert isinstance(refused.value, ValidationError)
        assert all(line.startswith(option.name) for line in explain(refused.value).split("; "))


@pytest.mark.parametrize("kind", CLASSES)
def test_defaults_pass_and_unknown_options_do_not(kind: type[Any]) -> None:
    assert kind() == kind(**{option.name: default_of(option) for option in fields(kind)})
    with pytest.raises(ValidationError) as refused:
        kind(nothing=3)
    assert explain(refused.value) == "nothing: there is no such option"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": [0, 1]}, "speed.0: expected greater than or equal to 0.1, got 0"),
        ({"noise_speed": [0, 1]}, "noise_speed.0: expected greater than or equal to 0.1, got 0"),
        ({"speed": [1.2, 0.8]}, "speed: expected a range from low to high, got [1.2, 0.8]"),
        (
            {"babble_voices": [0, 0]},
            "babble_voices.0: expected greater than or equal to 1, got 0; "
            "babble_voices.1: expected greater than or equal to 1, got 0",
        ),
        ({"babble_voices": [10, 4]}, "babble_voices: expected a range from low to high, got [10, 4]"),
        ({"band_limit_hz": [0, 100]}, "band_limit_hz.0: expected greater than or equal to 1, got 0"),
        ({"noises": []}, "noises: expected at least one above 0, got []"),
        ({"noises": [0, 0]}, "noises: expected at least one above 0, got [0.0, 0.0]"),
        ({"noises": [1, -1]}, "noises.1: expected greater than or equal to 0, got -1"),
        ({"noise_weights": {"rain": -1}}, "noise_weights.rain: expected greater than or equal to 0, got -1"),
        ({"noise_weights": {"rain": NAN}}, "noise_weights.rain: expected a finite number, got nan"),
        ({"noise_equalizer_db": -1}, "noise_equalizer_db: expected greater than or equal to 0, got -1"),
        ({"seconds": 0}, "seconds: expected greater than or equal to 0.1, got 0"),
        ({"no_noise": 0.6, "no_speech": 0.6}, "all: no_noise + no_speech: expected at most 1 together, got 1.2"),
        (
            {"babble": 0.5, "synthetic": 0.3, "granular_prob": 0.3},
            "all: babble + synthetic + granular_prob: expected at most 1 together, got 1.1",
        ),
    ],
)
def test_mixing_options_are_possible(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MixingOptions(**options)
    assert explain(refused.value, "all") == message


def test_chances_may_add_up_to_one_whatever_the_rounding() -> None:
    assert MixingOptions(babble=0.7, synthetic=0.2, granular_prob=0.1).granular_prob == 0.1
    assert MixingOptions(no_noise=0.9, no_speech=0.1).no_speech == 0.1


@pytest.mark.parametrize("name", ["complex", "magnitude", "si_snr", "over_suppression_weight"])
def test_no_part_of_the_loss_is_rewarded(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        LossOptions(**{name: -1.0})


def test_a_loss_has_a_part() -> None:
    with pytest.raises(ValidationError, match="complex, magnitude, si_snr: expected at least one above 0"):
        LossOptions(complex=0, magnitude=0, si_snr=0)
