"""Results in sum."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from scipy import stats

from lite_rtse_ext.evaluate.metrics import UNITS
from lite_rtse_ext.evaluate.result import Result, write_csv
from lite_rtse_ext.evaluate.summary import Mean, by, summarize, table, write_json


def result(name: str, gain: float, label: str | None = "rain", snr_db: float | None = 0.0) -> Result:
    return Result(name, label, snr_db, 2.0, {"si_snr": 1.0, "stoi": 0.5}, {"si_snr": 1.0 + gain, "stoi": 0.5})


BROKEN = Result("broken", "train", 5.0, 2.0, {"si_snr": 3.0}, {}, errors=("enhanced pesq: no speech, found",))
RESULTS = [result("a", 1.0), result("b", 2.0, snr_db=5.0), result("c", 6.0, "train"), BROKEN]


def test_a_mean_has_students_interval() -> None:
    values = [1.0, 2.0, 6.0]
    mean = Mean.of(values)
    assert mean.value == 3.0
    want = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean.low, mean.high) == pytest.approx((want.low, want.high))
    single = Mean.of([2.0])
    assert single.value == 2.0
    assert math.isnan(single.low)
    assert math.isnan(single.high)


def test_summaries_count_what_has_both_sides() -> None:
    summaries = summarize(RESULTS)
    assert set(summaries) == {"si_snr", "stoi"}  # no recording has a PESQ
    assert summaries["si_snr"].improvement.value == pytest.approx(3.0)
    assert summaries["si_snr"].improvement.count == 3
    assert summaries["si_snr"].noisy.value == 1.0


def test_groups_come_in_order() -> None:
    by_snr = by([*RESULTS, result("unknown", 1.0, None, None)], lambda r: r.snr_db)
    assert list(by_snr) == [0.0, 5.0]
    assert by_snr[0.0]["si_snr"].improvement.value == pytest.approx(3.5)
    by_noise = by(RESULTS, lambda r: r.label)
    assert list(by_noise) == ["rain", "train"]
    assert by_noise["train"]["si_snr"].improvement.count == 1


def test_tables_hold_every_recording(tmp_path: Path) -> None:
    write_csv(RESULTS, tmp_path / "r.csv")
    rows = list(csv.DictReader((tmp_path / "r.csv").open(encoding="utf-8")))
    assert [row["name"] for row in rows] == ["a", "b", "c", "broken"]
    assert rows[0]["enhanced_si_snr"] == "2.0000"
    assert (rows[3]["noisy_si_snr"], rows[3]["enhanced_si_snr"]) == ("3.0000", "")
    assert rows[3]["errors"] == "enhanced pesq: no speech, found"

    write_json(RESULTS, tmp_path / "r.json", {"model": "m"})
    content = json.loads((tmp_path / "r.json").read_text())
    assert (content["model"], content["recordings"], content["recordings_with_errors"]) == ("m", 4, 1)
    assert content["all"]["si_snr"]["improvement"]["mean"] == pytest.approx(3.0)
    assert content["by_noise"]["train"]["si_snr"]["improvement"] == {"mean": 6.0, "low": None, "high": None, "count": 1}
    text = table(RESULTS).splitlines()
    assert [line.split()[0] for line in text[2:7]] == ["all", "0", "5", "rain", "train"]
    assert "+3.00 ±" in text[2]
    assert text[7:] == ["", "4 recordings; not in the means: 1 with errors, where a figure is missing"]


@pytest.mark.parametrize("label", ["all", "0 dB"])
def test_a_kind_of_noise_with_the_title_of_another_line_has_its_own(label: str) -> None:
    lines = table([result("a", 1.0), result("b", 3.0, label)]).splitlines()[2:]
    assert ["+2.00" in line for line in lines] == [True, True, False, False]  # the mean of both, at 0 dB alike
    assert sum(line.startswith(label) and "+3.00" in line for line in lines) == 1


def test_silent_recordings_are_counted_apart() -> None:
    mute = Result(
        "mute", "rain", 0.0, 2.0, {"si_snr": 1.0}, {}, errors=("the enhanced recording is silent",), silent=True
    )
    assert summarize([*RESULTS, mute]) == summarize(RESULTS)
    assert table([mute, RESULTS[0]]).endswith("2 recordings; not in the means: 1 whose enhanced side is silent")


def test_tables_of_opinions_fit_a_terminal() -> None:
    sides = dict.fromkeys(UNITS, 2.0)
    lines = table([Result("a", None, None, 2.0, sides, sides)]).splitlines()
    assert all(name in "".join(lines) for name in UNITS.values())
    assert max(map(len, lines)) < 120
