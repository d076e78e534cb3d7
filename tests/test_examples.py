"""The demo does what it says, on the clips that come with it; the clips are what their recipe and their attribution
say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from lite_rtse_ext import LiteRTSE, reference

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIPS = EXAMPLES / "clips"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load("demo")


@pytest.fixture(scope="module")
def make_clips() -> ModuleType:
    return load("make_clips")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_figures_of_the_docs_are_made_from_the_committed_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    make_assets = load("make_assets")
    first, second = (next(iter(bars)) for bars in (make_assets.training_bars(), make_assets.frame_bars()))
    assert first == second == "lite-rtse-ext"
    monkeypatch.setattr(make_assets, "ASSETS", tmp_path / "assets")
    make_assets.main()
    committed = EXAMPLES.parent / "docs" / "assets"
    assert {path.name for path in (tmp_path / "assets").iterdir()} == {path.name for path in committed.iterdir()}
    made, kept = (sf.read(folder / "enhanced.wav")[0] for folder in (tmp_path / "assets", committed))
    np.testing.assert_allclose(made, kept, atol=1e-3)


def run_demo(demo: ModuleType, out: Path, *more: str) -> None:
    demo.main(["--compare", "2", "--steps", "3", "--batch", "1", "--seconds", "0.5", "--out", str(out), *more])


def test_demo_trains_both_ways_and_writes_its_files(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    run_demo(demo, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["clean.wav", "enhanced.wav", "model.safetensors", "noisy.wav", "spectrograms.png"]
    printed = capsys.readouterr().out
    assert "The losses of all 2 steps agree within" in printed
    assert "steps in plain PyTorch" in printed
    assert "dB  enhanced (" in printed
    noisy, clean = (sf.read(tmp_path / "out" / f"{name}.wav")[0] for name in ("noisy", "clean"))
    assert demo.si_snr_db(torch.from_numpy(noisy), torch.from_numpy(clean)) == pytest.approx(demo.TEST_SNR_DB, abs=0.1)
    assert (tmp_path / "out" / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    LiteRTSE.from_checkpoint(tmp_path / "out" / "model.safetensors")


def test_demo_stops_when_the_losses_differ(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = LiteRTSE.forward
    monkeypatch.setattr(LiteRTSE, "forward", lambda self, spectrogram: exact(self, spectrogram) * 1.1)
    with pytest.raises(SystemExit, match=r"step 1: the losses differ by more than 0\.001 dB"):
        run_demo(demo, tmp_path)


def test_demo_batches_depend_on_the_seed_alone(demo: ModuleType) -> None:
    speech, noise = [torch.rand(900), torch.rand(2000)], [torch.rand(3000)]

    def first(seed: int) -> tuple[Tensor, Tensor]:
        return next(demo.batches(speech, noise, 3, 1000, seed))

    assert torch.equal(torch.stack(first(1)), torch.stack(first(1)))
    assert not torch.equal(torch.stack(first(1)), torch.stack(first(2)))
    noisy, clean = first(1)
    assert noisy.shape == clean.shape == (3, 1000)
    snr_db = 10 * torch.log10(clean.square().sum(-1) / (noisy - clean).square().sum(-1))
    low, high = demo.TRAIN_SNR_DB
    assert ((low - 0.01 <= snr_db) & (snr_db <= high + 0.01)).all()


def test_moving_to_full_scale_changes_no_digit(demo: ModuleType) -> None:
    torch.manual_seed(0)
    model = reference.LiteRTSE(channels=8, order=3)
    spectrogram = torch.randn(1, 257, 20, 2)
    with torch.no_grad():
        want = model(spectrogram * demo.LEVEL)
        demo.move_to_full_scale(model)
        assert torch.equal(model(spectrogram) * demo.LEVEL, want)


def test_si_snr_is_what_it_should_be(demo: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(16_000, generator=generator)
    noise = torch.randn(16_000, generator=generator)
    target, noise = target - target.mean(), noise - noise.mean()
    noise -= (noise @ target) / (target @ target) * target  # uncorrelated, so that the ratio is known exactly
    noise *= target.norm() / noise.norm() * 10 ** (-7 / 20)
    assert demo.si_snr_db(target + noise, target) == pytest.approx(7, abs=1e-3)
    assert demo.si_snr_db(3 * (target + noise) + 0.5, target - 2) == pytest.approx(7, abs=1e-3)


def test_clips_are_those_of_the_recipe(make_clips: ModuleType) -> None:
    expected = {Path("train/speech") / each.clip for each in make_clips.TRAIN_SPEECH}
    expected |= {Path("train/noise") / each.clip for each in make_clips.TRAIN_NOISE}
    expected |= {Path("test/speech") / make_clips.TEST_SPEECH.clip, Path("test/noise") / make_clips.TEST_NOISE.clip}
    clips = {path.relative_to(CLIPS): path for path in CLIPS.rglob("*.flac")}
    assert set(clips) == expected
    assert sum(path.stat().st_size for path in clips.values()) < 3_000_000
    for path in clips.values():
        info = sf.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    for piece in (*make_clips.TRAIN_NOISE, make_clips.TEST_NOISE):
        folder = "test" if piece is make_clips.TEST_NOISE else "train"
        assert sf.info(CLIPS / folder / "noise" / piece.clip).duration == piece.seconds


def test_what_is_tested_is_not_trained_on(make_clips: ModuleType) -> None:
    assert make_clips.TEST_SPEECH not in make_clips.TRAIN_SPEECH
    test = make_clips.TEST_NOISE
    for piece in make_clips.TRAIN_NOISE:
        apart = piece.start_seconds + piece.seconds <= test.start_seconds
        assert piece.name != test.name or apart


def test_every_clip_is_attributed() -> None:
    text = (CLIPS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for path in CLIPS.rglob("*.flac"):
        assert path.name in text or f"`{path.name[:3]}*.flac`" in text, path.name


def test_recipe_cuts_noise(make_clips: ModuleType, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sf.write(tmp_path / "wind.ogg", 0.02 * random.standard_normal((44_100 * 3, 2)), 44_100)
    cut = make_clips.cut_noise(tmp_path / "wind.ogg", make_clips.Noise("wind", 1.0, 1.5))
    assert cut.shape == (24_000,)
    assert np.sqrt(np.mean(cut**2)) == pytest.approx(make_clips.NOISE_RMS, rel=1e-3)


def test_recipe_names_what_is_missing(make_clips: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"0 files wind\.ogg where one is needed"):
        make_clips.find(tmp_path, "wind.ogg")
