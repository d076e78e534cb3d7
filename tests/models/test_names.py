"""Weights under the names that wrappers give them: every wrapper, and every way to read weights."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from lite_rtse_ext import LiteRTSE, Streamer
from lite_rtse_ext.models.checkpoint import CheckpointError, load_into
from lite_rtse_ext.models.names import network_parameters, unwrapped
from lite_rtse_ext.stream import Network

from ..compare import assert_same

State = dict[str, Any]


def network(bins: int = 257) -> LiteRTSE:
    torch.manual_seed(3)
    return LiteRTSE(bins, channels=4, order=2)


class Holder(nn.Module):
    """A module that keeps the network under a name of its own, as a Lightning module does."""

    def __init__(self, inner: nn.Module, name: str = "model") -> None:
        super().__init__()
        self.add_module(name, inner)


def with_compiled_part(model: nn.Module) -> nn.Module:
    model.msmo_conv = torch.compile(model.msmo_conv)
    return model


def with_checkpointed_part(model: nn.Module) -> nn.Module:
    model.lstm2 = checkpoint_wrapper(model.lstm2)
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "none": lambda model: model,
    "DataParallel": nn.DataParallel,
    "compile": torch.compile,
    "AveragedModel": AveragedModel,
    "holder": Holder,
    "deep holder": lambda model: Holder(Holder(model, "generator"), "nets"),
    "compiled part": with_compiled_part,
    "checkpointed part": with_checkpointed_part,
    "average of compiled": lambda model: AveragedModel(torch.compile(model)),
    "compiled DataParallel": lambda model: torch.compile(nn.DataParallel(model)),
    "holder of average": lambda model: Holder(AveragedModel(model), "ema_model"),
    "holder of DataParallel of compiled": lambda model: Holder(nn.DataParallel(torch.compile(model))),
}


def network_of(arrays: Network) -> State:
    return {name: torch.from_numpy(value) for name, value in arrays._weights.items()}


def from_pytorch_file(model: nn.Module, folder: Path) -> State:
    torch.save(model.state_dict(), folder / "weights")
    return LiteRTSE.from_checkpoint(folder / "weights").state_dict()


def from_lightning_file(model: nn.Module, folder: Path) -> State:
    torch.save({"epoch": 3, "model": {"state_dict": model.state_dict(), "lr": 0.1}}, folder / "weights")
    return LiteRTSE.from_checkpoint(folder / "weights").state_dict()


def from_safetensors(model: nn.Module, folder: Path) -> State:
    save_file(model.state_dict(), folder / "weights")
    return LiteRTSE.from_checkpoint(folder / "weights").state_dict()


def into_a_network(model: nn.Module, folder: Path) -> State:
    save_file(model.state_dict(), folder / "weights")
    other = LiteRTSE(9, channels=4, order=2)
    other.load_checkpoint(folder / "weights")
    return other.state_dict()


def into_a_compiled_network(model: nn.Module, folder: Path) -> State:
    other = LiteRTSE(9, channels=4, order=2)
    load_into(torch.compile(other), model.state_dict())
    return other.state_dict()


def engine_from_file(model: nn.Module, folder: Path) -> State:
    save_file(model.state_dict(), folder / "weights")
    return network_of(Network.from_pretrained(folder / "weights"))


def engine_from_model(model: nn.Module, folder: Path) -> State:
    return network_of(Streamer.from_model(model).network)


def engine_from_arrays(model: nn.Module, folder: Path) -> State:
    return network_of(Network({name: value.numpy() for name, value in model.state_dict().items()}))


READERS = [
    from_pytorch_file,
    from_lightning_file,
    from_safetensors,
    into_a_network,
    into_a_compiled_network,
    engine_from_file,
    engine_from_model,
    engine_from_arrays,
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("read", READERS)
def test_every_reader_knows_every_wrapper(wrapper: str, read: Any, tmp_path: Path) -> None:
    bins = 257 if read.__name__.startswith("engine") else 9
    expected = network(bins).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DataParallel has no GPU here
        found = read(WRAPPERS[wrapper](network(bins)), tmp_path)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert_same(found[name], value, name)


OTHERS: dict[str, tuple[Callable[[State], State], str]] = {
    "another network": (
        lambda state: {"encoder.weight": torch.zeros(2), "encoder.bias": torch.zeros(2)},
        r"no parameters of Lite-RTSE: fc1\.weight is missing; found: encoder\.\w+, encoder\.\w+$",
    ),
    "nothing": (lambda state: {}, r"fc1\.weight is missing; found: nothing$"),
    "two networks": (
        lambda state: {f"{side}.{name}": value.clone() for side in ("ema", "net") for name, value in state.items()},
        r"holds several networks, under ema\. and net\.: give the parameters of one$",
    ),
    "a tensor beside": (
        lambda state: {f"net.{name}": value for name, value in state.items()} | {"norm.mean": torch.zeros(1)},
        r"unknown.* norm\.mean$",
    ),
    "a name twice": (
        lambda state: state | {"module.fc1.bias": state["fc1.bias"].clone()},
        r"holds fc1\.bias twice, once as (module\.)?fc1\.bias$",
    ),
    "a name twice after the prefix": (
        lambda state: {f"net.{name}": value for name, value in state.items()} | {"fc1.bias": torch.zeros(257)},
        r"holds fc1\.bias twice, once as (net\.)?fc1\.bias$",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_names_are_refused_and_told(what: str, tmp_path: Path) -> None:
    change, words = OTHERS[what]
    state = change(network().state_dict())
    save_file(state, tmp_path / "weights")
    for read in (LiteRTSE.from_checkpoint, Network.from_pretrained):
        with pytest.raises(ValueError, match=rf"weights: .*{words}"):
            read(tmp_path / "weights")
    with pytest.raises(ValueError, match=words):
        Network({name: value.numpy() for name, value in state.items()})


def test_a_network_whose_own_names_are_like_a_wrappers() -> None:
    """Of any network but Lite-RTSE the own names decide."""
    inner = Holder(nn.Linear(2, 2), "module")
    state = {name: torch.ones_like(value) for name, value in inner.state_dict().items()}
    load_into(inner, state)
    load_into(inner, {f"_orig_mod.{name}": 2 * value for name, value in state.items()})
    assert bool((inner.state_dict()["module.weight"] == 2).all())
    one = nn.Linear(2, 2)
    load_into(one, {f"net.{name}": torch.full_like(value, 3) for name, value in one.state_dict().items()})
    assert bool((one.weight == 3).all())
    with pytest.raises(CheckpointError, match=r"missing: weight, bias; unknown: a\.weight, b\.weight$"):
        load_into(one, {"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(2, 2)})
    load_into(nn.ReLU(), {})


def test_names_alone() -> None:
    assert unwrapped({"a.module.b": 1, "a.n_averaged": 2}, ("b",)) == {"b": 1}
    assert unwrapped({"n_averaged": 1}, ("n_averaged",)) == {"n_averaged": 1}
    assert network_parameters({"fc1.weight": 1, "x.fc1.weight": 2}) == {"fc1.weight": 1, "x.fc1.weight": 2}


def test_a_quantized_model_is_no_network_for_the_engine() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(network(), {nn.Linear})
    with pytest.raises(ValueError, match=r"fc1\.weight is missing; found: lstm1\.weight_ih_l0"):
        Network.from_model(small)


class Stated:
    """A model that is nothing but its state."""

    def __init__(self, **changes: Any) -> None:
        self.state = network().state_dict() | {name.replace("_", "."): value for name, value in changes.items()}

    def state_dict(self) -> State:
        return self.state


def test_what_holds_no_numbers_is_named() -> None:
    with pytest.raises(TypeError, match=r"fc1\.bias: expected a tensor of numbers, got a tensor without data"):
        Network.from_model(Stated(fc1_bias=torch.zeros(257, device="meta")))
    with pytest.raises(TypeError, match=r"fc1\.bias: expected a tensor of numbers, got str"):
        Network.from_model(Stated(fc1_bias="0"))


def test_no_memory_is_taken_for_what_is_too_large() -> None:
    tensor = torch.zeros(1).expand(1 << 20, 1 << 20)
    array = np.broadcast_to(np.float32(0), (1 << 20, 1 << 20))
    with pytest.raises(ValueError, match="larger than any network that streams"):
        Network.from_model(Stated(fc1_weight=tensor))
    with pytest.raises(ValueError, match="larger than any network that streams"):
        Network({name: value.numpy() for name, value in network().state_dict().items()} | {"fc1.weight": array})


@pytest.mark.parametrize("precision", ["float32", "int16"])
def test_a_network_goes_into_another_process(precision: Any) -> None:
    arrays = {name: value.numpy().copy() for name, value in network().state_dict().items()}
    sent = Network(arrays, precision)
    for value in arrays.values():
        value[...] = 0
    received = pickle.loads(pickle.dumps(sent))
    signal = np.random.default_rng(0).normal(0, 0.1, 2000).astype(np.float32)
    np.testing.assert_array_equal(Streamer(received).feed(signal), Streamer(sent).feed(signal))
    assert (repr(received), bool(Streamer(sent).feed(signal).any())) == (repr(sent), True)
