#!/usr/bin/env bash
# sphn: a resampled sound is late, by 11 to 64 ms. So is a file that is read at another rate than its own.
#
# One would guess: a function that resamples a whole sound keeps the time and the duration, as soxr, librosa and
# torchaudio do. The documentation names no delay.
# What happens: the delay of the resampler stays in the result, and the result ends on a whole block. Where no block is
# left for the delay, as below from 44.1 to 16 kHz, the end of the sound is missing. The two rates decide the delay.
# Equal rates have none. read(..., sample_rate=16000) resamples in the same way, and only where the file has another
# rate. So in a set of files with several rates the delay differs from file to file, and a clean target from one file
# does not fit the noisy sound from another. The SI-SNR of a sound against itself at the right time is far below 0 dB.
# Read at the file's own rate, and resample with another library.
#
# Versions: sphn 0.2.1, soundfile 0.14.0, numpy 2.4.6. Date: 2026-11-30.
# Output seen:
#   resample, 48000 to 16000 Hz: 10.7 ms late, 48222 samples for 48000, SI-SNR -27 dB
#   resample, 44100 to 16000 Hz: 15.0 ms late, 48000 samples for 48000, SI-SNR -22 dB
#   resample, 24000 to 16000 Hz: 21.4 ms late, 48564 samples for 48000, SI-SNR -19 dB
#   resample, 48000 to 24000 Hz: 10.7 ms late, 72192 samples for 72000, SI-SNR -27 dB
#   resample, 8000 to 16000 Hz: 64.0 ms late, 49152 samples for 48000, SI-SNR -39 dB
#   resample, 16000 to 48000 Hz: 32.0 ms late, 144384 samples for 144000, SI-SNR -25 dB
#   resample, 16000 to 16000 Hz: 0.0 ms late, 48000 samples for 48000, SI-SNR 99 dB
#   read at 16000 Hz, file of 16000 Hz: 0.0 ms late, 48000 samples for 48000
#   read at 16000 Hz, file of 44100 Hz: 15.0 ms late, 48000 samples for 48000
#   read at 16000 Hz, file of 48000 Hz: 10.7 ms late, 48222 samples for 48000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sphn==0.2.1 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import soundfile
import sphn


def voice(rate):
    """3 s of a voice-like sound below 4 kHz, given by a formula, so that it is known exactly at any rate."""
    time = np.arange(3 * rate) / rate
    phase = 2 * np.pi * 120 * time + 40 * np.sin(2 * np.pi * 0.7 * time)
    harmonics = sum(np.sin(k * phase) / np.sqrt(k) for k in range(1, 15))
    return (0.05 * harmonics * (1 + np.sin(2 * np.pi * 2.3 * time))).astype(np.float32)


def delay(found, wanted):
    """Samples by which found is later than wanted, up to 0.1 s of a sound at 48 kHz."""
    size = 2 * (len(found) + len(wanted))
    correlation = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return int(np.argmax(np.roll(correlation, 4800)[:9600])) - 4800


def si_snr(found, wanted):
    found = found[: len(wanted)].astype(np.float64)
    target = wanted * (found @ wanted / (wanted @ wanted))
    return 10 * np.log10(np.sum(target**2) / (np.sum((found - target) ** 2) + 1e-12))


as_described = True
downwards, upwards = [(48000, 16000), (44100, 16000), (24000, 16000), (48000, 24000)], [(8000, 16000), (16000, 48000)]
for source, target in [*downwards, *upwards, (16000, 16000)]:
    found, wanted = sphn.resample(voice(source)[None], source, target)[0], voice(target)
    late = 1000 * delay(found, wanted) / target
    print(
        f"resample, {source} to {target} Hz: {late:.1f} ms late, {len(found)} samples for {len(wanted)}, "
        f"SI-SNR {min(si_snr(found, wanted), 99):.0f} dB"
    )
    same = source == target
    as_described &= late == 0 and len(found) == len(wanted) if same else late > 2 and len(found) >= len(wanted)
    as_described &= same or si_snr(found, wanted) < 0
for source in (16000, 44100, 48000):
    soundfile.write("voice.wav", voice(source), source)
    found, wanted = sphn.read("voice.wav", sample_rate=16000)[0][0], voice(16000)
    late = 1000 * delay(found, wanted) / 16000
    print(f"read at 16000 Hz, file of {source} Hz: {late:.1f} ms late, {len(found)} samples for {len(wanted)}")
    as_described &= late == 0 if source == 16000 else late > 5
if not as_described:
    sys.exit("changed: the sound is in time")
PYTHON
