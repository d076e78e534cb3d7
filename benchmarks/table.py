"""Table of all performance targets of the CPU kernels: floor, aim, measured values, and which bound each one meets.

``python -m benchmarks.table`` measures all rows on this processor. ``--only WORD ...`` measures the rows that contain
one of these words. The results are saved in ``table/``, in one file for each processor and instruction set, after each
row. The table shows all processors side by side. ``table.md`` is a copy of it.

``LITE_RTSE_ISA=avx2`` measures the kernels of AVX2. Set ``ATEN_CPU_CAPABILITY=avx2`` and ``ONEDNN_MAX_CPU_ISA=AVX2`` as
well, so that PyTorch does not use AVX-512 either. ONNX Runtime has no such setting.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks import memory, model, operators, roofline, scaling, stream, suppressors, threads
from benchmarks.harness import Report, Settings, parse, report
from benchmarks.peers import PEERS
from benchmarks.peers.alignment import LONGEST
from benchmarks.peers.tools import Samples
from benchmarks.table_results import Figure, Measured, Row, render, stored
from benchmarks.variants import PYTORCH
from lite_rtse_ext.benchmark.frames import speech_like
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.signal import FRAMES_PER_SECOND, SAMPLE_RATE_HZ

BLOCK, NETWORK, BOTH, STEP = "multi_order_conv", "LiteRTSE", "forward + backward", "training step"
CONV_BLOCK, BRANCH = "conv_block", "conv_branch"
INFERENCE = ("eager", "compile", "onnxruntime", "openvino")
VARIABLES = ("LITE_RTSE_ISA", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
SECONDS_OF_SOUND = 30


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


def _branch(to: Report, settings: Settings) -> Measured:
    operators.add(to, settings, BRANCH, [BOTH], ["fused", "eager"])
    return fastest(to, BRANCH, BOTH, ["eager"])


def _reconstruction(to: Report, settings: Settings) -> Measured:
    operators.add(to, settings, "mask_residual", [BOTH])
    return fastest(to, "mask_residual", BOTH, ["eager"])


def _cascade(to: Report, settings: Settings) -> Measured:
    """Measure the forward pass of the depthwise stages. The text gives the whole block with 1×1s and gate chain."""
    share, rate = roofline.cascade(settings.rounds)
    block = _share(BLOCK, "forward")(to, settings)
    return Measured(100 * share, f"{rate:.0f} GFLOP/s; the whole block {block.value:.0f} %, {block.detail}")


def _share(case: str, what: str) -> Callable[[Report, Settings], Measured]:
    """Make the measurement of a case's share of the peak in one pass."""

    def measure(to: Report, settings: Settings) -> Measured:
        roofline.add(to, settings, case, what)
        extra = to.find(case, what, "fused").extra
        useful = f", {100 * extra['share useful']:.0f} % without recomputation" if what == "backward" else ""
        return Measured(100 * extra["share executed"], f"{extra['GFLOP/s']:.0f} GFLOP/s{useful}")

    return measure


def _memory(to: Report, settings: Settings) -> Measured:
    memory.add(to, settings, NETWORK, STEP, ["fused"])
    fused, eager = (to.find(NETWORK, STEP, side).extra["MiB"] for side in ("fused", "eager"))
    return Measured(fused / eager, f"{fused:.0f} of {eager:.0f} MiB")


def _threads(case: str, what: str) -> Callable[[Report, Settings], Measured]:
    def measure(to: Report, settings: Settings) -> Measured:
        threads.add(to, settings, case, what, ["fused"])
        one, two = (to.find(case, what, threads.label("fused", count)) for count in threads.COUNTS)
        assert one.ms is not None
        assert two.ms is not None
        return Measured(one.relative.p50, f"{one.ms.p50:.0f} and {two.ms.p50:.0f} ms")

    return measure


def _scaling(case: str, what: str) -> Callable[[Report, Settings], Measured]:
    def measure(to: Report, settings: Settings) -> Measured:
        scaling.add(to, settings, case, what)
        return Measured(scaling.spread(to.records), _costs(to))

    return measure


def _costs(to: Report) -> str:
    costs = [f"{record.variant} {record.relative.p50:.2f}" for record in to.records]
    return f"cost of a second relative to {scaling.WORKLOAD.label}: " + ", ".join(costs)


def _short_step(to: Report, settings: Settings) -> Measured:
    """Compare the training step of the shortest shape, 1 s, with that of the cheapest shape."""
    scaling.add(to, settings, NETWORK, STEP)
    costs = [record.relative.p50 for record in to.records]
    return Measured(100 * (costs[0] / min(costs) - 1), _costs(to))


