"""Results of :mod:`benchmarks.networks` as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lite_rtse_ext.evaluate.metrics import DIGITS, UNITS
from lite_rtse_ext.evaluate.summary import Mean

__all__ = ["table"]

_FIGURES = ("si_snr", "pesq", "stoi", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")
_COSTS = (
    "parameters",
    "MMAC/s",
    "latency in ms",
    "training in s",
    "inference in s per s, eager",
    "fused",
    "seeds",
)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Format the means of all recordings with 95 % confidence intervals, and the costs.

    A recording's figure is first averaged over the seeds. The interval is thus about the recordings, not about the
    seeds. Times are averaged over the seeds as well.

    Args:
        results: what :func:`benchmarks.networks.answer` returns, at least one.
    """
    figures = [name for name in _FIGURES if _means(results, "enhanced", name)]
    by_network: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_network.setdefault(result["network"], []).append(result)
    rows = [["network", *(UNITS[name] for name in figures), *_COSTS]]
    rows.append(_noisy(results, figures))
    for name, group in by_network.items():
        rows.append([name, *(_cell(_means(group, "enhanced", figure), figure) for figure in figures), *_costs(group)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join([*lines, *_incomplete(results)])


def _noisy(results: Sequence[Mapping[str, Any]], figures: Iterable[str]) -> list[str]:
    return ["noisy", *(_cell(_means(results, "noisy", name), name) for name in figures), *["–"] * len(_COSTS)]


def _means(results: Iterable[Mapping[str, Any]], side: str, figure: str) -> list[float]:
    """One figure of every recording, averaged over the results that have it."""
    values: dict[str, list[float]] = {}
    for result in results:
        for recording in result["recordings"]:
            if figure in recording[side]:
                values.setdefault(recording["name"], []).append(recording[side][figure])
    return [sum(each) / len(each) for each in values.values()]


def _cell(values: Sequence[float], figure: str) -> str:
    if not values:
        return ""
    mean, digits = Mean.of(values), DIGITS[figure]
    spread = f" ± {mean.high - mean.value:.{digits}f}" if mean.count > 1 else ""
    return f"{mean.value:.{digits}f}{spread}"


def _costs(group: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = group[0]
    yield f"{first['parameters']:,}"
    yield f"{first['mac_per_second'] / 1e6:.1f}"
    yield "all" if first["latency_ms"] is None else f"{first['latency_ms']:g}"
    seconds = [result["training_seconds"] for result in group if result["training_seconds"] is not None]
    yield f"{sum(seconds) / len(seconds):.0f}" if seconds else "–"
    for side in ("eager", "fused"):
        times = [result["inference"][side]["p50"] for result in group]
        yield f"{sum(times) / len(times):.4f}"
    yield str(len(group))


def _incomplete(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for result in results:
        faulty = [each for each in result["recordings"] if each["errors"]]
        if faulty:
            yield (
                f"\n{result['network']}, seed {result['seed']}: figures of {len(faulty)} recordings are missing: "
                f"{faulty[0]['name']}: {faulty[0]['errors'][0]}"
            )
