"""The parts of a pass, those first whose result matters most. Their limits add up to at most nine minutes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.record import Part, Results

BUDGET_S = 540.0
BUILD_LIMIT_S = 110.0
VARIANTS = ("eager", "persistent LSTM", "fused graph", "channels_last", "eager graph", "compile max-autotune")
"""Ways to run the network that are timed against the fused network. The last one compiles for long."""

_TESTS = (
    ("accuracy", 30, ("tests/ops/test_accuracy.py",)),
    ("execution", 30, ("tests/cuda/test_execution.py", "tests/cuda/test_devices.py")),
    ("lstm", 20, ("tests/cuda/test_lstm.py",)),
    ("autograd", 30, ("tests/ops/test_autograd.py",)),
    ("strides", 20, ("tests/ops/test_strides.py", "tests/ops/test_vmap.py")),
)
_SANITIZERS = (("memcheck", 15), ("racecheck", 15), ("synccheck", 12), ("initcheck", 12))
_SMALL = ("tests/ops/test_vmap.py",)  # tiny shapes: a sanitizer is a hundred times slower
_REHEARSED = "mask_residual and not half"


def parts(results: Results, config: Path, rehearse: bool) -> list[Part]:
    """All parts after the build, in their order.

    Args:
        results: where they write.
        config: the project's pyproject.toml, for pytest.
        rehearse: the same parts on the CPU, with tiny shapes.
    """
    python = (sys.executable, "-u", "-m")
    pytest = (*python, "pytest", "-v", "--rootdir", ".", "-c", str(config), "-p", "no:cacheprovider")
    chosen = ("-x", "-k", _REHEARSED) if rehearse else ("-m", "cuda")
    flag = ("--rehearse",) if rehearse else ()
    found = [Part(f"test-{name}", (*pytest, *files, *chosen), limit, tests=True) for name, limit, files in _TESTS]
    # Each tensor is an allocation of its own, so that an access beside it is noticed.
    sanitizer = ("env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1", "compute-sanitizer", "--error-exitcode", "1", "--tool")
    found += [
        Part(tool, (*sanitizer, tool, *pytest, *_SMALL, *chosen), limit, "compute-sanitizer", tests=True)
        for tool, limit in _SANITIZERS
    ]
    found.append(
        Part("operators", (*python, "benchmarks.kernels", "--resume", "--results", str(results.folder), *flag), 40)
    )
    found += [_network(results, python, variant, flag) for variant in VARIANTS]
    counters = (*python, "benchmarks.gpu.counters", str(results.folder / "kernels.json"))
    return [*found, Part("counters", (*counters, str(results.data("counters")), *flag), 40, "ncu")]


def _network(results: Results, python: Sequence[str], variant: str, flag: Sequence[str]) -> Part:
    name = f"network-{variant.replace(' ', '-')}"
    limit = 50.0 if variant.startswith("compile") else 20.0
    return Part(name, (*python, "benchmarks.gpu.network", variant, str(results.data(name)), *flag), limit)
