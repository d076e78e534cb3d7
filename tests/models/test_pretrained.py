"""The parameters that come with the package: they are there, and worth having."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner

from lite_rtse_ext import LiteRTSE, Streamer
from lite_rtse_ext.cli import main
from lite_rtse_ext.data.mixing import mix_at
from lite_rtse_ext.models import pretrained
from lite_rtse_ext.models.checkpoint import read_state_dict
from lite_rtse_ext.models.pretrained import pretrained_path
from lite_rtse_ext.train.loss import si_snr_db

CLIPS = Path(__file__).parents[2] / "examples" / "clips"


def clip(name: str) -> np.ndarray:
    samples: np.ndarray = sf.read(CLIPS / f"{name}.flac", dtype="float32")[0]
    return samples


@pytest.fixture(scope="module")
def model() -> LiteRTSE:
    return LiteRTSE.from_pretrained()


def test_they_are_finite_and_of_the_published_size(model: LiteRTSE) -> None:
    state = read_state_dict(pretrained_path())
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in state.values())
    assert sum(value.numel() for value in model.parameters()) == 1_559_245


@pytest.mark.parametrize(
    ("noise", "snr_db", "margin_db"), [("test/noise/stream", 0.0, 6.0), ("train/noise/coffee-shop", 5.0, 1.5)]
)
def test_they_beat_the_noisy_input(model: LiteRTSE, noise: str, snr_db: float, margin_db: float) -> None:
    """By so many dB SI-SNR, for a voice that training did not meet; nor did it meet the coffee shop."""
    clean = clip("test/speech/ru-vm-intro")
    noisy = torch.from_numpy(clean + mix_at(clean, np.resize(clip(noise), len(clean)), snr_db))
    target = torch.from_numpy(clean)
    assert float(si_snr_db(model.enhance(noisy), target) - si_snr_db(noisy, target)) > margin_db


def test_clean_speech_comes_through(model: LiteRTSE) -> None:
    clean = torch.from_numpy(clip("test/speech/ru-vm-intro"))
    assert float(si_snr_db(model.enhance(clean), clean)) > 20


def test_engine_and_command_line_use_them(model: LiteRTSE, tmp_path: Path) -> None:
    noisy = clip("test/speech/ru-vm-intro")[:16_000] + 0.1 * np.resize(clip("test/noise/stream"), 16_000)
    want = model.enhance(torch.from_numpy(noisy)).numpy()
    streamer = Streamer.from_pretrained()
    streamed = np.concatenate([streamer.feed(noisy), streamer.flush()])
    np.testing.assert_allclose(streamed, want, rtol=0, atol=1e-4)
    sf.write(tmp_path / "noisy.wav", noisy, 16_000, subtype="FLOAT")
    outcome = CliRunner().invoke(main, ["enhance", str(tmp_path / "noisy.wav"), str(tmp_path / "out.wav")])
    assert outcome.exit_code == 0, outcome.output
    np.testing.assert_allclose(sf.read(tmp_path / "out.wav", dtype="float32")[0], want, rtol=0, atol=1e-4)


def test_a_version_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_WEIGHTS", tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="no trained parameters come with this version"):
        LiteRTSE.from_pretrained()


def test_the_model_card_names_what_a_user_must_know() -> None:
    card = (pretrained_path().parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heading in ("Data", "Licences", "Recipe", "Figures", "Limits"):
        assert re.search(rf"^## {heading}$", card, re.MULTILINE), heading
    assert f"{1_559_245:,}" in card
