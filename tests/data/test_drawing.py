"""What is drawn from recordings that are silent, long, sparse or offset."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.data.dataset import TrainingExamples
from lite_rtse_ext.data.manifest import Clip
from lite_rtse_ext.data.mixing import MixingOptions, direct_sound, early_part, reverberate, rms
from lite_rtse_ext.data.prepare.convert import write_flac
from tests.data.prepare.corpus import make_corpus
from tests.data.test_mixing import room


def with_clips(path: Path, **signals: np.ndarray) -> Manifest:
    """The corpus with more training clips, named KIND_LABEL."""
    manifest, more = Manifest.load(path), []
    for name, samples in signals.items():
        kind, label = name.split("_")
        write_flac(path.parent / f"{name}.flac", samples.astype(np.float32))
        more.append(Clip(kind, "train", f"{name}.flac", len(samples), label))
    return dataclasses.replace(manifest, clips=manifest.clips + tuple(more))


def only(manifest: Manifest, kind: str, label: str) -> Manifest:
    """The corpus whose training clips of a kind are those of one label."""
    kept = (c for c in manifest.clips if (c.kind, c.split) != (kind, "train") or c.label == label)
    return dataclasses.replace(manifest, clips=tuple(kept))


SILENCES = {
    "zeros": np.zeros(20_000),
    "constant": np.full(20_000, 0.25),
    "dithered": np.random.default_rng(0).integers(-1, 2, 20_000) / 32768,
    "a single sample": np.zeros(1),
}


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES)
@pytest.mark.parametrize("kind", ["noise", "speech"])
def test_silent_recordings_are_named_and_others_drawn(tmp_path: Path, kind: str, silence: np.ndarray) -> None:
    manifest = with_clips(make_corpus(tmp_path), **{f"{kind}_muted": silence})
    options = MixingOptions(seconds=0.5, snr_db=(3.0, 3.0), noises=(1.0,), speed=(0.9, 1.1), noise_speed=(0.9, 1.1))
    if kind == "speech":
        options = dataclasses.replace(options, balance_speakers=1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [TrainingExamples(manifest, options, seed=1)[0, place] for place in range(12)]
        data = TrainingExamples(manifest, options, seed=1)
        again = [data[0, place] for place in reversed(range(12))][::-1]
    assert {str(warning.message) for warning in caught} == {
        f"skipped: {tmp_path / kind}_muted.flac: is silent throughout"
    }
    for (noisy, clean), other in zip(found, again, strict=True):
        assert torch.equal(noisy, other.noisy)
        assert 20 * np.log10(rms(clean.numpy()) / rms((noisy - clean).numpy())) == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("kind", ["noise", "speech"])
def test_nothing_but_silence_is_an_error(tmp_path: Path, kind: str) -> None:
    manifest = only(with_clips(make_corpus(tmp_path), **{f"{kind}_muted": np.zeros(100)}), kind, "muted")
    data = TrainingExamples(manifest, MixingOptions(seconds=0.1), seed=1)
    with (
        pytest.warns(UserWarning) as caught,  # noqa: PT030
        pytest.raises(ManifestError, match=f"could not be drawn: .*: 50 stretches of {kind} in a row were silent"),
    ):
        data[0, 0]
    assert len(caught) == 2
    assert "is silent throughout" in str(caught[0].message)


def test_silent_rooms_are_not_used(tmp_path: Path) -> None:
    impulse = np.zeros(30)
    impulse[20] = 1.0
    manifest = with_clips(make_corpus(tmp_path), room_hall=impulse, room_muted=np.zeros(50), room_point=np.ones(1))
    data = TrainingExamples(manifest, MixingOptions(seconds=0.1, reverb_prob=1.0), seed=1)
    assert all(data[0, place].clean.any() for place in range(20))


@pytest.mark.parametrize("early_ms", [20.0, 50.0, None])
def test_speech_in_a_room_is_cleaned_up_to_its_early_part(tmp_path: Path, early_ms: float | None) -> None:
    """The noisy signal has the whole response, and both have one delay, level and scale."""
    response = room(direct=70)
    manifest = with_clips(make_corpus(tmp_path), room_hall=response * 0.5)
    options = MixingOptions(seconds=0.6, speech_dbfs=(-30.0, -30.0), snr_db=(4.0, 4.0), no_noise=0.5, early_ms=early_ms)
    dry = TrainingExamples(manifest, options, seed=1)
    wet = TrainingExamples(manifest, dataclasses.replace(options, reverb_prob=1.0), seed=1)
    response = wet._response(np.random.default_rng(0))
    assert direct_sound(response) == 0
    part = response if early_ms is None else early_part(response, early_ms)
    quiet = 0
    for place in range(6):
        noisy, clean = (signal.numpy() for signal in wet[0, place])
        speech = dry[0, place].clean.numpy()  # before the room, as the draws before it are the same
        heard, want = reverberate(speech, response, 0), reverberate(speech, part, 0)
        gain = 10 ** (-30 / 20) / rms(heard)
        np.testing.assert_allclose(clean, want * gain, atol=1e-5)
        rest = noisy - heard * gain
        if rms(rest) < 1e-6:
            quiet += 1
        else:
            assert 20 * np.log10(rms(heard * gain) / rms(rest)) == pytest.approx(4.0, abs=0.01)
    assert 0 < quiet < 6


def test_pure_noise_in_a_room_has_no_speech_left(tmp_path: Path) -> None:
    manifest = with_clips(make_corpus(tmp_path), room_hall=room(direct=5))
    data = TrainingExamples(manifest, MixingOptions(seconds=0.3, reverb_prob=1.0, no_speech=1.0), seed=1)
    assert all(data[0, place].noisy.any() and not data[0, place].clean.any() for place in range(3))


def test_sparse_noise_is_heard(tmp_path: Path) -> None:
    """Twelve seconds with one event: drawn again until there is something, and not called silent."""
    sparse = np.zeros(200_000)
    sparse[100_000:110_000] = np.sin(np.arange(10_000))
    manifest = only(with_clips(make_corpus(tmp_path), noise_event=sparse), "noise", "event")
    data = TrainingExamples(manifest, MixingOptions(seconds=0.5), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(rms((noisy - clean).numpy()) > 0 for noisy, clean in (data[0, place] for place in range(10)))


def test_an_offset_of_noise_does_not_count_as_noise(tmp_path: Path) -> None:
    quiet = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(50_000)
    manifest = only(with_clips(make_corpus(tmp_path), noise_offset=quiet), "noise", "offset")
    data = TrainingExamples(manifest, MixingOptions(seconds=0.5, snr_db=(0.0, 0.0)), seed=1)
    for noisy, clean in (data[0, place] for place in range(5)):
        noise = (noisy - clean).numpy()
        assert abs(noise.mean()) < 0.1 * noise.std()
        assert noise.std() == pytest.approx(rms(clean.numpy()), rel=0.02)


def test_an_offset_of_speech_changes_neither_level_nor_snr(tmp_path: Path) -> None:
    loud = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(50_000)
    manifest = only(with_clips(make_corpus(tmp_path), speech_offset=loud), "speech", "offset")
    data = TrainingExamples(manifest, MixingOptions(seconds=0.5, snr_db=(3.0, 3.0), speech_dbfs=(-30.0, -30.0)), seed=1)
    for noisy, clean in (data[0, place] for place in range(5)):
        assert 20 * np.log10(float(clean.std())) == pytest.approx(-30.0, abs=0.1)
        assert 20 * np.log10(float(clean.std() / (noisy - clean).std())) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("kind", ["speech", "noise", "room"])
@pytest.mark.parametrize("short", [0, 40])
def test_only_what_is_needed_of_a_long_recording_is_read(tmp_path: Path, kind: str, short: int) -> None:
    """Whether it comes first in an utterance, follows a short one, or is a voice of a babble."""
    tone = np.sin(np.arange(2_000_000) * 0.1) * np.exp(-np.arange(2_000_000) * 1e-6)
    clips = {f"{kind}_long": tone} | ({f"{kind}_short": tone[:short]} if short else {})
    manifest = with_clips(make_corpus(tmp_path), **clips)
    if kind != "room":
        relabelled = (dataclasses.replace(c, label="long") if c.label == "short" else c for c in manifest.clips)
        manifest = only(dataclasses.replace(manifest, clips=tuple(relabelled)), kind, "long")
    options = MixingOptions(seconds=0.5, speed=(0.5, 2.0), noise_speed=(0.5, 2.0), babble=0.5, reverb_prob=1.0)
    data = TrainingExamples(manifest, options, seed=1)
    read = Mock(wraps=data._cache.read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data._cache, "read", read)
        for place in range(6):
            data[0, place]
    counts = [call.args[3] for call in read.call_args_list if "long" in str(call.args[0])]
    assert counts
    assert max(counts) <= (160_000 if kind == "room" else 2 * 8000 + 1)


def test_stretches_come_from_everywhere(tmp_path: Path) -> None:
    ramp = np.linspace(0.1, 0.9, 100_000) * np.resize([1.0, -1.0], 100_000)
    manifest = only(with_clips(make_corpus(tmp_path), speech_ramp=ramp), "speech", "ramp")
    data = TrainingExamples(manifest, MixingOptions(seconds=0.1), seed=1)
    stretches = [data._speech_stretch(data._speech[0], np.random.default_rng(seed)) for seed in range(200)]
    levels = sorted(np.abs(stretch).max() for stretch in stretches if stretch.all())
    assert levels[0] < 0.15
    assert levels[-1] > 0.85
    assert max(np.diff(levels)) < 0.1
