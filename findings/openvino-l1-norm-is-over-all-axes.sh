#!/usr/bin/env bash
# OpenVINO: ReduceL1, ReduceLogSum and ReduceLogSumExp of opsets 13 to 17 go over all axes, whatever axes are given.
#
# One would guess: a norm per frame is a norm per frame in every opset. ReduceL2, ReduceMean and ReduceMax are.
# What happens: up to opset 17 these three operators have their axes as an attribute. OpenVINO looks for an input from
# opset 13 on, finds none, and takes all axes. With keepdims=1 the one number fits into whatever comes next. So a
# spectrum that is divided by its norm per frame is divided by the norm of the whole batch: it is far too soft, and each
# frame depends on all others. There is no exception and no warning. Opsets 11, 12 and 18 are right. torch.norm(x, 1)
# and torch.logsumexp become these operators, and 17 is a usual opset of exports. Export with opset 18 or later, or
# raise the opset with onnx.version_converter, and compare with ONNX Runtime once.
#
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6. Date: 2026-12-01.
# Output seen (over the last axis of 2 examples, 5 frames and 8 bands, with keepdims=1):
#   ReduceL1, opset 12: as in ONNX Runtime
#   ReduceL1, opset 13: one number, that over all axes
#   ReduceL1, opset 17: one number, that over all axes
#   ReduceL1, opset 18: as in ONNX Runtime
#   ReduceL2, opset 17: as in ONNX Runtime
#   ReduceMean, opset 17: as in ONNX Runtime
#   ReduceLogSum, opset 17: one number, that over all axes
#   ReduceLogSumExp, opset 17: one number, that over all axes
#   ReduceL1, opset 17, converted to 18 by onnx: as in ONNX Runtime
#   each frame divided by its norm, opset 17: 20.0 dB too soft
#   each frame divided by its norm, opset 18: 0.0 dB too soft
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper, version_converter

SHAPE = (2, 5, 8)
inputs = np.random.default_rng(0).uniform(0.5, 1.5, SHAPE).astype(np.float32)
names = {
    "ReduceL1": lambda x: np.sum(np.abs(x)),
    "ReduceL2": lambda x: np.sqrt(np.sum(x**2)),
    "ReduceMean": np.mean,
    "ReduceLogSum": lambda x: np.log(np.sum(x)),
    "ReduceLogSumExp": lambda x: np.log(np.sum(np.exp(x))),
}


def graph(operator, opset, divide=False):
    """The operator over the last axis, or the input divided by it."""
    result = "norm" if divide else "y"
    if opset < 18:
        nodes, constants = [helper.make_node(operator, ["x"], [result], axes=[2], keepdims=1)], []
    else:
        nodes = [helper.make_node(operator, ["x", "axes"], [result], keepdims=1)]
        constants = [numpy_helper.from_array(np.array([2]), "axes")]
    if divide:
        nodes.append(helper.make_node("Div", ["x", "norm"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE if divide else (*SHAPE[:2], 1))
    body = helper.make_graph(nodes, "norm", [x], [y], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def in_onnxruntime(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def in_openvino(model):
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)([inputs])[0]


def verdict(operator, model):
    wanted, found = in_onnxruntime(model), in_openvino(model)
    if found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-4):
        return "as in ONNX Runtime"
    if found.size == 1 and np.allclose(found, names[operator](inputs), rtol=1e-4):
        return "one number, that over all axes"
    return f"something else, of the shape {found.shape}"


as_described = True
cases = [("ReduceL1", opset) for opset in (12, 13, 17, 18)]
cases += [(operator, 17) for operator in ("ReduceL2", "ReduceMean", "ReduceLogSum", "ReduceLogSumExp")]
for operator, opset in cases:
    found = verdict(operator, graph(operator, opset))
    print(f"{operator}, opset {opset}: {found}")
    wrong = opset in (13, 17) and operator in ("ReduceL1", "ReduceLogSum", "ReduceLogSumExp")
    as_described &= found == ("one number, that over all axes" if wrong else "as in ONNX Runtime")
found = verdict("ReduceL1", version_converter.convert_version(graph("ReduceL1", 17), 18))
print(f"ReduceL1, opset 17, converted to 18 by onnx: {found}")
as_described &= found == "as in ONNX Runtime"
for opset in (17, 18):
    model = graph("ReduceL1", opset, divide=True)
    power = np.mean(in_onnxruntime(model) ** 2) / np.mean(in_openvino(model) ** 2)
    softer = round(10 * np.log10(power), 1) + 0.0
    print(f"each frame divided by its norm, opset {opset}: {softer} dB too soft")
    as_described &= softer > 15 if opset == 17 else abs(softer) < 0.1
if not as_described:
    sys.exit("changed: the axes are respected, or other operators are wrong")
PYTHON
