#!/usr/bin/env bash
# ncnn: the float32 weights of InnerProduct are stored as float16 on an x86 processor, by default. LSTM, Convolution and
# ConvolutionDepthWise of the same network keep float32. No warning.
#
# One would guess: options named use_fp16_* concern GPUs and ARM processors, or files of half precision, and a float32
# file on an x86 processor is computed in float32.
# What happens: use_fp16_storage is on by default. The linear layers of a network are then a thousand times less exact
# than its other layers. Weights beyond 65504 become infinite, so the result is NaN. Of weights near 1e-7, a quarter of
# the result is wrong. With Net.opt.use_fp16_storage = False before load_param, the result is that of float32.
# It needs a processor with F16C, as all with AVX2 have.
#
# Versions: ncnn 1.0.20261020, numpy 2.4.6, x86-64 with F16C. Date: 2026-11-30.
# Output seen (relative L2 distance from float64):
#   InnerProduct:                             2.1e-04, and 1.5e-07 with use_fp16_storage = False
#   InnerProduct, weights 1e6 times larger:   nan, and 1.5e-07 with use_fp16_storage = False
#   InnerProduct, weights 1e6 times smaller:  2.8e-01, and 1.5e-07 with use_fp16_storage = False
#   Convolution 1x1:                          1.0e-07, and 1.0e-07 with use_fp16_storage = False
#   LSTM:                                     2.1e-07, and 2.1e-07 with use_fp16_storage = False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/env python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ncnn==1.0.20261020 numpy==2.4.6
cd "$folder"
venv/bin/python - >lines <<'PYTHON' || { cat lines; exit 1; }
import sys

import ncnn
import numpy as np

FLOAT32 = np.uint32(0).tobytes()  # the mark before weights that are float32 in the file
random = np.random.default_rng(0)


def normal(*shape):
    return random.standard_normal(shape).astype(np.float32)


def run(layer, weights, x, half):
    with open("param", "w") as file:
        file.write(f"7767517\n2 2\nInput in 0 1 in0\n{layer}\n")
    with open("bin", "wb") as file:
        for weight in weights:
            file.write(FLOAT32 + weight.tobytes())
    net = ncnn.Net()
    net.opt.num_threads = 1
    if not half:
        net.opt.use_fp16_storage = False
    assert net.load_param("param") == 0 and net.load_model("bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x))
    return np.array(extractor.extract("out0")[1])


def linear(scale):
    w, x = scale * normal(257, 257) / 16, normal(4, 257)
    return f"InnerProduct l 1 1 in0 out0 0=257 1=0 2={w.size}", [w], x, x.astype(float) @ w.T.astype(float)


def convolution():
    w, x = normal(32, 32) / 6, normal(32, 10, 17)
    wanted = np.einsum("oi,itf->otf", w.astype(float), x.astype(float))
    return f"Convolution l 1 1 in0 out0 0=32 1=1 6={w.size}", [w], x, wanted


def lstm():
    units, inputs, frames = 64, 32, 20
    wx, wh, b, x = normal(4 * units, inputs) / 6, normal(4 * units, units) / 8, normal(4, units), normal(frames, inputs)
    h, c, wanted = np.zeros(units), np.zeros(units), []
    for row in x:
        i, f, o, g = (wx.astype(float) @ row + wh.astype(float) @ h).reshape(4, units) + b  # ncnn's order of the gates
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        wanted.append(h)
    return f"LSTM l 1 1 in0 out0 0={units} 1={wx.size} 2=0", [wx, b, wh], x, np.array(wanted)


cases = {
    "InnerProduct": linear(np.float32(1)),
    "InnerProduct, weights 1e6 times larger": linear(np.float32(1e6)),
    "InnerProduct, weights 1e6 times smaller": linear(np.float32(1e-6)),
    "Convolution 1x1": convolution(),
    "LSTM": lstm(),
}
as_described = True
for name, (layer, weights, x, wanted) in cases.items():
    by_default, single = (
        np.linalg.norm(run(layer, weights, x, half) - wanted) / np.linalg.norm(wanted) for half in (True, False)
    )
    print(f"seen: {name + ':':41} {by_default:.1e}, and {single:.1e} with use_fp16_storage = False")
    as_described &= single < 1e-6 and (not by_default < 1e-4 if "Inner" in name else by_default < 1e-6)
if not as_described:
    sys.exit("changed: linear layers are as exact as the others")
PYTHON
sed -n 's/^seen: //p' lines
