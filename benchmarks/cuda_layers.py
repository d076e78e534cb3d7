"""The model of a recurrent layer around its kernel: PyTorch's products, and the same layer by cuDNN.

A layer has as many inputs as units. PyTorch computes the products with W_ih before the kernel, and those of the
gradients after it. cuDNN computes the same products, and launches some kernels for each frame.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cuda_floor import CUDNN_LAUNCHES, LAUNCH_S, LAUNCHES, DeviceFigures, Row
from benchmarks.eager_traffic import Operation

FLOAT_BYTES = 4
RECURRENT = ("lstm", "gru")


def _shape(calls: Any) -> tuple[int, int, int, int, int]:
    """Return sequences, frames, units, gates and directions."""
    values = calls.forward[0]
    inputs, weights = (values[:1], values[1:2]) if calls.operator == "lstm" else (values["input"], values["weight_hh"])
    rows, units = weights[0].shape
    return inputs[0].shape[0], inputs[0].shape[1], units, rows // units, len(weights)


def _product(rows: int, inner: int, columns: int) -> Operation:
    read, written = rows * inner + inner * columns, rows * columns
    return Operation("mm", FLOAT_BYTES * read, FLOAT_BYTES * written, 2 * rows * inner * columns)


def products(calls: Any, what: str) -> list[Operation]:
    """Return PyTorch's products of a pass, and the sums of the biases' gradients."""
    sequences, frames, units, gates, directions = _shape(calls)
    rows, width = sequences * frames, gates * units
    if what == "forward":
        return [_product(rows, units, width)] * directions
    gradients = [_product(rows, width, units), *[_product(width, rows, units)] * 2]
    return [*gradients, Operation("sum", FLOAT_BYTES * rows * width, FLOAT_BYTES * width, 0)] * directions


def cudnn(calls: Any, device: DeviceFigures) -> Row:
    """Model the kernels that cuDNN launches in one pass: each reads or writes what a frame has, and W_hh."""
    sequences, frames, units, gates, directions = _shape(calls)
    steps = frames * directions
    frame = sequences * (gates + 2) * units  # gates, state and result
    read, written = FLOAT_BYTES * steps * (gates * units**2 + frame), FLOAT_BYTES * steps * frame
    flops = 2.0 * steps * sequences * gates * units**2
    launches = steps * CUDNN_LAUNCHES
    limits = {
        LAUNCHES: launches * LAUNCH_S,
        "memory": (read + written) / device.bandwidth,
        "arithmetic": flops / device.peak,
    }
    bound = max(limits, key=lambda name: limits[name])
    return Row("cuDNN", launches, read, written, flops, None, None, limits[bound], bound)
