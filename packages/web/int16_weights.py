"""int16_weights.py IN OUT: stores the matrices of LSTMs and linear layers as 16-bit integers, half the bytes.

csrc/capi/weights.h describes the file. The numbers are those that the engine computes with: it stores these matrices in
the same way, and an LSTM's two matrices share the scale of each row.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from lite_rtse_ext.models.metadata import with_sorted_metadata

Array = NDArray[np.float32]
LARGEST = 32767


def groups(names: list[str]) -> list[list[str]]:
    """The matrices that the engine stores as integers, those that share scales together."""
    lstms = sorted({name.split(".")[0] for name in names if name.endswith(".weight_ih_l0")})
    linears = [name for name in names if name.split(".")[0] in ("fc1", "fc2", "to_mag", "to_real", "to_imag")]
    matrices = [[name] for name in linears if name.endswith(".weight")]
    return matrices + [[f"{lstm}.weight_ih_l0", f"{lstm}.weight_hh_l0"] for lstm in lstms]


def integers(matrices: list[Array]) -> tuple[list[NDArray[np.int16]], Array]:
    largest = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    scale = (largest / np.float32(LARGEST)).astype(np.float32)
    divisor = np.where(scale > 0, scale, 1)[:, None]
    return [np.rint(matrix / divisor).clip(-LARGEST, LARGEST).astype(np.int16) for matrix in matrices], scale


def main(source: str, target: str) -> None:
    with safe_open(source, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for names in groups(sorted(arrays)):
        wholes, scale = integers([arrays[name] for name in names])
        for name, whole in zip(names, wholes, strict=True):
            arrays[name], arrays[f"{name}.scale"] = whole, scale
    data = save(arrays, metadata)
    # `save_file` would let only the user read it.
    Path(target).write_bytes(with_sorted_metadata(data) if metadata else data)


if __name__ == "__main__":
    main(*sys.argv[1:])
