"""Recurrent layers whose state is explicit, and the dual path: one of them over the bins, then one over the frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lite_rtse_ext.models.blocks.causal import Causal, Pasts

__all__ = ["DualPath", "GroupedRnn", "along_time"]

RNN = nn.GRU | nn.LSTM


def along_time(rnn: RNN, x: Tensor, pasts: Pasts) -> Tensor:
    """Run a recurrent layer over the frames of several sequences.

    Args:
        rnn: one layer, one direction, ``batch_first``.
        x: (B, sequences, T, channels). Every sequence has a state of its own.
        pasts: the states of the network.

    Returns:
        (B, sequences, T, hidden).
    """
    batch, sequences = x.shape[:2]
    parts = 2 if isinstance(rnn, nn.LSTM) else 1
    state: Any = None
    before = pasts.memory()
    if before is not None:
        before = before.flatten(0, 1).transpose(0, 1).contiguous()
        state = (before[:1], before[1:]) if parts == 2 else before
    y: Tensor
    y, state = rnn(x.flatten(0, 1), state)
    after = torch.cat(state) if parts == 2 else state
    pasts.keep(after.transpose(0, 1).unflatten(0, (batch, sequences)))
    return y.view(batch, sequences, *y.shape[1:])


class GroupedRnn(nn.Module):
    """Recurrent layers side by side, ``rnn1``, ``rnn2`` and so on. Each gets its share of the channels.

    Args:
        kind: ``nn.GRU`` or ``nn.LSTM``.
        inputs: number of input channels.
        hidden: number of output channels of one direction.
        groups: number of layers.
        bidirectional: whether every layer runs in both directions. The output then has twice as many channels.
    """

    def __init__(self, kind: type[RNN], inputs: int, hidden: int, groups: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.groups = groups
        for number in range(1, groups + 1):
            rnn = kind(inputs // groups, hidden // groups, batch_first=True, bidirectional=bidirectional)
            self.add_module(f"rnn{number}", rnn)

    def forward(self, x: Tensor) -> Tensor:
        """Run over the second axis of (N, L, inputs), from nothing."""
        shares = zip(self.children(), x.chunk(self.groups, -1), strict=True)
        return torch.cat([rnn(share)[0] for rnn, share in shares], -1)

    def along_time(self, x: Tensor, pasts: Pasts) -> Tensor:
        """Run over the frames of (B, sequences, T, inputs). See :func:`along_time`."""
        shares = zip(self.children(), x.chunk(self.groups, -1), strict=True)
        return torch.cat([along_time(rnn, share, pasts) for rnn, share in shares], -1)  # type: ignore[arg-type]


class DualPath(Causal):
    """A recurrent layer over the bins of each frame, then one over the frames of each bin: (B, C, T, F), same shape.

    A linear layer and a layer norm over bins and channels follow each recurrent layer. Then the input is added.

    Args:
        kind: ``nn.GRU`` or ``nn.LSTM``.
        bins: F.
        channels: C.
        units: output channels of both recurrent layers. Over the bins, half of them belong to either direction.
        groups: number of groups of channels in the recurrent layers.
        eps: of the layer norms.
    """

    def __init__(
        self, kind: type[RNN], bins: int, channels: int, units: int, groups: int = 1, eps: float = 1e-8
    ) -> None:
        super().__init__()
        self.intra_rnn = GroupedRnn(kind, channels, units // 2, groups, bidirectional=True)
        self.intra_fc = nn.Linear(units, channels)
        self.intra_ln = nn.LayerNorm((bins, channels), eps)
        self.inter_rnn = GroupedRnn(kind, channels, units, groups)
        self.inter_fc = nn.Linear(units, channels)
        self.inter_ln = nn.LayerNorm((bins, channels), eps)

    def forward(self, x: Tensor, pasts: Pasts) -> Tensor:
        x = x.permute(0, 2, 3, 1).contiguous()  # (B, T, F, C), which all layers below read
        across = self.intra_rnn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        x = x + self.intra_ln(self.intra_fc(across))
        along = self.inter_fc(self.inter_rnn.along_time(x.transpose(1, 2), pasts))
        x = x + self.inter_ln(along.transpose(1, 2))
        return x.permute(0, 3, 1, 2)
