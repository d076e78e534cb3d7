"""Table of all performance targets of the CPU kernels: floor, aim, measured value, and whether the target is met.

``python -m benchmarks.table`` measures all rows in one run. ``--only WORD`` measures the rows that contain a word.
Writes ``table.json``, ``table.md`` and ``figures.json``.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps

from benchmarks import memory, model, operators, roofline, scaling, show, stream, threads
from benchmarks.harness import Report, Settings, parse, report
from benchmarks.variants import PYTORCH

BLOCK, NETWORK, BOTH, STEP = "multi_order_conv", "LiteRTSE", "forward + backward", "training step"
INFERENCE = ("eager", "compile", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Measured:
    """A measured value, and a text about its origin."""

    value: float
    detail: str


@dataclass(frozen=True)
class Row:
    """A target with its floor and aim. ``at_least`` says whether larger values are better."""

    what: str
    unit: str
    floor: float
    aim: float
    measure: Callable[[Report, Settings], Measured]
    at_least: bool = True

    def met(self, value: float) -> str:
        """Return the best bound that the value meets, "aim" or "floor", or else "no"."""
        reached = [name for name, bound in (("aim", self.aim), ("floor", self.floor)) if self._reaches(value, bound)]
        return reached[0] if reached else "no"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def fastest(to: Report, case: str, what: str, among: Sequence[str]) -> Measured:
    """Return the time of the fastest baseline divided by that of fused. The text names missing baselines."""
    found = [record for record in to.records if (record.case, record.what) == (case, what)]
    present = {record.variant: record for record in found if record.variant in among}
    best = min(present.values(), key=lambda record: record.relative.p50)
    words = [f"{name} {record.relative.p50:.2f}×" for name, record in present.items()]
    words += [f"{record.variant} {record.relative.p50:.2f}×" for record in found if _beside(record.variant, among)]
    words += [f"without {name}: not installed" for name in among if name not in present]
    return Measured(best.relative.p50, "; ".join(words))


def _beside(variant: str, among: Sequence[str]) -> bool:
    return variant != "fused" and variant not in among


def _block(to: Report, settings: Settings) -> Measured:
    operators.add(to, settings, BLOCK, [BOTH])
    return fastest(to, BLOCK, BOTH, PYTORCH)


def _step(to: Report, settings: Settings) -> Measured:
    model.add_training(to, settings, [STEP])
    return fastest(to, NETWORK, STEP, PYTORCH)


def _inference(to: Report, settings: Settings) -> Measured:
    model.add_inference(to, settings)
    return fastest(to, NETWORK, "forward", INFERENCE)


def _reconstruction(to: Report, settings: Settings) -> Measured:
    operators.add(to, settings, "mask_residual", [BOTH])
    return fastest(to, "mask_residual", BOTH, ["eager"])


def _cascade(to: Report, settings: Settings) -> Measured:
    """Measure the forward pass of the depthwise stages. The text gives the whole block with 1×1s and gate chain."""
    share, rate = roofline.cascade(settings.rounds)
    block = _share("forward")(to, settings)
    return Measured(100 * share, f"{rate:.0f} GFLOP/s; the whole block {block.value:.0f} %, {block.detail}")


def _share(what: str) -> Callable[[Report, Settings], Measured]:
    """Make the measurement of the whole block's share of the peak in one pass."""

    def measure(to: Report, settings: Settings) -> Measured:
        own = replace(to, records=[])
        roofline.add(own, settings, BLOCK, what)
        to.records.extend(own.records)
        extra = own.find(BLOCK, what, "fused").extra
        useful = f", {100 * extra['share useful']:.0f} % without recomputation" if what == "backward" else ""
        return Measured(100 * extra["share executed"], f"{extra['GFLOP/s']:.0f} GFLOP/s{useful}")

    return measure


def _memory(to: Report, settings: Settings) -> Measured:
    own = replace(to, records=[])
    memory.add(own, settings, NETWORK, STEP, ["fused"])
    to.records.extend(own.records)
    fused, eager = (own.find(NETWORK, STEP, side).extra["MiB"] for side in ("fused", "eager"))
    return Measured(fused / eager, f"{fused:.0f} of {eager:.0f} MiB")


def _threads(case: str, what: str) -> Callable[[Report, Settings], Measured]:
    def measure(to: Report, settings: Settings) -> Measured:
        own = replace(to, records=[])
        threads.add(own, settings, case, what, ["fused"])
        to.records.extend(own.records)
        one, two = (own.find(case, what, threads.label("fused", count)) for count in threads.COUNTS)
        assert one.ms is not None
        assert two.ms is not None
        return Measured(one.relative.p50, f"{one.ms.p50:.0f} and {two.ms.p50:.0f} ms")

    return measure


