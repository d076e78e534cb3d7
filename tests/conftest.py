"""What all tests share: the devices, the hypothesis profiles, the thread count, and which tests a run leaves out."""

from __future__ import annotations

import os
from collections import Counter
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


def why_no_cuda(gpus: int = 1) -> str:
    """Why nothing can run on this many GPUs here; empty where it can."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < gpus:
        return f"expected {gpus} CUDA GPUs, got {found}" if found else "no CUDA GPU on this machine"
    return "" if ops.has_cuda() else "the native library was built without CUDA kernels"


def why_left_out(item: pytest.Item) -> str:
    """Why a test is no part of this run; empty where it is part. With `-m cuda` each test of a GPU says it itself."""
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        return "minutes or gigabytes; --slow runs them"
    cuda = item.get_closest_marker("cuda")
    return why_no_cuda(*cuda.args) if cuda and "cuda" not in item.config.getoption("-m") else ""


LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = [why_left_out(item) for item in items]
    config.stash[LEFT_OUT] = Counter(filter(None, reasons))
    config.hook.pytest_deselected(items=[item for item, reason in zip(items, reasons, strict=True) if reason])
    items[:] = [item for item, reason in zip(items, reasons, strict=True) if not reason]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return [f"left out: {count} tests: {reason}" for reason, count in config.stash.get(LEFT_OUT, Counter()).items()]


def _plain_cuda() -> None:
    """PyTorch's own convolutions on a GPU as exact and repeatable as the tests ask of a reference.

    By default cuDNN rounds float32 to TensorFloat-32, and sums gradients in any order.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that has kernels. Without a usable GPU, runs leave out what asks for one."""
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
