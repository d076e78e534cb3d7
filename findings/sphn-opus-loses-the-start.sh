#!/usr/bin/env bash
# sphn: an Opus file that write_opus makes has lost its first 74 ms for other readers. sphn's own reader has them, late.
#
# One would guess: a file of Opus gives back what was written, from the first sample on, up to the loss of the codec.
# What happens: the file's header says that a reader leaves out the first 3840 samples at 48 kHz. The encoder itself
# delays by 312, and write_opus puts no silence before the sound to make up for the rest. So a reader that keeps to the
# format, as libsndfile does, starts 74 ms into the sound: a first consonant is missing, and the file is 80 ms shorter.
# sphn.read_opus leaves out nothing, so it gives the whole sound, 6 ms late. A test with sphn alone finds next to
# nothing. The end is cut, too: what follows the last full frame of 20 ms is not written.
# Put 3528 samples of silence before the sound, at 48 kHz, and 40 ms behind it: other readers then have it in time.
#
# Versions: sphn 0.2.1, soundfile 0.14.0, numpy 2.4.6. Date: 2026-11-30.
# Output seen:
#   a sound of 1 s: the header says to leave out 3840 samples
#     soundfile: 44160 samples for 48000, 73.5 ms early
#     sphn: 48000 samples for 48000, 6.5 ms late
#   a sound of 3.01 s: the header says to leave out 3840 samples
#     soundfile: 140160 samples for 144480, 73.5 ms early
#     sphn: 144000 samples for 144480, 6.5 ms late
#   soundfile's own file: 144480 samples for 144480, 0.0 ms late
#   sphn's file of a sound with silence around it: 145920 samples for 144480, 0.1 ms early
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sphn==0.2.1 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import struct
import sys
from pathlib import Path

import numpy as np
import soundfile
import sphn

RATE = 48000


def voice(seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * 120 * time + 40 * np.sin(2 * np.pi * 0.7 * time)
    harmonics = sum(np.sin(k * phase) / np.sqrt(k) for k in range(1, 25))
    return (0.05 * harmonics * (1 + 0.5 * np.sin(2 * np.pi * 2.3 * time))).astype(np.float32)


def delay(found, wanted):
    """Samples by which found is later than wanted, up to 0.1 s, or earlier where negative."""
    size = 2 * (len(found) + len(wanted))
    correlation = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return int(np.argmax(np.roll(correlation, 4800)[:9600])) - 4800


def line(name, found, wanted):
    """Prints how the sound lies and returns its delay in milliseconds."""
    late = 1000 * delay(found, wanted) / RATE
    print(f"{name}: {len(found)} samples for {len(wanted)}, {abs(late):.1f} ms {'early' if late < 0 else 'late'}")
    return late


as_described = True
for seconds in (1, 3.01):
    sound = voice(seconds)
    sphn.write_opus("voice.opus", sound, RATE)
    header = Path("voice.opus").read_bytes()
    skip = struct.unpack_from("<H", header, header.index(b"OpusHead") + 10)[0]
    print(f"a sound of {seconds} s: the header says to leave out {skip} samples")
    other, own = soundfile.read("voice.opus")[0], sphn.read_opus("voice.opus")[0][0]
    as_described &= -75 < line("  soundfile", other, sound) < -72 and len(other) < len(sound) - 3800
    as_described &= 5 < line("  sphn", own, sound) < 8
soundfile.write("voice.opus", sound, RATE, format="OGG", subtype="OPUS")
as_described &= abs(line("soundfile's own file", soundfile.read("voice.opus")[0], sound)) < 1
padded = np.concatenate([np.zeros(3528, np.float32), sound, np.zeros(1920, np.float32)])
sphn.write_opus("voice.opus", padded, RATE)
repaired = soundfile.read("voice.opus")[0]
as_described &= abs(line("sphn's file of a sound with silence around it", repaired, sound)) < 0.1
as_described &= len(repaired) >= len(sound)
if not as_described:
    sys.exit("changed: the start is in the file")
PYTHON
