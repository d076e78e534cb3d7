"""The package's network beside other noise suppressors: ``python -m benchmarks.suppressors DATA/manifest.json``.

All are measured on the same mixtures, with the same metrics, on one thread each. A suppressor runs as it is
distributed, at its own sample rate and block size. Its delay or advance is measured on clean speech and compensated.
With this compensation SI-SNR is fair if the suppressor changes the phase by a delay only. WebRTC's high-pass filter
changes the phase as well, which SI-SNR counts as an error. So WebRTC gets a second SI-SNR. Its reference is the clean
speech processed by WebRTC with the suppression switched off.

None of the suppressors was developed for the noises of the mixtures, nor for the data of another one. The cost is the
process time of the suppressor alone, including its Python wrapper. It is reported without a judgement, because other
load on the machine changes it.

If one output fails or is silent, only its own cells are missing. If a suppressor is not installed or ends its process,
its row is missing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soxr
import torch

from benchmarks import artifacts
from benchmarks.peers import PEERS, Peer, Process
from benchmarks.peers.alignment import LONGEST, in_time, lag
from benchmarks.peers.tools import Samples
from benchmarks.suppressors_table import Cell, Comparison, Row, tables, write_json
from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_waveform
from lite_rtse_ext.evaluate.dnsmos import Dnsmos
from lite_rtse_ext.evaluate.figures import figures
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.evaluate.metrics import MetricError, measure, require_noise
from lite_rtse_ext.evaluate.sources import ManifestSource
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.utils.cores import cores
from lite_rtse_ext.utils.workers import Lost, run_tasks

RESULTS = Path(__file__).parent / "results"
NOISY, OWN = "noisy", "Lite-RTSE"
LEVELS_DB = -20.0, 6.0
_PROBES = 3


@dataclass(frozen=True)
class Question:
    """What is compared, and on which data. Objects of this class can be pickled.

    Args:
        manifest: path of the manifest of the mixtures.
        split: name of the split.
        model: path of the weights of the package's network.
        peers: the other suppressors by name.
        opinions: whether to compute the DNSMOS scores.
    """

    manifest: Path
    split: str
    model: Path
    peers: Mapping[str, Peer]
    opinions: bool = True

    @property
    def names(self) -> list[str]:
        """Names of all rows except that of the noisy input."""
        return [OWN, *self.peers]

    def peer(self, name: str) -> Peer:
        """Return the suppressor of a row."""
        return own(self.model) if name == OWN else self.peers[name]


def own(model: Path) -> Peer:
    """Return the package's network, as ``lite-rtse enhance`` runs it."""
    return Peer(partial(_own, model))


def _own(path: Path, input_db: float = 0.0, limit_db: float | None = None) -> Process:
    """The package's network, with its input made louder and its output softer again, and with limited attenuation."""
    model, gain = load_model(path), 10 ** (input_db / 20)

    def process(noisy: Samples) -> Samples:
        louder = torch.from_numpy(noisy * np.float32(gain))
        enhanced = enhance_waveform(model, louder, segment_frames=SEGMENT_FRAMES, attenuation_limit_db=limit_db)
        return np.asarray(enhanced.numpy() / np.float32(gain), np.float32)

    return process


def variants(model: Path, limits_db: Sequence[float]) -> dict[str, Peer]:
    """The same network at other input levels, and with limits of the attenuation."""
    levels = {f"{OWN}, input {level:+g} dB": Peer(partial(_own, model, input_db=level)) for level in LEVELS_DB}
    limits = {f"{OWN}, at most {limit:g} dB": Peer(partial(_own, model, limit_db=limit)) for limit in limits_db}
    return levels | limits


class Suppressor:
    """A loaded suppressor. Called with a waveform at 16 kHz, it returns one, without compensation of its delay."""

    def __init__(self, peer: Peer, make: Callable[[], Process] | None = None) -> None:
        self._process, self._rate = (make or peer.make)(), peer.rate
        self.cpu_seconds = 0.0

    def __call__(self, samples: Samples) -> Samples:
        """Process a waveform ``(samples,)``. Silence is appended first, so that the end comes out despite a delay."""
        padded = soxr.resample(np.pad(samples, (0, LONGEST)), SAMPLE_RATE_HZ, self._rate)
        began = time.process_time()
        out = np.asarray(self._process(padded), np.float32)
        self.cpu_seconds = time.process_time() - began
        return np.asarray(soxr.resample(out, self._rate, SAMPLE_RATE_HZ), np.float32)


@dataclass(frozen=True)
class Delays:
    """Delays of a suppressor in samples: relative to its input, and relative to itself with suppression disabled."""

    behind_input: int
    behind_switched_off: int | None = None


class Probe:
    """Runs in a separate process. Called with the index of a row, it tries the suppressor and measures its delays."""

    def __init__(self, question: Question) -> None:
        torch.set_num_threads(1)
        self._question = question
        self._source = ManifestSource(question.manifest, question.split)

    def __call__(self, number: int) -> Delays | str:
        """Return the delays, or the reason why there are none."""
        peer = self._question.peer(self._question.names[number])
        try:
            suppressor = Suppressor(peer)
            off = Suppressor(peer, peer.switched_off) if peer.switched_off else None
        except ModuleNotFoundError as error:
            return f"{error.name} is not installed: {peer.install}"
        speech = [clean for clean in map(self._clean, range(len(self._source.entries))) if clean is not None][:_PROBES]
        outs = [suppressor(clean) for clean in speech]
        behind = _usual_lag(outs, speech)
        return Delays(behind) if off is None else Delays(behind, _usual_lag(outs, [off(clean) for clean in speech]))

    def _clean(self, index: int) -> Samples | None:
        try:
            _, clean = self._source.load(index)
        except (OSError, ValueError):  # reported when the mixture itself is processed
            return None
        return clean


