"""Suppressors that estimate the noise without a trained network."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.tools import Process, Samples, from_int16, pieces
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["noisereduce", "speex", "webrtc", "webrtc_without_suppression"]

_SPEEX_SAMPLES = 128
"""8 ms. The caller of Speex chooses this length. With 256 samples it gains 0.7 dB less, at twice the delay."""

_MODERATE = 2


def speex() -> Process:
    """Make the Speex preprocessor."""
    from speexdsp_ns import NoiseSuppression

    def process(noisy: Samples) -> Samples:
        suppressor = NoiseSuppression.create(_SPEEX_SAMPLES, SAMPLE_RATE_HZ)
        done = [suppressor.process(piece.tobytes()) for piece in pieces(noisy, _SPEEX_SAMPLES)]
        return from_int16(np.frombuffer(b"".join(done), np.int16))

    return process


def webrtc() -> Process:
    """Make WebRTC's suppressor at moderate strength, without gain control. A high-pass filter precedes it."""
    return _webrtc(_MODERATE)


def webrtc_without_suppression() -> Process:
    """Make WebRTC's high-pass filter alone."""
    return _webrtc(0)


def _webrtc(level: int) -> Process:
    from webrtc_noise_gain import AudioProcessor

    def process(noisy: Samples) -> Samples:
        suppressor = AudioProcessor(0, level)
        done = [suppressor.Process10ms(piece.tobytes()).audio for piece in pieces(noisy, SAMPLE_RATE_HZ // 100)]
        return from_int16(np.frombuffer(b"".join(done), np.int16))

    return process


def noisereduce() -> Process:
    """Make non-stationary spectral gating. It is not causal: it processes the recording as a whole."""
    from noisereduce import reduce_noise

    return lambda noisy: np.asarray(reduce_noise(y=noisy, sr=SAMPLE_RATE_HZ, stationary=False), np.float32)
