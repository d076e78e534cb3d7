"""Examples: the same from the same seed, whatever the workers, the processes and the interruptions."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lite_rtse_ext.audio.io import AudioError
from lite_rtse_ext.data import Clip, Manifest, ManifestError, Mixture, Pair, mixing, textures
from lite_rtse_ext.data.dataset import ExampleSampler, FixedExamples, TrainingExamples
from lite_rtse_ext.data.mixing import MixingOptions, diffuse_response, reverberate, rms
from lite_rtse_ext.data.prepare.mixtures import make_mixtures
from tests.data.prepare.corpus import make_corpus

EVERYTHING = MixingOptions(
    seconds=0.5,
    noises=(0.5, 0.5),
    babble=0.3,
    babble_reverb_prob=0.5,
    synthetic=0.3,
    balance_speakers=0.5,
    speed=(0.8, 1.3),
    noise_speed=(0.7, 1.4),
    noise_equalizer_db=6.0,
    speech_equalizer_db=3.0,
    band_limit=0.3,
)

PINNED = (
    (0.029190, 0.014913),
    (0.065340, 0.062662),
    (0.086663, 0.078355),
    (0.107141, 0.104790),
    (0.051841, 0.049333),
    (0.167107, 0.159468),
)


def examples(manifest_path: Path, options: MixingOptions = EVERYTHING, **more) -> TrainingExamples:
    return TrainingExamples(Manifest.load(manifest_path), options, seed=5, **more)


def test_an_example_depends_on_seed_epoch_and_place_alone(manifest_path: Path) -> None:
    one, other = examples(manifest_path), examples(manifest_path, cache_megabytes=100)
    for _ in range(2):  # read, then out of the cache
        for index in ((0, 0), (0, 1), (3, 7)):
            for a, b in zip(one[index], other[index], strict=True):
                assert torch.equal(a, b)
    assert not torch.equal(one[0, 0].noisy, one[1, 0].noisy)
    assert not torch.equal(one[0, 0].noisy, one[0, 1].noisy)
    reseeded = TrainingExamples(Manifest.load(manifest_path), EVERYTHING, seed=6)
    assert not torch.equal(one[0, 0].noisy, reseeded[0, 0].noisy)


def test_examples_of_a_seed_stay_the_same(manifest_path: Path) -> None:
    """What these seeds gave when the test was written. A draw that is added, left out or moved changes them."""
    data = examples(manifest_path, dataclasses.replace(EVERYTHING, offset=0.5, hum=0.5, noise_reverb_prob=0.3))
    found = [[rms(signal.numpy()) for signal in data[0, place]] for place in range(6)]
    np.testing.assert_allclose(found, PINNED, rtol=1e-3)


def test_examples_are_as_asked_for(manifest_path: Path) -> None:
    options = MixingOptions(seconds=0.7, snr_db=(3.0, 3.0), speech_dbfs=(-40.0, -30.0))
    data = examples(manifest_path, options)
    for place in range(10):
        noisy, clean = data[0, place]
        assert noisy.shape == clean.shape == (11_200,)
        assert noisy.dtype == clean.dtype == torch.float32
        level = 20 * np.log10(rms(clean.numpy()))
        assert -40.01 < level < -29.99
        assert level - 20 * np.log10(rms((noisy - clean).numpy())) == pytest.approx(3.0, abs=1e-3)


def test_pure_noise_and_pure_speech(manifest_path: Path) -> None:
    data = examples(manifest_path, dataclasses.replace(EVERYTHING, no_noise=0.5, no_speech=0.5))
    kinds = {(bool(noisy.equal(clean)), not clean.any()) for noisy, clean in (data[0, place] for place in range(20))}
    assert kinds == {(True, False), (False, True)}


def test_an_epoch_begins_with_every_utterance_once(manifest_path: Path) -> None:
    data = examples(manifest_path)
    count = len(data)
    assert count == 6
    first = [data._utterance(place, 0) for place in range(2 * count)]
    assert sorted(first[:count]) == sorted(first[count:]) == list(range(count))
    assert [data._utterance(place, 1) for place in range(count)] != first[:count]


def test_voices_can_be_as_likely_as_one_another(manifest_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two voices one has five times as many utterances."""
    manifest = Manifest.load(manifest_path)
    speech = manifest.select("speech", "train")
    labels = {clip.path: "rare" if clip is speech[0] else "common" for clip in speech}
    relabelled = tuple(dataclasses.replace(c, label=labels.get(c.path, c.label)) for c in manifest.clips)
    shares = []
    for even in (0.0, 1.0):
        options = MixingOptions(seconds=0.1, balance_speakers=even)
        data = TrainingExamples(dataclasses.replace(manifest, clips=relabelled), options, seed=5)
        stretch = Mock(return_value=np.sin(np.arange(1600, dtype=np.float32)))
        monkeypatch.setattr(data, "_speech_stretch", stretch)
        for place in range(300):
            data[0, place]
        shares.append(sum(call.args[0].label == "rare" for call in stretch.call_args_list) / 300)
    assert shares[0] == pytest.approx(1 / 6)
    assert shares[1] == pytest.approx(1 / 2, abs=0.1)


