"""Suppressors side by side: delays are taken back, and what fails costs no more than its own cells."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import butter, sosfilt

pytest.importorskip("pesq", reason="the extra eval is not installed")

from benchmarks import suppressors
from benchmarks.peers import PEERS, Peer, Process
from benchmarks.peers.alignment import LONGEST, in_time, lag
from benchmarks.peers.tools import from_int16, pieces, shipped
from benchmarks.suppressors import NOISY, OWN
from benchmarks.suppressors_table import Cell, Comparison, Row, tables, write_json
from lite_rtse_ext.data import Manifest
from lite_rtse_ext.data.prepare.convert import write_flac
from lite_rtse_ext.models.pretrained import pretrained_path
from tests.data.prepare.corpus import RATE_HZ, clip_samples, make_corpus


def _is_first_mixture(samples: np.ndarray) -> bool:
    """Of the small corpus; its clean side, as long, has softer pauses."""
    return len(samples) == 87_320 + LONGEST and np.quantile(np.abs(samples), 0.2) > 0.01


def _late() -> Process:
    return lambda noisy: np.concatenate([np.zeros(123, np.float32), 0.5 * noisy]).astype(np.float32)


def _early() -> Process:
    return lambda noisy: noisy[77:]


def _mute() -> Process:
    return lambda noisy: noisy * np.float32(not _is_first_mixture(noisy))


def _deadly() -> Process:
    return lambda noisy: os.kill(os.getpid(), signal.SIGKILL) if _is_first_mixture(noisy) else noisy


def _dead() -> Process:
    os._exit(7)


def _refusing() -> Process:
    raise ValueError("no licence")


def _absent() -> Process:
    return __import__("no_such_package").process


def _high_pass(gain: float) -> Process:
    return lambda noisy: (gain * sosfilt(butter(2, 100, "hp", fs=RATE_HZ, output="sos"), noisy)).astype(np.float32)


STUBS = {
    "late": Peer(_late),
    "early": Peer(_early),
    "late at 48 kHz": Peer(_late, 48_000),
    "high-pass": Peer(partial(_high_pass, 0.5), switched_off=partial(_high_pass, 1.0)),
    "mute": Peer(_mute),
    "deadly": Peer(_deadly),
    "dead": Peer(_dead),
    "refusing": Peer(_refusing),
    "absent": Peer(_absent, install="pip install it"),
}


@pytest.fixture
def speech() -> np.ndarray:
    """Two seconds of speech, and a pause."""
    return np.pad(clip_samples("it-dir-instr")[: 2 * RATE_HZ], (0, RATE_HZ)).astype(np.float32)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """What the command prints and writes, with stubs for peers."""
    folder = tmp_path_factory.mktemp("corpus")
    manifest = make_corpus(folder)
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(suppressors, "PEERS", STUBS)
        patch.setattr("builtins.print", lines.append)
        patch.setattr(sys, "argv", ["", str(manifest), "--no-dnsmos", "--jobs", "1", "--results", str(folder)])
        suppressors.main()
    return "\n".join(lines), json.loads((folder / "suppressors.json").read_text())


@pytest.mark.parametrize("shift", [0, 1, 96, LONGEST - 1, -1, -96, -(LONGEST - 1)])
@pytest.mark.parametrize("order", [0, 2, 4])
def test_a_delay_is_measured_either_way(speech: np.ndarray, shift: int, order: int) -> None:
    """Also behind a high-pass, where the plain cross-correlation is wrong."""
    filtered = sosfilt(butter(order, 300, "hp", fs=RATE_HZ, output="sos"), speech) if order else speech
    moved = np.pad(filtered, (shift, 0)) if shift >= 0 else filtered[-shift:]
    assert lag(moved, speech) == shift
    back = in_time(moved, shift, len(speech))
    assert len(back) == len(speech)
    np.testing.assert_array_equal(back[LONGEST:], filtered[LONGEST:])


@pytest.mark.parametrize("shift", [LONGEST, 2000, -LONGEST, -9000])
def test_a_delay_beyond_reckoning_is_an_error(speech: np.ndarray, shift: int) -> None:
    moved = np.pad(speech, (shift, 0)) if shift >= 0 else speech[-shift:]
    with pytest.raises(ValueError, match=f"delay: expected less than {LONGEST} samples either way, got {shift}"):
        lag(moved, speech)


def test_silence_has_no_delay(speech: np.ndarray) -> None:
    with pytest.raises(ValueError, match="delay: expected sound, got silence"):
        lag(np.zeros_like(speech), speech)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_speech_back(name: str, speech: np.ndarray) -> None:
    """Loud enough that 16-bit outputs would wrap around."""
    peer, loud = PEERS[name], speech / np.abs(speech).max()
    try:
        suppressor = suppressors.Suppressor(peer)
    except ModuleNotFoundError as error:
        pytest.skip(f"{name}: {error.name} is not installed: {peer.install}")
    out = suppressor(loud)
    enhanced = in_time(out, lag(out, loud), len(loud))
    spectra = [np.abs(np.fft.rfft(side.reshape(-1, 480))).ravel() for side in (enhanced, loud)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9
    assert 0 < suppressor.cpu_seconds < 60
    np.testing.assert_array_equal(suppressor(loud), out)  # nothing is kept from call to call


def test_delays_are_taken_back(answer: tuple[str, dict]) -> None:
    late = answer[1]["late_samples"]
    assert late == {OWN: 0, "late": 123, "early": -77, "late at 48 kHz": 41, "high-pass": 0, "mute": 0, "deadly": 0}
    for row in answer[1]["mixtures"]:
        before = row["figures"][NOISY]
        for name in ("late", "early", "late at 48 kHz"):
            after = row["figures"][name]
            assert after["si_snr"] == pytest.approx(before["si_snr"], abs=0.2)
            assert after["stoi"] == pytest.approx(before["stoi"], abs=2e-3)
            assert after["cpu"] >= 0
        assert row["figures"]["late"]["noise_reduction_db"] == pytest.approx(6.02, abs=0.01)
    assert any(row["figures"][OWN]["si_snr"] > row["figures"][NOISY]["si_snr"] for row in answer[1]["mixtures"])


def test_a_high_pass_is_forgiven_by_the_second_figure(answer: tuple[str, dict]) -> None:
    for row in answer[1]["mixtures"]:
        figures = row["figures"]["high-pass"]
        assert figures["si_snr"] < figures["si_snr_switched_off"] - 0.3
        assert "si_snr_switched_off" not in row["figures"]["late"]
    assert "high-pass, against the clean speech through it with its suppression off: SI-SNR " in answer[0]


def test_what_fails_costs_its_own_cells(answer: tuple[str, dict]) -> None:
    text, content = answer
    first, second = content["mixtures"]
    assert first["errors"] == {
        "mute": ["the estimate is silent, or constant"],
        "deadly": ["its process died (SIGKILL)"],
    }
    assert second["errors"] == {}
    for name in ("mute", "deadly"):
        assert first["figures"][name].keys() <= {"cpu"}
        assert second["figures"][name]["si_snr"] == pytest.approx(second["figures"][NOISY]["si_snr"], abs=0.01)
    assert "mute: figures are missing: test-0: the estimate is silent, or constant" in text


def test_what_can_not_be_run_is_named(answer: tuple[str, dict]) -> None:
    assert answer[1]["missing"] == [
        "dead: its process died (exit code 7)",
        "refusing: ValueError: no licence",
        "absent: no_such_package is not installed: pip install it",
    ]
    assert answer[0].endswith("\n".join(answer[1]["missing"]))


def test_a_mixture_without_noise_is_in_no_mean(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path)
    muted = tmp_path / Manifest.load(manifest).fixed("test")[0].noise
    write_flac(muted, np.zeros(len(sf.read(muted)[0]), np.float32))
    question = suppressors.Question(manifest, "test", pretrained_path(), {"late": Peer(_late)}, opinions=False)
    judge = suppressors.Judge(question, {"late": suppressors.Delays(123)})
    for number in range(2):
        cell = judge(number)
        assert cell.figures == {}
        assert "the mixture: the noisy recording is the clean one" in cell.errors[0]
    assert judge(2).errors == judge(3).errors == ()


def test_a_delay_is_that_of_most_recordings(speech: np.ndarray) -> None:
    silent = np.zeros_like(speech)
    outs = [silent, np.pad(speech, (5, 0)), np.pad(speech, (5, 0))]
    assert suppressors._usual_lag(outs, [speech] * 3) == 5
    with pytest.raises(ValueError, match="expected sound, got silence"):
        suppressors._usual_lag([silent], [speech])
    with pytest.raises(ValueError, match="got none that can be read"):
        suppressors._usual_lag([], [])


def test_weights_of_a_package_that_is_not_installed() -> None:
    with pytest.raises(ModuleNotFoundError, match="no-such-package is not installed"):
        shipped("no-such-package", "model.onnx")
    with pytest.raises(FileNotFoundError, match=r"numpy: expected a file model.onnx, got none"):
        shipped("numpy", "model.onnx")


def test_tables_are_paired_and_leave_out_what_is_missing(tmp_path: Path) -> None:
    def row(name: str, own: float, other: float | None) -> Row:
        theirs = Cell({"si_snr": other}) if other is not None else Cell(errors=("silent",))
        return Row(name, "rain", 0.0, {NOISY: Cell({"si_snr": 1.0}), OWN: Cell({"si_snr": own}), "other": theirs})

    rows = [row("a", 3.0, 2.0), row("b", 5.0, 4.0), row("c", 100.0, None)]
    comparison = Comparison([NOISY, OWN, "other"], rows, {OWN: 0, "other": 16}, ["gone: is not installed"])
    text = tables(comparison, OWN, NOISY).splitlines()
    gains, differences = text[4].split(), text[-4].split()
    assert gains[:4] == ["other", "+2.00", "±", "12.71"]  # Student's t of two values
    assert gains[-2:] == ["1.0", "2"]
    assert differences == ["other", "+1.00", "±", "0.00"]
    assert text[-2:] == ["other: figures are missing: c: silent", "gone: is not installed"]
    write_json(comparison, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["mixtures"][2]["errors"] == {"other": ["silent"]}


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--jobs", "0"], "must be at least 1, but is 0"), ([], "manifest.json")]
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["suppressors", str(tmp_path / "manifest.json"), *arguments])
    with pytest.raises(SystemExit) as end:
        suppressors.main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_pieces_hold_all_samples() -> None:
    samples = np.linspace(-1.5, 1.5, 1000).astype(np.float32)
    cut = pieces(samples, 480)
    assert cut.shape == (3, 480)
    back = from_int16(cut.reshape(-1))
    np.testing.assert_allclose(back[:1000], np.clip(samples, -1, 1), atol=1e-4)
    assert not back[1000:].any()


def test_variants_of_the_network_change_level_and_limit(tmp_path: Path) -> None:
    rows = suppressors.variants(pretrained_path(), [12.0])
    assert list(rows) == ["Lite-RTSE, input -20 dB", "Lite-RTSE, input +6 dB", "Lite-RTSE, at most 12 dB"]
    noisy = np.random.default_rng(0).normal(0, 0.05, 8000).astype(np.float32)
    plain = suppressors._own(pretrained_path())(noisy)
    softer, louder, limited = (peer.make()(noisy) for peer in rows.values())
    share = 10 ** (-12 / 20)
    np.testing.assert_allclose(limited, (1 - share) * plain + share * noisy, atol=1e-6)
    for other in (softer, louder):
        assert np.abs(other - plain).max() > 0  # the level changes what the network computes
        assert np.linalg.norm(other) < 2 * np.linalg.norm(plain)
