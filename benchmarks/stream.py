"""Time per frame of the streaming engine and of one-frame graphs of the same network: ``python -m benchmarks.stream``.

Everything runs on one thread. The engine computes from samples to samples. The one-frame graphs compute only from
spectrum to spectrum, without windows and transforms. Before timing, all are checked to give the same results. The
candidates are timed alternately, one stretch of frames each. So only the first frames of a stretch find the caches as
another candidate left them. A ratio is that of the medians of one round. The table shows the median of these ratios
over the rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import show
from benchmarks.harness import RESULTS, packages
from benchmarks.neighbors import busy_neighbors
from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.audio import remove_offset
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.frames import FRAME_MS, SKIPPED, FrameTimes, histogram, speech_like, steps, time_frames
from lite_rtse_ext.benchmark.timing import thread_count
from lite_rtse_ext.models.onnx import OneFrame, export_onnx
from lite_rtse_ext.signal import HOP_LENGTH
from lite_rtse_ext.stream import Network, Streamer
from lite_rtse_ext.stream.network import Precision
from lite_rtse_ext.train.denormals import flushed_denormals

ENGINE = "engine, float32"
ONNX_RUNTIME = "ONNX Runtime, one frame"

LIMITS = {"int16": 1e-3, "int8": 0.1}
LIMIT = 1e-5

Floats = NDArray[np.float32]
Graph = Callable[[Floats, list[Floats]], tuple[Floats, list[Floats]]]


@dataclass(frozen=True)
class Entry:
    """A candidate to be timed. ``start()`` returns a function that computes the frame of a given index."""

    name: str
    start: Callable[[], Callable[[int], object]]
    streams: int = 1
    difference: float = 0.0


# --- peers: graphs from (spectrum, memory) to (enhanced, memory) ------------------------------------------------------


def _eager(model: LiteRTSE, path: Path) -> Graph:
    frame = OneFrame(model).eval()

    def run(spectrum: Floats, memory: list[Floats]) -> tuple[Floats, list[Floats]]:
        with torch.inference_mode():
            enhanced, *after = frame(torch.from_numpy(spectrum), *map(torch.from_numpy, memory))
        return enhanced.numpy(), [piece.numpy() for piece in after]

    return run


def _onnxruntime(model: LiteRTSE, path: Path) -> Graph:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(spectrum: Floats, memory: list[Floats]) -> tuple[Floats, list[Floats]]:
        enhanced, *after = session.run(None, dict(zip(names, [spectrum, *memory], strict=True)))
        return enhanced, after

    return run


def _openvino(model: LiteRTSE, path: Path) -> Graph:
    import openvino

    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)

    def run(spectrum: Floats, memory: list[Floats]) -> tuple[Floats, list[Floats]]:
        result = compiled([spectrum, *memory], share_inputs=True)
        enhanced, *after = (result[i] for i in range(len(memory) + 1))
        return enhanced, after

    return run


PEERS = {"eager PyTorch, one frame": _eager, ONNX_RUNTIME: _onnxruntime, "OpenVINO, one frame": _openvino}


def spectra(signal: Floats) -> Floats:
    """Compute the spectra ``(frames, 1, 257, 2)`` of the frames of a signal, as the engine does."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, (HOP_LENGTH, 0)), 2 * HOP_LENGTH)[::HOP_LENGTH]
    spectrum = np.fft.rfft(windows * np.sin(np.pi * np.arange(2 * HOP_LENGTH) / (2 * HOP_LENGTH)))
    return np.stack([spectrum.real, spectrum.imag], axis=-1)[:, None].astype(np.float32)


def waveform(enhanced: Sequence[Floats]) -> Floats:
    """Compute the signal of enhanced spectra by overlap-add.

    The first half of the first frame, which lies before the signal, and the second half of the last frame are omitted.
    """
    spectrum = np.concatenate(enhanced)
    frames = np.fft.irfft(spectrum[..., 0] + 1j * spectrum[..., 1])
    frames *= np.sin(np.pi * np.arange(2 * HOP_LENGTH) / (2 * HOP_LENGTH))
    return (frames[:-1, HOP_LENGTH:] + frames[1:, :HOP_LENGTH]).ravel().astype(np.float32)


