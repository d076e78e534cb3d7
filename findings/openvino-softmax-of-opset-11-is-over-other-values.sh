#!/usr/bin/env bash
# OpenVINO and onnx's reference evaluator: Softmax of opsets 11 and 12 is computed as that of opset 13.
#
# One would guess: the number of the opset in the file decides what an operator means. Two engines that agree are right.
# What happens: up to opset 12 a Softmax goes over its axis and all later axes together, and axis=1 is the default. From
# 13 on it goes over one axis. OpenVINO follows that for opsets up to 10 and from 13 on. For 11 and 12 it goes over the
# one axis, but its LogSoftmax is right. The reference evaluator goes over the one axis for Softmax and LogSoftmax in
# all opsets, and its default is always the last axis. So in a graph of opset 11 both agree with each other, and
# onnxruntime, which is right, seems wrong. There is no exception and no warning. With the last axis all agree, and
# PyTorch exports it so up to opset 12. With any other axis, or none, they differ.
#
# Versions: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (input of 2 examples, 3 channels, 4 frames; right is what the standard says for the opset):
#   Softmax, opset 10, axis=1: onnxruntime right, OpenVINO right, reference wrong
#   Softmax, opset 11, axis=1: onnxruntime right, OpenVINO wrong, reference wrong
#   Softmax, opset 12, axis=1: onnxruntime right, OpenVINO wrong, reference wrong
#   Softmax, opset 13, axis=1: onnxruntime right, OpenVINO right, reference right
#   Softmax, opset 11, axis=2: onnxruntime right, OpenVINO right, reference right
#   Softmax, opset 11, no axis given: onnxruntime right, OpenVINO wrong, reference wrong
#   LogSoftmax, opset 11, axis=1: onnxruntime right, OpenVINO right, reference wrong
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

SHAPE = (2, 3, 4)
inputs = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def softmax(axes):
    exponentials = np.exp(inputs)
    return exponentials / exponentials.sum(axes, keepdims=True)


def graph(operator, opset, attributes):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y"))
    body = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], "softmax", [x], [y])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
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


def in_reference(model):
    return ReferenceEvaluator(model).run(None, {"x": inputs})[0]


engines = {"onnxruntime": in_onnxruntime, "OpenVINO": in_openvino, "reference": in_reference}
as_described = True
for operator, opset, attributes, wrong in (
    ("Softmax", 10, {"axis": 1}, {"reference"}),
    ("Softmax", 11, {"axis": 1}, {"OpenVINO", "reference"}),
    ("Softmax", 12, {"axis": 1}, {"OpenVINO", "reference"}),
    ("Softmax", 13, {"axis": 1}, set()),
    ("Softmax", 11, {"axis": 2}, set()),
    ("Softmax", 11, {}, {"OpenVINO", "reference"}),
    ("LogSoftmax", 11, {"axis": 1}, {"reference"}),
):
    axis = attributes.get("axis", 1)
    axes = (axis,) if opset >= 13 else tuple(range(axis, 3))
    wanted = softmax(axes) if operator == "Softmax" else np.log(softmax(axes))
    words = []
    for name, run in engines.items():
        right = bool(np.allclose(run(graph(operator, opset, attributes)), wanted, atol=1e-5))
        words.append(f"{name} {'right' if right else 'wrong'}")
        as_described &= right == (name not in wrong)
    given = f"axis={attributes['axis']}" if attributes else "no axis given"
    print(f"{operator}, opset {opset}, {given}: {', '.join(words)}")
if not as_described:
    sys.exit("changed: the opset decides, or onnxruntime is wrong")
PYTHON
