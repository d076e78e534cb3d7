#!/usr/bin/env bash
# onnxslim: a gain per frequency band after a convolution becomes a gain per channel, if their numbers are equal.
#
# One would guess: a tool that makes a graph smaller keeps what the graph computes, or leaves a node alone.
# What happens: a Conv or ConvTranspose and the multiplication by a constant after it become one convolution with other
# weights. That is right for a constant of one value per channel, (1, channels, 1, 1). It is also done for a constant
# of another axis, if it has as many values as there are channels: one value per band, (bands,), or one per frame,
# (frames, 1). So the first channel gets the gain of the first band, for all bands. No warning is given, the model is
# valid, and its shapes are right. With a number of channels other than that of bands all is right, and so is the same
# graph with an addition instead. A network with 16 bands and 16 channels thus gives wrong sound, and one with 24
# channels right sound. model_check=True prints that outputs differ, and returns the wrong graph.
# skip_fusion_patterns=["FusionConvMul", "FusionConvTransposeMul"] turns the fusion off.
#
# Versions: onnxslim 0.1.98, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (the graph against the slim one, both run by ONNX Runtime; SNR of the output, at most 100 dB):
#   Conv to 16 channels, Mul of a constant of shape (1, 16, 1, 1): 100 dB
#   Conv to 16 channels, Mul of a constant of shape (16,): 2 dB
#   ConvTranspose to 16 channels, Mul of a constant of shape (16,): 0 dB
#   Conv to 10 channels, Mul of a constant of shape (10, 1): 1 dB
#   Conv to 24 channels, Mul of a constant of shape (16,): 100 dB
#   Conv to 16 channels, Add of a constant of shape (16,): 100 dB
#   Conv to 16 channels, Mul of a constant of shape (16,), without the fusion: 100 dB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

FRAMES, BANDS = 10, 16
random = np.random.default_rng(0)
inputs = 0.1 * random.standard_normal((1, 2, FRAMES, BANDS)).astype(np.float32)


def graph(convolution, channels, operation, constant):
    """A convolution of 1 x 1 from 2 channels to the given number, and an operation with a constant after it."""
    shape = (channels, 2, 1, 1) if convolution == "Conv" else (2, channels, 1, 1)
    weight = random.standard_normal(shape).astype(np.float32)
    nodes = [
        helper.make_node(convolution, ["x", "weight"], ["features"]),
        helper.make_node(operation, ["features", "constant"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, FRAMES, BANDS])
        for name, count in (("x", 2), ("y", channels))
    ]
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(constant, "constant")]
    body = helper.make_graph(nodes, "gain", ends[:1], ends[1:], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def snr(model, **arguments):
    wanted = run(model)
    slim = onnxslim.slim(model, **arguments)
    onnx.checker.check_model(slim, full_check=True)
    error = run(slim) - wanted
    return min(10 * np.log10(np.sum(wanted**2) / (np.sum(error**2) + 1e-20)), 100)


def gains(*shape):
    return np.exp(random.standard_normal(shape)).astype(np.float32)


as_described = True
cases = [
    ("Conv", 16, "Mul", (1, 16, 1, 1), True),
    ("Conv", 16, "Mul", (BANDS,), False),
    ("ConvTranspose", 16, "Mul", (BANDS,), False),
    ("Conv", 10, "Mul", (FRAMES, 1), False),
    ("Conv", 24, "Mul", (BANDS,), True),
    ("Conv", 16, "Add", (BANDS,), True),
]
for convolution, channels, operation, shape, right in cases:
    found = snr(graph(convolution, channels, operation, gains(*shape)))
    print(f"{convolution} to {channels} channels, {operation} of a constant of shape {shape}: {round(found)} dB")
    as_described &= found > 90 if right else found < 20
skip = ["FusionConvMul", "FusionConvTransposeMul"]
found = snr(graph("Conv", 16, "Mul", gains(BANDS)), skip_fusion_patterns=skip)
print(f"Conv to 16 channels, Mul of a constant of shape ({BANDS},), without the fusion: {found:.0f} dB")
as_described &= found > 90
if not as_described:
    sys.exit("changed: the slim graph computes the same, or other graphs are wrong")
PYTHON
