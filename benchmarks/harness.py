"""Benchmark harness: build the variants, check each against the reference, time them, write JSON, table and plot.

The timing is done by :mod:`lite_rtse_ext.benchmark.timing`, which ``lite-rtse bench`` uses, too.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.variants import VARIANTS, CannotRun, Runnable
from lite_rtse_ext import ops
from lite_rtse_ext.benchmark.environment import Environment, environment
from lite_rtse_ext.benchmark.operators import LIMITS, Case, check
from lite_rtse_ext.benchmark.timing import Candidate, Quantiles, Rounds, measure

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxscript", "openvino")


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Args:
        batch: utterances per batch.
        frames: frames of 16 ms per utterance.
        threads: CPU threads.
        rounds: number of times that each variant is timed.
        warm_up: untimed runs before.
        budget_s: seconds after which no new round of a comparison begins.
        device: "cpu" or "cuda".
        without: variants to omit. The report has a line for each.
        results: folder for JSON and plots.
    """

    batch: int = 2
    frames: int = 250
    threads: int = 1
    rounds: int = 7
    warm_up: int = 1
    budget_s: float = 300.0
    device: str = "cpu"
    without: Sequence[str] = ()
    results: Path = RESULTS


@dataclass(frozen=True)
class Record:
    """Result of one variant for one pass of one case.

    ``ms`` is the time in milliseconds, or None if something other than time was measured. ``relative`` is the result
    divided by that of ``relative_to`` in the same round; comparisons of lengths divide times per second of audio.
    ``difference`` is the largest relative L2 difference from the reference, and ``limit`` is the allowed one.
    ``extra`` holds further results of the benchmark; their names include the units.
    """

    case: str
    what: str
    variant: str
    dtype: str
    batch: int
    frames: int
    threads: int
    rounds: int
    ms: Quantiles | None
    relative: Quantiles
    relative_to: str
    difference: float
    limit: float
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Result of a benchmark: environment, packages, settings, records, and a line for each missing measurement."""

    question: str
    command: str
    date: str
    environment: Environment
    packages: dict[str, str]
    settings: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def find(self, case: str, what: str, variant: str) -> Record:
        """Return the record of a case, pass and variant.

        Raises:
            KeyError: there is no such record.
        """
        for record in self.records:
            if (record.case, record.what, record.variant) == (case, what, variant):
                return record
        raise KeyError(f"no record of {case}, {what}, {variant}")

    def miss(self, line: str) -> None:
        """Add a line about a missing measurement and print it to stderr, once."""
        if line not in self.missing:
            self.missing.append(line)
            print(line, file=sys.stderr)

    def save(self, folder: Path) -> Path:
        """Write ``<question>.json`` and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.question}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report that :meth:`save` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["environment"] = Environment(**data["environment"])
        data["records"] = [record_of(entry) for entry in data["records"]]
        return cls(**data)


def record_of(data: dict[str, Any]) -> Record:
    """Make a record from its JSON."""
    for name in ("ms", "relative"):
        data[name] = Quantiles(**data[name]) if data[name] else None
    return Record(**data)


def packages() -> dict[str, str]:
    """Return the versions of the packages that the baselines use."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def report(question: str, settings: Settings) -> Report:
    """Make an empty report with the current date and environment. Sets PyTorch's threads and GPU precision."""
    sizes = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "results"}
    sizes["without"] = list(settings.without)  # JSON has lists only
    command = " ".join(["python -m", f"benchmarks.{question}", *sys.argv[1:]])
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    torch.set_num_threads(settings.threads)
    _as_timed(settings.device)
    return Report(question, command, date, environment(settings.device), packages(), sizes)


def _as_timed(device: str) -> None:
    """Disable TensorFloat-32 on GPUs, to which float32 would be rounded, and let cuDNN choose among its algorithms."""
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = True


@dataclass(frozen=True)
class Entry:
    """A candidate that has not been made yet."""

    variant: str
    make: Callable[[], Candidate]


def variant_entries(case: Case, names: Sequence[str], inference: bool, make: MakeCandidate) -> list[Entry]:
    """Make an entry for each named variant of a case. ``make(name, runnable, case)`` returns its candidate."""

    def entry(name: str) -> Entry:
        def build() -> Candidate:
            runnable, suited = VARIANTS[name].build(case, inference)
            return make(name, runnable, suited)

        return Entry(name, build)

    return [entry(name) for name in names]