def _process_time(peer: str) -> Callable[[Report, Settings], Measured]:
    """Make the comparison of the process time of ``lite-rtse enhance`` with that of another suppressor.

    Both run in turns on the same sound. Loading, and resampling to the rate of the other one, are not counted.
    """

    def measure(to: Report, settings: Settings) -> Measured:
        try:
            sides = [suppressors.Suppressor(suppressors.own(pretrained_path())), suppressors.Suppressor(PEERS[peer])]
        except ModuleNotFoundError as error:
            return Measured(math.nan, f"{error.name} is not installed: {PEERS[peer].install}")
        sound = speech_like(round(SECONDS_OF_SOUND * FRAMES_PER_SECOND))
        costs = np.array([_costs_of(sides, sound) for _ in range(settings.warm_up + settings.rounds)])
        own, other = np.median(costs[settings.warm_up :], axis=0) / ((len(sound) + LONGEST) / SAMPLE_RATE_HZ)
        ratios = costs[settings.warm_up :, 0] / costs[settings.warm_up :, 1]
        return Measured(float(np.median(ratios)), f"{1e3 * own:.2f} and {1e3 * other:.2f} ms of process time")

    return measure


def _costs_of(sides: Sequence[suppressors.Suppressor], sound: Samples) -> list[float]:
    for side in sides:
        side(sound)
    return [side.cpu_seconds for side in sides]


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
        return Measured(math.nan, "onnxruntime is not installed: pip install 'lite-rtse-ext[bench]'")
    words = [f"{name} {figure.relative:.2f}×" for name, figure in found.items() if name != stream.ENGINE]
    return Measured(found[stream.ONNX_RUNTIME].relative, "; ".join(words))


ROWS = (
    Row("network, training step, against the fastest of eager, channels_last, compile", "×", 11, 14, _step),
    Row("network, inference, against the fastest of all", "×", 3.3, 4, _inference),
    Row("convolution branch, forward + backward, against eager", "×", 13, 16, _branch),
    Row("Conv-Block, share of FMA peak, forward", "%", 55, 65, _share(CONV_BLOCK, "forward")),
    Row("Conv-Block, share of FMA peak, backward", "%", 55, 65, _share(CONV_BLOCK, "backward")),
    Row("streaming: against ONNX Runtime's one-frame graph", "×", 4, 5, _frame_against_onnxruntime),
    Row("process time of enhance, of RNNoise's", "", 0.45, 0.3, _process_time("RNNoise"), at_least=False),
    Row("process time of enhance, of GTCRN's in ONNX Runtime", "", 0.33, 0.2, _process_time("GTCRN"), at_least=False),
    Row("training step of 1 s: dearer than the cheapest shape", "%", 25, 15, _short_step, at_least=False),
    Row("peak memory of a training step, of eager's", "", 0.076, 0.05, _memory, at_least=False),
    Row(
        "Multi-Order block, forward + backward, against the fastest of eager, channels_last, compile",
        "×",
        8,
        12,
        _block,
    ),
    Row("depthwise cascade, share of FMA peak, forward", "%", 60, 75, _cascade),
    Row("depthwise cascade with all of its block, share of FMA peak, backward", "%", 45, 60, _share(BLOCK, "backward")),
    Row("reconstruction, forward + backward, against eager", "×", 4, 8, _reconstruction),
    Row("two threads against one, Multi-Order block", "×", 1.7, 1.9, _threads(BLOCK, BOTH)),
    Row("two threads against one, training step", "×", 1.7, 1.9, _threads(NETWORK, STEP)),
    Row("streaming: a frame of 16 ms, p50", "ms", 1, 0.5, _frame("p50"), at_least=False),
    Row("streaming: a frame of 16 ms, p99", "ms", 2, 0.8, _frame("p99"), at_least=False),
    Row("1 s to 300 s, B 1 to 32: cost spread, Multi-Order block", "%", 15, 5, _scaling(BLOCK, BOTH), at_least=False),
    Row("1 s to 300 s, B 1 to 32: cost spread, inference", "%", 15, 5, _scaling(NETWORK, "forward"), at_least=False),
)


def measured(row: Row, to: Report, settings: Settings) -> Figure | None:
    """Measure a row. Returns None, after a line with the reason, if it cannot be measured here."""
    own = replace(to, records=[])
    found = row.measure(own, settings)
    if math.isnan(found.value):
        to.miss(f"{row.what}: {found.detail}")
        return None
    print(f"{row.what}: {row.cell(found.value)}; {found.detail}", flush=True)
    return Figure(found.value, found.detail, to.date, to.command, own.records)


def main(arguments: Sequence[str] | None = None, rows: Sequence[Row] = ROWS) -> None:
    """Measure the rows, save after each of them, and print the table of all processors."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--only", nargs="*", default=[""])
    chosen, rest = own.parse_known_args(arguments)
    settings = parse(__doc__ or "", rest, devices=["cpu"])
    answer = report("table", settings)
    set_here = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    answer = replace(answer, command=" ".join([*set_here, answer.command]))
    folder = settings.results / "table"
    results, others = stored(folder, answer)
    for row in rows:
        figure = measured(row, answer, settings) if any(word in row.what for word in chosen.only) else None
        if figure:
            results.figures[row.what] = figure
            results.save(folder)
    text = "\n\n".join([render(rows, [results, *others]), *answer.missing]) + "\n"
    (settings.results / "table.md").write_text(text, encoding="utf-8")
    print("\n" + text)


if __name__ == "__main__":
    main()