def _usual_lag(outs: Sequence[Samples], references: Sequence[Samples]) -> int:
    """Return the median of the lags that can be measured.

    Raises:
        ValueError: no lag can be measured.
    """
    lags, faults = [], ["delay: expected speech to measure it with, got none that can be read"]
    for out, reference in zip(outs, references, strict=True):
        try:
            lags.append(lag(out, reference))
        except ValueError as error:
            faults.append(str(error))
    if not lags:
        raise ValueError(faults[-1])
    return statistics.median_low(lags)


class Judge:
    """Runs in a separate process. Called with the number of a cell, it computes the metrics of this cell.

    A cell is one mixture processed by one suppressor.
    """

    def __init__(self, question: Question, delays: Mapping[str, Delays]) -> None:
        torch.set_num_threads(1)
        self._question, self._delays = question, delays
        self._names = [NOISY, *delays]
        self._source = ManifestSource(question.manifest, question.split)
        self._dnsmos = Dnsmos() if question.opinions else None
        self._loaded: dict[str, tuple[Suppressor, Suppressor | None]] = {}

    def __call__(self, number: int) -> Cell:
        index, place = divmod(number, len(self._names))
        name = self._names[place]
        try:
            noisy, clean = self._source.load(index)
            assert clean is not None  # all entries of a manifest have one
            require_noise(noisy, clean)
        except (OSError, ValueError) as error:
            return Cell(errors=(f"the mixture: {error}",))
        return self._figures(noisy, noisy, clean) if name == NOISY else self._suppressed(name, noisy, clean)

    def _suppressed(self, name: str, noisy: Samples, clean: Samples) -> Cell:
        suppressor, off = self._suppressor(name)
        delays = self._delays[name]
        out = suppressor(noisy)
        if not np.isfinite(out).all():
            return Cell(errors=("what comes out is not finite",))
        enhanced = in_time(out, delays.behind_input, len(noisy))
        cell = self._figures(enhanced, noisy, clean)
        cell.figures["cpu"] = suppressor.cpu_seconds / (len(noisy) + LONGEST) * SAMPLE_RATE_HZ
        if off is not None and delays.behind_switched_off is not None and "si_snr" in cell.figures:
            aligned, reference = in_time(out, delays.behind_switched_off, len(noisy)), off(clean)[: len(noisy)]
            cell.figures["si_snr_switched_off"] = measure("si_snr", aligned, reference)
        return cell

    def _suppressor(self, name: str) -> tuple[Suppressor, Suppressor | None]:
        if name not in self._loaded:
            peer = self._question.peer(name)
            off = Suppressor(peer, peer.switched_off) if peer.switched_off else None
            self._loaded[name] = Suppressor(peer), off
        return self._loaded[name]

    def _figures(self, estimate: Samples, noisy: Samples, clean: Samples) -> Cell:
        try:
            found, errors = figures(estimate, clean, self._dnsmos)
        except MetricError as error:
            return Cell(errors=(str(error),))
        if estimate is not noisy:
            counted = artifacts.count(noisy, clean, estimate)._asdict()
            found |= {kind: value for kind, value in counted.items() if np.isfinite(value)}
        return Cell(found, errors)


def probe(question: Question, jobs: int) -> tuple[dict[str, Delays], list[str]]:
    """Return the delays of all suppressors that can run here, by name, and a line for each of the others."""
    delays, missing = {}, []
    outcomes = dict(run_tasks(partial(Probe, question), range(len(question.names)), jobs))
    for number, name in enumerate(question.names):
        outcome = outcomes[number]
        if isinstance(outcome, Delays):
            delays[name] = outcome
        else:
            missing.append(f"{name}: {outcome.reason if isinstance(outcome, Lost) else outcome}")
    return delays, missing


def compare(question: Question, jobs: int) -> Comparison:
    """Evaluate every mixture of the split with every suppressor that can run here.

    Raises:
        OSError, ValueError: the data or the package's weights are faulty.
    """
    entries = ManifestSource(question.manifest, question.split).entries
    load_model(question.model)
    delays, missing = probe(question, jobs)
    names = [NOISY, *delays]
    rows = [Row(entry.name, entry.label, entry.snr_db) for entry in entries]
    for number, outcome in run_tasks(partial(Judge, question, delays), range(len(names) * len(rows)), jobs):
        index, place = divmod(number, len(names))
        rows[index].cells[names[place]] = Cell(errors=(outcome.reason,)) if isinstance(outcome, Lost) else outcome
    late = {name: each.behind_input for name, each in delays.items()}
    return Comparison(names, rows, late, missing)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {number}")
    return number


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", type=Path, help="a checkpoint instead of what comes with the package")
    parser.add_argument("--split", default="test")
    parser.add_argument("--variants", action="store_true", help="also the network at other input levels")
    parser.add_argument("--limits", type=float, nargs="*", default=[], help="with limits of the attenuation in dB")
    parser.add_argument("--alone", action="store_true", help="leave the other suppressors out")
    parser.add_argument("--no-dnsmos", action="store_true", help="leave DNSMOS out, which takes most of the time")
    parser.add_argument("--jobs", type=_at_least_one, default=cores())
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        model = options.model or pretrained_path()
        others = variants(model, options.limits) if options.variants or options.limits else {}
        peers = others if options.alone else PEERS | others
        question = Question(options.manifest, options.split, model, peers, not options.no_dnsmos)
        comparison = compare(question, options.jobs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(tables(comparison, OWN, NOISY))
    options.results.mkdir(parents=True, exist_ok=True)
    write_json(comparison, options.results / "suppressors.json")


if __name__ == "__main__":
    main()
