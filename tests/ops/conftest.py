"""Fixtures of the operator tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lite_rtse_ext import ops

from .operators import CONVOLUTIONS, OF_EVERY_TYPE, WITH_LSTM, Operator


@pytest.fixture(scope="session", autouse=True)
def native_library() -> None:
    """Fails each operator test, rather than skipping it, where the native library isn't built."""
    if not ops.available():
        pytest.fail("the native library isn't built: run `make build`", pytrace=False)


@pytest.fixture(params=OF_EVERY_TYPE, ids=str)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each operator of every type."""
    return request.param


@pytest.fixture(params=WITH_LSTM, ids=str)
def any_operator(request: pytest.FixtureRequest) -> Operator:
    """Each operator."""
    return request.param


@pytest.fixture(params=CONVOLUTIONS, ids=str)
def convolution(request: pytest.FixtureRequest) -> Operator:
    """Each operator with weights, which autocast runs in a lower precision."""
    return request.param


@pytest.fixture
def as_before(thread_count: None) -> Iterator[None]:
    """Restores the number of threads, and forgets what was compiled."""
    yield
    torch._dynamo.reset()
