"""Summaries of results: means with confidence intervals, over all recordings, by SNR and by kind of noise."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lite_rtse_ext.evaluate.metrics import DIGITS, UNITS
from lite_rtse_ext.evaluate.result import Result, figures_of
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["CONFIDENCE", "Mean", "Summary", "by", "summarize", "table", "write_json"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % confidence interval by Student's t distribution.

    Args:
        value: the mean.
        low, high: ends of the interval. NaN if there is only one value.
        count: number of values.
    """

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Compute the mean and interval of at least one value."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(mean, math.nan, math.nan, len(values))
        error = float(stats.sem(values))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
        return cls(mean, mean - half, mean + half, len(values))


@dataclass(frozen=True)
class Summary:
    """Means of one metric over those recordings where both sides have it."""

    noisy: Mean
    enhanced: Mean
    improvement: Mean


def summarize(results: Iterable[Result]) -> dict[str, Summary]:
    """Summarize each metric. Metrics that no recording has on both sides are omitted."""
    results = list(results)
    summaries = {}
    for name in figures_of(results):
        both = [(r.noisy[name], r.enhanced[name]) for r in results if name in r.noisy and name in r.enhanced]
        if both:
            noisy, enhanced = (list(side) for side in zip(*both, strict=True))
            gains = [after - before for before, after in both]
            summaries[name] = Summary(Mean.of(noisy), Mean.of(enhanced), Mean.of(gains))
    return summaries


def by(results: Iterable[Result], key: Callable[[Result], Any]) -> dict[Any, dict[str, Summary]]:
    """Summarize groups of recordings with equal keys, sorted by key. Recordings whose key is None are omitted."""
    groups: dict[Any, list[Result]] = {}
    for result in results:
        if key(result) is not None:
            groups.setdefault(key(result), []).append(result)
    return {each: summarize(groups[each]) for each in sorted(groups)}


def write_json(results: Sequence[Result], path: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Write all summaries as JSON, together with the entries of ``about``."""
    content = {
        **about,
        "recordings": len(results),
        "recordings_with_errors": sum(bool(result.errors) for result in results),
        "recordings_silent": sum(result.silent for result in results),
        "confidence": CONFIDENCE,
        "all": _plain(summarize(results)),
        "by_snr_db": {f"{key:g}": _plain(each) for key, each in by(results, lambda r: r.snr_db).items()},
        "by_noise": {key: _plain(each) for key, each in by(results, lambda r: r.label).items()},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _plain(summaries: dict[str, Summary]) -> dict[str, Any]:
    def numbers(mean: Mean) -> dict[str, Any]:
        ends = {"low": mean.low, "high": mean.high} if mean.count > 1 else {"low": None, "high": None}
        return {"mean": mean.value, **ends, "count": mean.count}

    sides = ("noisy", "enhanced", "improvement")
    return {name: {side: numbers(getattr(each, side)) for side in sides} for name, each in summaries.items()}


def table(results: Sequence[Result]) -> str:
    """Format the summaries as text: one line for all recordings, each SNR and each kind of noise.

    A last line counts the recordings that are missing in the means.
    """
    groups = [("all", summarize(results))]  # a kind of noise may have the name "all", too
    groups += [(f"{key:g} dB", each) for key, each in by(results, lambda r: r.snr_db).items()]
    groups += [(str(key), each) for key, each in by(results, lambda r: r.label).items()]
    width = max(len(title) for title, _ in groups) + 2
    names = figures_of(results)
    blocks = [[name for name in names if name in block] for block in _BLOCKS]
    texts = ["\n".join(_block(groups, block, width)) for block in blocks if block]
    return "\n\n".join([*texts, *_left_out(results)])


_BLOCKS = (("si_snr", "pesq", "stoi"), ("dnsmos_sig", "dnsmos_bak"), ("dnsmos_ovrl", "dnsmos_p808"))
"""Metrics that share a block of the table, so that a line is not wider than a terminal."""


def _block(groups: Sequence[tuple[str, dict[str, Summary]]], names: Sequence[str], width: int) -> Iterator[str]:
    yield " " * width + "".join(f"{UNITS[name]:^34}" for name in names)
    yield " " * width + f"{'noisy':>8}{'enhanced':>10}{'gain':>16}" * len(names)
    for title, summaries in groups:
        yield f"{title:<{width}}" + "".join(_cell(summaries.get(name), DIGITS[name]) for name in names)


def _left_out(results: Sequence[Result]) -> Iterator[str]:
    silent = sum(result.silent for result in results)
    faulty = sum(bool(result.errors) for result in results) - silent
    counts = [f"{silent} whose enhanced side is silent"] * bool(silent)
    counts += [f"{faulty} with errors, where a figure is missing"] * bool(faulty)
    if counts:
        yield f"{len(results)} recordings; not in the means: {', '.join(counts)}"


def _cell(summary: Summary | None, digits: int) -> str:
    if summary is None:
        return f"{'–':>8}{'–':>10}{'–':>16}"
    gain = summary.improvement
    spread = f" ± {(gain.high - gain.low) / 2:.{digits}f}" if gain.count > 1 else ""
    text = f"{gain.value:+.{digits}f}{spread}"
    return f"{summary.noisy.value:>8.{digits}f}{summary.enhanced.value:>10.{digits}f}{text:>16}"
