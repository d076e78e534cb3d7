"""Runs in this process: what they leave behind, and networks, figures and precisions of all kinds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lite_rtse_ext import LiteRTSE, fuse
from lite_rtse_ext.data import Manifest, ManifestError
from lite_rtse_ext.evaluate.load import load_model
from lite_rtse_ext.models import pretrained
from lite_rtse_ext.models.checkpoint import CheckpointError, read_state_dict
from lite_rtse_ext.models.gtcrn import GTCRN
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.models.min_gain import change
from lite_rtse_ext.train.callbacks import TrainingError
from lite_rtse_ext.train.recipe import Recipe, RecipeError, load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.train.runs import QUICK, newest

SMALL = ("model.class_path=lite_rtse_ext.LiteRTSE", "model.arguments={channels: 4, order: 2}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def quiet(thread_count: None) -> Iterator[None]:
    """Lightning's advice, which is none of these tests' business."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield


def recipe(corpus: Path, *settings: str) -> Recipe:
    return load_recipe(QUICK, [f"data.manifest={corpus}", "run.steps=5", *settings])


def scalars(folder: Path) -> dict[str, list[Any]]:
    """What TensorBoard shows, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    tags = events.Tags()
    found = {tag: events.Scalars(tag) for tag in tags["scalars"]}
    return (
        found | {tag: events.Images(tag) for tag in tags["images"]} | {tag: events.Audio(tag) for tag in tags["audio"]}
    )


def test_a_run_leaves_its_recipe_weights_checkpoints_and_logs(corpus: Path, tmp_path: Path) -> None:
    chosen = recipe(corpus, *SMALL, "model.normalize_input=true", "model.identity=true", "run.steps=20")
    trainer = fit(chosen, tmp_path, progress=False)
    assert trainer.global_step == 20
    assert load_recipe(tmp_path / "recipe.yaml") == chosen
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    shown = scalars(tmp_path)
    losses = {f"train/{name}" for name in ("total", "complex", "magnitude", "si_snr", "gradient_norm", "learning_rate")}
    figures = {f"valid/{name}" for name in ("loss", "complex", "magnitude", "si_snr", "si_snr_improvement")}
    pictures = {f"example {n}/{side}" for n in range(2) for side in ("noisy", "clean", "enhanced")}
    assert losses | figures | pictures <= shown.keys()
    assert [event.step for event in shown["valid/loss"]] == [4, 9, 14, 19]

    waveform = 0.1 * torch.randn(1, 8000)
    plain = LiteRTSE.from_checkpoint(tmp_path / "best.safetensors")
    spectrogram = torch.view_as_real(torch.randn(1, 257, 9, dtype=torch.complex64))
    from_checkpoint = load_model(tmp_path / "checkpoints" / "best.ckpt")
    from_run = load_model(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(from_run(spectrogram), plain(spectrogram))
        torch.testing.assert_close(from_checkpoint(spectrogram), plain(spectrogram), rtol=1e-4, atol=1e-5)
        assert plain.enhance(waveform).isfinite().all()


def test_a_checkpoint_keeps_what_its_run_keeps(corpus: Path, tmp_path: Path) -> None:
    """The share of the input and the average of the weights are in what is judged, whichever file it comes from."""
    settings = ("model.normalize_input=true", "model.identity=true", "model.min_gain=[0.5, 0.9]", "run.average=0.5")
    fit(recipe(corpus, *SMALL, *settings, "run.epoch_batches=5"), tmp_path, progress=False)
    spectrogram = torch.view_as_real(torch.randn(1, 257, 9, dtype=torch.complex64))
    with torch.no_grad():
        expected = load_model(tmp_path)(spectrogram)
        found = load_model(tmp_path / "checkpoints" / "last.ckpt")(spectrogram)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_initial_weights_may_have_another_minimum_gain(corpus: Path, tmp_path: Path) -> None:
    """The run's weights state theirs, and before the first step they differ from the initial ones in that alone."""
    initial = tmp_path / "initial.safetensors"
    torch.manual_seed(0)
    net = LiteRTSE(channels=4, order=2).eval()
    net.min_gain = (0.3, 0.4, 0.5)
    net.save_checkpoint(initial)
    still = ("optimizer.learning_rate=1e-9", "run.average=0", f"model.initial={initial}")
    for min_gain in ((0.05, 0.1), (0.0, 0.0)):
        run = tmp_path / str(min_gain[0])
        fit(recipe(corpus, *SMALL, *still, f"model.min_gain={list(min_gain)}"), run, progress=False)
        found = LiteRTSE.from_checkpoint(run / "best.safetensors")
        assert found.min_gain == (min_gain if any(min_gain) else None)
        expected = LiteRTSE.from_checkpoint(initial)
        if any(min_gain):
            change(expected, min_gain)
        for name, value in expected.to_mag.state_dict().items():
            torch.testing.assert_close(found.to_mag.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_training_lowers_the_loss(corpus: Path, tmp_path: Path) -> None:
    settings = ("optimizer.learning_rate=3e-3", "run.steps=60", "run.batch_size=4", "run.epoch_batches=30")
    fit(
        recipe(corpus, *SMALL, "model.identity=true", "model.normalize_input=true", *settings), tmp_path, progress=False
    )
    events = scalars(tmp_path)["valid/si_snr_improvement"]
    assert events[-1].value > events[0].value
    assert events[-1].value > 1.0


def test_any_network_can_be_trained_and_judged(corpus: Path, tmp_path: Path) -> None:
    fit(recipe(corpus, "model.arguments={hidden: 4}"), tmp_path, progress=False)
    assert read_state_dict(tmp_path / "best.safetensors")["net.0.weight"].shape == (4, 257)
    spectrogram = torch.randn(1, 257, 3, 2)
    assert load_model(tmp_path)(spectrogram).shape == spectrogram.shape


def test_best_weights_are_those_of_the_best_validation(corpus: Path, tmp_path: Path) -> None:
    worsening = ("optimizer.learning_rate=2.0", "optimizer.warmup_steps=20", "model.arguments={hidden: 4}")
    fit(recipe(corpus, *worsening, "run.steps=12", "run.epoch_batches=2"), tmp_path, progress=False)
    losses = [event.value for event in scalars(tmp_path)["valid/loss"]]
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == 2 * (1 + losses.index(min(losses)))
    assert losses[-1] > min(losses)
    weights = read_state_dict(tmp_path / "best.safetensors")
    assert all(torch.equal(value, best["state_dict"][f"net.net.{name}"]) for name, value in weights.items())


@pytest.mark.parametrize(("steps", "validated_after"), [(3, [3]), (7, [4, 7]), (10, [4, 9])])
def test_the_last_steps_are_validated_and_kept(
    corpus: Path, tmp_path: Path, steps: int, validated_after: list[int]
) -> None:
    """However many they are in an epoch of five. In mid-run Lightning logs under the number of the step before."""
    settings = ("model.arguments={hidden: 4}", f"run.steps={steps}", "run.save_every=100")
    fit(recipe(corpus, *settings), tmp_path, progress=False)
    assert [event.step for event in scalars(tmp_path)["valid/loss"]] == validated_after
    assert newest(tmp_path)["global_step"] == steps
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    weights = read_state_dict(tmp_path / "best.safetensors")
    assert all(torch.equal(value, best["state_dict"][f"net.net.{name}"]) for name, value in weights.items())
    fit(recipe(corpus, *settings), tmp_path, resume=True, progress=False)  # which has nothing left to do
    assert newest(tmp_path)["global_step"] == steps


@pytest.mark.parametrize(("epoch_batches", "save_every"), [(3, 3), (5, 100)])
def test_the_average_is_what_is_judged_and_kept(
    corpus: Path, tmp_path: Path, epoch_batches: int, save_every: int
) -> None:
    """Of a decay of 0.5, over three steps, by hand from the weights after each of them."""
    after: list[dict[str, torch.Tensor]] = []

    class Recorder(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
            after.append({name: value.detach().clone() for name, value in pl_module.net.net.named_parameters()})

    settings = ("run.steps=3", f"run.epoch_batches={epoch_batches}", f"run.save_every={save_every}")
    average = ("model.arguments={hidden: 4}", "run.average=0.5", "optimizer.warmup_steps=0")
    chosen = recipe(corpus, *settings, *average)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lite_rtse_ext.train.run.RandomState", Recorder)
        fit(chosen, tmp_path, progress=False)
    kept = read_state_dict(tmp_path / "best.safetensors")
    assert any(not torch.equal(kept[name], value) for name, value in after[-1].items())
    for name, value in kept.items():
        average = after[0][name]  # the first update copies
        for later in after[1:]:
            average = 0.5 * average + 0.5 * later[name]
        torch.testing.assert_close(value, average)
    saved = newest(tmp_path)
    assert torch.equal(saved["state_dict"]["net.net.net.0.weight"], kept["net.0.weight"])
    assert torch.equal(saved["current_model_state"]["net.net.net.0.weight"], after[-1]["net.0.weight"])
    assert load_model(tmp_path)(torch.ones(1, 257, 1, 2)).isfinite().all()


def test_training_that_comes_to_nothing_says_so(corpus: Path, tmp_path: Path) -> None:
    ruined = ("optimizer.learning_rate=1e4", "optimizer.clip_norm=0", "optimizer.warmup_steps=0")
    with pytest.raises(TrainingError, match=r"valid/loss is nan after step 5: try a lower optimizer\.learning_rate"):
        fit(recipe(corpus, *SMALL, *ruined), tmp_path, progress=False)


def test_a_figure_that_is_not_there_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"run\.monitor: there is no valid/pesq; known: .*valid/loss"):
        fit(recipe(corpus, "run.monitor=valid/pesq"), tmp_path, progress=False)


def test_a_run_ends_early_without_improvement(corpus: Path, tmp_path: Path) -> None:
    settings = ("optimizer.learning_rate=0.0", "run.patience=2", "run.steps=100")
    trainer = fit(recipe(corpus, *settings), tmp_path, progress=False)
    assert trainer.global_step == 15  # the first validation, and two that are no better


@pytest.mark.parametrize("network", [(), SMALL])
def test_mixed_precision(corpus: Path, tmp_path: Path, network: tuple[str, ...]) -> None:
    fit(recipe(corpus, *network, "run.precision=bf16-mixed"), tmp_path, progress=False)
    state = newest(tmp_path)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())
    assert all(value.dtype == torch.float32 for value in state.values())