def difference(actual: Floats, expected: Floats) -> float:
    """Return the relative L2 difference."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def _peer(name: str, graph: Graph, model: LiteRTSE, frames: int, expected: Floats) -> Entry:
    signal = remove_offset(torch.from_numpy(speech_like(frames))).numpy()  # the engine does so before windowing
    inputs = spectra(signal)

    def start() -> Callable[[int], object]:
        memory = [piece.numpy() for piece in OneFrame(model).start()]

        def step(frame: int) -> Floats:
            nonlocal memory
            enhanced, memory = graph(inputs[frame], memory)
            return enhanced

        return step

    step = start()
    found = difference(waveform([step(frame) for frame in range(len(expected) // HOP_LENGTH + 1)]), expected)  # type: ignore[misc]
    return Entry(name, start, difference=found)


# --- measurement ------------------------------------------------------------------------------------------------------


def entries(model: LiteRTSE, frames: int, batches: Sequence[int], missing: list[str]) -> list[Entry]:
    """Make the candidates: the engine in all its forms, then the one-frame graphs.

    A line is added to ``missing`` for each graph that cannot run.
    """
    signal = speech_like(frames)[: 100 * HOP_LENGTH]
    expected = model.enhance(torch.from_numpy(signal)).numpy()[: -2 * HOP_LENGTH]
    result = []
    for precision in get_args(Precision):
        network = Network.from_model(model, precision)
        found = difference(Streamer(network).feed(signal)[: len(expected)], expected)
        for streams in (1, *batches):
            name = f"engine, {precision}" + (f", {streams} calls" if streams > 1 else "")
            result.append(Entry(name, _engine_start(network, streams, frames), streams, found))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one_frame.onnx"
        export_onnx(model, path)
        for name, build in PEERS.items():
            try:
                result.append(_peer(name, build(model, path), model, frames, expected))
            except ModuleNotFoundError as error:
                missing.append(f"{name}: {error.name} is not installed: pip install 'lite-rtse-ext[bench]'")
    return result


def _engine_start(network: Network, streams: int, frames: int) -> Callable[[], Callable[[int], object]]:
    return lambda: steps(network, streams, frames)


@dataclass(frozen=True)
class Figure:
    """Result of one candidate.

    Args:
        times: quantiles of the time per frame.
        relative: its median time divided by that of :data:`ENGINE` in the same round, median over the rounds.
        difference: relative L2 difference from the network's output.
        seconds: time of each frame.
    """

    times: FrameTimes
    relative: float
    difference: float
    seconds: list[float]


def figures(
    frames: int = 400,
    rounds: int = 5,
    *,
    batches: Sequence[int] = (),
    full: bool = False,
    paced: bool = False,
    neighbors: int = 0,
    missing: list[str] | None = None,
) -> dict[str, Figure]:
    """Check and time all candidates on one thread.

    Args:
        frames: number of frames of 16 ms in a stretch.
        rounds: number of stretches of each candidate.
        batches: numbers of parallel streams that the engine is timed with, in addition to one.
        full: whether to use the network variant with full 3×3 convolutions in its Conv-Blocks.
        paced: whether to compute a frame every 16 ms, as in a live call, instead of as fast as possible.
        neighbors: number of processes that copy memory meanwhile, see :mod:`benchmarks.neighbors`.
        missing: receives a line for each one-frame graph whose package is not installed.

    Returns:
        The results by name: :data:`ENGINE`, :data:`ONNX_RUNTIME`, the rest of :data:`PEERS`, and the other forms of the
        engine.

    Raises:
        RuntimeError: a candidate's result differs from the network's. Nothing is timed then. Or a neighbor ended.
        ValueError: a stretch is too short.
    """
    if frames <= SKIPPED:
        raise ValueError(f"frames must be more than {SKIPPED}, which are not counted, but are {frames}")
    with thread_count(1), flushed_denormals():  # the engine does so, and ONNX Runtime would leave it set
        torch.manual_seed(0)
        model = LiteRTSE(depthwise=not full).eval()
        candidates = entries(model, frames, batches, [] if missing is None else missing)
        for entry in candidates:
            limit = next((value for word, value in LIMITS.items() if word in entry.name), LIMIT)
            if not entry.difference <= limit:
                raise RuntimeError(f"{entry.name} differs from the network by {entry.difference:.1e}, not timed")
        with busy_neighbors(neighbors):
            seconds, medians = _in_turns(candidates, frames, rounds, FRAME_MS / 1e3 if paced else 0.0)
    return {
        entry.name: Figure(
            FrameTimes.of(seconds[entry.name], entry.streams),
            float(np.median(np.divide(medians[entry.name], medians[ENGINE]))),
            entry.difference,
            seconds[entry.name],
        )
        for entry in candidates
    }


def _in_turns(
    candidates: Sequence[Entry], frames: int, rounds: int, pace_s: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Time the candidates alternately. Returns, by name, the seconds of all frames and the median of each round."""
    seconds: dict[str, list[float]] = {entry.name: [] for entry in candidates}
    medians: dict[str, list[float]] = {entry.name: [] for entry in candidates}
    for number in range(rounds):
        for entry in candidates if number % 2 == 0 else reversed(candidates):
            times = time_frames(entry.start(), frames, pace_s)[SKIPPED:]
            seconds[entry.name] += times
            medians[entry.name].append(float(np.median(times)))
    return seconds, medians


