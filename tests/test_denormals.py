"""Denormals are flushed within, and no longer."""

from __future__ import annotations

import pytest
import torch

from lite_rtse_ext.denormals import flushed_denormals


def flushes() -> bool:
    return bool(torch.full((64,), 1e-30).mul(1e-10).eq(0).all())


def fail_within() -> None:
    with flushed_denormals():
        raise KeyError


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_within_alone(before: bool) -> None:
    torch.set_flush_denormal(before)
    try:
        with flushed_denormals():
            assert flushes()
        assert flushes() == before
        with pytest.raises(KeyError):
            fail_within()
        assert flushes() == before
    finally:
        torch.set_flush_denormal(False)
