#!/usr/bin/env bash
# onnx2torch: convert() returns a network in training mode, so an ONNX graph for inference gives other results.
#
# One would guess: a BatchNormalization with training_mode=0 and a Dropout that does nothing stay so in PyTorch.
# What happens: the network is in training mode, without a word. Batch normalization takes the statistics of the batch,
# so an example's mask depends on its neighbors, and Dropout sets half of the values to 0. The README compares the
# result with ONNX Runtime's right after convert(), without eval(). Each call also changes the stored statistics, under
# no_grad too. After 30 calls eval() does not give the graph's results back. Call eval() before the first call.
# PyTorch's exporter folds a batch normalization after a convolution away. One after a transposed convolution stays.
#
# Versions: onnx2torch 1.5.15, torch 2.14.1, torchvision 0.29.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Date: 2026-12-01.
# Output seen (greatest difference of masks from 0 to 1):
#   the graph: Conv, PRelu, ConvTranspose, BatchNormalization, Sigmoid
#   the network in PyTorch: from ONNX Runtime 1e-06 or less
#   converted: from ONNX Runtime 0.1 or more, an example alone from the same in a batch 0.01 or more
#   converted, 30 calls, eval(): from ONNX Runtime 0.1 or more
#   converted, eval(): from ONNX Runtime 1e-06 or less
#   Dropout of ones: ONNX Runtime 0 % zeros, converted 50 % zeros
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnx2torch==1.5.15 torch==2.14.1 torchvision==0.29.1 onnx==1.23.2 \
    onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from onnx2torch import convert
from torch import nn


def by_onnxruntime(model: onnx.ModelProto, values: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: values.numpy()})[0]


def difference(first: torch.Tensor, second: np.ndarray | torch.Tensor) -> float:
    return float(np.abs(first.numpy() - np.asarray(second)).max())


def words(value: float, least: float = 0.1) -> str:
    return "1e-06 or less" if value <= 1e-6 else f"{least:g} or more" if value >= least else f"{value:.0e}"


torch.manual_seed(0)
torch.set_grad_enabled(False)
encoder = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.BatchNorm1d(8), nn.PReLU())
decoder = nn.Sequential(nn.ConvTranspose1d(8, 4, 3, padding=1), nn.BatchNorm1d(4), nn.Sigmoid())
network = nn.Sequential(encoder, decoder)
for _ in range(100):
    network(1 + 2 * torch.randn(8, 4, 100))
network.eval()
spectra = torch.randn(2, 4, 100)
torch.onnx.export(network, (spectra,), "network.onnx", dynamo=False)
model = onnx.load("network.onnx")
print("the graph:", ", ".join(node.op_type for node in model.graph.node))
wanted = by_onnxruntime(model, spectra)
plain = difference(network(spectra), wanted)
print(f"the network in PyTorch: from ONNX Runtime {words(plain)}")

converted = convert(model)
masks = converted(spectra)
first, alone = difference(masks, wanted), difference(masks[:1], converted(spectra[:1]))
print(f"converted: from ONNX Runtime {words(first)}, an example alone from the same in a batch {words(alone, 0.01)}")
for _ in range(30):
    converted(spectra)
later = difference(converted.eval()(spectra), wanted)
print(f"converted, 30 calls, eval(): from ONNX Runtime {words(later)}")
mended = difference(convert(model).eval()(spectra), wanted)
print(f"converted, eval(): from ONNX Runtime {words(mended)}")

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [100, 100]) for name in "xy")
graph = helper.make_graph([helper.make_node("Dropout", ["x"], ["y"])], "dropout", [x], [y])
dropout = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
ones = torch.ones(100, 100)
zeros = [float(np.mean(result == 0)) for result in (by_onnxruntime(dropout, ones), convert(dropout)(ones).numpy())]
print(f"Dropout of ones: ONNX Runtime {100 * zeros[0]:.0f} % zeros, converted {100 * zeros[1]:.0f} % zeros")
if max(plain, mended) > 1e-6 or min(first, later) < 0.1 or alone < 0.01 or zeros[0] != 0 or zeros[1] < 0.4:
    sys.exit("changed: a converted network is in evaluation mode")
PYTHON
