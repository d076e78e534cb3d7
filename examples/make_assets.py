"""Make the figures and sounds of README and docs: a spectrogram, two bar charts, badges and two sound files.

    python examples/make_assets.py

The sounds and the spectrogram are made from the test clips in ``examples/clips``. The charts are made from
``benchmarks/results``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lite_rtse_ext import Streamer

ROOT = Path(__file__).parent.parent
CLIPS, RESULTS, ASSETS = ROOT / "examples/clips/test", ROOT / "benchmarks/results", ROOT / "docs/assets"
RATE_HZ, SECONDS, SNR_DB = 16_000, 4.0, 5.0
OURS, OTHERS = "#00796b", "#b0bec5"
BADGES = {"python": ("python", "≥ 3.10"), "torch": ("torch", "≥ 2.10"), "license": ("license", "MIT")}


def noisy_clip() -> NDArray[np.float64]:
    """Mix test speech with test noise at 5 dB SNR. Returns 4 s, ``(samples,)``, 16 kHz."""
    length = round(RATE_HZ * SECONDS)
    speech, noise = (
        np.resize(np.concatenate([sf.read(path)[0] for path in sorted((CLIPS / kind).glob("*.flac"))]), length)
        for kind in ("speech", "noise")
    )
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-SNR_DB / 20)
    return np.asarray(speech + gain * noise)


def draw_spectrogram(axes: Axes, samples: NDArray[Any], title: str) -> None:
    """Draw the spectrogram in dB, 0 to 8 kHz."""
    axes.specgram(samples, NFFT=512, Fs=RATE_HZ, noverlap=384, vmin=-120, vmax=-30, cmap="magma", rasterized=True)
    axes.set(title=title, ylabel="kHz", yticks=[0, 4000, 8000], yticklabels=["0", "4", "8"], xlim=(0.0, SECONDS))


def draw_bars(path: Path, title: str, unit: str, bars: dict[str, float]) -> None:
    """Draw horizontal bars and save them. The first one is this package's and has its own color."""
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    names, values = list(bars), list(bars.values())
    drawn = axes.barh(names, values, color=[OURS, *[OTHERS] * (len(bars) - 1)])
    axes.bar_label(drawn, fmt="%.3g", padding=3)
    axes.set(title=title, xlabel=unit, xlim=(0, 1.15 * max(values)))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def results(name: str) -> Any:
    """Load the JSON file of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def training_bars() -> dict[str, float]:
    """Return the median time of a training step by variant, in milliseconds."""
    names = {
        "fused": "lite-rtse-ext",
        "eager": "PyTorch",
        "channels_last": "PyTorch, channels_last",
        "compile channels_last": "torch.compile",
    }
    figures = results("table/x86_64_intel_r_xeon_r_processor_avx512")["figures"]
    (rows,) = (figure["records"] for what, figure in figures.items() if what.startswith("network, training step"))
    found = {row["variant"]: row["ms"]["p50"] for row in rows if row["ms"]}
    return {label: found[variant] for variant, label in names.items() if variant in found}


def frame_bars() -> dict[str, float]:
    """Return the median time of one frame by engine, in milliseconds, for engines that run one stream."""
    names = {"engine, float32": "lite-rtse-ext"}
    rows = [
        row for row in results("stream")["records"] if row["p50"] and row["streams"] == 1 and "int16" not in row["name"]
    ]
    return {names.get(row["name"], row["name"].removesuffix(", one frame")): row["p50"] for row in rows}


def draw_badge(path: Path, left: str, right: str) -> None:
    """Write a badge as SVG. Its text must agree with pyproject.toml."""
    width_left, width_right = 7 * len(left) + 12, 7 * len(right) + 12
    total = width_left + width_right
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{left}: {right}">'
        f'<rect width="{total}" height="20" rx="3" fill="#555"/>'
        f'<rect x="{width_left}" width="{width_right}" height="20" rx="3" fill="{OURS}"/>'
        '<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{width_left / 2}" y="14">{left}</text><text x="{width_left + width_right / 2}" y="14">{right}</text>'
        "</g></svg>\n",
        encoding="utf-8",
    )


def main() -> None:
    """Write all files to ``docs/assets``."""
    ASSETS.mkdir(exist_ok=True)
    noisy = noisy_clip()
    streamer = Streamer.from_pretrained()
    enhanced = np.concatenate([streamer.feed(noisy), streamer.flush()])
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    draw_spectrogram(above, noisy, "noisy")
    draw_spectrogram(below, enhanced, "enhanced")
    below.set_xlabel("s")
    figure.savefig(ASSETS / "spectrogram.png", dpi=80)
    for name, samples in (("noisy", noisy), ("enhanced", enhanced)):
        sf.write(ASSETS / f"{name}.wav", samples, RATE_HZ, subtype="PCM_16")
    draw_bars(ASSETS / "training.png", "Training step, 8 s of audio", "ms", training_bars())
    draw_bars(ASSETS / "frame.png", "One frame of 16 ms", "ms", frame_bars())
    for name, (left, right) in BADGES.items():
        draw_badge(ASSETS / f"{name}.svg", left, right)


if __name__ == "__main__":
    main()
