"""What the questions count and report: operations, memory, threads, lengths, and the files that hold it."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops, harness, memory, roofline, scaling, show, threads
from benchmarks.harness import Report, Settings, parse
from lite_rtse_ext import ops
from lite_rtse_ext.benchmark import operators as bench
from lite_rtse_ext.benchmark.operators import WrongResult, candidate, case
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles, Rounds

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("name", roofline.CASES)
def test_operations_are_those_that_torch_counts(name: str) -> None:
    this = case(name, batch=2, frames=3)
    with FlopCounterMode(display=False) as counter:
        candidate("eager", this.reference, this, "forward").run()
    assert flops.work(this, "forward").operations == counter.get_total_flops()


# torch counts the weight gradient of a depthwise convolution as if it were a full one, so it is no witness here.
@pytest.mark.parametrize("name", roofline.CASES)
def test_backward_is_two_passes_and_what_is_computed_anew(name: str) -> None:
    this = case(name, batch=2, frames=3)
    forward, backward = flops.work(this, "forward"), flops.work(this, "backward")
    unneeded = 2 * (32 + 32) * 2 * 3 * 257 if name == "conv_blocks" else 0  # in and skip of 1 → 32 need no dx
    assert backward.operations == 2 * forward.operations - unneeded
    assert backward.recomputed == (0 if name == "causal_dwconv2d" else forward.operations)
    assert forward.recomputed == 0


def test_the_derived_counts() -> None:
    counts = {name: flops.macs_per_point(case(name, 1, 1).reference) for name in roofline.CASES}
    assert counts["multi_order_conv"] == 4096 + 22148 + 2720 + 64
    assert counts["conv_block"] == 3360
    assert counts["conv_blocks"] == 3360 + 1376
    assert counts["causal_dwconv2d"] == 3136


def test_compulsory_bytes() -> None:
    this = case("causal_dwconv2d", batch=2, frames=3)
    plane, weights = 4 * 2 * 64 * 3 * 257, 4 * 64 * 50
    assert flops.work(this, "forward").bytes == 2 * plane + weights
    assert flops.work(this, "backward").bytes == 3 * plane + 2 * weights
    gain = case("mask_residual", batch=2, frames=3)
    assert flops.reconstruction_bytes(gain, "forward") == 4 * 8 * 2 * 3 * 257
    assert flops.reconstruction_bytes(gain, "backward") == 4 * 14 * 2 * 3 * 257
    with pytest.raises(ValueError, match="'mask_residual'"):
        flops.work(gain, "forward")


def test_shares_are_taken_pair_by_pair() -> None:
    amount = flops.Work(operations=60.0, recomputed=30.0, bytes=9.0)
    figures = roofline.figures(amount, True, seconds=[1.0, 2.0, 4.0], peaks=[180.0, 90.0, 45.0])
    assert figures["share executed"] == pytest.approx(0.5)
    assert figures["share useful"] == pytest.approx(1 / 3)
    assert figures["FLOP/byte"] == pytest.approx(10.0)
    assert roofline.figures(amount, False, [1.0], [120.0])["share executed"] == pytest.approx(0.5)


@pytest.mark.parametrize("plot", [show.bars, show.roofline])
def test_a_report_survives_its_file_and_is_drawn(answer: Report, settings: Settings, plot: object) -> None:
    roofline.add(answer, settings, "conv_block", "backward")
    assert Report.load(answer.save(settings.results)) == answer
    text = show.table(answer)
    assert "100.0 GFLOP/s float32 peak, 10.0 GB/s copy" in text
    assert text.count("conv_block, backward, float32") == 2
    assert callable(plot)
    matplotlib = pytest.importorskip("matplotlib")
    backend = matplotlib.rcParams._get_backend_or_none()
    assert plot(answer, settings.results / "plot.png").startswith("plot: ")
    assert (settings.results / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert matplotlib.rcParams._get_backend_or_none() == backend


def test_no_matplotlib_is_said(answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "matplotlib is not installed" in show.bars(answer, settings.results / "plot.png")


def test_thread_counts_are_timed_beside_each_other(answer: Report, settings: Settings) -> None:
    threads.add(answer, settings, "mask_residual", "forward + backward")
    labels = [f"{side}, {count}" for side in ("fused", "eager") for count in ("1 thread", "2 threads")]
    assert [record.variant for record in answer.records] == labels
    assert [record.threads for record in answer.records] == [1, 2, 1, 2]
    assert answer.records[1].relative.p50 == 1.0


def test_lengths_and_batches(
    answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [scaling.Shape(1, 5), scaling.Shape(3, 4), scaling.Shape(1, 10**9)]
    scaling.add(answer, settings, "multi_order_conv", "forward + backward", wanted)
    assert [(record.batch, record.frames) for record in answer.records] == [(1, 5), (3, 4)]
    assert "1 × 1.6e+07 s: left out, needs about" in capsys.readouterr().err
    show.scaling(answer, settings.results / "plot.png")
    right = answer.records[0]
    assert right.extra["ms a second"] == pytest.approx(right.ms.p50 / (5 * 0.016)) if right.ms else False


def test_the_spread_is_of_the_costs_relative_to_the_workload(
    answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        scaling,
        "measure",
        lambda *_, **__: Rounds({"1 × 10 s": [30.0], "reference workload, 4 × 4 s": [32.0]}, []),
    )
    scaling.add(answer, settings, "multi_order_conv", "forward + backward", [scaling.Shape(1, 625)])
    (record,) = answer.records
    assert record.relative_to == "reference workload, 4 × 4 s"
    assert record.relative.p50 == pytest.approx(1.5)  # 30 s for 10 s of audio, 32 s for 16
    assert record.extra["ms a second"] == pytest.approx(3000)
    costs = [replace(record, relative=Quantiles(cost, cost, cost)) for cost in (0.8, 1.0, 0.9)]
    assert scaling.spread(costs) == pytest.approx(25.0)


def test_short_shapes_are_called_until_they_had_ten_seconds() -> None:
    counts: dict[str, int] = {}

    def subject(batch: int) -> scaling.Subject:
        def step(_: None) -> list[torch.Tensor]:
            counts[str(batch)] = counts.get(str(batch), 0) + 1
            return []

        this = bench.case("causal_dwconv2d", batch, 62)
        return scaling.Subject(this, Candidate(str(batch), step), 0.0)

    subjects = {str(batch): subject(batch) for batch in (1, 8, 16)}
    for label, one in subjects.items():
        one.repeated(label).run()
    assert list(counts.values()) == [11, 2, 1]  # of 0.992, 7.936 and 15.872 s
    measured = Rounds({"1": [22 * 0.992], "8": [4 * 7.936], "16": [2 * 15.872]}, [])
    costs = scaling._a_second(measured, subjects).seconds
    assert [costs[label] for label in subjects] == [pytest.approx([2.0])] * 3


def test_a_shape_computed_wrong_is_refused(answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "deviation", lambda this: 1e-3 if len(this.output_gradient) == 1 else 0.0)
    with pytest.raises(WrongResult, match=r"1 × 0\.032 s: fused and eager differ by 1"):
        scaling.add(answer, settings, "LiteRTSE", "forward", [scaling.Shape(1, 2)])


def test_the_shapes_span_1_to_300_s_and_1_to_32_utterances() -> None:
    wanted = scaling.shapes()
    assert {shape.frames for shape in wanted if shape.batch == 1} >= {62, 18750}
    assert {shape.batch for shape in wanted} == {1, 2, 4, 8, 16, 32}
    assert len({shape.label for shape in wanted}) == len(wanted)


@needs_linux
def test_the_peak_is_that_of_the_step_alone() -> None:
    before = torch.ones(64 << 20, dtype=torch.uint8)

    def step() -> torch.Tensor:
        kept = torch.ones(16 << 20, dtype=torch.uint8)
        freed = torch.ones(32 << 20, dtype=torch.uint8)
        return kept + freed[0]

    mebibytes = memory.peak_bytes(step) / 2**20
    assert 60 < mebibytes < 72  # 16 + 32 + 16 for the sum; not the 64 there already
    assert before[0] == 1


@needs_linux
def test_memory_of_processes_of_their_own(answer: Report, settings: Settings) -> None:
    memory.add(answer, settings, "multi_order_conv", "forward + backward", ["fused"])
    eager, fused = answer.records
    assert (eager.variant, fused.variant) == ("eager", "fused")
    assert fused.difference <= fused.limit
    assert fused.ms is None
    assert fused.relative.p50 == pytest.approx(fused.extra["MiB"] / eager.extra["MiB"])
    assert Report.load(answer.save(settings.results)) == answer


def test_options() -> None:
    settings = parse("", ["--batch", "3", "--budget-s", "1.5", "--results", "somewhere"], rounds=4)
    assert (settings.batch, settings.budget_s, settings.results.name, settings.rounds) == (3, 1.5, "somewhere", 4)


def test_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused in words where there is none, where the build has no kernels for it, and where it is not the question."""
    cases = [(False, True, (), "there is no CUDA GPU here"), (True, False, (), "was built without CUDA")]
    for gpu, kernels, devices, message in [*cases, (True, True, ["cpu"], "about the CPU alone")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr(ops, "has_cuda", lambda kernels=kernels: kernels)
        with pytest.raises(SystemExit) as stopped:
            parse("", ["--device", "cuda"], *([devices] if devices else []))
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert parse("", ["--device", "cuda"]).device == "cuda"
    assert parse("", []).device == "cpu"


def test_a_report_on_a_gpu_says_which(answer: Report) -> None:
    gpu = replace(answer, environment=replace(answer.environment, gpu="a GPU, compute capability 9.0"))
    assert show.header(gpu).endswith("\na GPU, compute capability 9.0")
    assert show.header(answer).count("\n") == 1


def test_float32_stays_float32_on_a_gpu() -> None:
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark
    try:
        cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark = True, True, False
        harness._as_timed("cpu")
        assert (cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark) == (True, True, False)
        harness._as_timed("cuda")
        assert (cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark) == (False, False, True)
    finally:
        cudnn.allow_tf32, cublas.allow_tf32, cudnn.benchmark = before


def test_memory_of_a_gpu_is_its_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    in_use = {"now": 100, "most": 900}
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: in_use["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: in_use["most"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: in_use.update(most=in_use["now"]))
    assert memory.peak_bytes(lambda: in_use.update(most=160, now=130), "cuda") == 60
