"""What holds of each of the compared networks: sizes, look-ahead, states, graphs, checkpoints, training, commands."""

from __future__ import annotations

import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import tests.models.networks  # noqa: F401  (registers mean-mask)
from lite_rtse_ext import LiteRTSE, SpectrogramModel
from lite_rtse_ext.audio.io import AudioFormat, read, write
from lite_rtse_ext.cli import main
from lite_rtse_ext.enhance import enhance_file, enhance_waveform, usual_segment
from lite_rtse_ext.evaluate import run
from lite_rtse_ext.evaluate.load import load_model as load_to_judge
from lite_rtse_ext.models import CheckpointError, create_model, load_model, save_model
from lite_rtse_ext.models.complexity import cost
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.models.onnx import OneFrame, check_onnx, export_onnx
from lite_rtse_ext.stream import Streamer
from lite_rtse_ext.train.network import build_network
from lite_rtse_ext.train.recipe import RecipeError, load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.models.fingerprints import first_changed_frame, spectrogram
from tests.train.runs import QUICK

NETWORKS = ("dpcrn", "dpcrn-cf", "dtln", "gtcrn")
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="needs the extra onnx"
)


def small(name: str) -> SpectrogramModel:
    """The network in evaluation mode, with running averages other than the initial ones."""
    torch.manual_seed(0)
    model = create_model(name)
    with torch.no_grad():
        model(0.1 * torch.randn(2, model.signal.bins, 6, 2))
    return model.eval()


def noise(samples: int = 2000) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "config", "parameters", "work", "latency_ms", "look_ahead"),
    [
        ("gtcrn", {}, 23_669, 0.0263e9, 32, 0),
        ("dtln", {}, 988_801, 0.123e9, 32, 0),
        ("dpcrn", {}, 805_798, 2.997e9, 25, 0),
        ("dpcrn-cf", {}, 202_570, 0.162e9, 48, 2),
        ("dpcrn-cf", {"sample_rate": 48_000}, 433_994, 0.465e9, 48, 2),
    ],
)
def test_sizes(
    name: str, config: dict[str, int], parameters: int, work: float, latency_ms: float, look_ahead: int
) -> None:
    found = cost(name, **config)
    assert found.parameters == parameters
    assert found.mac_per_second == pytest.approx(work, rel=0.003)
    assert (found.latency_ms, found.look_ahead_frames) == (latency_ms, look_ahead)


@pytest.mark.parametrize(("name", "first"), [("dpcrn", 40), ("dpcrn-cf", 38), ("dtln", 40), ("gtcrn", 40)])
def test_the_look_ahead_is_the_stated_one(name: str, first: int) -> None:
    assert first_changed_frame(small(name).double()) == first


@pytest.mark.parametrize(("name", "earlier"), [("dpcrn", 200), ("dpcrn-cf", 703), ("dtln", 448), ("gtcrn", 319)])
def test_a_sample_changes_no_earlier_one_beyond_the_latency(name: str, earlier: int) -> None:
    model = small(name).double()
    before = noise(8400).double()
    after = torch.cat([before[:8000], -before[8000:]])
    one, other = (enhance_waveform(model, each, high_pass=False) for each in (before, after))
    assert 8000 - int(((one - other).abs() > 1e-13).nonzero()[0]) == earlier
    assert model.latency_ms is not None
    assert earlier < model.latency_ms * 16


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("segment_frames", [1, 7])
def test_segments_are_the_whole(name: str, segment_frames: int) -> None:
    model = small(name).double()
    waveform = noise().double().reshape(2, -1)
    want = enhance_waveform(model, waveform)
    assert usual_segment(model) is not None
    assert (enhance_waveform(model, waveform, segment_frames=segment_frames) - want).norm() <= 1e-12 * want.norm()


@torch.no_grad()
def frame_by_frame(model: SpectrogramModel, x: Tensor) -> Tensor:
    late = model.look_ahead_frames or 0
    memory, frames = model.start(len(x)), []
    for spectrum in torch.cat([x, torch.zeros_like(x[:, :, :late])], 2).unbind(2):
        enhanced, memory = model.next_frame(spectrum, memory)
        frames.append(enhanced)
    return torch.stack(frames[late:], 2)


@pytest.mark.parametrize("name", [*NETWORKS, "lite-rtse"])
@pytest.mark.parametrize("gain", [None, 0.5])
def test_frame_by_frame_is_the_whole(name: str, gain: float | None) -> None:
    model = small(name).double()
    model = model if gain is None else InputGain(model, gain)
    x = spectrogram(model.signal.bins, 6).repeat(2, 1, 1, 1) * torch.tensor([1.0, -0.3]).view(-1, 1, 1, 1)
    with torch.no_grad():
        want = model(x)
    assert (frame_by_frame(model, x) - want).norm() <= 1e-12 * want.norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_memory_begins_with_zeros_and_keeps_its_shapes(name: str) -> None:
    model = small(name).train()
    averages = {key: value.clone() for key, value in model.state_dict().items()}
    memory = model.start(3)
    assert memory
    assert all(len(piece) == 3 and not piece.any() for piece in memory.values())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, averages[key], rtol=0, atol=0)
    _, after = model.eval().next_frame(torch.randn(3, model.signal.bins, 2), memory)
    assert {key: piece.shape for key, piece in after.items()} == {key: piece.shape for key, piece in memory.items()}


