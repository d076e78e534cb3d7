#!/usr/bin/env bash
# onnx.version_converter changes what a graph computes: Softmax from 13 to 12, Hardmax to 13, Resize from 10 to 11.
#
# One would guess: the converted graph computes the same, or there is an error. The docstring of convert_version says
# that it raises RuntimeError "when some necessary conversion is not supported".
# What happens: up to version 12 Softmax is over all axes from the given one on, and from 13 on over that axis alone.
# Converted down, a Softmax over an axis that is not the last keeps its attribute, so it is over more values, and the
# sum over the axis is far below 1. LogSoftmax is the same. Hardmax converted up has the opposite fault. Softmax
# converted up is right. Up to version 10 Resize takes output n from position n / scale (asymmetric). From 11 on it does
# so only with an attribute, which the converter does not write. So an interpolation is shifted, also that of Upsample.
# There is no error and no warning, and onnx.checker accepts the results.
#
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (greatest differences):
#   Softmax over axis 1, 13 to 12: 1e-06 or less from numpy before, 0.78 after
#   LogSoftmax over axis 1, 13 to 12: 1e-06 or less from numpy before, 3.97 after
#   Softmax over the last axis, 13 to 12: 1e-06 or less from numpy before, 1e-06 or less after
#   Softmax from axis 3 on, 12 to 13: 1e-06 or less from numpy before, 1e-06 or less after
#   Softmax from axis 1 on, 12 to 13: 1e-06 or less from numpy before, 1e-06 or less after
#   Hardmax from axis 1 on, 12 to 13: 1e-06 or less from numpy before, 1.00 after
#   Resize, linear, 10 to 11: 1e-06 or less from numpy before, 0.69 after
#   Upsample, linear, 9 to 11: 1e-06 or less from numpy before, 0.69 after
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W error - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

x = np.random.default_rng(0).standard_normal((1, 3, 4, 5)).astype(np.float32)


def graph(operator, version, scales=None, **attributes):
    """One operator on an input of 1 x 3 x 4 x 5."""
    constants = [] if scales is None else [numpy_helper.from_array(np.array(scales, np.float32), "scales")]
    shape = x.shape if scales is None else [round(size * scale) for size, scale in zip(x.shape, scales, strict=True)]
    node = helper.make_node(operator, ["x"] + ["scales"] * len(constants), ["y"], **attributes)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    made = helper.make_graph([node], operator, [given], [result], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def run(model):
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def softmax(axis):
    powers = np.exp(x)
    return powers / powers.sum(axis, keepdims=True)


def hardmax(first):
    """One where the greatest of all values from an axis on is."""
    rows = x.reshape(*x.shape[:first], -1)
    return (rows == rows.max(-1, keepdims=True)).astype(np.float32).reshape(x.shape)


def twice():
    """Linear interpolation to twice the width: position n / 2, and the last value where none follows."""
    between = (x + np.concatenate([x[..., 1:], x[..., -1:]], -1)) / 2
    return np.stack([x, between], -1).reshape(*x.shape[:-1], -1)


def words(value):
    return "1e-06 or less" if value <= 1e-6 else f"{value:.2f}"


double = {"scales": [1, 1, 1, 2], "mode": "linear"}
cases = [
    ("Softmax over axis 1", "Softmax", {"axis": 1}, softmax(1), 13, 12, True),
    ("LogSoftmax over axis 1", "LogSoftmax", {"axis": 1}, np.log(softmax(1)), 13, 12, True),
    ("Softmax over the last axis", "Softmax", {"axis": -1}, softmax(-1), 13, 12, False),
    ("Softmax from axis 3 on", "Softmax", {"axis": 3}, softmax(-1), 12, 13, False),
    ("Softmax from axis 1 on", "Softmax", {"axis": 1}, softmax((1, 2, 3)), 12, 13, False),
    ("Hardmax from axis 1 on", "Hardmax", {"axis": 1}, hardmax(1), 12, 13, True),
    ("Resize, linear", "Resize", double, twice(), 10, 11, True),
    ("Upsample, linear", "Upsample", double, twice(), 9, 11, True),
]
as_described = True
for name, operator, attributes, wanted, version, target, wrong in cases:
    model = graph(operator, version, **attributes)
    converted = version_converter.convert_version(model, target)
    before, after = (float(np.abs(run(each) - wanted).max()) for each in (model, converted))
    print(f"{name}, {version} to {target}: {words(before)} from numpy before, {words(after)} after")
    as_described &= before <= 1e-6 and (after > 0.1 if wrong else after <= 1e-6)
if not as_described:
    sys.exit("changed: converted graphs compute the same")
PYTHON
