#!/usr/bin/env bash
# soundfile reads a fifth of an MP3 file and says nothing.
#
# One would guess: an MP3 file that is whole is read whole. A tag with its length (Xing) is optional in the format.
# What happens: if the bit rate varies and the tag is missing, libsndfile takes an estimate of the length for the
# length. The estimate takes the file's first frames for typical ones. Where the file begins with loud sound and goes
# on quietly, it is too small. sf.info reports it, and sf.read stops there, with no exception.
# FFmpeg decodes all samples of the same file. With the tag, soundfile does too. Recorded streams lack the tag.
#
# Versions: soundfile 0.14.0 (libsndfile 1.2.2 in its wheel), PyAV 18.1.0, numpy 2.4.6. Date: 2026-11-28.
# Output seen:
#   written: 160000 samples
#   tag.mp3: sf.info 160000, sf.read 160000, FFmpeg 160000
#   no-tag.mp3: sf.info 32778, sf.read 32778, FFmpeg 161280
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import av
import numpy as np
import soundfile as sf

RATE, SECONDS = 16000, 10
time = np.arange(RATE * SECONDS) / RATE
noise = 0.3 * np.random.default_rng(0).standard_normal(time.size)
sound = np.where(time < 2, noise, 0.001 * np.sin(2 * np.pi * 200 * time))
samples = np.round(32767 * sound.clip(-1, 1)).astype(np.int16)


def write(name: str, tag: int) -> None:
    """Write the samples as an MP3 file of variable bit rate, with or without the tag."""
    with av.open(name, "w", options={"write_xing": str(tag)}) as file:
        quality = {"flags": "+qscale", "global_quality": str(4 * 118)}  # LAME's -V 4; FFmpeg counts in 1/118
        stream = file.add_stream("libmp3lame", rate=RATE, layout="mono", options=quality)
        stream.format = "s16p"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16p", layout="mono")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def decoded_by_ffmpeg(name: str) -> int:
    with av.open(name) as file:
        return sum(frame.samples for frame in file.decode(audio=0))


print(f"written: {len(samples)} samples")
read = {}
for name, tag in (("tag.mp3", 1), ("no-tag.mp3", 0)):
    write(name, tag)
    read[name] = len(sf.read(name)[0])
    print(f"{name}: sf.info {sf.info(name).frames}, sf.read {read[name]}, FFmpeg {decoded_by_ffmpeg(name)}")
as_described = (
    read["tag.mp3"] == len(samples)
    and read["no-tag.mp3"] < len(samples) // 2
    and decoded_by_ffmpeg("no-tag.mp3") >= len(samples)
)
if not as_described:
    sys.exit("changed: soundfile no longer loses samples, or loses them with the tag too")
PYTHON
