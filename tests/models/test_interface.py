"""Networks other than Lite-RTSE are made, saved, loaded, run, judged, trained and counted by name."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from lite_rtse_ext import LiteRTSE, SpectrogramModel, reference
from lite_rtse_ext.audio.io import AudioFormat, read, write
from lite_rtse_ext.cli import main
from lite_rtse_ext.enhance import SEGMENT_FRAMES, enhance_file, enhance_waveform
from lite_rtse_ext.evaluate import run
from lite_rtse_ext.evaluate.load import load_model as load_to_judge
from lite_rtse_ext.evaluate.sources import ManifestSource
from lite_rtse_ext.models import create_model, load_model, model_names, register, registry, save_model
from lite_rtse_ext.models.checkpoint import CheckpointError, write_state_dict
from lite_rtse_ext.models.complexity import cost, count
from lite_rtse_ext.models.input_gain import InputGain
from lite_rtse_ext.models.metadata import read_metadata
from lite_rtse_ext.stream import Network
from lite_rtse_ext.train.recipe import RecipeError, load_recipe
from lite_rtse_ext.train.run import fit
from tests.data.prepare.corpus import make_corpus
from tests.models.networks import ConvMask, GruMask, MeanMask
from tests.train.runs import QUICK

OWN = {"gru-mask": {"hidden": 3}, "conv-mask": {"frames": 3}, "mean-mask": {}}
SMALL = {**OWN, "lite-rtse": {"channels": 8, "order": 3}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def small(name: str) -> SpectrogramModel:
    torch.manual_seed(0)
    return create_model(name, **SMALL[name])


def noise(samples: int = 5000) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1))


def metadata_changed(path: Path, **changes: str) -> None:
    write_state_dict(path, small("gru-mask").state_dict(), read_metadata(path) | changes)


@pytest.mark.parametrize("name", SMALL)
def test_a_file_knows_its_network(name: str, tmp_path: Path) -> None:
    model = small(name)
    save_model(model, tmp_path / "file")
    with safetensors.safe_open(tmp_path / "file", "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert metadata["architecture"] == name
    assert json.loads(metadata["config"]).items() >= SMALL[name].items()
    loaded = load_model(tmp_path / "file")
    assert type(loaded) is type(model)
    assert loaded.config() == model.config()
    torch.testing.assert_close(enhance_waveform(loaded, noise()), enhance_waveform(model, noise()), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "mean-mask"])
@pytest.mark.parametrize("segment_frames", [1, 7, SEGMENT_FRAMES])
def test_segments_are_the_whole(name: str, segment_frames: int) -> None:
    model = small(name).double()
    waveform = noise().double().reshape(2, -1)
    want = enhance_waveform(model, waveform)
    assert (enhance_waveform(model, waveform, segment_frames=segment_frames) - want).norm() <= 1e-12 * want.norm()


def test_a_network_for_whole_recordings_says_so(tmp_path: Path) -> None:
    model = small("mean-mask")
    with pytest.raises(ValueError, match="segment_frames: expected None, as MeanMask needs the whole recording, got 9"):
        enhance_waveform(model, noise(), segment_frames=9)
    with pytest.raises(NotImplementedError, match="MeanMask needs the whole recording"):
        model.advance(torch.zeros(1, 257, 3, 2))


@pytest.mark.parametrize("name", OWN)
def test_files_go_through_every_network(name: str, tmp_path: Path) -> None:
    save_model(small(name), tmp_path / "model.safetensors")
    write(tmp_path / "in.wav", noise().numpy()[:, None], AudioFormat(16_000, 1, "WAV", "FLOAT"))
    enhance_file(small(name), tmp_path / "in.wav", tmp_path / "out.wav")
    arguments = ["enhance", "in.wav", "again.wav", "--checkpoint", "model.safetensors"]
    done = CliRunner().invoke(main, [str(tmp_path / a) if "." in a else a for a in arguments])
    assert done.exit_code == 0, done.output
    want = enhance_waveform(small(name), noise()).numpy()
    for file in ("out.wav", "again.wav"):
        assert abs(read(tmp_path / file)[0][:, 0] - want).max() < 1e-6


def test_a_network_is_judged_by_its_file(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread_count: None
) -> None:
    """A process that judges knows the networks of the one that started it, though none of its modules."""

    def in_this_process(set_up: Any, tasks: list[int], jobs: int) -> Iterator[tuple[int, Any]]:
        pickled = pickle.dumps(set_up)
        monkeypatch.setattr(registry, "_registered", {})
        judge = pickle.loads(pickled)()
        yield from ((task, judge(task)) for task in tasks)

    monkeypatch.setattr(run, "run_tasks", in_this_process)
    save_model(small("gru-mask"), tmp_path / "file")
    results = run.evaluate(tmp_path / "file", partial(ManifestSource, corpus, "test"), jobs=1, opinions=False)
    assert results
    assert all(result.enhanced and not result.errors for result in results)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_a_network_is_trained_by_its_name(corpus: Path, tmp_path: Path, thread_count: None, gain: float) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    settings = ["model.class_path=gru-mask", "model.arguments={hidden: 3}", f"model.input_gain={gain}", "run.steps=3"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(load_recipe(QUICK, [f"data.manifest={corpus}", *settings]), tmp_path, progress=False)
    from_file, from_run = load_model(tmp_path / "best.safetensors").eval(), load_to_judge(tmp_path)
    inner = from_file if gain == 1 else from_file.net
    assert isinstance(inner, GruMask)
    assert inner.hidden == 3
    torch.testing.assert_close(enhance_waveform(from_file, noise()), enhance_waveform(from_run, noise()))
    with pytest.raises(RecipeError, match=r"model\.class_path: no class nobody .*expected one of conv-mask, dccrn"):
        fit(load_recipe(QUICK, [f"data.manifest={corpus}", "model.class_path=nobody"]), tmp_path / "b", progress=False)


def test_cost_is_counted_by_name() -> None:
    found = cost("gru-mask", hidden=3)
    assert found.parameters == 3 * 3 * (1 + 3 + 2) + 3 + 1
    assert found.mac_per_second == 62.5 * 257 * (3 * 3 * (1 + 3) + 3)
    lite_rtse, by_stage = cost("lite-rtse"), count()
    assert lite_rtse.parameters == by_stage.total_parameters
    assert lite_rtse.mac_per_second == 62.5 * by_stage.total_mac_per_frame


def test_the_command_lists_every_network() -> None:
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split() for line in done.output.splitlines()[1:]}
    assert set(rows) == set(model_names()) >= {*SMALL, "dpcrn", "dpcrn-cf", "gtcrn"}
    work = f"{62.5 * count().total_mac_per_frame / 1e6:.1f}"
    assert rows["lite-rtse"] == ["lite-rtse", "1,559,245", work, "32", "ms", "0", "16000", "Hz"]
    assert rows["gtcrn"] == ["gtcrn", "23,669", "26.3", "32", "ms", "0", "16000", "Hz"]
    dccrn = "dccrn 3,671,053 8532.8 62.5 ms 6 16000 Hz needs the whole recording"
    assert " ".join(rows["dccrn"]) == dccrn
    assert rows["gagnet"] == ["gagnet", "5,948,137", "1331.0", "20", "ms", "0", "16000", "Hz"]
    assert rows["dpcrn-cf"] == ["dpcrn-cf", "202,570", "161.6", "48", "ms", "2", "16000", "Hz", "a", "reconstruction"]
    assert rows["mean-mask"][3:5] == ["all", "all"]


@pytest.mark.parametrize(("saved", "wanted"), [("gru-mask", LiteRTSE), ("lite-rtse", GruMask)])
def test_a_file_of_another_network_is_refused_by_both_names(
    saved: str, wanted: type[SpectrogramModel], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    save_model(small(saved), path)
    with pytest.raises(
        CheckpointError, match=f"file: expected a checkpoint of {wanted.architecture}, got one of {saved}"
    ):
        load_model(path, wanted)
    if wanted is LiteRTSE:
        for load in (LiteRTSE.from_checkpoint, LiteRTSE().load_checkpoint, Network.from_pretrained):
            with pytest.raises(ValueError, match="file: expected a checkpoint of lite-rtse, got one of gru-mask"):
                load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "nobody"}, r"architecture: expected one of conv-mask, .*, got 'nobody'"),
        ({"config": '{"hidden": 101}'}, "hidden: expected at most 100, got 101"),
        ({"config": '{"hidden": 4}'}, r"of another shape: gru\.weight_ih_l0"),
        ({"config": '{"other": 4}'}, r"GruMask\.__init__\(\) got an unexpected keyword argument 'other'"),
        ({"config": '{"hidden": "many"}'}, ""),
        ({"config": '{"hidden": -1}'}, ""),
        ({"config": "[1]"}, r"config: expected a JSON object, got '\[1\]'"),
        ({"config": "{" * 100_000}, "config: expected a JSON object, got '{{{"),
        ({"input_gain": "-1"}, "input_gain: expected a number above 0, got '-1'"),
        ({"input_gain": "nan"}, "input_gain: expected a number above 0, got 'nan'"),
    ],
    ids=str,
)
def test_what_a_file_says_is_checked(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_model(small("gru-mask"), path)
    metadata_changed(path, **changes)
    with pytest.raises(CheckpointError, match=f"file: {words}"):
        load_model(path)


def test_numbers_of_a_configuration_have_limits(tmp_path: Path) -> None:
    write_state_dict(tmp_path / "file", {}, {"architecture": "conv-mask", "config": '{"frames": [[65537]]}'})
    with pytest.raises(CheckpointError, match="frames: expected at most 65536, got 65537"):
        load_model(tmp_path / "file")
    write_state_dict(tmp_path / "file", {}, {"architecture": "lite-rtse", "config": '{"order": 11}'})
    with pytest.raises(CheckpointError, match="order: expected at most 10, got 11"):
        load_model(tmp_path / "file")


def test_a_file_that_says_nothing_is_known_by_its_shapes(tmp_path: Path) -> None:
    write_state_dict(tmp_path / "lite-rtse", small("lite-rtse").state_dict())
    loaded = load_model(tmp_path / "lite-rtse")
    assert isinstance(loaded, LiteRTSE)
    assert loaded.config() == small("lite-rtse").config()
    write_state_dict(tmp_path / "gru-mask", small("gru-mask").state_dict())
    with pytest.raises(CheckpointError, match=r"gru-mask: .*no parameters of Lite-RTSE: fc1\.weight is missing"):
        load_model(tmp_path / "gru-mask")


def test_an_input_gain_is_saved(tmp_path: Path) -> None:
    model = InputGain(small("gru-mask"), 0.25)
    save_model(model, tmp_path / "file")
    loaded = load_model(tmp_path / "file")
    for segment_frames in (None, 5):
        got = enhance_waveform(loaded, noise(), segment_frames=segment_frames)
        torch.testing.assert_close(got, enhance_waveform(model, noise()))


def test_names_are_unique() -> None:
    class Other(SpectrogramModel):
        architecture = "gru-mask"

    class Fake(SpectrogramModel):
        architecture = "lite-rtse"

    class Nameless(SpectrogramModel):
        pass

    for network in (Other, Fake, Nameless):
        with pytest.raises(ValueError, match=rf"{network.__name__}\.architecture: expected a name"):
            register(network)
    assert register(GruMask) is GruMask
    with pytest.raises(ValueError, match=r"name: expected one of conv-mask, .*, got 'nobody'"):
        create_model("nobody")


def test_networks_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("conv-mask", "tests.models.networks:ConvMask", registry.GROUP)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.GROUP else [])
    assert model_names() == sorted(["conv-mask", *registry._BUILT_IN])
    assert isinstance(create_model("conv-mask", frames=2), ConvMask)


def test_an_argument_without_attribute_is_named() -> None:
    class Forgetful(SpectrogramModel):
        def __init__(self, size: int = 1) -> None:
            super().__init__()

    with pytest.raises(TypeError, match=r"Forgetful\.size: expected an attribute"):
        Forgetful().config()
    assert MeanMask().config() == {}
    assert reference.LiteRTSE().config() == LiteRTSE().config()


def test_a_network_may_branch_on_values_when_it_starts() -> None:
    class Careful(GruMask):
        def advance(self, spectrogram: Tensor, before: int = 0, states: Any = None) -> tuple[Tensor, Any]:
            if not torch.isfinite(spectrogram).all():
                raise ValueError("spectrogram: expected finite numbers")
            return super().advance(spectrogram, before, states)

    sizes = {name: each.shape for name, each in GruMask().start(3).items()}
    assert {name: each.shape for name, each in Careful().start(3).items()} == sizes


def test_any_module_is_a_network_behind_an_input_gain() -> None:
    model = InputGain(nn.Identity(), 0.5)
    torch.testing.assert_close(enhance_waveform(model, noise(), high_pass=False), noise())


def test_loading_a_file_needs_no_training(tmp_path: Path) -> None:
    save_model(small("lite-rtse"), tmp_path / "file")
    code = (
        "import sys; from pathlib import Path; from lite_rtse_ext.evaluate.load import load_model;"
        f"load_model(Path({str(tmp_path / 'file')!r}));"
        "assert not [n for n in sys.modules if n.startswith(('lite_rtse_ext.train', 'lightning'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from lite_rtse_ext.models import model_names; import lite_rtse_ext.cli;"
        "assert {'gtcrn', 'lite-rtse'} <= set(model_names()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