def _scaling(case: str, what: str) -> Callable[[Report, Settings], Measured]:
    def measure(to: Report, settings: Settings) -> Measured:
        own = replace(to, records=[])
        scaling.add(own, settings, case, what)
        to.records.extend(own.records)
        costs = [f"{record.variant} {record.relative.p50:.2f}" for record in own.records]
        caption = f"cost of a second relative to {scaling.WORKLOAD.label}: "
        return Measured(scaling.spread(own.records), caption + ", ".join(costs))

    return measure


@functools.cache
def _stream_figures(rounds: int) -> dict[str, stream.Figure]:
    """Measure streaming once for all rows about it."""
    return stream.figures(rounds=rounds)


def _frame(quantile: str) -> Callable[[Report, Settings], Measured]:
    def measure(to: Report, settings: Settings) -> Measured:
        found = _stream_figures(settings.rounds)
        engine = found[stream.ENGINE].times
        words = [f"{name} {getattr(figure.times, quantile):.3f}" for name, figure in found.items()]
        return Measured(getattr(engine, quantile), f"of {engine.frames} frames: " + "; ".join(words))

    return measure


def _frame_against_onnxruntime(to: Report, settings: Settings) -> Measured:
    found = _stream_figures(settings.rounds)
    if stream.ONNX_RUNTIME not in found:
        return Measured(float("nan"), "ONNX Runtime is not installed")
    words = [f"{name} {figure.relative:.2f}×" for name, figure in found.items() if name != stream.ENGINE]
    return Measured(found[stream.ONNX_RUNTIME].relative, "; ".join(words))


ROWS = (
    Row(
        "Multi-Order block, forward + backward, against the fastest of eager, channels_last, compile",
        "×",
        8,
        12,
        _block,
    ),
    Row("network, training step, against the fastest of eager, channels_last, compile", "×", 5, 8, _step),
    Row("network, inference, against the fastest of all", "×", 1.5, 2, _inference),
    Row("depthwise cascade, share of FMA peak, forward", "%", 60, 75, _cascade),
    Row("depthwise cascade with all of its block, share of FMA peak, backward", "%", 45, 60, _share("backward")),
    Row("reconstruction, forward + backward, against eager", "×", 4, 8, _reconstruction),
    Row("peak memory of a training step, of eager's", "", 1 / 4, 1 / 8, _memory, at_least=False),
    Row("two threads against one, Multi-Order block", "×", 1.7, 1.9, _threads(BLOCK, BOTH)),
    Row("two threads against one, training step", "×", 1.7, 1.9, _threads(NETWORK, STEP)),
    Row("streaming: a frame of 16 ms, p50", "ms", 1, 0.5, _frame("p50"), at_least=False),
    Row("streaming: a frame of 16 ms, p99", "ms", 2, 0.8, _frame("p99"), at_least=False),
    Row("streaming: against ONNX Runtime's one-frame graph", "×", 2, 4, _frame_against_onnxruntime),
    Row("1 s to 300 s, B 1 to 32: cost spread, Multi-Order block", "%", 15, 5, _scaling(BLOCK, BOTH), at_least=False),
    Row("1 s to 300 s, B 1 to 32: cost spread, inference", "%", 15, 5, _scaling(NETWORK, "forward"), at_least=False),
    Row("1 s to 300 s, B 1 to 32: cost spread, training step", "%", 15, 5, _scaling(NETWORK, STEP), at_least=False),
)


def render(results: Sequence[tuple[Row, Measured]]) -> str:
    """Format the table in Markdown."""
    lines = ["| what | floor | aim | measured | met | from |", "|---|---|---|---|---|---|"]
    for row, measured in results:
        bounds = " | ".join(
            f"{'≥' if row.at_least else '≤'} {bound:g} {row.unit}".rstrip() for bound in (row.floor, row.aim)
        )
        value = f"{measured.value:.3g} {row.unit}".rstrip()
        lines.append(f"| {row.what} | {bounds} | {value} | {row.met(measured.value)} | {measured.detail} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, rows: Sequence[Row] = ROWS) -> None:
    """Measure all rows, print each row as soon as it is measured, and save."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--only", default="")
    chosen, rest = own.parse_known_args(arguments)
    settings = parse(__doc__ or "", rest, devices=["cpu"])
    answer = report("table", settings)
    results: list[tuple[Row, Measured]] = []
    for row in rows:
        if chosen.only in row.what:
            results.append((row, row.measure(answer, settings)))
            print(render(results[-1:]).splitlines()[-1], flush=True)
    text = "\n\n".join([show.header(answer), render(results), *answer.missing]) + "\n"
    answer.save(settings.results)
    (settings.results / "table.md").write_text(text, encoding="utf-8")
    figures = [{key: value for key, value in asdict(row).items() if key != "measure"} for row, _ in results]
    for entry, (row, measured) in zip(figures, results, strict=True):
        entry |= asdict(measured) | {"met": row.met(measured.value)}
    (settings.results / "figures.json").write_text(dumps(figures, indent=1) + "\n", encoding="utf-8")
    print("\n" + text)


if __name__ == "__main__":
    main()
