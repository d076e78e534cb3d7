#!/usr/bin/env bash
# samplerate's streaming Resampler loses the end of a signal, although the last block says end_of_input=True.
#
# One would guess: the last call returns all that is still in the filter, so that the blocks together are as long as
# the signal resampled at once. That is what the argument is for.
# What happens: a call returns no more samples than its own block makes at the new rate. What is left in the filter, up
# to 9 ms, is dropped. Calls with empty blocks after it return nothing. What is returned equals the beginning of the
# whole result to the bit, so that nothing but the length tells.
# Silence as long as the filter, given before the end, brings the rest out.
#
# Versions: samplerate 0.2.4, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   sinc_fastest: 16000 samples at once, 15981 in blocks, the same so far: True; 0 more from empty blocks
#   sinc_medium: 16000 samples at once, 15954 in blocks, the same so far: True; 0 more from empty blocks
#   sinc_best: 16000 samples at once, 15857 in blocks, the same so far: True; 0 more from empty blocks
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q samplerate==0.2.4 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import samplerate

RATIO, BLOCK = 16000 / 48000, 480
signal = np.random.default_rng(0).standard_normal(48000).astype(np.float32)
as_described = True
for kind in ("sinc_fastest", "sinc_medium", "sinc_best"):
    whole = samplerate.resample(signal, RATIO, kind)
    resampler = samplerate.Resampler(kind)
    blocks = [signal[begin : begin + BLOCK] for begin in range(0, len(signal), BLOCK)]
    parts = [resampler.process(block, RATIO) for block in blocks[:-1]]
    parts.append(resampler.process(blocks[-1], RATIO, end_of_input=True))
    streamed = np.concatenate(parts)
    rest = sum(len(resampler.process(np.zeros(0, np.float32), RATIO, end_of_input=True)) for _ in range(5))
    same = np.array_equal(streamed, whole[: len(streamed)])
    print(
        f"{kind}: {len(whole)} samples at once, {len(streamed)} in blocks, the same so far: {same};"
        f" {rest} more from empty blocks"
    )
    as_described &= len(whole) == 16000 and 10 < len(whole) - len(streamed) < 160 and same and rest == 0
if not as_described:
    sys.exit("changed: the end of the signal is returned, or other samples are")
PYTHON
