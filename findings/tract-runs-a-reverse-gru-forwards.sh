#!/usr/bin/env bash
# tract runs an ONNX GRU or LSTM of the direction reverse forwards, and leaves out three other attributes.
#
# One would guess: a runtime computes each attribute of an operator, or refuses the graph. tract does refuse what it
# cannot compute in sequence_lens, and it computes peepholes and linear_before_reset.
# What happens: with direction="reverse" the result is that of the forward one, to rounding. In an operator of both
# directions the way back is right. The activations, clip and input_forget have no effect either.
# Loading and running give no error and no warning.
# A network that reads a whole recording may have a layer of each direction. Compare it with ONNX Runtime once.
#
# Versions: tract 0.23.9, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6. Date: 2026-12-01.
# Output seen (greatest difference of outputs that are below 1 or near it):
#   LSTM with peepholes: from ONNX Runtime 1e-06 or less
#   GRU: from ONNX Runtime 1e-06 or less
#   GRU with linear_before_reset: from ONNX Runtime 1e-06 or less
#   GRU both ways: from ONNX Runtime 1e-06 or less
#   LSTM both ways: from ONNX Runtime 1e-06 or less
#   GRU with direction=reverse: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   LSTM with direction=reverse: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   GRU with Sigmoid and Relu: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   LSTM with Sigmoid, Relu and Tanh: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   GRU with clip=0.3: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   LSTM with clip=0.3: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
#   LSTM with input_forget: from ONNX Runtime 0.1 or more, from the same without it 1e-06 or less
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tract==0.23.9 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper

FRAMES, INPUTS, UNITS = 20, 8, 6
GATES = {"GRU": 3, "LSTM": 4}


def graph(operator, peepholes=False, **attributes):
    """One recurrent operator with random weights, the same ones at each call."""
    random = np.random.default_rng(0)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[operator] * UNITS
    shapes = {"W": (ways, rows, INPUTS), "R": (ways, rows, UNITS), "B": (ways, 2 * rows)}
    weights = {name: 0.5 * random.standard_normal(shape) for name, shape in shapes.items()}
    names = ["x", *weights]
    if peepholes:
        weights["P"] = random.standard_normal((ways, 3 * UNITS))
        names += ["", "", "", "P"]
    node = helper.make_node(operator, names, ["y"], hidden_size=UNITS, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [FRAMES, 1, INPUTS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [FRAMES, ways, 1, UNITS])
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    made = helper.make_graph([node], operator, [x], [y], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


x = np.random.default_rng(1).standard_normal((FRAMES, 1, INPUTS)).astype(np.float32)


def with_tract(model):
    onnx.save(model, "model.onnx")
    return tract.onnx().load("model.onnx").into_model().into_runnable().run([x])[0].to_numpy()


def with_onnxruntime(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def difference(one, other):
    return float(np.abs(one - other).max())


def words(value):
    return "1e-06 or less" if value <= 1e-6 else "0.1 or more" if value >= 0.1 else f"{value:.1e}"


as_described = True
right = [("LSTM with peepholes", "LSTM", {"peepholes": True}), ("GRU", "GRU", {})]
right += [("GRU with linear_before_reset", "GRU", {"linear_before_reset": 1})]
right += [(f"{operator} both ways", operator, {"direction": "bidirectional"}) for operator in GATES]
wrong = [(f"{operator} with direction=reverse", operator, {"direction": "reverse"}) for operator in GATES]
wrong += [("GRU with Sigmoid and Relu", "GRU", {"activations": ["Sigmoid", "Relu"]})]
wrong += [("LSTM with Sigmoid, Relu and Tanh", "LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]})]
wrong += [(f"{operator} with clip=0.3", operator, {"clip": 0.3}) for operator in GATES]
wrong += [("LSTM with input_forget", "LSTM", {"input_forget": 1})]
for name, operator, attributes in right:
    model = graph(operator, **attributes)
    apart = difference(with_tract(model), with_onnxruntime(model))
    print(f"{name}: from ONNX Runtime {words(apart)}")
    as_described &= apart <= 1e-6
for name, operator, attributes in wrong:
    model = graph(operator, **attributes)
    found = with_tract(model)
    apart, same = difference(found, with_onnxruntime(model)), difference(found, with_onnxruntime(graph(operator)))
    print(f"{name}: from ONNX Runtime {words(apart)}, from the same without it {words(same)}")
    as_described &= apart >= 0.1 and same <= 1e-6
if not as_described:
    sys.exit("changed: tract computes what it left out, or refuses it")
PYTHON
