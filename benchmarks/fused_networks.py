"""The other networks after ``fuse``, against PyTorch: ``python -m benchmarks.fused_networks``.

Inference is one utterance in evaluation mode. A training step is forward and backward of two utterances, with the mean
square as the loss. Both run in one thread. The sides are timed in turns, and ratios are taken round by round. The times
are those of the processor, so other work on the machine adds to them only indirectly.

The baselines are eager PyTorch, also with features in memory as ``torch.channels_last``, and ``torch.compile``. A
network that does not compile has no such side, and the reason is printed. ``fuse`` comes in both memory orders too. It
is set against eager PyTorch, and the faster of both orders against the fastest baseline.

Before a side is timed, its output is compared with eager PyTorch's. Its whole gradient is compared with eager
PyTorch's in float64. It may err four times as much as eager PyTorch in float32 does: deep networks amplify rounding,
and by chance more or less. Rounding may also change the sign of a value near zero, and the slope of its PReLU with it.
That happens by chance, and a fault shows for every input, so one of three inputs must agree.

One frame of a network is timed too: eager, after ``fuse``, and as the one-frame graph in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import show
from benchmarks.harness import RESULTS, packages
from benchmarks.variants import Runnable, compiled
from lite_rtse_ext import fuse
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.operators import LIMITS, WrongResult, difference
from lite_rtse_ext.benchmark.timing import Candidate, measure
from lite_rtse_ext.interface import SpectrogramModel, placement
from lite_rtse_ext.models.onnx import OneFrame, export_onnx
from lite_rtse_ext.models.registry import create_model
from lite_rtse_ext.utils.atomic_file import replacing

NETWORKS = ("gtcrn", "dpcrn", "dccrn", "gagnet")
FRAME_OF = "gtcrn"
INFERENCE, TRAINING, FRAME = "inference", "training step", "one frame"
EAGER, EAGER_LAST, COMPILED, RUNTIME = BASELINES = ("eager", "eager, channels_last", "compiled", "onnxruntime")
FUSED, FUSED_LAST = OURS = ("fused", "fused, channels_last")
_FRAMES_A_ROUND = 50
_INPUTS = 3

Run = Callable[[], list[Tensor]]
Pass = Callable[[int], Run]  # of an input's seed


@dataclass(frozen=True)
class Row:
    """One pass of one network.

    ``milliseconds`` has those of each side. ``ratios`` says how many times as fast as eager a side is.
    ``against_fastest`` says it of ``ours``, the faster fused side, and ``fastest``, the fastest baseline.
    """

    network: str
    what: str
    milliseconds: Mapping[str, Mapping[str, float]]
    ratios: Mapping[str, Mapping[str, float]]
    ours: str
    fastest: str
    against_fastest: Mapping[str, float]


def rows(networks: Sequence[str], rounds: int, seconds: float, compile: bool = True) -> Iterator[Row]:
    """Time both passes of each network, and one frame of :data:`FRAME_OF` if it is among them.

    ``compile`` says whether ``torch.compile`` is a side.
    """
    for name in networks:
        torch.manual_seed(0)
        eager, fused = (create_model(name) for _ in range(2))
        fused.load_state_dict(eager.state_dict())
        fuse(fused)
        frames = _one_frame(eager, fused) if name == FRAME_OF else {}  # with statistics that no training has moved
        for what, passes in ((INFERENCE, _inference), (TRAINING, _training)):
            orders = {EAGER: eager, EAGER_LAST: _channels_last(eager), FUSED: fused, FUSED_LAST: _channels_last(fused)}
            networks_of: dict[str, tuple[SpectrogramModel, Runnable]] = {s: (m, m) for s, m in orders.items()}
            if compile:
                copied = copy.deepcopy(eager)
                networks_of[COMPILED] = copied, compiled(copied, what == INFERENCE)
            wide = copy.deepcopy(eager).double()
            sides: dict[str, Pass] = {side: partial(passes, *each, seconds) for side, each in networks_of.items()}
            yield _row(name, what, sides, rounds, partial(passes, wide, wide, seconds) if what == TRAINING else None)
        if frames:
            yield _row(name, FRAME, {side: partial(_always, run) for side, run in frames.items()}, rounds)


def _channels_last(model: SpectrogramModel) -> SpectrogramModel:
    """A copy whose features are in memory as (B, T, F, C). Its first convolution brings them into this order."""
    return copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _always(run: Run, seed: int) -> Run:
    """A pass with one input."""
    return run


def _step(run: Run) -> Callable[[object], list[Tensor]]:
    return lambda _: run()


def _row(network: str, what: str, sides: Mapping[str, Pass], rounds: int, exact: Pass | None = None) -> Row:
    expected = cache(partial(_expected, sides[EAGER], exact))
    inputs, where = _INPUTS if exact else 1, f"{network}, {what}"
    right = [side for side in sides if side == EAGER or _is_right(side, sides[side], expected, inputs, where)]
    times = measure(
        [Candidate(side, _step(sides[side](0)), threads=1) for side in right], rounds, clock=time.process_time
    )
    milliseconds = {side: times.milliseconds(side) for side in right}
    ours, fastest = (
        min(set(right) & set(sides), key=lambda side: milliseconds[side].p50) for sides in (OURS, BASELINES)
    )
    return Row(
        network,
        what,
        {side: asdict(found) for side, found in milliseconds.items()},
        {side: asdict(times.ratio(EAGER, side)) for side in right if side != EAGER},
        ours,
        fastest,
        asdict(times.ratio(fastest, ours)),
    )


def _expected(eager: Pass, exact: Pass | None, seed: int) -> tuple[list[Tensor], float]:
    """What a side must compute, and how far it may be from that."""
    found = eager(seed)()
    if exact is None:
        return found, LIMITS["forward"]
    truth = exact(seed)()
    return truth, max(LIMITS["training step"], 4 * difference(truth, found))


def _is_right(
    side: str, run: Pass, expected: Callable[[int], tuple[list[Tensor], float]], inputs: int, where: str
) -> bool:
    """Whether a side computes what eager does. The compiled side may fail, which is printed; others may not."""
    errors = []
    try:
        for seed in range(inputs):
            found = run(seed)()
            truth, limit = expected(seed)
            errors.append(difference(truth, found) / limit)
            if errors[-1] <= 1:
                return True
        raise WrongResult(f"{where}: {side} and eager differ by {min(errors):.2g} times the limit, not timed")
    except Exception as error:  # the compiler may raise anything
        if side != COMPILED:
            raise
        reason = str(error).strip().splitlines() or [""]
        print(f"{where}: torch.compile is left out: {type(error).__name__}: {reason[0]}", flush=True)
        return False


def _spectrogram(model: SpectrogramModel, batch: int, seconds: float, seed: int = 0) -> Tensor:
    signal = model.signal
    frames = int(seconds * signal.sample_rate / signal.hop_length)
    return torch.randn(batch, signal.bins, frames, 2, generator=torch.Generator().manual_seed(seed)).to(
        placement(model)[1]
    )


def _inference(model: SpectrogramModel, network: Runnable, seconds: float, seed: int) -> Run:
    x = _spectrogram(model, 1, 2 * seconds, seed)
    model.eval()

    @torch.inference_mode()
    def run() -> list[Tensor]:
        return [network(x)]

    return run


def _training(model: SpectrogramModel, network: Runnable, seconds: float, seed: int) -> Run:
    x = _spectrogram(model, 2, seconds, seed)

    def run() -> list[Tensor]:
        model.train().zero_grad()
        network(x).square().mean().backward()  # type: ignore[no-untyped-call]
        return [torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])]

    return run


def _one_frame(eager: SpectrogramModel, fused: SpectrogramModel) -> dict[str, Run]:
    sides = {EAGER: _frames(eager), FUSED: _frames(fused)}
    try:
        sides[RUNTIME] = _graph_frames(eager)
    except ImportError as error:
        print(f"onnxruntime is left out: {error}")
    return sides


def _noise(model: SpectrogramModel) -> list[Tensor]:
    return list(_spectrogram(model, 1, 1.0)[:, :, :_FRAMES_A_ROUND].unbind(2))


def _frames(model: SpectrogramModel) -> Run:
    frame, noise = OneFrame(copy.deepcopy(model).eval()), _noise(model)
    start = frame.start()

    @torch.inference_mode()
    def run() -> list[Tensor]:
        memory, last = start, noise[0]
        for spectrum in noise:
            last, *memory = frame(spectrum, *memory)
        return [last]

    return run


def _graph_frames(model: SpectrogramModel) -> Run:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "frame.onnx")
        graph = (Path(folder) / "frame.onnx").read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    frame, noise = OneFrame(model), [spectrum.numpy() for spectrum in _noise(model)]
    start = {name: piece.numpy() for name, piece in zip(frame.memory, frame.start(), strict=True)}

    def run() -> list[Tensor]:
        memory, last = start, noise[0]
        for spectrum in noise:
            last, *after = session.run(None, {"spectrum": spectrum} | memory)
            memory = dict(zip(start, after, strict=True))
        return [torch.from_numpy(last)]

    return run


def table(found: Sequence[Row]) -> str:
    """The rows in Markdown. The times of one frame are those of a frame, and not of a round."""
    sides = BASELINES + OURS
    cells = [["network", "", *(f"ms, {side}" for side in sides), "eager : fused", "fastest baseline : faster fused"]]
    for row in found:
        frames = _FRAMES_A_ROUND if row.what == FRAME else 1
        times = [row.milliseconds.get(side) for side in sides]
        cells.append(
            [
                row.network,
                row.what,
                *("" if t is None else f"{t['p50'] / frames:.2f}" for t in times),
                _quantiles(row.ratios[FUSED]),
                f"{row.fastest} : {row.ours} {_quantiles(row.against_fastest)}",
            ]
        )
    return show.grid(cells)


def _quantiles(ratio: Mapping[str, float]) -> str:
    return f"{ratio['p50']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of an utterance in training")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    answer: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "environment": asdict(environment("cpu")),
        "packages": packages(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "frames_a_round": _FRAMES_A_ROUND,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    for row in rows(options.networks, options.rounds, options.seconds, not options.no_compile):
        found.append(row)
        print(table(found), end="\n\n", flush=True)
        with replacing(options.results / "fused_networks.json") as temporary:
            text = json.dumps(answer | {"rows": [asdict(each) for each in found]}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
