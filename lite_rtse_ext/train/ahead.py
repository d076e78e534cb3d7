"""Batches that are copied to a GPU while the step before is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from lite_rtse_ext.data.dataset import Example

__all__ = ["Ahead", "SideStream", "Transfer"]


class Transfer(Protocol):
    """Copies batches to a device."""

    def send(self, batch: Example) -> Any:
        """Begin to copy a batch."""

    def receive(self, sent: Any) -> Example:
        """Return the copy, for use by work that is enqueued from now on."""


class SideStream:
    """Copies batches from pinned memory to a GPU, on a stream of its own.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, batch: Example) -> tuple[Example, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):
            copied = Example(*(each.to(self._device, non_blocking=True) for each in batch))
            return copied, self._stream.record_event()

    def receive(self, sent: tuple[Example, torch.cuda.Event]) -> Example:
        batch, event = sent
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for each in batch:
            each.record_stream(current)  # its memory must not be reused before the work of this stream is done
        return batch


class Ahead:
    """A data loader whose batches are on their way before they are asked for, one batch ahead.

    Args:
        loader: yields the batches.
        transfer: copies them.
    """

    def __init__(self, loader: DataLoader[Example], transfer: Transfer) -> None:
        self._loader, self._transfer = loader, transfer

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Example]:
        waiting: list[Any] = []
        for batch in self._loader:
            waiting.append(self._transfer.send(batch))
            if len(waiting) > 1:
                yield self._transfer.receive(waiting.pop(0))
        for sent in waiting:
            yield self._transfer.receive(sent)