def test_synthetic_noise_can_stand_for_all(manifest_path: Path) -> None:
    data = examples(manifest_path, MixingOptions(seconds=0.5, synthetic=1.0))
    data._one_noise = None  # type: ignore[assignment, method-assign]  # it is not asked
    noisy, clean = data[0, 0]
    assert (noisy - clean).any()


def test_noise_can_be_made_of_grains(manifest_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of recordings of noise alone; the same for the same seed."""
    data = examples(manifest_path, MixingOptions(seconds=0.5, granular_prob=1.0))
    asked = Mock(wraps=textures.granular_texture)
    monkeypatch.setattr(textures, "granular_texture", asked)
    recorded = Mock(wraps=data._one_noise)
    monkeypatch.setattr(data, "_one_noise", recorded)
    pairs = [[data[0, place] for place in range(20)] for _ in range(2)]
    assert asked.call_count >= 40  # some examples have two noises
    assert recorded.call_count == sum(len(call.args[0]) for call in asked.call_args_list)
    assert {len(call.args[0]) for call in asked.call_args_list} == {1, 2, 3}
    assert all(this.noisy.equal(again.noisy) for this, again in zip(*pairs, strict=True))


@pytest.mark.parametrize(
    ("option", "module", "used"),
    [
        ("noise_reverb_prob", mixing, "diffuse_response"),
        ("amplitude_modulation_prob", textures, "modulate_amplitude"),
        ("phase_randomization_prob", textures, "randomize_phases"),
    ],
)
def test_noise_can_be_far_away_come_and_go_and_be_steady(
    manifest_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, module: ModuleType, used: str
) -> None:
    options = MixingOptions(seconds=1.0)
    asked = Mock(wraps=getattr(module, used))
    monkeypatch.setattr(module, used, asked)
    plain, changed = (
        examples(manifest_path, dataclasses.replace(options, **{option: chance}))._noise(np.random.default_rng(3))
        for chance in (0.0, 1.0)
    )
    again = examples(manifest_path, dataclasses.replace(options, **{option: 1.0}))._noise(np.random.default_rng(3))
    assert asked.call_count > 0
    np.testing.assert_array_equal(changed, again)
    assert changed.shape == plain.shape
    assert abs(np.corrcoef(changed, plain)[0, 1]) < 0.999


def test_an_offset_and_hum_can_be_on_the_noisy_side(manifest_path: Path) -> None:
    """And change nothing else of the example."""
    plain = MixingOptions(seconds=0.5, speech_dbfs=(-40.0, -40.0))
    with_offset = dataclasses.replace(plain, offset=1.0, offset_dbfs=(-20.0, -20.0))
    with_hum = dataclasses.replace(plain, hum=1.0, hum_dbfs=(-30.0, -30.0))
    offsets = set()
    for place in range(12):
        noisy, clean = examples(manifest_path, plain)[0, place]
        offset, same = examples(manifest_path, with_offset)[0, place]
        torch.testing.assert_close(same, clean)
        added = offset - noisy
        torch.testing.assert_close(added, added.mean().expand_as(added), rtol=0, atol=1e-6)
        offsets.add(round(float(added.mean()), 4))
        hum, same = examples(manifest_path, with_hum)[0, place]
        torch.testing.assert_close(same, clean)
        assert 20 * np.log10(rms((hum - noisy).numpy())) == pytest.approx(-30, abs=0.01)
    assert offsets == {0.1, -0.1}


def test_noise_can_be_heard_backwards(manifest_path: Path) -> None:
    plain, backwards = (
        examples(manifest_path, MixingOptions(seconds=1.0, noises=(1.0,), noise_reversed=chance))._noise(
            np.random.default_rng(3)
        )
        for chance in (0.0, 1.0)
    )
    assert plain.any()
    np.testing.assert_array_equal(backwards, plain[::-1])


def test_babble_can_come_from_far_away(manifest_path: Path) -> None:
    """The same crowd, then, smeared by a room that is drawn after it."""
    near, far = (
        examples(manifest_path, MixingOptions(seconds=1.0, babble=1.0, babble_reverb_prob=p)) for p in (0.0, 1.0)
    )
    crowds = [data._babble(np.random.default_rng(3)) for data in (near, far)]
    np.testing.assert_allclose(crowds[1], reverberate(crowds[0], room_after(near, 3)), rtol=0, atol=1e-6)


def room_after(data: TrainingExamples, seed: int) -> np.ndarray:
    """The room that is drawn once the crowd is."""
    random = np.random.default_rng(seed)
    data._babble(random)
    return diffuse_response(random)


def test_a_kind_of_noise_can_be_left_out(manifest_path: Path) -> None:
    weights = {"birds": 0.0, "wind": 0.0}
    only_stream = examples(manifest_path, MixingOptions(noise_weights=weights, seconds=0.5))
    assert only_stream._label_weights.tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(ManifestError, match="no noise of the kind lorry"):
        examples(manifest_path, MixingOptions(noise_weights={"lorry": 1.0}))
    none = dict.fromkeys(("birds", "stream", "wind"), 0.0)
    with pytest.raises(ManifestError, match=r"noise_weights: expected one of \['birds', .*\] above 0, got 0 for all"):
        examples(manifest_path, MixingOptions(noise_weights=none))


@pytest.mark.parametrize("balanced", [0.0, 0.25, 1.0])
def test_long_kinds_of_noise_can_be_more_frequent(
    manifest_path: Path, monkeypatch: pytest.MonkeyPatch, balanced: float
) -> None:
    """The frequency of each kind in many draws is the one that its weight and its total length ask for."""
    weights = {"birds": 2.0, "wind": 0.5}
    data = examples(manifest_path, MixingOptions(seconds=0.1, balance_noises=balanced, noise_weights=weights))
    seconds = dict.fromkeys(("birds", "stream", "wind"), 0.0)
    for clip in data.manifest.select("noise", "train"):
        seconds[clip.label] += clip.frames / 16000
    kinds = {label: weights.get(label, 1.0) for label in seconds}
    lengths = {label: kinds[label] * seconds[label] for label in seconds}
    expected = [
        balanced * kinds[label] / sum(kinds.values()) + (1 - balanced) * lengths[label] / sum(lengths.values())
        for label in seconds
    ]
    drawn: list[str] = []

    def record(clip: Clip, factor: float, random: np.random.Generator) -> np.ndarray:
        drawn.append(clip.label)
        return np.ones(1600, np.float32)

    monkeypatch.setattr(data, "_stretch", record)
    random = np.random.default_rng(4)
    for _ in range(3000):
        data._one_noise(random)
    shares = [sum(label == kind for label in drawn) / len(drawn) for kind in seconds]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=0.03)  # three standard deviations of 3000 draws


def batches(data: TrainingExamples, sampler: ExampleSampler, workers: int) -> list[torch.Tensor]:
    return [batch.noisy for batch in DataLoader(data, batch_sampler=sampler, num_workers=workers)]


def test_workers_change_nothing(manifest_path: Path) -> None:
    data = examples(manifest_path)
    alone = batches(data, ExampleSampler(5, 2), workers=0)
    helped = batches(data, ExampleSampler(5, 2), workers=2)
    assert len(alone) == len(helped) == 5
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_an_iteration_goes_on_from_where_the_run_is() -> None:
    whole = [list(ExampleSampler(4, 3, done=lambda epoch=epoch: 4 * epoch)) for epoch in range(3)]
    assert len({str(batch) for epoch in whole for batch in epoch}) == 12
    for done in range(12):
        epoch, batch = divmod(done, 4)
        assert list(ExampleSampler(4, 3, done=lambda done=done: done)) == whole[epoch][batch:]
        assert len(ExampleSampler(4, 3, done=lambda done=done: done)) == 4


def test_processes_share_a_batch() -> None:
    joint = list(ExampleSampler(4, 6))
    shares = [list(ExampleSampler(4, 3, rank, 2)) for rank in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == joint


def test_damaged_files_are_named_and_skipped_or_refused(tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    clips = Manifest.load(path).select("speech", "train")
    (tmp_path / clips[0].path).unlink()
    (tmp_path / clips[1].path).write_bytes(b"nonsense")
    data = examples(path, MixingOptions(seconds=0.5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = [data[0, place] for place in range(12)]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2  # each once
    assert all(any(clip.path in message for message in messages) for clip in clips[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = [examples(path, MixingOptions(seconds=0.5))[0, place] for place in range(12)]
    assert all(torch.equal(a.noisy, b.noisy) for a, b in zip(first, again, strict=True))
    strict = examples(path, MixingOptions(seconds=0.5), refuse_damaged=True)
    with pytest.raises((AudioError, FileNotFoundError)):
        [strict[0, place] for place in range(6)]


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    for clip in Manifest.load(path).select("speech", "train"):
        (tmp_path / clip.path).unlink()
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ManifestError, match=r"100 examples in a row could not be drawn: .*No such file"),
    ):
        examples(path)[0, 0]


def test_pairs_are_cut_together(tmp_path: Path) -> None:
    path = make_corpus(tmp_path)
    clip = Manifest.load(path).select("speech", "train")[0]
    short = Pair("p", "train", clip.path, clip.path, clip.frames, "ru")
    manifest = Manifest(tmp_path, "pairs", pairs=(short,))
    data = TrainingExamples(manifest, MixingOptions(seconds=0.5), seed=0)
    noisy, clean = data[0, 0]
    assert torch.equal(noisy, clean)
    assert len(noisy) == 8000
    padded = TrainingExamples(manifest, MixingOptions(seconds=clip.frames / 16_000 + 1), seed=0)[0, 0].noisy
    assert not padded[clip.frames :].any()
    assert padded[: clip.frames].any()


def test_a_manifest_without_noise_can_not_be_trained_on(manifest_path: Path) -> None:
    manifest = Manifest.load(manifest_path)
    speech = tuple(clip for clip in manifest.clips if clip.kind == "speech")
    with pytest.raises(ManifestError, match="nothing to train on"):
        TrainingExamples(Manifest(manifest.root, "speech", speech), MixingOptions(), seed=0)


def test_clips_beside_pairs_are_not_used_without_a_word(manifest_path: Path) -> None:
    manifest = Manifest.load(manifest_path)
    clips = [clip for clip in manifest.clips if clip.split == "train"]
    pair = Pair("a", "train", "noisy.flac", "clean.flac", 10, "me")
    with pytest.warns(UserWarning, match=f"{len(clips)} training clips are not used, as there are training pairs"):
        assert len(TrainingExamples(dataclasses.replace(manifest, pairs=(pair,)), MixingOptions(), seed=0)) == 1


def test_fixed_mixtures_are_what_the_manifest_says(manifest_path: Path) -> None:
    manifest = Manifest.load(manifest_path)
    data = FixedExamples(manifest, "test")
    assert len(data) == 2
    for (noisy, clean), entry in zip((data[0], data[1]), data.entries, strict=True):
        assert isinstance(entry, Mixture)
        noise = (noisy - clean).numpy()
        assert 20 * np.log10(clean.numpy().std() / noise.std()) == pytest.approx(entry.snr_db, abs=0.01)
    with pytest.raises(ManifestError, match="no mixtures or pairs in the split train"):
        FixedExamples(manifest, "train")


def test_mixtures_use_every_utterance_before_one_comes_again(manifest_path: Path) -> None:
    manifest = Manifest.load(manifest_path)
    speech, noise = manifest.select("speech", "train"), manifest.select("noise", "test")
    fitting = [clip for clip in speech if 32_000 <= clip.frames <= 160_000]
    made = list(make_mixtures("test", speech, noise, (0.0, 5.0), 2 * len(fitting), seed=3))
    assert made == list(make_mixtures("test", speech, noise, (0.0, 5.0), 2 * len(fitting), seed=3))
    assert {mixture.speech for mixture in made[: len(fitting)]} == {clip.path for clip in fitting}
    Manifest(manifest.root, "made", manifest.clips, tuple(made))  # refuses noise that is too short