@pytest.mark.slow
def test_a_compiled_network_trains_the_same(corpus: Path, tmp_path: Path) -> None:
    for name in ("false", "true"):
        chosen = recipe(corpus, *SMALL, f"run.compile={name}", "optimizer.learning_rate=1e-5", "run.steps=3")
        fit(chosen, tmp_path / name, progress=False)
    plain, compiled = (newest(tmp_path / name)["state_dict"] for name in ("false", "true"))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["run.average=0", "run.average=0.9", "run.precision=bf16-mixed"])
def test_a_fused_network_trains_the_same(corpus: Path, tmp_path: Path, kind: str) -> None:
    """In float32 up to rounding. What is written does not depend on it: another run goes on without the operators."""
    for name in ("false", "true"):
        settings = ("model=gtcrn", "model.input_gain=0.5", f"run.fuse={name}", kind, "optimizer.learning_rate=1e-5")
        fit(recipe(corpus, *settings, "run.steps=3"), tmp_path / name, progress=False)
    plain, fused = (newest(tmp_path / name)["state_dict"] for name in ("false", "true"))
    assert plain.keys() == fused.keys()
    if "bf16" not in kind:
        for name, value in plain.items():
            torch.testing.assert_close(fused[name], value, rtol=1e-3, atol=1e-5)
    trainer = fit(recipe(corpus, *settings, "run.fuse=false", "run.steps=4"), tmp_path / "true", resume=True)
    assert trainer.global_step == 4
    judged = load_model(tmp_path / "true")
    assert isinstance(judged, InputGain)
    assert isinstance(judged.net, GTCRN)