# --- table, file and plot ---------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400, help="of 16 ms, a stretch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="*", default=[4, 16], help="calls at a time, besides one")
    parser.add_argument("--full", action="store_true", help="the variant with a full 3×3 in its Conv-Blocks")
    parser.add_argument("--paced", action="store_true", help="a frame every 16 ms, as in a call, instead of at once")
    parser.add_argument("--neighbors", type=int, default=0, help="processes that copy memory meanwhile")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for JSON and plot")
    settings = vars(parser.parse_args(arguments))
    folder = settings.pop("results")
    missing: list[str] = []
    found = figures(**settings, missing=missing)
    where = environment()
    print(f"{where.machine}; {where.isa}, 1 thread; {where.fma_peak_gflops} GFLOP/s peak, {where.copy_gbps} GB/s copy")
    paced = ", one every 16 ms" if settings["paced"] else ""
    beside = f", beside {settings['neighbors']} busy neighbors" if settings["neighbors"] else ""
    print(f"{settings['rounds']} × {settings['frames']} frames{paced}{beside}\n")
    print("\n".join([_table(found), "", f"{ENGINE}:", *histogram(found[ENGINE].seconds), *missing]))
    name = "_".join(["stream", *(option for option in ("full", "paced", "neighbors") if settings[option])])
    data = {
        "question": name,
        "environment": asdict(where),
        "packages": packages(),
        "settings": settings,
        "records": [_record(name, figure) for name, figure in found.items()],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"results: {path}")
    print(show.figure(folder / f"{name}.png", lambda axes: _draw(axes, found), (9, 5)))


def _table(found: dict[str, Figure]) -> str:
    rows = [["", "p50 ms", "p99", "p99.9", "max", "RTF", "calls a core", f"p50 over {ENGINE}", "diff"]]
    for name, figure in found.items():
        times = figure.times
        quantiles = [f"{value:.3f}" for value in (times.p50, times.p99, times.p999, times.max)]
        load = [f"{times.real_time_factor:.4f}", str(times.calls_a_core)]
        rows.append([name, *quantiles, *load, f"{figure.relative:.2f}×", f"{figure.difference:.0e}"])
    return show.grid(rows)


def _record(name: str, figure: Figure) -> dict[str, Any]:
    times = figure.times
    load = {"real_time_factor": times.real_time_factor, "calls_a_core": times.calls_a_core}
    return {"name": name, **asdict(times), **load, "relative": figure.relative, "difference": figure.difference}


def _draw(axes: Any, found: dict[str, Figure]) -> None:
    for number, (name, figure) in enumerate((n, f) for n, f in found.items() if f.times.streams == 1):
        axes.hist(
            np.clip(1e3 * np.asarray(figure.seconds), None, FRAME_MS),
            bins=np.geomspace(0.1, FRAME_MS, 200),
            color=f"C{number}",
            alpha=0.7,
            label=name,
        )
    axes.set_xscale("log")
    axes.axvline(FRAME_MS, color="black", linestyle=":", label="real time")
    axes.set_xlabel("ms a frame")
    axes.set_ylabel("frames")
    axes.legend()


if __name__ == "__main__":
    main()
