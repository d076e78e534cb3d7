"""The recurrent operators in plain PyTorch. Their modules are those of ``torch.nn``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["gru", "lstm"]


def lstm(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, h: Tensor, c: Tensor) -> Tensor:
    """The formula of the fused operator ``lstm`` in plain PyTorch. It serves for second derivatives.

    Args:
        x: (batch, frames, inputs).
        weight_ih: (4 units, inputs), with the gates in the order i, f, g, o.
        weight_hh: (4 units, units).
        bias: b_ih + b_hh, (4 units,).
        h, c: the state before the first frame, (batch, units) each.

    Returns:
        y, (batch, frames + 2, units): h at every frame, then the last h and the last c as two more frames.
    """
    found = []
    for fixed in (x @ weight_ih.t() + bias).unbind(1):
        i, f, g, o = (fixed + h @ weight_hh.t()).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.stack([*found, h, c], 1)


def gru(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], state: Tensor | None = None) -> Tensor:
    """The formula of the fused operator ``gru`` in plain PyTorch. It serves for second derivatives.

    Args:
        x: (batch, frames, inputs).
        weights: for each direction W_ih (3 units, inputs) and W_hh (3 units, units), with the gates in the order
            r, z, n. The second direction begins at the last frame.
        biases: for each direction b_ih and b_hh (3 units,), or none.
        state: h before the first frame, (directions, batch, units). None stands for zeros.

    Returns:
        h at every frame, (batch, frames, directions · units).
    """
    found = []
    for d in range(len(weights) // 2):
        w_ih, w_hh = weights[2 * d : 2 * d + 2]
        b_ih, b_hh = biases[2 * d : 2 * d + 2] if biases else (None, None)
        h = x.new_zeros(len(x), w_hh.shape[1]) if state is None else state[d]
        frames, outputs = functional.linear(x, w_ih, b_ih).unbind(1), []
        for fixed in frames[::-1] if d else frames:
            r_x, z_x, n_x = fixed.chunk(3, 1)
            r_h, z_h, n_h = functional.linear(h, w_hh, b_hh).chunk(3, 1)
            z = torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            h = n + z * (h - n)
            outputs.append(h)
        found.append(torch.stack(outputs[::-1] if d else outputs, 1))
    return torch.cat(found, 2)
