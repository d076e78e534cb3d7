"""The network as a one-frame graph: in PyTorch, in ONNX Runtime, and as a command."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from lite_rtse_ext import LiteRTSE
from lite_rtse_ext.cli import main
from lite_rtse_ext.models import create_model
from lite_rtse_ext.models.onnx import OneFrame, check_onnx, export_onnx
from tests.compare import assert_agrees, assert_same
from tests.stream.conftest import CONFIGS, model
from tests.utils.full_disk import full_disk

needs_onnx = pytest.mark.skipif(
    not all(map(__import__("importlib.util").util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs the extra onnx",
)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("batch", [1, 3])
def test_frame_by_frame_is_the_whole(name: str, batch: int) -> None:
    torch.manual_seed(1)
    spectrogram = torch.randn(batch, 257, 12, 2)
    spectrogram[:, :, 3] = 0
    frame = OneFrame(model(name))
    memory, outputs = frame.start(batch), []
    with torch.no_grad():
        for t in range(12):
            enhanced, *memory = frame(spectrogram[:, :, t], *memory)
            outputs.append(enhanced)
        assert_agrees(torch.stack(outputs, dim=2), model(name)(spectrogram), 1e-5)


def test_the_memory_is_what_it_says() -> None:
    frame = OneFrame(model("network"))
    assert list(frame.memory.items())[:5] == [
        ("lstm1_h", (257,)),
        ("lstm1_c", (257,)),
        ("lstm2_h", (257,)),
        ("lstm2_c", (257,)),
        ("msmo_conv_0_conv_2", (32, 2, 257)),
    ]
    assert frame.memory["msmo_conv_2_dwconvs_3_1"] == (96, 6, 257)
    for piece, (name, shape) in zip(frame.start(2), frame.memory.items(), strict=True):
        assert (name, piece.shape) == (name, (2, *shape))
        assert not piece.any()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The exported graph of a network. An export takes seconds."""

    @cache
    def exported(name: str) -> Path:
        path = tmp_path_factory.mktemp("graph") / "frame.onnx"
        logger = logging.getLogger("torch.onnx")
        logger.setLevel(logging.INFO)
        export_onnx(model(name), path)
        assert logger.level == logging.INFO
        logger.setLevel(logging.NOTSET)
        assert [each.name for each in path.parent.iterdir()] == ["frame.onnx"]
        return path

    return exported


@needs_onnx
@pytest.mark.parametrize("name", ["network", "full", "small", "compressed", "mask branch"])
def test_onnxruntime_and_pytorch_agree(graph: Callable[[str], Path], name: str) -> None:
    assert check_onnx(graph(name), model(name)) < 1e-4


@needs_onnx
def test_silence_is_read_as_in_pytorch(graph: Callable[[str], Path]) -> None:
    """The compression of a magnitude of 0 depends on a small constant, which an export can lose."""
    import onnxruntime as ort

    session = ort.InferenceSession(graph("compressed"), providers=["CPUExecutionProvider"])
    frame = OneFrame(model("compressed"))
    feed = [torch.zeros(1, 257, 2), *frame.start()]
    actual = session.run(None, {n.name: x.numpy() for n, x in zip(session.get_inputs(), feed, strict=True)})
    with torch.no_grad():
        expected = frame(*feed)
    for a, e in zip(actual[1:], expected[1:], strict=True):
        assert_agrees(torch.from_numpy(a), e, 1e-5)


@needs_onnx
def test_several_streams_in_one_graph(tmp_path: Path) -> None:
    import onnxruntime as ort

    export_onnx(model("small"), tmp_path / "frame.onnx", batch=3)
    session = ort.InferenceSession(tmp_path / "frame.onnx", providers=["CPUExecutionProvider"])
    frame = OneFrame(model("small"))
    spectrum = torch.randn(3, 257, 2, generator=torch.Generator().manual_seed(0))
    names = [entry.name for entry in session.get_inputs()]
    feed = [spectrum, *frame.start(3)]
    actual = session.run(None, {n: x.numpy() for n, x in zip(names, feed, strict=True)})
    with torch.no_grad():
        expected = frame(*feed)
    for a, e in zip(actual, expected, strict=True):
        assert_agrees(torch.from_numpy(a), e, 1e-5)
    with pytest.raises(ValueError, match=r"its inputs should be spectrum, lstm1_h"):
        check_onnx(tmp_path / "frame.onnx", model("network"))


@needs_onnx
def test_a_graph_of_another_network_is_found_out(graph: Callable[[str], Path]) -> None:
    torch.manual_seed(7)
    assert check_onnx(graph("small"), LiteRTSE(**CONFIGS["small"]).eval()) > 1e-2


@needs_onnx
def test_a_network_in_training_mode_is_compared_as_it_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = create_model("gtcrn").train()
    state = copy.deepcopy(net.state_dict())
    export_onnx(net, tmp_path / "frame.onnx")
    assert check_onnx(tmp_path / "frame.onnx", net, 5) < 1e-5
    assert net.training
    for name, value in net.state_dict().items():
        assert_same(value, state[name], name)


def test_silence_is_silence() -> None:
    frame = OneFrame(model("small"))
    enhanced, *_ = frame(torch.zeros(1, 257, 2), *frame.start())
    assert not enhanced.any()
    assert np.isfinite(enhanced.detach().numpy()).all()


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch: expected a positive number, got 0"):
        export_onnx(model("small"), tmp_path / "frame.onnx", batch=0)
    with pytest.raises(ValueError, match=r"model: expected float32, got torch\.float64"):
        export_onnx(LiteRTSE(**CONFIGS["small"]).double(), tmp_path / "frame.onnx")


# --- the command ------------------------------------------------------------------------------------------------------


@needs_onnx
def test_the_command(tmp_path: Path) -> None:
    save_file(model("small").state_dict(), tmp_path / "small.safetensors")
    target = tmp_path / "frame.onnx"
    command = ["export", str(target), "--checkpoint", str(tmp_path / "small.safetensors")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "differs from PyTorch by" in result.stdout
    before = target.read_bytes()
    again = CliRunner().invoke(main, command)
    assert (again.exit_code, again.stderr) == (1, f"Error: {target}: exists already; --force replaces it\n")
    assert target.read_bytes() == before
    with full_disk(most_bytes=100_000):
        full = CliRunner().invoke(main, [*command, "--force"])
    assert (full.exit_code, full.stderr) == (1, f"Error: {target}: can't be written (File too large)\n")
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["export", str(tmp_path / "frame.onnx"), "--checkpoint", str(tmp_path / "none.safetensors")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    monkeypatch.setattr("lite_rtse_ext.utils.extras.find_spec", lambda name: None)
    result = CliRunner().invoke(main, command)
    assert result.stderr == (
        "Error: exporting needs torch, onnx, onnxscript, onnxruntime: pip install 'lite-rtse-ext[onnx]'\n"
    )
