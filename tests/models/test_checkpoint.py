"""Checkpoints: what is written is read again, what isn't one is refused in words, and nothing in a file is ever run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from lite_rtse_ext import LiteRTSE, reference
from lite_rtse_ext.models.checkpoint import CheckpointError, read_state_dict, write_state_dict
from lite_rtse_ext.models.lite_rtse import infer_config
from lite_rtse_ext.models.metadata import read_metadata

from ..compare import assert_same
from ..fusion.foreign import PublicLiteRTSE

SMALL: dict[str, Any] = {"bins": 9, "channels": 8, "order": 3}


@pytest.fixture
def model() -> LiteRTSE:
    torch.manual_seed(0)
    return LiteRTSE(**SMALL)


def assert_same_parameters(actual: nn.Module, expected: nn.Module) -> None:
    assert list(actual.state_dict()) == list(expected.state_dict())
    for key, value in expected.state_dict().items():
        assert_same(actual.state_dict()[key], value, key)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        {**SMALL, "depthwise": False},
        {"bins": 5, "channels": 4, "order": 2},
        {"bins": 3, "channels": 16, "order": 5},
    ],
)
def test_round_trip_keeps_parameters_and_configuration(config: dict[str, Any], tmp_path: Path) -> None:
    saved = LiteRTSE(**config)
    saved.save_checkpoint(tmp_path / "model.safetensors")
    loaded = LiteRTSE.from_checkpoint(tmp_path / "model.safetensors")
    assert_same_parameters(loaded, saved)
    assert infer_config(loaded.state_dict()) == {"depthwise": True, **config}
    assert loaded.extra_repr() == saved.extra_repr()
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_same_network_always_gives_the_same_bytes(model: LiteRTSE, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(12)]
    for file in files:
        model.save_checkpoint(file)
    assert len({file.read_bytes() for file in files}) == 1


def test_sorted_metadata_changes_nothing_else(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0), "b\u00e4": torch.arange(5, dtype=torch.int8), "c": torch.zeros(2, 0)}
    metadata = {"z": 'quotes "', "text": "\u00e4\n\u2028", "a": ""}
    write_state_dict(tmp_path / "file", state, metadata)
    read = safetensors.torch.load_file(tmp_path / "file")
    assert read.keys() == state.keys()
    for key, value in state.items():
        assert_same(read[key], value, key)
    with safetensors.safe_open(tmp_path / "file", "pt") as file:
        assert file.metadata() == {"format": "pt", **metadata}
    assert list(read_metadata(tmp_path / "file")) == ["a", "format", "text", "z"]
    assert int.from_bytes((tmp_path / "file").read_bytes()[:8], "little") % 8 == 0


def test_an_entry_that_stands_twice_is_refused(model: LiteRTSE, tmp_path: Path) -> None:
    """Programs differ in which of the two counts."""
    path = tmp_path / "file"
    model.save_checkpoint(path)
    data = path.read_bytes()
    text = data[8:].replace(b'"format":"pt"', b'"config":"{}"', 1)  # of the same length
    path.write_bytes(data[:8] + text)
    for read in (LiteRTSE.from_checkpoint, model.load_checkpoint):
        with pytest.raises(CheckpointError, match=r"file: metadata: expected each name once, got one twice$"):
            read(path)


def test_lazy_conjugates_and_negatives_are_written_as_what_they_are(tmp_path: Path) -> None:
    model = nn.Module()
    values = torch.complex(torch.tensor([1.0, 2.0]), torch.tensor([3.0, -4.0]))
    for name, value in {"conjugate": values.conj(), "negative": values.clone().conj().imag[:1]}.items():
        assert value.is_contiguous()
        model.register_buffer(name, value)
    assert (model.conjugate.is_conj(), model.negative.is_neg()) == (True, True)
    write_state_dict(tmp_path / "file", model.state_dict())
    read = safetensors.torch.load_file(tmp_path / "file")
    assert_same(read["conjugate"], torch.complex(torch.tensor([1.0, 2.0]), torch.tensor([-3.0, 4.0])), "conjugate")
    assert_same(read["negative"], torch.tensor([-3.0]), "negative")


def test_weights_that_two_layers_share_are_written_for_both(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    second.weight = first.weight
    model = torch.nn.Sequential(first, second)
    model.register_buffer("part", first.bias.detach()[1:])
    write_state_dict(tmp_path / "file", model.state_dict())
    read = safetensors.torch.load_file(tmp_path / "file")
    assert read.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert_same(read[name], value, name)


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_pytorch_files(model: LiteRTSE, key: str | None, prefix: str, tmp_path: Path) -> None:
    state: dict[str, Any] = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "model.tar")
    assert_same_parameters(LiteRTSE.from_checkpoint(tmp_path / "model.tar"), model)


def test_old_pytorch_format(model: LiteRTSE, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same_parameters(LiteRTSE.from_checkpoint(tmp_path / "old.pth"), model)


def test_public_checkpoint_loads(tmp_path: Path) -> None:
    theirs = PublicLiteRTSE()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "public.pth")
    loaded = LiteRTSE.from_checkpoint(tmp_path / "public.pth")
    assert loaded.extra_repr() == LiteRTSE().extra_repr()
    assert_same_parameters(loaded, theirs)


def test_load_converts_to_the_networks_dtype(model: LiteRTSE, tmp_path: Path) -> None:
    model.save_checkpoint(tmp_path / "model.safetensors")
    other = LiteRTSE(**SMALL).double()
    other.load_checkpoint(tmp_path / "model.safetensors")
    assert_same_parameters(other, model.double())


def test_load_is_all_or_nothing(model: LiteRTSE, tmp_path: Path) -> None:
    state = model.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    del state["to_imag.bias"]
    state["extra"] = torch.zeros(3)
    state["fc1.bias"] = torch.zeros(4)
    state["fc1.weight"] = torch.zeros(9, 9)
    write_state_dict(tmp_path / "bad.safetensors", state)
    expected = (
        r"bad.safetensors: missing: to_imag.bias; unknown: extra; of another shape: fc1.bias \(4,\) instead of \(9,\)$"
    )
    for load in (model.load_checkpoint, LiteRTSE.from_checkpoint):
        with pytest.raises(CheckpointError, match=expected):
            load(tmp_path / "bad.safetensors")
    for key, value in before.items():
        assert_same(model.state_dict()[key], value, key)


def test_long_lists_are_cut(model: LiteRTSE, tmp_path: Path) -> None:
    write_state_dict(tmp_path / "other.safetensors", {"weight": torch.zeros(1)})
    with pytest.raises(
        CheckpointError,
        match=r"missing: lstm1\.\S+, lstm1\.\S+, lstm1\.\S+, lstm1\.\S+, fc1\.weight and \d+ more; unknown: weight$",
    ):
        model.load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"no parameters of Lite-RTSE: fc1\.weight is missing"):
        LiteRTSE.from_checkpoint(tmp_path / "other.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"RIFF\x00\x00\x00\x00WAVE", bytes(100)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match="file: not a checkpoint"):
        LiteRTSE.from_checkpoint(tmp_path / "file")


@pytest.mark.parametrize("kind", ["safetensors", "pytorch", "old pytorch"])
def test_damaged_files_are_refused(model: LiteRTSE, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if kind == "safetensors":
        model.save_checkpoint(path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=kind == "pytorch")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"file: (damaged safetensors|can't be read as a PyTorch) file"):
        LiteRTSE.from_checkpoint(path)


@pytest.mark.parametrize("kind", ["safetensors", "pytorch", "old pytorch"])
def test_files_cut_off_anywhere_are_refused(kind: str, tmp_path: Path) -> None:
    path, state = tmp_path / "file", {"fc1.weight": torch.zeros(2, 2), "fc1.bias": torch.zeros(2)}
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pytorch")
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"file: [^()]+(\(.+\))?$"):
            read_state_dict(path)


def larger(state: dict[str, torch.Tensor], what: str) -> dict[str, torch.Tensor]:
    """A small file whose tensors' shapes are those of a network of terabytes, or that has no numbers."""
    if what == "empty":
        return state | {"fc1.weight": torch.zeros(1 << 20, 0)}
    if what == "many bins":
        return state | {"fc1.weight": torch.zeros(1, 1).expand(5000, 5000)}
    if what == "many channels":
        return state | {"msmo_conv.2.pwconvN.weight": torch.zeros(1, 2048, 1, 1)}
    if what == "deep":
        return state | {f"msmo_conv.2.pwconvs.{stage}.weight": torch.zeros(0) for stage in range(2, 50)}
    if what == "repeated":
        return state | {"fc1.weight": torch.zeros(1, 1).expand(9, 9)}
    if what == "no numbers":
        return state | {"fc1.weight": torch.zeros(9, 9, device="meta")}
    if what == "whole numbers":
        return state | {"fc1.weight": torch.zeros(9, 9, dtype=torch.int64)}
    return state | {"fc1.weight": torch.zeros(9, 9).to_sparse()}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("empty", r"bins: expected at most 4097, got 1048576$"),
        ("many bins", r"bins: expected at most 4097, got 5000$"),
        ("many channels", r"channels: expected at most 1024, got 2048$"),
        ("deep", r"order: expected at most 10, got 51$"),
        ("repeated", r"not dense floating-point numbers: fc1\.weight torch\.float32$"),
        ("no numbers", r"not dense floating-point numbers: fc1\.weight torch\.float32$"),
        ("whole numbers", r"not dense floating-point numbers: fc1\.weight torch\.int64$"),
        ("sparse", r"not dense floating-point numbers: fc1\.weight torch\.float32$"),
    ],
)
def test_a_small_file_asks_for_no_memory(model: LiteRTSE, what: str, words: str, tmp_path: Path) -> None:
    torch.save(larger(dict(model.state_dict()), what), tmp_path / "file")
    with pytest.raises(CheckpointError, match=rf"file: {words}"):
        LiteRTSE.from_checkpoint(tmp_path / "file")


