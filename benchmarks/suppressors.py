"""What comes with the package beside what is used today: ``python -m benchmarks.suppressors DATA/manifest.json``.

The same mixtures, the same metrics, a thread each. A suppressor is taken as it comes, at the rate and in the pieces it
wants; what it delays is measured on clean speech and taken back. That is fair to SI-SNR as far as a delay is all it
does to the phase: WebRTC's high-pass turns it, too, and SI-SNR counts that as error, PESQ and STOI do not.

None of these was made for the mixtures' noises, nor for one another's: RNNoise was trained on hours of speech and noise
at 48 kHz; WebRTC's and Speex's estimate the noise; noisereduce looks at the recording as a whole, ahead too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from benchmarks import artefacts, show
from benchmarks.artefacts import Artefacts
from lite_rtse_ext.audio.stft import SAMPLE_RATE_HZ
from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.dataset import FixedExamples
from lite_rtse_ext.evaluate.metrics import METRICS, UNITS, measure
from lite_rtse_ext.evaluate.models import load_model
from lite_rtse_ext.evaluate.run import enhance
from lite_rtse_ext.evaluate.summary import Mean
from lite_rtse_ext.files import replacing
from lite_rtse_ext.pretrained import pretrained_path

RESULTS = Path(__file__).parent / "results"
_Samples = NDArray[np.float32]
_LONGEST_DELAY = SAMPLE_RATE_HZ // 10
"""As much silence follows a recording."""

_HEADROOM = np.float32(2)
"""RNNoise's binding cuts what comes out to 16 bits without a limit, so that a peak beyond full scale would wrap around.
Taking 6 dB off and putting them back afterwards changes its own mean gain by 0.04 dB."""


# --- suppressors: a waveform at 16 kHz in, one out, delayed by however much -------------------------------------------


_Suppress = Callable[[_Samples], _Samples]


def _lite_rtse(path: Path) -> _Suppress:
    model = load_model(path)
    return lambda noisy: enhance(model, torch.from_numpy(noisy)).numpy()


def _rnnoise(noisy: _Samples) -> _Samples:
    from pyrnnoise import rnnoise

    pieces = _pieces(soxr.resample(noisy, SAMPLE_RATE_HZ, rnnoise.SAMPLE_RATE) / _HEADROOM, rnnoise.FRAME_SIZE)
    state = rnnoise.create()
    try:
        done = [rnnoise.process_mono_frame(state, piece)[0] for piece in pieces]
    finally:
        rnnoise.destroy(state)
    out = _HEADROOM * _from_int16(np.concatenate(done))
    return np.asarray(soxr.resample(out, rnnoise.SAMPLE_RATE, SAMPLE_RATE_HZ))


def _webrtc(noisy: _Samples) -> _Samples:
    from webrtc_noise_gain import AudioProcessor

    processor = AudioProcessor(0, 2)  # no gain control; moderate suppression
    done = [processor.Process10ms(piece.tobytes()).audio for piece in _pieces(noisy, SAMPLE_RATE_HZ // 100)]
    return _from_int16(np.frombuffer(b"".join(done), np.int16))


def _speex(noisy: _Samples) -> _Samples:
    from speexdsp_ns import NoiseSuppression

    frame = 256
    processor = NoiseSuppression.create(frame, SAMPLE_RATE_HZ)
    done = [processor.process(piece.tobytes()) for piece in _pieces(noisy, frame)]
    return _from_int16(np.frombuffer(b"".join(done), np.int16))


def _noisereduce(noisy: _Samples) -> _Samples:
    import noisereduce

    return np.asarray(noisereduce.reduce_noise(y=noisy, sr=SAMPLE_RATE_HZ, stationary=False), np.float32)


SUPPRESSORS: dict[str, _Suppress] = {
    "RNNoise": _rnnoise,
    "WebRTC": _webrtc,
    "Speex": _speex,
    "noisereduce": _noisereduce,
}
"""By name, beside the package's own."""

OWN = "Lite-RTSE"


def _pieces(samples: _Samples, size: int) -> NDArray[np.int16]:
    """Whole pieces of 16-bit samples, ``(pieces, size)``, the last one filled up."""
    padded = np.pad(samples, (0, -len(samples) % size))
    return np.round(np.clip(padded, -1, 1) * 32767).astype(np.int16).reshape(-1, size)


def _from_int16(samples: NDArray[np.int16]) -> _Samples:
    return np.asarray(samples.astype(np.float32) / np.float32(32768))


def delay(suppress: _Suppress, clean: _Samples) -> int:
    """By how many samples what comes out is late: where it is most like the clean speech that goes in.

    Raises:
        ValueError: that is not within the longest delay that is reckoned with.
    """
    out = suppress(np.pad(clean, (0, _LONGEST_DELAY)))
    size = len(out) + len(clean)
    alike = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(clean, size)), size)
    late = int(np.argmax(np.abs(alike)))
    if late >= _LONGEST_DELAY:
        raise ValueError(f"delay: {late} samples, must be less than {_LONGEST_DELAY}")
    return late


