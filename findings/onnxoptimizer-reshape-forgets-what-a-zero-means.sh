#!/usr/bin/env bash
# onnxoptimizer: of two reshapes in a row the first is dropped, although a 0 in the second copies one of its sizes.
#
# One would guess: the default passes keep what a graph computes.
# What happens: a 0 in the shape of a Reshape means the size of its input at this place. A dual-path network puts the
# frames into the batch, (batch * frames, bands, features), and flattens with (0, -1). The pass
# eliminate_consecutive_idempotent_ops takes out the first Reshape and keeps the second as it is, so its 0 now means the
# batch. No warning is given. The checker finds the model valid, though its output now has another shape than the model
# declares. Where a later reshape restores the shape, only the numbers tell: a softmax, a normalization or a mean in
# between is taken over other values. With sizes in place of the 0 the result is right, and so it is with
# optimize(model, passes) and a list of passes without that one.
#
# Versions: onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-12-01.
# Output seen (random input of 2 examples, 5 frames, 4 bands and 3 features, both graphs run by ONNX Runtime):
#   flatten with (0, -1): the shape is (10, 12), optimized (2, 60), declared (10, 12)
#   flatten with (10, -1): the shape is (10, 12), optimized (10, 12), declared (10, 12)
#   softmax in each frame, with (0, -1): SNR of the optimized graph 2 dB
#   softmax in each frame, with (0, -1), without the pass: SNR of the optimized graph 100 dB
#   softmax in each frame, with (10, -1): SNR of the optimized graph 100 dB
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

BATCH, FRAMES, BANDS, FEATURES = 2, 5, 4, 3
PASS = "eliminate_consecutive_idempotent_ops"
random = np.random.default_rng(0)
inputs = random.standard_normal((BATCH, FRAMES, BANDS, FEATURES)).astype(np.float32)


def graph(first, softmax):
    """Frames into the batch, bands and features into one axis and, if wanted, a softmax there and all axes back."""
    shapes = {
        "per_frame": [BATCH * FRAMES, BANDS, FEATURES],
        "flat": [first, -1],
        "whole": [BATCH, FRAMES, BANDS, FEATURES],
    }
    flat = "features" if softmax else "y"
    nodes = [
        helper.make_node("Reshape", ["x", "per_frame"], ["frames"]),
        helper.make_node("Reshape", ["frames", "flat"], [flat]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["features"], ["weights"], axis=1))
        nodes.append(helper.make_node("Reshape", ["weights", "whole"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shapes["whole"])
    y = helper.make_tensor_value_info(
        "y", TensorProto.FLOAT, shapes["whole"] if softmax else [BATCH * FRAMES, BANDS * FEATURES]
    )
    constants = [numpy_helper.from_array(np.array(shape), name) for name, shape in shapes.items()]
    body = helper.make_graph(nodes, "flatten", [x], [y], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def snr(model, passes=None):
    wanted = run(model)
    error = run(onnxoptimizer.optimize(model, passes)) - wanted
    return round(min(10 * np.log10(np.sum(wanted**2) / (np.sum(error**2) + 1e-20)), 100))


as_described = True
for first in (0, BATCH * FRAMES):
    model = graph(first, softmax=False)
    optimized = onnxoptimizer.optimize(model)
    onnx.checker.check_model(optimized)
    declared = tuple(size.dim_value for size in optimized.graph.output[0].type.tensor_type.shape.dim)
    wanted, found = run(model).shape, run(optimized).shape
    print(f"flatten with ({first}, -1): the shape is {wanted}, optimized {found}, declared {declared}")
    as_described &= wanted == declared and found == ((BATCH, FRAMES * BANDS * FEATURES) if first == 0 else wanted)
others = [name for name in onnxoptimizer.get_fuse_and_elimination_passes() if name != PASS]
for label, first, passes, right in (
    ("with (0, -1)", 0, None, False),
    ("with (0, -1), without the pass", 0, others, True),
    (f"with ({BATCH * FRAMES}, -1)", BATCH * FRAMES, None, True),
):
    found = snr(graph(first, softmax=True), passes)
    print(f"softmax in each frame, {label}: SNR of the optimized graph {found} dB")
    as_described &= found > 90 if right else found < 20
if not as_described:
    sys.exit("changed: the optimized graph computes the same, or other graphs are wrong")
PYTHON
