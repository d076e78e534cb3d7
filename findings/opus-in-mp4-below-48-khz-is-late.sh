#!/usr/bin/env bash
# FFmpeg: Opus in MP4 comes back late where the recording had less than 48 kHz: by 4.3 ms from 16 kHz.
#
# One would guess: MP4, WebM and Ogg say how much the coder put in front (6.5 ms), and FFmpeg takes that away. So the
# same Opus stream is in time from each of them.
# What happens: from WebM and Ogg it is. In MP4 the edit list has it in samples of the recording's rate, 104 at 16 kHz.
# Opus is decoded at 48 kHz, and there 104 samples are taken away instead of 312. What is left in front is 4.3 ms from
# 16 kHz, 5.4 ms from 8 kHz, and nothing from 48 kHz. Only the time stamp of the first frame tells: it is negative. Who
# joins the frames has late sound, and metrics that compare samples, such as SI-SNR, fall with it.
#
# Versions: av 18.1.0 with FFmpeg 8.1.2, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   8 kHz: ogg 0.0 ms late, webm 0.0 ms late, mp4 5.4 ms late, which begins at -5.4 ms
#   16 kHz: ogg 0.0 ms late, webm 0.0 ms late, mp4 4.3 ms late, which begins at -4.3 ms
#   24 kHz: ogg 0.0 ms late, webm 0.0 ms late, mp4 3.2 ms late, which begins at -3.2 ms
#   48 kHz: ogg 0.0 ms late, webm 0.0 ms late, mp4 0.0 ms late, which begins at 0.0 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io
import sys

import av
import numpy as np

SECONDS, OPUS_RATE = 2, 48000


def sound(rate):
    """The same noise between 200 and 3000 Hz at any rate."""
    random, lines = np.random.default_rng(0), np.zeros(rate * SECONDS // 2 + 1, complex)
    band = slice(200 * SECONDS, 3000 * SECONDS)
    size = band.stop - band.start
    lines[band] = random.standard_normal(size) + 1j * random.standard_normal(size)
    samples = np.fft.irfft(lines, rate * SECONDS)
    return (0.1 * samples / samples.std()).astype(np.float32)


def written(samples, rate, container):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("libopus", rate=rate, layout="mono", bit_rate=64000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def read(data):
    """The joined samples and the time in ms at which the first frame begins."""
    with av.open(io.BytesIO(data)) as source:
        frames = list(source.decode(audio=0))
    assert all(frame.sample_rate == OPUS_RATE for frame in frames)
    begin = 1000 * float(frames[0].pts * frames[0].time_base)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), begin


def late_ms(output, wanted):
    size = 2 * max(len(output), len(wanted))
    correlation = np.fft.irfft(np.fft.rfft(output, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return 1000 * (int(np.argmax(np.roll(correlation, size // 2))) - size // 2) / OPUS_RATE


as_described = True
for rate in (8000, 16000, 24000, 48000):
    samples, parts = sound(rate), []
    for container in ("ogg", "webm", "mp4"):
        output, begin = read(written(samples, rate, container))
        late = late_ms(output, sound(OPUS_RATE))
        parts.append(f"{container} {late:.1f} ms late")
        left = 6.5 - 6.5 * rate / OPUS_RATE if container == "mp4" else 0
        as_described &= abs(late - left) < 0.1
    print(f"{rate // 1000} kHz: {', '.join(parts)}, which begins at {begin:.1f} ms")
if not as_described:
    sys.exit("changed: Opus from MP4 is in time, or late by another amount")
PYTHON