def run(suppress: _Suppress, noisy: _Samples, late: int) -> _Samples:
    """What comes out, in time with what went in."""
    out = suppress(np.pad(noisy, (0, _LONGEST_DELAY)))[late:]
    return np.pad(out, (0, max(0, len(noisy) - len(out))))[: len(noisy)]


# --- the question -----------------------------------------------------------------------------------------------------


class _Worker:
    """What a process keeps between recordings."""

    examples: FixedExamples
    suppressors: dict[str, _Suppress]
    late: dict[str, int]


def _start(manifest: Path, split: str, model: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    _Worker.examples = FixedExamples(Manifest.load(manifest), split)
    every = {OWN: _lite_rtse(model), **SUPPRESSORS}
    _Worker.suppressors = {name: every[name] for name in names}
    clean = _Worker.examples[0].clean.numpy()
    _Worker.late = {name: delay(suppress, clean) for name, suppress in _Worker.suppressors.items()}


def _judge(index: int) -> dict[str, dict[str, float]]:
    """What each suppressor gains on a mixture, and what is left behind."""
    noisy, clean = (waveform.numpy() for waveform in _Worker.examples[index])
    before = {name: measure(name, noisy, clean) for name in METRICS}
    found = {}
    for name, suppress in _Worker.suppressors.items():
        enhanced = run(suppress, noisy, _Worker.late[name])
        gains = {metric: measure(metric, enhanced, clean) - before[metric] for metric in METRICS}
        found[name] = {**gains, **artefacts.count(noisy, clean, enhanced)._asdict()}
    return found


def available(missing: list[str]) -> list[str]:
    """Names of what can be run here; for what can't, a line in ``missing``."""
    silence, names = np.zeros(SAMPLE_RATE_HZ, np.float32), [OWN]
    for name, suppress in SUPPRESSORS.items():
        try:
            suppress(silence)
        except ModuleNotFoundError as error:
            missing.append(f"{name}: {error.name} is not installed: pip install 'lite-rtse-ext[suppressors]'")
        else:
            names.append(name)
    return names


def compare(manifest: Path, split: str, model: Path, names: list[str], jobs: int) -> list[dict[str, dict[str, float]]]:
    """For each mixture of the split, in the manifest's order: figures by suppressor.

    Raises:
        OSError, ManifestError, CheckpointError, AudioError: what is wrong with data or model.
        MetricError: a metric can't be computed for a mixture.
    """
    count = len(FixedExamples(Manifest.load(manifest), split))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, count), context, _start, (manifest, split, model, names)) as pool:
        return list(pool.map(_judge, range(count)))


def table(found: list[dict[str, dict[str, float]]]) -> str:
    """Means over all mixtures: gains with their 95 % confidence intervals, and artefacts."""
    heads = [f"{unit}, gain" for unit in UNITS.values()]
    rows = [["", *heads, "pauses softer by", "restless", "holes < 2 kHz", "> 2 kHz"]]
    for name in found[0]:
        cells = [name]
        for metric, digits in zip(METRICS, (2, 2, 3), strict=True):
            mean = Mean.of([each[name][metric] for each in found])
            cells.append(f"{mean.value:+.{digits}f} ± {mean.value - mean.low:.{digits}f}")
        softer, restless, *holes = (
            float(np.nanmean([each[name][kind] for each in found])) for kind in Artefacts._fields
        )
        rows.append([*cells, f"{softer:.1f} dB", f"{restless:.1f}", *(f"{share:.0f} %" for share in holes)])
    return show.grid(rows)


def _finite(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """JSON has no NaN."""
    return {
        name: {kind: value if np.isfinite(value) else None for kind, value in each.items()}
        for name, each in figures.items()
    }


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {number}")
    return number


def main() -> None:
    """Ask the question, print and write the answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", type=Path, help="a checkpoint instead of what comes with the package")
    parser.add_argument("--split", default="test")
    parser.add_argument("--jobs", type=_at_least_one, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    missing: list[str] = []
    names = available(missing)
    try:
        found = compare(options.manifest, options.split, options.model or pretrained_path(), names, options.jobs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    entries = FixedExamples(Manifest.load(options.manifest), options.split).entries
    rows: list[dict[str, Any]] = [
        {"name": entry.name, "noise": entry.label, "snr_db": entry.snr_db, "figures": _finite(figures)}
        for entry, figures in zip(entries, found, strict=True)
    ]
    print("\n".join([table(found), *missing]))
    options.results.mkdir(parents=True, exist_ok=True)
    with replacing(options.results / "suppressors.json") as temporary:
        text = json.dumps({"missing": missing, "mixtures": rows}, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
