"""Results of :mod:`benchmarks.networks`: their means, and a table of these in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lite_rtse_ext.evaluate.metrics import DIGITS, UNITS
from lite_rtse_ext.evaluate.summary import Mean

__all__ = ["summary", "table"]

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


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means with 95 % confidence intervals: of the noisy recordings, and of each network's gain over them.

    A recording's gain is first averaged over the seeds. The interval is thus about the recordings, not about the
    seeds. Times are averaged over the seeds as well.

    Args:
        results: what :func:`benchmarks.networks.answer` returns, at least one.
    """
    by_network: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_network.setdefault(result["network"], []).append(result)
    noisy = {figure: _mean(results, figure, gain=False) for figure in _FIGURES}
    figures = [figure for figure, mean in noisy.items() if mean]
    return {
        "noisy": {figure: asdict(mean) for figure, mean in noisy.items() if mean},
        "networks": [_network(group, figures) for group in by_network.values()],
    }


def _network(group: Sequence[Mapping[str, Any]], figures: Iterable[str]) -> dict[str, Any]:
    first = group[0]
    gains = {figure: _mean(group, figure, gain=True) for figure in figures}
    seconds = [result["training_seconds"] for result in group if result["training_seconds"] is not None]
    return {
        "network": first["network"],
        "seeds": [result["seed"] for result in group],
        **{name: first[name] for name in ("parameters", "mac_per_second", "latency_ms")},
        "training_seconds": sum(seconds) / len(seconds) if seconds else None,
        "inference": {
            side: sum(result["inference"][side]["p50"] for result in group) / len(group) for side in ("eager", "fused")
        },
        "gain": {figure: asdict(mean) for figure, mean in gains.items() if mean},
    }


def _mean(results: Iterable[Mapping[str, Any]], figure: str, gain: bool) -> Mean | None:
    """The mean of one figure of the noisy recordings, or of the gain. A recording's is averaged over its results."""
    values: dict[str, list[float]] = {}
    for result in results:
        for recording in result["recordings"]:
            noisy, enhanced = recording["noisy"].get(figure), recording["enhanced"].get(figure)
            if noisy is not None and not (gain and enhanced is None):
                values.setdefault(recording["name"], []).append(enhanced - noisy if gain else noisy)
    return Mean.of([sum(each) / len(each) for each in values.values()]) if values else None


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Format :func:`summary` in Markdown: figures of the noisy recordings, and gains of the networks."""
    found = summary(results)
    figures = list(found["noisy"])
    rows = [["", *(UNITS[name] for name in figures), *_COSTS]]
    rows.append(["noisy", *(_cell(found["noisy"], figure, "") for figure in figures), *["–"] * len(_COSTS)])
    for each in found["networks"]:
        rows.append([each["network"], *(_cell(each["gain"], figure, "+") for figure in figures), *_costs(each)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join([*lines, *_incomplete(results)])


def _cell(means: Mapping[str, Mapping[str, Any]], figure: str, sign: str) -> str:
    if figure not in means:
        return ""
    mean, digits = means[figure], DIGITS[figure]
    spread = f" ± {mean['high'] - mean['value']:.{digits}f}" if mean["count"] > 1 else ""
    return f"{mean['value']:{sign}.{digits}f}{spread}"


def _costs(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['parameters']:,}"
    yield f"{found['mac_per_second'] / 1e6:.1f}"
    yield "all" if found["latency_ms"] is None else f"{found['latency_ms']:g}"
    yield "–" if found["training_seconds"] is None else f"{found['training_seconds']:.0f}"
    yield from (f"{found['inference'][side]:.4f}" for side in ("eager", "fused"))
    yield str(len(found["seeds"]))


def _incomplete(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for result in results:
        faulty = [each for each in result["recordings"] if each["errors"]]
        if faulty:
            yield (
                f"\n{result['network']}, seed {result['seed']}: figures of {len(faulty)} recordings are missing: "
                f"{faulty[0]['name']}: {faulty[0]['errors'][0]}"
            )
