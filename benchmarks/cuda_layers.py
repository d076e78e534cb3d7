"""The model of a recurrent layer around its kernel: PyTorch's products, and the same layer by cuDNN.

A layer has as many inputs as units. PyTorch computes the products with W_ih before the kernel, and those of the
gradients after it. cuDNN computes the same products, and launches some kernels for each frame.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.cuda_floor import CUDNN_LAUNCHES, LAUNCH_S, LAUNCHES, DeviceFigures, Row
from benchmarks.eager_traffic import Operation

RECURRENT = ("lstm", "gru")


def _weights(calls: Any) -> list[Any]:
    values = calls.forward[0]
    return list(values[1:2] if calls.operator == "lstm" else values["weight_hh"])


def dtype(calls: Any) -> torch.dtype:
    """Return the type in which a layer's tensors are stored."""
    found: torch.dtype = _weights(calls)[0].dtype
    return found


def peak(calls: Any, device: DeviceFigures) -> float:
    """Return the operations per second that a device can do for PyTorch's products of a layer."""
    return device.half_peak if dtype(calls).itemsize == 2 else device.peak


def _shape(calls: Any) -> tuple[int, int, int, int, int]:
    """Return sequences, frames, units, gates and directions."""
    values, weights = calls.forward[0], _weights(calls)
    inputs = values[0] if calls.operator == "lstm" else values["input"][0]
    rows, units = weights[0].shape
    return inputs.shape[0], inputs.shape[1], units, rows // units, len(weights)


def _product(size: int, rows: int, inner: int, columns: int) -> Operation:
    read, written = rows * inner + inner * columns, rows * columns
    return Operation("mm", size * read, size * written, 2 * rows * inner * columns)


def products(calls: Any, what: str) -> list[Operation]:
    """Return PyTorch's products of a pass, and the sums of the biases' gradients."""
    sequences, frames, units, gates, directions = _shape(calls)
    rows, width, size = sequences * frames, gates * units, dtype(calls).itemsize
    if what == "forward":
        return [_product(size, rows, units, width)] * directions
    gradients = [_product(size, rows, width, units), *[_product(size, width, rows, units)] * 2]
    return [*gradients, Operation("sum", size * rows * width, size * width, 0)] * directions


def cudnn(calls: Any, device: DeviceFigures) -> Row:
    """Model the kernels that cuDNN launches in one pass: each reads or writes what a frame has, and W_hh."""
    sequences, frames, units, gates, directions = _shape(calls)
    steps = frames * directions
    frame = sequences * (gates + 2) * units  # gates, state and result
    size = dtype(calls).itemsize
    read, written = size * steps * (gates * units**2 + frame), size * steps * frame
    flops = 2.0 * steps * sequences * gates * units**2
    launches = steps * CUDNN_LAUNCHES
    limits = {
        LAUNCHES: launches * LAUNCH_S,
        "memory": (read + written) / device.bandwidth,
        "arithmetic": flops / peak(calls, device),
    }
    bound = max(limits, key=lambda name: limits[name])
    return Row("cuDNN", launches, read, written, flops, None, None, limits[bound], bound)