def test_shapes_are_compared_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    monkeypatch.setattr(nn.LSTM, "reset_parameters", lambda self: devices.append(self.weight_hh_l0.device.type))
    state = {key: value for key, value in reference.LiteRTSE(**SMALL).state_dict().items() if key != "fc2.bias"}
    devices.clear()
    safetensors.torch.save_file(state, tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"file: missing: fc2\.bias$"):
        LiteRTSE.from_checkpoint(tmp_path / "file")
    assert devices == ["meta", "meta"]


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"a": 1}}, {"epoch": 3}, torch.zeros(3)])
def test_pytorch_files_of_something_else_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        LiteRTSE.from_checkpoint(tmp_path / "file")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_nothing_in_a_file_is_run(save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save({"state_dict": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match=r"bomb.pth: can't be read as a PyTorch file of tensors alone"):
        LiteRTSE.from_checkpoint(tmp_path / "bomb.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.pth"]


def test_missing_file_and_folder(model: LiteRTSE, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LiteRTSE.from_checkpoint(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        model.save_checkpoint(tmp_path / "nowhere" / "model.safetensors")


def test_impossible_configuration_is_refused(model: LiteRTSE, tmp_path: Path) -> None:
    state = model.state_dict()
    state["msmo_conv.2.pwconvN.weight"] = torch.zeros(1, 6, 1, 1)
    safetensors.torch.save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"odd.safetensors: channels: expected a multiple of 2\^\(order - 1\), 4"):
        LiteRTSE.from_checkpoint(tmp_path / "odd.safetensors")


def test_failed_save_leaves_the_old_file(model: LiteRTSE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    model.save_checkpoint(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        LiteRTSE(**SMALL).save_checkpoint(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_cannot_be_written_is_named(model: LiteRTSE, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as folder:
        model.save_checkpoint(tmp_path)
    assert folder.value.filename == str(tmp_path)
    assert folder.value.strerror == "expected a regular file or a new name, got a folder"
    nowhere = tmp_path / "nowhere" / "model.safetensors"
    with pytest.raises(FileNotFoundError) as missing:
        model.save_checkpoint(nowhere)
    assert missing.value.filename == str(nowhere)
    assert list(tmp_path.iterdir()) == []
