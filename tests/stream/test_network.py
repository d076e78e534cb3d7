"""Weights in: files, models, arrays; what is no network is refused by name, and never crashes."""

from __future__ import annotations

import gc
import json
import struct
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save, save_file
from safetensors.torch import save_file as save_torch_file

from lite_rtse_ext import reference
from lite_rtse_ext.stream import Network, Streamer, isa, isas
from tests.stream.conftest import TOLERANCE, hops, model, network, noise, offline, relative, run

Weights = dict[str, NDArray[Any]]


def weights(name: str = "small") -> Weights:
    return {key: value.numpy() for key, value in model(name).state_dict().items()}


def test_a_file_a_model_and_arrays_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    model("small").save_checkpoint(path)
    signal = noise(2000)
    expected = run(Streamer(network("small")), [signal])
    for streamer in (
        Streamer.from_pretrained(path),
        Streamer.from_pretrained(str(path)),
        Streamer.from_model(model("small")),
        Streamer(Network(weights())),
    ):
        np.testing.assert_array_equal(run(streamer, [signal]), expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "wrapped.safetensors"
    save_file({prefix + name: value for name, value in weights().items()}, path)
    assert repr(Network.from_pretrained(path)).startswith("Network(channels=8, order=3, depthwise=True")


def test_weights_in_other_floating_types(tmp_path: Path) -> None:
    signal = noise(2000)
    half = {name: value.astype(np.float16) for name, value in weights().items()}
    rounded = reference.LiteRTSE(channels=8, order=3)
    rounded.load_state_dict({name: torch.from_numpy(value).float() for name, value in half.items()})
    expected = run(Streamer.from_model(rounded), [signal])
    save_file(half, tmp_path / "half.safetensors")
    np.testing.assert_array_equal(run(Streamer.from_pretrained(tmp_path / "half.safetensors"), [signal]), expected)
    wide = {name: value.astype(np.float64) for name, value in half.items()}
    np.testing.assert_array_equal(run(Streamer(Network(wide)), [signal]), expected)
    bfloat16 = {name: value.bfloat16() for name, value in model("small").state_dict().items()}
    save_torch_file(bfloat16, tmp_path / "bfloat16.safetensors")
    np.testing.assert_array_equal(
        run(Streamer.from_pretrained(tmp_path / "bfloat16.safetensors"), [signal]),
        run(Streamer.from_model(reference_with(bfloat16)), [signal]),
    )


def reference_with(state: dict[str, torch.Tensor]) -> reference.LiteRTSE:
    result = reference.LiteRTSE(channels=8, order=3)
    result.load_state_dict({name: value.float() for name, value in state.items()})
    return result


def test_the_weights_are_copied() -> None:
    mine = weights()
    streamer = Streamer(Network({name: value.copy() for name, value in mine.items()}))
    changed = {name: value.copy() for name, value in mine.items()}
    other = Network(changed)
    for value in changed.values():
        value[...] = 0
    signal = noise(1000)
    np.testing.assert_array_equal(run(Streamer(other), [signal]), run(streamer, [signal]))


@pytest.mark.parametrize("name", ["precision", "min_gain"])
def test_what_is_part_of_the_weights_can_not_be_assigned(name: str) -> None:
    net = Network(weights())
    with pytest.raises(AttributeError):
        setattr(net, name, getattr(net, name))


def test_a_network_lives_as_long_as_its_streamers() -> None:
    net = Network(weights())
    gone = weakref.ref(net)
    streamer = Streamer(net)
    expected = run(Streamer(net), [noise(1000)])
    del net
    gc.collect()
    assert gone() is not None
    np.testing.assert_array_equal(run(streamer, [noise(1000)]), expected)
    del streamer
    gc.collect()
    assert gone() is None


LIMITS = {"float32": 3e-6, "int24": 3e-6, "int16": 2e-4, "int8": 5e-2}


@pytest.mark.parametrize("name", ["network", "full", "small"])
@pytest.mark.parametrize("precision", LIMITS)
def test_error_of_a_precision(name: str, precision: Any) -> None:
    signal = noise(20_000)
    assert relative(run(Streamer(network(name, precision)), hops(signal)), offline(name, signal)) < LIMITS[precision]


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize(("name", "level"), [("small", 100), ("network", 10)])
def test_integers_take_as_loud_samples_as_floats(name: str, level: float, precision: Any) -> None:
    """At ten times the level the floats overflow."""
    signal = np.float32(level) * np.sign(noise(4000))
    expected = run(Streamer(network(name)), hops(signal))
    limit = {"int16": 0.1, "int8": 1.0}.get(precision, TOLERANCE)
    assert relative(run(Streamer(network(name, precision)), hops(signal)), expected) < limit
    with pytest.raises(FloatingPointError, match="not finite"):
        run(Streamer(network(name, precision)), hops(10 * signal))


@pytest.mark.parametrize("precision", LIMITS)
def test_integers_take_as_large_weights_as_floats(precision: Any) -> None:
    large = {
        key: value * np.float32(1e35) if value.ndim == 2 and not key.startswith("msmo") else value
        for key, value in weights().items()
    }
    out = run(Streamer(Network(large, precision)), hops(np.sign(noise(4000))))
    assert np.isfinite(out).all()
    assert np.abs(out).max() > 1e30


def test_precisions_differ_by_name() -> None:
    signal = noise(2000)
    assert len({run(Streamer(network("small", name)), [signal]).tobytes() for name in LIMITS}) == len(LIMITS)
    assert network("small").precision == Network(weights()).precision == "float32"


@pytest.mark.parametrize("precision", LIMITS)
def test_weights_that_are_zero(precision: Any) -> None:
    zero = {name: np.zeros_like(value) for name, value in weights().items()}
    signal = noise(2000)
    # R = 0 and a mask of one half: half the signal comes out.
    assert relative(run(Streamer(Network(zero, precision), high_pass=False), [signal]), signal / 2) < TOLERANCE


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("size", [1e-44, 1e-40, 1e-36, 1e-30])
def test_weights_that_are_nearly_zero(precision: Any, size: float) -> None:
    """The scale of such weights is subnormal, or nearly so."""
    tiny = {name: value * 0 for name, value in weights().items()}
    for name in ("fc1.weight", "lstm1.weight_ih_l0", "fc2.weight"):
        tiny[name] = np.full_like(tiny[name], size)
    signal = noise(2000)
    streamer = Streamer(Network(tiny, precision), high_pass=False)
    assert relative(run(streamer, [signal]), signal / 2) < TOLERANCE


def test_what_is_wrong_with_weights_is_named() -> None:
    good = weights()
    for change, error, words in [
        ({"fc1.weight": None}, ValueError, "fc1.weight is missing"),
        ({"lstm2.bias_hh_l0": None}, ValueError, "lstm2.bias_hh_l0 is missing"),
        ({"msmo_conv.2.pwconvs.0.weight": None}, ValueError, "pwconvs.0.weight is missing"),
        ({"extra": np.zeros(1, np.float32)}, ValueError, "unknown parameter extra"),
        ({"fc1.weight": np.zeros((129, 129), np.float32)}, ValueError, "257 bins, but this one has 129"),
        ({"fc1.weight": np.zeros(257, np.float32)}, ValueError, r"must have 2 dimensions, but has the shape \(257,\)"),
        ({"fc1.bias": np.zeros(256, np.float32)}, ValueError, r"shape \(257,\), but has \(256,\)"),
        ({"fc2.weight": np.zeros((257, 770), np.float32)}, ValueError, r"\(257, 771\), but has \(257, 770\)"),
        ({"msmo_conv.2.pwconvN.weight": np.zeros((1, 9, 1, 1), np.float32)}, ValueError, "a multiple of 4 up to 1024"),
        ({"msmo_conv.2.pwconvN.weight": np.zeros((1, 0, 1, 1), np.float32)}, ValueError, "but are 0"),
        ({"msmo_conv.2.pwconvN.weight": np.zeros((2, 8, 1, 1), np.float32)}, ValueError, r"but has \(2, 8, 1, 1\)"),
        ({"to_mag.bias": np.full(257, np.nan, np.float32)}, ValueError, "to_mag.bias holds a value that is not finite"),
        ({"to_mag.bias": np.full(257, 1e200)}, ValueError, "to_mag.bias holds a value that is not finite"),
        ({"to_mag.bias": np.zeros(257, np.int32)}, TypeError, "to_mag.bias: expected a floating type, got int32"),
    ]:
        changed = {name: value for name, value in (good | change).items() if value is not None}
        with pytest.raises(error, match=words):
            Network(changed)
    with pytest.raises(ValueError, match=r"no parameters of Lite-RTSE: fc1\.weight is missing"):
        Network({})
    with pytest.raises(ValueError, match="precision: expected 'float32', 'int24', 'int16' or 'int8', got 'int4'"):
        Network(good, "int4")  # type: ignore[arg-type]
    deep = {f"msmo_conv.2.pwconvs.{k}.weight": np.zeros(1, np.float32) for k in range(50)}
    with pytest.raises(ValueError, match="order must be at most 10"):
        Network(good | deep)


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with pytest.raises(FileNotFoundError):
        Network.from_pretrained(path)
    with pytest.raises(IsADirectoryError):
        Network.from_pretrained(tmp_path)
    torch.save(model("small").state_dict(), tmp_path / "weights")
    with pytest.raises(ValueError, match=r"weights: not a safetensors file; of a PyTorch file, `LiteRTSE\.from_check"):
        Network.from_pretrained(path)
    good = save(weights())
    path.write_bytes(good[:-10])
    with pytest.raises(ValueError, match="weights: damaged safetensors file"):
        Network.from_pretrained(path)
    path.write_bytes(save({"fc1.weight": np.zeros((257, 257), np.int64)}))
    with pytest.raises(ValueError, match=r"weights: fc1\.weight: expected one of F16, F32, F64, BF16, got I64"):
        Network.from_pretrained(path)
    with path.open("wb") as file:  # not read: it takes no room on the disk, but would in memory
        file.write(good[:9])
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="weights: larger than any network that streams, 256 MiB and more"):
        Network.from_pretrained(path)
    path.write_bytes(save({"something": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match="weights: no parameters of Lite-RTSE"):
        Network.from_pretrained(path)


GOOD = save(weights())
HEADER = GOOD[8 : 8 + struct.unpack("<Q", GOOD[:8])[0]]


def loads_or_is_refused(data: bytes, folder: Path) -> None:
    path = folder / "damaged.safetensors"
    path.write_bytes(data)
    refusal = str(path)
    try:
        streamer = Streamer.from_pretrained(path, on_fault="mute")
        assert np.isfinite(run(streamer, [noise(600)])).all()
    except ValueError as error:
        refusal = str(error)
    assert str(path) in refusal


@given(st.data())
def test_damaged_files_are_refused_or_loaded(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    limit = data.draw(st.sampled_from([8, 8 + len(HEADER), len(GOOD)]))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))))
    loads_or_is_refused(bytes(damaged[:end]), tmp_path_factory.mktemp("damaged"))


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "F64", "BF16", "I8", "BOOL", "F8_E4M3", "X"]),
        "shape": st.lists(st.sampled_from([0, 1, 3, 257, 2**31, 2**63 - 1, -1]), max_size=5),
        "data_offsets": st.lists(st.sampled_from([0, 4, 1028, len(GOOD), 2**63]), min_size=1, max_size=3),
    }
)


@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(json.loads(HEADER))), st.one_of(ENTRIES, st.none(), st.text(max_size=3)), max_size=3
    )
)
def test_headers_that_lie(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]) -> None:
    header = json.dumps(json.loads(HEADER) | changes).encode()
    data = struct.pack("<Q", len(header)) + header + GOOD[8 + len(HEADER) :]
    loads_or_is_refused(data, tmp_path_factory.mktemp("lying"))


def test_the_instruction_set_is_one_of_those_there_are() -> None:
    assert isa() in isas()
    assert set(isas()) <= {"avx512", "avx2", "baseline", "neon"}
