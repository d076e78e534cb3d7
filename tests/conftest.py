"""Fixtures and options shared by all tests: the devices, the hypothesis profiles, ``--slow``, the thread count."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from lite_rtse_ext import ops

# The same examples on every run unless HYPOTHESIS_PROFILE=explore asks for new ones. No deadline: the first call in a
# process is slow, and the machines that run this are shared.
settings.register_profile("repeat", derandomize=True, database=None, deadline=None, max_examples=20)
settings.register_profile(
    "explore", deadline=None, max_examples=400, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow (minutes, gigabytes)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes or gigabytes; run with --slow"))


def why_no_cuda() -> str:
    """Why nothing can run on a GPU here; empty where it can."""
    if not torch.cuda.is_available():
        return "no CUDA GPU on this machine"
    return "" if ops.has_cuda() else "the native library was built without CUDA kernels"


def _plain_cuda() -> None:
    """PyTorch's own convolutions on a GPU as exact and repeatable as the tests ask of a reference.

    By default cuDNN rounds float32 to TensorFloat-32, and sums gradients in any order.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that has kernels. Skips, saying why, on those that this machine or this build lacks."""
    if request.param == "cuda":
        if why_no_cuda():
            pytest.skip(why_no_cuda())
        _plain_cuda()
    return torch.device(request.param)


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The first GPU, for tests of what only a GPU has; mark them ``cuda``. Skips, saying why, where there is none."""
    if why_no_cuda():
        pytest.skip(why_no_cuda())
    _plain_cuda()
    return torch.device("cuda", 0)


@pytest.fixture
def thread_count() -> Iterator[None]:
    """Restores the number of threads that torch uses after a test that changes it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
