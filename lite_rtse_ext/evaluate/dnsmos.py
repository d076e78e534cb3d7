"""DNSMOS: opinion scores of a recording without a clean reference, by networks trained on listeners' ratings.

P.835 has three scales from 1 to 5: SIG for the speech, BAK for the background, and OVRL for the whole. P.808 has one
scale. The networks come with the package ``speechmos``.

How to read the scores:

- They depend on the level: the score of the same clean speech is 0.7 lower if it is 40 dB softer. So every recording
  is first scaled to a fixed level of its active parts. Scores of tools that do not do so differ.
- The networks rate digital silence above noisy speech. So silent recordings get no score here.
- They were trained on windows of 9.01 s. A shorter recording is repeated up to that length. A longer one is cut into
  windows that overlap by at least half and reach both ends. Its score is the mean over the windows. The published
  script takes one window per second, which costs four times as much.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lite_rtse_ext.evaluate.metrics import require_sound
from lite_rtse_ext.signal import SAMPLE_RATE_HZ

__all__ = ["OPINIONS", "Dnsmos", "at_active_level"]

_Samples = NDArray[np.float32]

OPINIONS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
"""Names of the scores."""

ACTIVE_LEVEL_DB = -26.0
"""Level of the active parts after scaling, in dB re full scale. This is the usual level of speech tests."""

_ACTIVE_RANGE_DB = 30.0
_FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
_WINDOW_SAMPLES = round(9.01 * SAMPLE_RATE_HZ)

_CALIBRATION = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
"""Published polynomials, highest power first. They map the outputs of the P.835 network to opinion scores."""

_MELS, _MEL_FFT, _MEL_HOP = 120, 321, 160


class Dnsmos:
    """The loaded networks. Each runs in one thread.

    Raises:
        ImportError: ``speechmos`` or ``onnxruntime`` is not installed.
    """

    def __init__(self) -> None:
        import onnxruntime

        folder = _package_folder() / "dnsmos_models"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._p835, self._p808 = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
        )
        self._mel_bank = _mel_bank()

    def __call__(self, samples: _Samples) -> dict[str, float]:
        """Compute the scores of a recording.

        Args:
            samples: the waveform, ``(samples,)``, float32, 16 kHz, of any length and level.

        Returns:
            The scores by the names in :data:`OPINIONS`.

        Raises:
            SilenceError: the recording is silent or constant.
        """
        require_sound(samples)
        found = [self._window(window) for window in _windows(at_active_level(samples))]
        return {name: float(np.mean([each[name] for each in found])) for name in OPINIONS}

    def _window(self, window: _Samples) -> dict[str, float]:
        raw = self._p835.run(None, {"input_1": window[None]})[0][0]
        scores = {name: np.polyval(fit, value) for (name, fit), value in zip(_CALIBRATION.items(), raw, strict=True)}
        mel = _log_mel(window[:-_MEL_HOP], self._mel_bank)
        return scores | {"dnsmos_p808": self._p808.run(None, {"input_1": mel[None]})[0][0][0]}


def at_active_level(samples: _Samples) -> _Samples:
    """Scale a waveform so that its active frames have a level of -26 dB re full scale.

    The frames are 20 ms long. A frame is active if its power is within 30 dB of the 95 % quantile of all frames. The
    level is the mean power of the active frames. The mean of the samples is subtracted first, so that an offset has no
    effect.
    """
    centered = samples.astype(np.float64) - samples.mean(dtype=np.float64)
    frames = np.pad(centered, (0, -len(centered) % _FRAME_SAMPLES)).reshape(-1, _FRAME_SAMPLES)
    power = np.square(frames).mean(axis=1)
    active = power[power >= np.quantile(power, 0.95, method="higher") * 10 ** (-_ACTIVE_RANGE_DB / 10)]
    scaled: _Samples = (centered * 10 ** (ACTIVE_LEVEL_DB / 20) / np.sqrt(active.mean())).astype(np.float32)
    return scaled


def _windows(samples: _Samples) -> list[_Samples]:
    """Cut windows of 9.01 s, evenly spaced from first to last sample. A short waveform is repeated to one window."""
    spare = len(samples) - _WINDOW_SAMPLES
    if spare <= 0:
        return [np.resize(samples, _WINDOW_SAMPLES)]
    count = 1 + -(-spare // (_WINDOW_SAMPLES // 2))
    starts = np.linspace(0, spare, count).round().astype(int)
    return [samples[start : start + _WINDOW_SAMPLES] for start in starts]


def _log_mel(samples: _Samples, bank: NDArray[np.float64]) -> _Samples:
    """Compute the mel spectrogram ``(frames, mels)`` in dB below its peak, scaled as the P.808 network expects it.

    The result is the same as librosa's. librosa needs up to 15 s to start in each process; this function does not.
    """
    padded = np.pad(samples.astype(np.float64), _MEL_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _MEL_FFT)[::_MEL_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_MEL_FFT) / _MEL_FFT)
    mel = np.square(np.abs(np.fft.rfft(frames * window))) @ bank.T
    level_db = 10 * np.log10(np.maximum(mel, 1e-10) / max(mel.max(), 1e-10))
    scaled: _Samples = ((np.maximum(level_db, -80) + 40) / 40).astype(np.float32)
    return scaled


def _mel_bank() -> NDArray[np.float64]:
    """Return triangular filters of equal area ``(mels, bins)`` on Slaney's mel scale.

    This scale is linear up to 1 kHz and logarithmic above.
    """
    linear_hz, log_step = 200 / 3, np.log(6.4) / 27
    top_mel = 15 + np.log(SAMPLE_RATE_HZ / 2 / 1000) / log_step
    mels = np.linspace(0, top_mel, _MELS + 2)
    edges_hz = np.where(mels < 15, linear_hz * mels, 1000 * np.exp(log_step * (mels - 15)))
    bins_hz = np.fft.rfftfreq(_MEL_FFT, 1 / SAMPLE_RATE_HZ)
    low, middle, high = (edges_hz[start : start + _MELS, None] for start in range(3))
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    bank: NDArray[np.float64] = np.maximum(triangles, 0) * 2 / (high - low)
    return bank


def _package_folder() -> Path:
    """Return the folder of ``speechmos``. It is not imported, as its code requires packages that are not needed here.

    Raises:
        ImportError: ``speechmos`` is not installed.
    """
    found = importlib.util.find_spec("speechmos")
    if found is None or found.origin is None:
        raise ImportError("DNSMOS needs speechmos: pip install 'lite-rtse-ext[eval]'")
    return Path(found.origin).parent
