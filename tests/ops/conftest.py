"""Fixtures of the operator tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lite_rtse_ext import ops

from .operators import CONVOLUTIONS, ON_CPU, OPERATORS, WITH_LSTM, Operator


@pytest.fixture(scope="session", autouse=True)
def native_library() -> None:
    """Fails each operator test, rather than skipping it, where the native library isn't built."""
    if not ops.available():
        pytest.fail("the native library isn't built: run `make build`", pytrace=False)


@pytest.fixture(autouse=True)
def only_where_there_are_kernels(request: pytest.FixtureRequest) -> None:
    """Skips an operator of the CPU alone on a GPU."""
    given = getattr(request.node, "callspec", None)
    operator = given.params.get("operator") if given else None
    if given and given.params.get("device") == "cuda" and operator in ON_CPU and operator not in OPERATORS:
        pytest.skip(f"{operator} has no CUDA kernels")


@pytest.fixture(params=ON_CPU, ids=str)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each of the five operators of every type."""
    return request.param


@pytest.fixture(params=WITH_LSTM, ids=str)
def any_operator(request: pytest.FixtureRequest) -> Operator:
    """Each of the six operators."""
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
