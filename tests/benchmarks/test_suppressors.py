"""Suppressors side by side: delays are taken back, artefacts counted, what is not installed is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import artefacts, suppressors
from lite_rtse_ext.data.mixing import band_limit
from lite_rtse_ext.pretrained import pretrained_path
from tests.data.corpus import RATE_HZ, clip_samples, make_corpus

pytest.importorskip("pesq")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def speech() -> np.ndarray:
    """Two seconds of speech, and a pause."""
    return np.pad(clip_samples("it-dir-instr")[: 2 * RATE_HZ], (0, RATE_HZ)).astype(np.float32)


def late_and_softer(noisy: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(123, np.float32), 0.5 * noisy])


def test_a_delay_is_measured_and_taken_back(speech: np.ndarray) -> None:
    assert suppressors.delay(late_and_softer, speech) == 123
    assert suppressors.delay(lambda x: x, speech) == 0
    out = suppressors.run(late_and_softer, speech, 123)
    np.testing.assert_array_equal(out, 0.5 * speech)
    assert len(suppressors.run(lambda x: x[:100], speech, 0)) == len(speech)


def test_a_delay_beyond_reckoning_is_an_error(speech: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"delay: 2000 samples, must be less than 1600"):
        suppressors.delay(lambda x: np.pad(x, (2000, 0)), speech)


@pytest.mark.parametrize("name", suppressors.SUPPRESSORS)
def test_a_suppressor_gives_speech_back(name: str, speech: np.ndarray) -> None:
    """Loud enough that RNNoise's 16-bit output would wrap around."""
    if name not in suppressors.available([]):
        pytest.skip(f"{name} is not installed")
    loud = speech / np.abs(speech).max()
    suppress = suppressors.SUPPRESSORS[name]
    out = suppressors.run(suppress, loud, suppressors.delay(suppress, loud))
    spectra = [np.abs(np.fft.rfft(side.reshape(-1, 480))).ravel() for side in (out, loud)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--jobs", "0"], "must be at least 1, but is 0"), ([], "manifest.json")]
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["suppressors", str(tmp_path / "manifest.json"), *arguments])
    monkeypatch.setattr(suppressors, "SUPPRESSORS", {})
    with pytest.raises(SystemExit) as end:
        suppressors.main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_pieces_hold_all_samples() -> None:
    samples = np.linspace(-1.5, 1.5, 1000).astype(np.float32)
    pieces = suppressors._pieces(samples, 480)
    assert pieces.shape == (3, 480)
    back = suppressors._from_int16(pieces.reshape(-1))
    np.testing.assert_allclose(back[:1000], np.clip(samples, -1, 1), atol=1e-4)
    assert not back[1000:].any()


def test_artefacts_of_what_does_nothing(speech: np.ndarray) -> None:
    noisy = speech + np.random.default_rng(0).normal(0, 0.003, len(speech)).astype(np.float32)
    found = artefacts.count(noisy, speech, noisy)
    assert found.softer_db == 0
    assert found.restless == 1
    assert (found.bass_holes, found.treble_holes) == (0, 0)


def test_artefacts_are_seen(speech: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.003, len(speech)).astype(np.float32)
    noisy = speech + noise
    softer = artefacts.count(noisy, speech, speech + 0.1 * noise)
    assert softer.softer_db == pytest.approx(20, abs=0.1)
    assert softer.restless == pytest.approx(1, abs=0.05)
    # On for a third of the time: the same power there, so three times the kurtosis over all of it.
    gate = (np.arange(len(speech)) // (RATE_HZ // 10) % 3 == 0).astype(np.float32)
    assert artefacts.count(noisy, speech, speech + gate * noise).restless > 2
    part_gone = noisy.copy()
    part_gone[: RATE_HZ // 2] *= 0.1
    found = artefacts.count(noisy, speech, part_gone)
    assert 3 < found.bass_holes < 50
    assert 3 < found.treble_holes < 50
    softer = artefacts.count(noisy, speech, 0.1 * noisy)
    assert (softer.bass_holes, softer.treble_holes) == (0, 0)
    without_treble = artefacts.count(noisy, speech, band_limit(noisy, 2000.0))
    assert without_treble.bass_holes == 0
    assert without_treble.treble_holes > 80


def test_without_pauses_there_is_nothing_to_say_of_them(speech: np.ndarray) -> None:
    steady = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    found = artefacts.count(steady, steady, steady)
    assert np.isnan([found.softer_db, found.restless]).all()


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppressors, "SUPPRESSORS", {"here": lambda x: x, "WebRTC": suppressors._webrtc})
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    missing: list[str] = []
    assert suppressors.available(missing) == [suppressors.OWN, "here"]
    assert missing == ["WebRTC: webrtc_noise_gain is not installed: pip install 'lite-rtse-ext[suppressors]'"]


def test_gains_are_over_the_noisy_input(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suppressors.SUPPRESSORS, "late", late_and_softer)
    suppressors._start(manifest, "test", pretrained_path(), [suppressors.OWN, "late"])
    found = [suppressors._judge(index) for index in range(2)]
    assert suppressors._Worker.late == {suppressors.OWN: 0, "late": 123}
    for figures in found:
        assert figures["late"]["si_snr"] == pytest.approx(0, abs=1e-4)  # which is blind to level
        assert figures["late"]["stoi"] == pytest.approx(0, abs=1e-4)
        assert figures["late"]["softer_db"] == pytest.approx(6.02, abs=0.01)
    assert any(figures[suppressors.OWN]["si_snr"] > 0 for figures in found)
    lines = suppressors.table(found).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [suppressors.OWN, "late"]


def test_the_command_writes_what_it_prints(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suppressors, "SUPPRESSORS", {})
    monkeypatch.setattr(sys, "argv", ["suppressors", str(manifest), "--jobs", "1", "--results", str(tmp_path)])
    suppressors.main()
    written = json.loads((tmp_path / "suppressors.json").read_text())
    assert [row["name"] for row in written["mixtures"]] == ["test-0", "test-1"]
    assert all(set(row["figures"]) == {suppressors.OWN} for row in written["mixtures"])
    assert suppressors.OWN in capsys.readouterr().out
