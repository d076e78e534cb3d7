"""What the gates know about single kernels, by the name of the kernel."""

from __future__ import annotations

from typing import NamedTuple


class Narrow(NamedTuple):
    """Accesses to global memory that cannot be wide, and why."""

    accesses: tuple[str, ...]
    reason: str


LOADS, STORES = "loads", "stores"
BOTH = (LOADS, STORES)
WIDE = Narrow((), "")

NARROW = {
    "cascade_forward": Narrow(BOTH, "rows of 257 bins begin anywhere, and each is one step of the march"),
    "cascade_gradient": Narrow(BOTH, "rows of 257 bins begin anywhere, and each is one step of the march"),
    "conv_block_forward": Narrow(BOTH, "a lane a column of a strip, whose rows begin anywhere"),
    "conv_block_gradient_in": Narrow(BOTH, "a lane a column of a strip, whose rows begin anywhere"),
    "conv_block_gradient_out": Narrow(BOTH, "a lane a column of a strip, whose rows begin anywhere"),
    "conv_block_depthwise": Narrow(BOTH, "any size: one output a thread"),
    "conv_block_split": Narrow(BOTH, "any size: one output a thread"),
    "conv_block_taps": Narrow(BOTH, "any size: one tap a block"),
    "dwconv_convolve_loops": Narrow(BOTH, "any kernel size: one output a thread"),
    "dwconv_weight_gradient": Narrow((STORES,), "leaves one row of sums"),
    "dwconv_weight_gradient_loops": Narrow(BOTH, "any kernel size: one tap a block"),
    "gru_groups_backward": Narrow(BOTH, "few numbers a frame, and vectors of any number of units begin anywhere"),
    "gru_groups_forward": Narrow(BOTH, "few numbers a frame, and vectors of any number of units begin anywhere"),
    "gru_lanes_backward": Narrow(BOTH, "a lane a unit, of which a frame has a number each"),
    "gru_lanes_forward": Narrow(BOTH, "a lane a unit, of which a frame has a number each"),
    "lstm_backward": Narrow(BOTH, "few numbers a frame, and vectors of 257 units begin anywhere"),
    "lstm_forward": Narrow(BOTH, "few numbers a frame, and vectors of 257 units begin anywhere"),
    "norm_gradients": Narrow((STORES,), "leaves one row of sums"),
    "norm_gradients_finish": Narrow(BOTH, "a few numbers of each channel"),
    "norm_statistics": Narrow((STORES,), "leaves one row of sums"),
    "norm_statistics_finish": Narrow(BOTH, "a few numbers of each channel"),
    "pointwise_gradient": Narrow((STORES,), "leaves one row of sums"),
    "reduce_rows": Narrow(BOTH, "a column a thread, so that any order of sums is fixed"),
}
"""Of all other kernels global loads and stores are by 128 bits where alignment allows it."""

MULTIPLY_ADDS = 0.7
"""The least share of FFMA in the inner loop of a 7 x 7 convolution in float32."""
