"""The network in one of the ways to run it, timed against the fused network in interleaved rounds.

Inference and a training step are timed in float32, and again under bfloat16 autocast. Each result is written as soon
as it is there. A second run goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.record import write_json
from benchmarks.model import training_candidate
from benchmarks.variants import VARIANTS, CannotRun, Runnable
from lite_rtse_ext.benchmark.environment import gpu_name
from lite_rtse_ext.benchmark.operators import Case, candidate, case, difference
from lite_rtse_ext.benchmark.timing import Candidate, measure
from lite_rtse_ext.nn.lstm import CHOICE, PERSISTENT
from lite_rtse_ext.nn.recurrent import CUDNN

PRECISIONS = ("float32", "bfloat16 autocast")
PASSES = ("inference", "training step")
_ROUNDS, _BUDGET_S = 15, 4.0
COMPILED, PERSISTENT_LSTM = "compile max-autotune", "persistent LSTM"


class Autocast(nn.Module):
    """A network under bfloat16 autocast. Casts of weights are not kept, since a CUDA graph must repeat them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrogram: Tensor) -> Tensor:
        with torch.autocast(spectrogram.device.type, torch.bfloat16, cache_enabled=False):
            result: Tensor = self.network(spectrogram)
        return result


class PersistentLstm(nn.Module):
    """The fused network with this library's LSTM instead of cuDNN's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrogram: Tensor) -> Tensor:
        before = os.environ.get(CHOICE, CUDNN)
        os.environ[CHOICE] = PERSISTENT
        try:
            result: Tensor = self.network(spectrogram)
        finally:
            os.environ[CHOICE] = before
        return result


def build(variant: str, this: Case, inference: bool, rehearse: bool) -> tuple[Runnable, Case]:
    """The network in one of the ways to run it, and the case with inputs in its layout."""
    if variant == PERSISTENT_LSTM:
        return PersistentLstm(this.fused), this
    if variant != COMPILED:
        return VARIANTS[variant].build(this, inference)
    backend, mode = ("eager", None) if rehearse else ("inductor", "max-autotune")
    compiled: Runnable = torch.compile(this.reference, dynamic=False, backend=backend, mode=mode)
    return compiled, this


def measured(variant: str, precision: str, what: str, this: Case, rehearse: bool) -> dict[str, Any]:
    """Time the variant and the fused network. The ratio above 1 says that the fused network is faster."""
    if precision != "float32":
        this = replace(this, reference=Autocast(this.reference), fused=Autocast(this.fused))
    try:
        runnable, suited = build(variant, this, what == "inference", rehearse)
    except CannotRun as reason:
        return {"left out": str(reason)}
    other = _candidate(variant, runnable, suited, what)
    fused = _candidate("fused", this.fused, this, what)
    expected = [tensor.detach().clone() for tensor in fused.run()]
    apart = difference(expected, other.run())
    times = measure([fused, other], 2 if rehearse else _ROUNDS, 2, _BUDGET_S, device=this.device)
    return {
        "fused ms": asdict(times.milliseconds("fused")),
        "ms": asdict(times.milliseconds(variant)),
        "ratio": asdict(times.ratio(variant, "fused")),
        "difference": apart,
    }


def _candidate(name: str, runnable: Runnable, this: Case, what: str) -> Candidate:
    return (
        candidate(name, runnable, this, "forward") if what == "inference" else training_candidate(name, runnable, this)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=[*VARIANTS, COMPILED, PERSISTENT_LSTM])
    parser.add_argument("results", type=Path)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU with tiny shapes; the times mean nothing")
    options = parser.parse_args(arguments)
    device, batch, frames = ("cpu", 1, 3) if options.rehearse else ("cuda", 16, 250)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    found = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    found.update(gpu=gpu_name(device), torch=torch.__version__, variant=options.variant, batch=batch, frames=frames)
    for precision in PRECISIONS:
        for what in PASSES:
            name = f"{what}, {precision}"
            if name in found:
                continue
            # Each is built from a new case: a variant may move or convert the modules that it gets.
            this = case("LiteRTSE", batch, frames, device=device)
            # Not every CPU has a bfloat16 LSTM in oneDNN. PyTorch's own is enough for a rehearsal.
            with torch.backends.mkldnn.flags(enabled=not options.rehearse):
                found[name] = measured(options.variant, precision, what, this, options.rehearse)
            write_json(options.results, found)
            print(name, json.dumps(found[name]), flush=True)


if __name__ == "__main__":
    main()
