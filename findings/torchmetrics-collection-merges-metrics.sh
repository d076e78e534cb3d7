#!/usr/bin/env bash
# torchmetrics: in a MetricCollection, STOI and extended STOI become one number for good if the first clip is short.
#
# One would guess: each metric of a collection gives what it gives alone. compute_groups only saves work.
# What happens: after the first update the collection compares the metrics' sums. Those that are equal get one state
# from then on, and only the first metric by name is updated. pystoi gives 1e-5, plain or extended, for a clip with
# less than 384 ms of speech. So a first clip of 0.2 s joins the two, and both then show the extended one. Likewise
# SI-SDR with and without zero_mean are joined by a first clip without offset: an offset in all the others then counts
# in both. There is no warning. Give compute_groups=False, or call the metrics one by one.
#
# Versions: torchmetrics 1.9.0, pystoi 0.4.1, torch 2.14.1, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   a clip of 0.2 s last: estoi 0.49, stoi 0.68
#   a clip of 0.2 s first: estoi 0.49, stoi 0.49
#   a clip of 0.2 s first, without groups: estoi 0.49, stoi 0.68
#   a clip without offset last: offset_counts -0.43, zero_mean 7.08
#   a clip without offset first: offset_counts -0.43, zero_mean -0.43
#   a clip without offset first, without groups: offset_counts -0.43, zero_mean 7.08
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torchmetrics==1.9.0 pystoi==0.4.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import torch
from torchmetrics import MetricCollection
from torchmetrics.audio import ScaleInvariantSignalDistortionRatio, ShortTimeObjectiveIntelligibility


def voice(rate: int = 16000) -> np.ndarray:
    """Four seconds of a made voice: harmonics of 95 to 145 Hz, in syllables."""
    t = np.arange(4 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * (1.1 + 0.3 * k) * t)) for k in range(1, 30))
    return (0.03 * tone * np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, None)).astype(np.float32)


def figures(make: dict, clips: list, **options: object) -> dict[str, float]:
    """The means over the clips by one collection."""
    metrics = MetricCollection({name: build() for name, build in make.items()}, **options)
    for estimate, target in clips:
        metrics.update(estimate, target)
    return {name: round(value.item(), 2) for name, value in metrics.compute().items()}


clean = torch.from_numpy(voice())[None]
clean -= clean.mean()
noise = 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
noisy = clean + noise - noise.mean()
rest = [(noisy, clean)] * 3
stoi = {
    "estoi": lambda: ShortTimeObjectiveIntelligibility(16000, extended=True),
    "stoi": lambda: ShortTimeObjectiveIntelligibility(16000),
}
si_sdr = {
    "offset_counts": lambda: ScaleInvariantSignalDistortionRatio(),
    "zero_mean": lambda: ScaleInvariantSignalDistortionRatio(zero_mean=True),
}
short = (noisy[:, 10000:13200], clean[:, 10000:13200])
as_described = True
for title, make, first, others in (
    ("a clip of 0.2 s", stoi, short, rest),
    ("a clip without offset", si_sdr, (noisy, clean), [(noisy + 0.03, clean)] * 3),
):
    last, begun = figures(make, [*others, first]), figures(make, [first, *others])
    alone = figures(make, [first, *others], compute_groups=False)
    for note, found in (("last", last), ("first", begun), ("first, without groups", alone)):
        print(f"{title} {note}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    one, other = begun.values()
    as_described &= one == other and last == alone
    as_described &= abs(max(last.values()) - min(last.values())) > 0.1
if not as_described:
    sys.exit("changed: each metric of a collection has its own value")
PYTHON
