#!/usr/bin/env bash
# onnxoptimizer: zeros padded in front of a max pool are lost. Below 0 the maximum is another one then.
#
# One would guess: the default passes keep what a graph computes.
# What happens: a causal max pool over time is a Pad with zeros in front and a MaxPool. The pass fuse_pad_into_pool
# makes one MaxPool of them, with padding of its own. That padding counts as minus infinity, not as 0. So the maxima at
# the padded edge are wrong wherever all values there are below 0, as logarithms of soft sounds are. A stream that
# starts with a buffer of zeros then no longer gives what the whole file gives. No warning is given. After a ReLU
# nothing changes, so tests may pass. An average pool is right. optimize(model, passes) without that pass is right, and
# so are onnxsim and onnxslim.
#
# Versions: onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (a maximum over 3 frames, of features that are -3 or less; the first three frames of one band):
#   Identity, Pad, MaxPool: 0.0 0.0 -3.1, optimized -3.1 -3.1 -3.1
#   Identity, Pad, MaxPool, without the pass: 0.0 0.0 -3.1, optimized 0.0 0.0 -3.1
#   Relu, Pad, MaxPool: 0.0 0.0 0.0, optimized 0.0 0.0 0.0
#   Identity, Pad, AveragePool: -1.0 -2.2 -3.5, optimized -1.0 -2.2 -3.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FRAMES, BANDS = 8, 4
PASS = "fuse_pad_into_pool"
random = np.random.default_rng(0)
features = -3 - np.abs(random.standard_normal((1, 1, FRAMES, BANDS))).astype(np.float32)


def graph(activation, pool):
    """Two frames of zeros in front, and a pool over 3 frames: its output depends on no later frame."""
    nodes = [
        helper.make_node(activation, ["x"], ["values"]),
        helper.make_node("Pad", ["values", "pads"], ["padded"], mode="constant"),
        helper.make_node(pool, ["padded"], ["y"], kernel_shape=[3, 1]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, FRAMES, BANDS]) for name in ("x", "y")]
    pads = numpy_helper.from_array(np.array([0, 0, 2, 0, 0, 0, 0, 0]), "pads")
    body = helper.make_graph(nodes, "pool", ends[:1], ends[1:], [pads])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": features})[0]


others = [name for name in onnxoptimizer.get_fuse_and_elimination_passes() if name != PASS]
as_described = True
for activation, pool, passes, right in (
    ("Identity", "MaxPool", None, False),
    ("Identity", "MaxPool", others, True),
    ("Relu", "MaxPool", None, True),
    ("Identity", "AveragePool", None, True),
):
    model = graph(activation, pool)
    wanted, found = run(model), run(onnxoptimizer.optimize(model, passes))
    values = [" ".join(f"{value + 0.0:.1f}" for value in result[0, 0, :3, 0]) for result in (wanted, found)]
    name = f"{activation}, Pad, {pool}{'' if passes is None else ', without the pass'}"
    print(f"{name}: {values[0]}, optimized {values[1]}")
    difference = np.abs(found - wanted)
    as_described &= bool(difference.max() < 1e-5 if right else difference[:, :, :2].min() > 2.9)
if not as_described:
    sys.exit("changed: the optimized graph computes the same, or other graphs are wrong")
PYTHON