MakeCandidate = Callable[[str, Runnable, Case], Candidate]


def compare(
    to: Report,
    case: Case,
    what: str,
    entries: Sequence[Entry],
    expected: Sequence[Tensor],
    settings: Settings,
    relative_to: str = "fused",
    limit: float | None = None,
    gauge: Callable[[], float] | None = None,
    extra: Callable[[str, list[float], list[float]], dict[str, float]] | None = None,
) -> None:
    """Check every entry against the expected result, time those that can run, and add their records to the report.

    Args:
        to: the report.
        case: the case, which gives name, sizes and dtype.
        what: the pass.
        entries: the candidates, including ``relative_to``.
        expected: the result of the reference for this pass.
        settings: number of rounds, warm-up runs and time budget, and the variants to omit.
        relative_to: the variant by whose time the times of all are divided.
        limit: limit of the relative L2 difference. By default that of
            :data:`lite_rtse_ext.benchmark.operators.LIMITS`.
        gauge: see :func:`lite_rtse_ext.benchmark.timing.measure`.
        extra: computes further results of a variant from its seconds and the values of the gauge in each round.

    Raises:
        WrongResult: a candidate differs by more than the limit.
    """
    limit = LIMITS[what] if limit is None else limit
    ready: list[Candidate] = []
    differences = {}
    for entry in entries:
        if entry.variant in settings.without:
            to.miss(f"{entry.variant}: left out, as asked")
            continue
        try:
            candidate = entry.make()
        except CannotRun as error:
            to.miss(f"{entry.variant}: {error}")
            continue
        differences[entry.variant] = check(candidate, expected, limit, f"{case.name}, {what}")
        ready.append(candidate)
    times = measure(ready, settings.rounds, settings.warm_up, settings.budget_s, gauge, device=case.device)
    for candidate in ready:
        name = candidate.name
        further = extra(name, times.seconds[name], times.gauge) if extra else {}
        to.records.append(timed(candidate, case, what, times, relative_to, differences[name], limit, further))


def timed(
    candidate: Candidate,
    case: Case,
    what: str,
    times: Rounds,
    relative_to: str,
    difference: float,
    limit: float,
    extra: dict[str, float],
) -> Record:
    """Make the record of one candidate from its rounds."""
    return Record(
        case=case.name,
        what=what,
        variant=candidate.name,
        dtype=str(case.output_gradient.dtype).removeprefix("torch."),
        batch=case.output_gradient.shape[0],
        frames=case.output_gradient.shape[2],
        threads=candidate.threads or torch.get_num_threads(),
        rounds=len(times.seconds[candidate.name]),
        ms=times.milliseconds(candidate.name),
        relative=times.ratio(candidate.name, relative_to),
        relative_to=relative_to,
        difference=difference,
        limit=limit,
        extra=extra,
    )


def parse(
    description: str, arguments: Sequence[str] | None = None, devices: Sequence[str] = ("cpu", "cuda"), **defaults: Any
) -> Settings:
    """Read the settings from the command line. All benchmarks have the same options.

    Args:
        description: description in the help text.
        arguments: the arguments; by default those of the process.
        devices: the devices that this benchmark supports.
        defaults: defaults of the benchmark that differ from those of :class:`Settings`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    base = Settings(**defaults)
    helps = {
        "batch": "utterances at a time",
        "frames": "frames of 16 ms each",
        "threads": "CPU threads",
        "rounds": "interleaved timings of each variant",
        "warm_up": "untimed runs before",
        "budget_s": "no new round of a comparison begins after so many seconds",
        "results": "folder for JSON and plots",
    }
    for name, text in helps.items():
        value = getattr(base, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path if name == "results" else type(value),
                            default=value, help=text)  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default=base.device, help="what is timed")
    parser.add_argument("--without", nargs="+", choices=[v for v in VARIANTS if v not in ("fused", "eager")],
                        default=[], help="baselines to leave out")  # fmt: skip
    settings = Settings(**vars(parser.parse_args(arguments)))
    if settings.device not in devices:
        parser.error("--device cuda: this question is about the CPU alone")
    if settings.device == "cuda" and not (torch.cuda.is_available() and ops.has_cuda()):
        lacks = "lite_rtse_ext was built without CUDA" if torch.cuda.is_available() else "there is no CUDA GPU here"
        parser.error(f"--device cuda: {lacks}")
    return settings