def test_the_blocks_of_other_networks_run_on_the_operators(corpus: Path, tmp_path: Path) -> None:
    for name in ("false", "true"):
        trainer = fit(recipe(corpus, "model=gtcrn", f"run.fuse={name}", "run.steps=1"), tmp_path / name, progress=False)
        assert bool(fuse(trainer.lightning_module.net).already) == (name == "true")


@pytest.mark.parametrize("initial", [None, "pretrained"])
def test_training_goes_on_from_initial_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initial: str | None
) -> None:
    torch.manual_seed(3)
    first = LiteRTSE(channels=4, order=2)
    first.save_checkpoint(tmp_path / "first.safetensors")
    named = str(tmp_path / "first.safetensors")
    if initial == "pretrained":
        monkeypatch.setattr(pretrained, "_WEIGHTS", Path(named))
    settings = (f"model.initial={initial or named}", "model.normalize_input=true", "model.input_gain=0.1")
    fit(recipe(corpus, *SMALL, *settings, "optimizer.learning_rate=0.0"), tmp_path / "run", progress=False)
    again = read_state_dict(tmp_path / "run" / "best.safetensors")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-7)
    other = recipe(corpus, *SMALL[:1], "model.arguments={channels: 8, order: 2}", *settings)
    with pytest.raises(CheckpointError, match="of another shape"):
        fit(other, tmp_path / "other", progress=False)


def test_damaged_data_is_named_and_skipped_or_refused(tmp_path: Path) -> None:
    path = make_corpus(tmp_path / "corpus")
    gone = Manifest.load(path).select("speech", "train")[2]
    (tmp_path / "corpus" / gone.path).unlink()
    with pytest.warns(UserWarning, match=gone.path):
        fit(recipe(path), tmp_path / "skips", progress=False)
    with pytest.raises(ManifestError, match=gone.path):
        fit(recipe(path, "data.damaged=refuse"), tmp_path / "refuses", progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.class_path=tests.train.networks.Nobody"], "no class tests.train.networks.Nobody"),
        (["model.class_path=Nobody"], "no class Nobody"),
        (["model.class_path=tests.train.networks.NoModule"], r"is no torch\.nn\.Module"),
        (["model.arguments={size: 3}"], r"model\.arguments: .*size"),
        (["model.normalize_input=true"], "are for Lite-RTSE alone"),
        (["model.dropout=0.1"], "are for Lite-RTSE alone"),
        (["model.min_gain=[0,0.1]"], "are for Lite-RTSE alone"),
    ],
)
def test_networks_that_can_not_be_are_named(corpus: Path, tmp_path: Path, settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        fit(recipe(corpus, *settings), tmp_path, progress=False)