@needs_onnx
@pytest.mark.parametrize("name", [pytest.param("dpcrn", marks=pytest.mark.slow), "dpcrn-cf", "dtln", "gtcrn"])
def test_a_graph_of_one_frame_is_the_whole(name: str, tmp_path: Path) -> None:
    model = small(name)
    export_onnx(model, tmp_path / "frame.onnx")
    assert check_onnx(tmp_path / "frame.onnx", model, frames=12) < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_knows_its_network(name: str, tmp_path: Path) -> None:
    model = small(name)
    save_model(model, tmp_path / "file")
    loaded = load_model(tmp_path / "file").eval()
    assert type(loaded) is type(model)
    torch.testing.assert_close(enhance_waveform(loaded, noise()), enhance_waveform(model, noise()), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks_are_refused_by_both_names(name: str, tmp_path: Path) -> None:
    save_model(small(name), tmp_path / "file")
    save_model(LiteRTSE(channels=8, order=3), tmp_path / "lite-rtse")
    with pytest.raises(CheckpointError, match=f"file: expected a checkpoint of lite-rtse, got one of {name}"):
        LiteRTSE.from_checkpoint(tmp_path / "file")
    with pytest.raises(CheckpointError, match=f"expected a checkpoint of {name}, got one of lite-rtse"):
        load_model(tmp_path / "lite-rtse", type(small(name)))
    with pytest.raises(ValueError, match=f"expected a checkpoint of lite-rtse, got one of {name}"):
        Streamer.from_pretrained(tmp_path / "file")
    with pytest.raises(ValueError, match=f"model: expected lite-rtse, the only network .* runs, got {name}"):
        Streamer.from_model(small(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wrong_spectrogram_is_named(name: str) -> None:
    model = small(name)
    bins = model.signal.bins
    assert model(torch.zeros(2, bins, 0, 2)).shape == (2, bins, 0, 2)
    with pytest.raises(ValueError, match=rf"spectrogram: expected \(B, {bins}, T, 2\), got \(1, 9, 4, 2\)"):
        model(torch.zeros(1, 9, 4, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_command_enhances_with_it(name: str, tmp_path: Path) -> None:
    save_model(small(name), tmp_path / "model.safetensors")
    write(tmp_path / "in.wav", noise().numpy()[:, None], AudioFormat(16_000, 1, "WAV", "FLOAT"))
    arguments = ["enhance", "in.wav", "out.wav", "--checkpoint", "model.safetensors"]
    done = CliRunner().invoke(main, [str(tmp_path / a) if "." in a else a for a in arguments])
    assert done.exit_code == 0, done.output
    want = enhance_waveform(small(name), noise()).numpy()
    assert abs(read(tmp_path / "out.wav")[0][:, 0] - want).max() < 1e-5


def test_a_file_goes_through_a_network_at_48_khz(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("dpcrn-cf", sample_rate=48_000).eval()
    write(tmp_path / "in.wav", noise().numpy()[:, None], AudioFormat(48_000, 1, "WAV", "FLOAT"))
    enhance_file(model, tmp_path / "in.wav", tmp_path / "out.wav")
    want = enhance_waveform(model, noise()).numpy()
    assert abs(read(tmp_path / "out.wav")[0][:, 0] - want).max() < 1e-5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_trained_and_judged_by_its_name(name: str, corpus: Path, tmp_path: Path, thread_count: None) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    settings = [f"model={name}", f"data.manifest={json.dumps(str(corpus))}", "run.steps=2", "run.examples=0"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(load_recipe(QUICK, settings), tmp_path, progress=False)
    trained, judged = load_model(tmp_path / "best.safetensors").eval(), load_to_judge(tmp_path)
    assert trained.architecture == name
    assert {int(value) for key, value in trained.state_dict().items() if key.endswith("tracked")} <= {2}
    torch.testing.assert_close(enhance_waveform(trained, noise()), enhance_waveform(judged, noise()))


def test_a_recipe_may_name_the_network_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: gtcrn\n")
    assert load_recipe(tmp_path / "recipe.yaml").model.class_path == "gtcrn"
    recipe = load_recipe("debian", ["model=dpcrn", "model.input_gain=0.5"])
    assert (recipe.model.class_path, recipe.model.input_gain, recipe.model.identity) == ("dpcrn", 0.5, False)
    with pytest.raises(RecipeError, match=r"must be section\.field=value or model=NAME"):
        load_recipe("debian", ["data=gtcrn"])


def test_data_at_another_rate_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe("debian", ["model=dpcrn-cf", "model.arguments={sample_rate: 48000}"])
    with pytest.raises(RecipeError, match=r"model: expected a network for 16000 Hz, .* got one for 48000 Hz"):
        build_network(recipe.model, None)  # type: ignore[arg-type]
    save_model(create_model("dpcrn-cf", sample_rate=48_000), tmp_path / "file")
    with pytest.raises(ValueError, match=r"file: expected a network for 16000 Hz, .* got one for 48000 Hz"):
        run.evaluate(tmp_path / "file", lambda: _Nothing())
    with pytest.raises(RecipeError, match=r"model\.arguments: sample_rate: expected one of 16000, 48000, got 8000"):
        build_network(load_recipe("debian", ["model=dpcrn-cf", "model.arguments={sample_rate: 8000}"]).model, None)  # type: ignore[arg-type]


class _Nothing:
    entries = ()

    def load(self, index: int) -> tuple[object, None]:
        raise AssertionError


def test_a_network_without_states_says_that_it_cannot_run_frame_by_frame() -> None:
    model = create_model("mean-mask")
    with pytest.raises(NotImplementedError, match="mean-mask cannot run frame by frame: it needs the whole recording"):
        OneFrame(model)
