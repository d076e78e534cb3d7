#!/usr/bin/env bash
# onnx: the reference evaluator computes an LSTM or a GRU over the padding, although the sequences' lengths are given.
#
# One would guess: onnx.reference.ReferenceEvaluator tells what a graph means, and it raises an exception for what it
# does not know. That is why one compares a runtime or an export with it.
# What happens: sequence_lens, an input of LSTM, GRU and RNN in the standard, is taken and not looked at. The last state
# of a short utterance in a batch is then that after its padding. The same holds for LSTM's attributes clip, activations
# and input_forget. There is no exception and no warning, and the code has no note on it. onnxruntime gives the state of
# the utterance alone, as the standard says, so its right result seems wrong.
#
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-11-29.
# Output seen:
#   LSTM, error of the short utterance's last state: reference 0.16, onnxruntime 0.00
#   GRU, error of the short utterance's last state: reference 0.40, onnxruntime 0.00
#   RNN, error of the short utterance's last state: reference 0.91, onnxruntime 0.00
#   LSTM, change of the last states by clip: reference 0.00, onnxruntime 0.44
#   LSTM, change of the last states by activations: reference 0.00, onnxruntime 0.04
#   LSTM, change of the last states by input_forget: reference 0.00, onnxruntime 0.09
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W error - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

FRAMES, FEATURES, HIDDEN, LENGTHS = 50, 8, 6, np.array([50, 20], np.int32)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def model(operator, **attributes):
    inputs = {"x": 3, "w": 3, "r": 3, "b": 2, "lengths": 1}
    node = helper.make_node(operator, list(inputs), ["", "last"], hidden_size=HIDDEN, **attributes)
    kinds = {name: TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT for name in inputs}
    values = [helper.make_tensor_value_info(name, kinds[name], [None] * rank) for name, rank in inputs.items()]
    last = helper.make_tensor_value_info("last", TensorProto.FLOAT, [None] * 3)
    graph = helper.make_graph([node], operator, values, [last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def last_states(network, feeds):
    """The last states of the batch from the reference and from onnxruntime."""
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(network).run(None, feeds)[0], session.run(None, feeds)[0]


def feeds_for(gates):
    random = np.random.default_rng(0)
    shapes = {
        "x": (FRAMES, 2, FEATURES),
        "w": (1, gates * HIDDEN, FEATURES),
        "r": (1, gates * HIDDEN, HIDDEN),
        "b": (1, 2 * gates * HIDDEN),
    }
    feeds = {name: 0.5 * random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    feeds["x"][LENGTHS[1] :, 1] = 0  # the padding of the second utterance
    return feeds | {"lengths": LENGTHS}


as_described = True
for operator, gates in GATES.items():
    feeds, network = feeds_for(gates), model(operator)
    reference, runtime = last_states(network, feeds)
    alone = feeds | {"x": feeds["x"][: LENGTHS[1], 1:], "lengths": LENGTHS[1:]}
    truth = last_states(network, alone)[0][0, 0]  # without padding there is no length to ignore
    wrong, right = (float(np.abs(states[0, 1] - truth).max()) for states in (reference, runtime))
    print(f"{operator}, error of the short utterance's last state: reference {wrong:.2f}, onnxruntime {right:.2f}")
    as_described &= wrong > 0.1 and right < 1e-5
for attributes in ({"clip": 0.1}, {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, {"input_forget": 1}):
    feeds = feeds_for(4) | {"lengths": np.full(2, FRAMES, np.int32)}
    plain, _ = last_states(model("LSTM"), feeds)
    reference, runtime = last_states(model("LSTM", **attributes), feeds)
    changes = [float(np.abs(states - plain).max()) for states in (reference, runtime)]
    print("LSTM, change of the last states by {}: reference {:.2f}, onnxruntime {:.2f}".format(*attributes, *changes))
    as_described &= changes[0] == 0 and changes[1] > 0.01
if not as_described:
    sys.exit("changed: the reference evaluator uses the lengths and the attributes")
PYTHON
