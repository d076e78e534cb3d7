"""Batches that are sent ahead. A list of what happened stands for the streams of a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lite_rtse_ext.data.dataset import Example
from lite_rtse_ext.train.ahead import Ahead


class Numbers(Dataset[Example]):
    """Examples that hold their number. The one that is ``bad`` can't be read."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count, self.bad = count, bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if index == self.bad:
            raise OSError("damaged")
        return Example(torch.tensor([index]), torch.tensor([-index]))


class Noted:
    """Notes the order of what it is asked for."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def send(self, batch: Example) -> Example:
        self.happened.append(f"send {int(batch.noisy)}")
        return batch

    def receive(self, sent: Example) -> Example:
        self.happened.append(f"receive {int(sent.noisy)}")
        return sent


def used(ahead: Ahead, noted: Noted) -> Iterator[int]:
    for batch in ahead:
        noted.happened.append(f"use {int(batch.noisy)}")
        assert int(batch.clean) == -int(batch.noisy)
        yield int(batch.noisy)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_all_batches_come_in_order(count: int) -> None:
    noted = Noted()
    ahead = Ahead(DataLoader(Numbers(count)), noted)
    assert len(ahead) == count
    for _ in range(2):  # epochs
        assert list(used(ahead, noted)) == list(range(count))


def test_the_next_batch_is_on_its_way_before_one_is_used() -> None:
    noted = Noted()
    list(used(Ahead(DataLoader(Numbers(3)), noted), noted))
    assert noted.happened == [
        "send 0", "send 1", "receive 0", "use 0", "send 2", "receive 1", "use 1", "receive 2", "use 2"
    ]  # fmt: skip


def test_an_error_of_the_data_passes() -> None:
    noted = Noted()
    with pytest.raises(OSError, match="damaged"):
        list(used(Ahead(DataLoader(Numbers(4, bad=2)), noted), noted))
    assert "use 0" in noted.happened
