#!/usr/bin/env bash
# MNN: an ONNX GRU with linear_before_reset=0, or of the direction "reverse", is computed as another GRU. No error.
#
# One would guess: a converter that takes an operator takes its attributes too, or refuses them.
# What happens: a GRU with linear_before_reset=0, which is ONNX's default, is computed with the reset gate behind the
# recurrent matrix, as for linear_before_reset=1. PyTorch's GRU has the value 1, so a test with its exports finds
# nothing. Keras' GRU with reset_after=False has the value 0. A GRU of the direction "reverse" gives what the same
# weights give forwards. The converter says "Converted Success!" and no word about either.
# With the converter's option --useOriginRNNImpl the first of the two is right, the second is not. A bidirectional GRU
# with linear_before_reset=1 is right, and its second half is the way back.
#
# The script calls the converter behind the command mnnconvert as a function. The command also imports a module which
# runs `pip install -U` for one more package where that is missing, with the first pip on the path.
#
# Versions: mnn 3.6.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-11-30.
# Output seen (the largest differences, of outputs of up to 0.9):
#   linear_before_reset=1:                1.5e-07 from ONNX Runtime, 1.5e-07 from the first GRU forwards
#   linear_before_reset=1, bidirectional: 2.1e-07 from ONNX Runtime, 1.9e+00 from the first GRU forwards
#   linear_before_reset=0:                1.2e+00 from ONNX Runtime, 1.5e-07 from the first GRU forwards
#   linear_before_reset=1, reverse:       1.4e+00 from ONNX Runtime, 1.5e-07 from the first GRU forwards
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mnn==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - >lines <<'PYTHON' || { cat lines; exit 1; }
import sys

import _tools
import MNN
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FRAMES, INPUTS, UNITS = 10, 6, 8


def write(directions, **attributes):
    """Writes gru.onnx, a GRU with the same weights for the same number of directions."""
    random = np.random.default_rng(0)
    sizes = {"W": (3 * UNITS, INPUTS), "R": (3 * UNITS, UNITS), "B": (6 * UNITS,)}
    weights = {name: 0.5 * random.standard_normal((directions, *size)) for name, size in sizes.items()}
    weights["B"][:, 5 * UNITS :] = 0  # With it, the two values of linear_before_reset differ in the reset gate alone.
    node = helper.make_node("GRU", ["x", *weights], ["y"], hidden_size=UNITS, **attributes)
    graph = helper.make_graph(
        [node],
        "gru",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [FRAMES, 1, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [FRAMES, directions, 1, UNITS])],
        [numpy_helper.from_array(weight.astype(np.float32), name) for name, weight in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "gru.onnx")


def onnx_runtime(sound, *model, **attributes):
    write(*model, **attributes)
    return onnxruntime.InferenceSession("gru.onnx").run(None, {"x": sound})[0]


def mnn(sound, *model, **attributes):
    write(*model, **attributes)
    options = {"-f": "ONNX", "--modelFile": "gru.onnx", "--MNNModel": "gru.mnn", "--bizCode": "x"}
    _tools.mnnconvert(["mnnconvert", *sum(options.items(), ())])
    network = MNN.nn.load_module_from_file("gru.mnn", ["x"], ["y"])
    given = MNN.expr.placeholder(list(sound.shape), MNN.expr.NCHW)
    given.write(sound)
    return np.array(MNN.expr.convert(network.forward([given])[0], MNN.expr.NCHW).read())


sound = np.random.default_rng(1).standard_normal((FRAMES, 1, INPUTS)).astype(np.float32)
forward = onnx_runtime(sound, 1, linear_before_reset=1)
cases = {
    "linear_before_reset=1": ((1,), {"linear_before_reset": 1}),
    "linear_before_reset=1, bidirectional": ((2,), {"linear_before_reset": 1, "direction": "bidirectional"}),
    "linear_before_reset=0": ((1,), {"linear_before_reset": 0}),
    "linear_before_reset=1, reverse": ((1,), {"linear_before_reset": 1, "direction": "reverse"}),
}
as_described = True
for name, (model, attributes) in cases.items():
    found, wanted = mnn(sound, *model, **attributes), onnx_runtime(sound, *model, **attributes)
    wrong, other = np.abs(found - wanted).max(), np.abs(found - forward).max()
    print(f"seen: {name + ':':37} {wrong:.1e} from ONNX Runtime, {other:.1e} from the first GRU forwards")
    right = name in ("linear_before_reset=1", "linear_before_reset=1, bidirectional")
    as_described &= wrong < 1e-5 if right else wrong > 0.1 and other < 1e-5
if not as_described:
    sys.exit("changed: the attributes are kept")
PYTHON
sed -n 's/^seen: //p' lines
