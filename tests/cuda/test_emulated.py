"""The tests of ``tests/ops`` on the CUDA kernels, by the whole way a GPU's tensors take, in the emulator.

Each part runs in a process of its own, with the package that :mod:`tests.cuda.emulated` makes, as on one device. What
takes the emulator longest is left out unless ``--slow`` asks for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..simt import build
from . import emulated

pytestmark = pytest.mark.skipif(bool(build.missing()), reason=build.missing() or "all is well")


@dataclass(frozen=True)
class Part:
    """Modules of tests/ops, the compute capability times 10 they run on, what is left out, the fewest tests left."""

    modules: tuple[str, ...]
    sm: int
    without: str
    fewest: int

    def __str__(self) -> str:
        return f"sm_{self.sm}-{'-'.join(self.modules)}"


PARTS = (
    Part(("errors", "vmap", "mask_residual", "strides"), 86, "strides and multi_order", 300),
    Part(("shapes", "autograd"), 86, "any_multi_order or gradgradcheck or double_backward or each_gradient_alone", 45),
    Part(("isolation",), 86, "multi_order and not nan_weight", 90),
    Part(("lstm", "lstm_gradients"), 86, "63 or isa or thread", 150),
    Part(("lstm_half_types",), 90, "none", 30),
    Part(("gru", "norm_prelu"), 86, "isa or thread or many_sequences", 50),
    Part(("frozen",), 86, "every_subset_of and (multi_order or 64 or 16) or derivatives or opcheck", 18),
    Part(("accuracy",), 86, "not (long_sums or half_rounding or half_types)", 60),
)


# PyTorch's products round by their shape, so an lstm or a gru cut in two has other bits. With many sequences the lstm
# needs more blocks at the same time than the emulator has stacks for. It keeps the frames first only on the CPU.
NEVER = "cut_in_two or summed_at_once or many_frames_and_sequences or frames_first_in_memory"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emulated.package(tmp_path_factory.mktemp("emulated"))


def in_package(package: Path, sm: int, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python with the package's operators, on one of the devices of csrc/cuda/common/plan.h."""
    environment = os.environ | {"LITE_RTSE_EMULATED_SM": str(sm), "PYTHONPATH": str(package), "PYTEST_ADDOPTS": ""}
    environment |= variables
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_operators(part: Part, package: Path, request: pytest.FixtureRequest) -> None:
    without = f"{NEVER} or cuda" + ("" if request.config.getoption("--slow") else f" or {part.without}")
    modules = [f"tests/ops/test_{name}.py" for name in part.modules]
    options = ["-q", "-rfE", "--rootdir", ".", "-c", str(emulated.ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    printed = in_package(package, part.sm, "-m", "pytest", *options, "-k", f"not ({without})", *modules).stdout
    assert not re.search(r"\d+ (failed|errors?)", printed), printed
    passed = re.search(r"(\d+) passed", printed)
    assert passed, printed
    assert int(passed[1]) >= part.fewest, printed


CALL = """
import torch
from lite_rtse_ext.ops import causal_dwconv2d
from lite_rtse_ext.ops import _native
print(_native.path(), _native.isa(), _native.cuda_architectures())
print(causal_dwconv2d(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 3, 3)).tolist())
"""


def test_the_kernels_are_the_cuda_kernels(package: Path) -> None:
    """What the above rests on: none of the CPU's kernels is in this build, and a device is asked for its limits."""
    done = in_package(package, 86, "-c", CALL)
    assert done.stdout.startswith(str(package)), done.stderr
    assert "emulated CUDA ['8.6']" in done.stdout
    assert "[[[[2.0, 3.0, 2.0], [4.0, 6.0, 4.0]]]]" in done.stdout
    assert in_package(package, 1, "-c", CALL).returncode != 0  # no such device


OLDER_CODE = """
import torch
from lite_rtse_ext import ops
torch.manual_seed(0)
x, weight_ih, weight_hh = torch.randn(2, 3, 5), torch.randn(512, 5) / 4, torch.randn(512, 128) / 16
y, _ = ops.lstm(x, weight_ih, weight_hh)
layer = torch.nn.LSTM(5, 128, bias=False, batch_first=True)
layer.load_state_dict({"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh})
torch.testing.assert_close(y, layer(x)[0], rtol=0, atol=1e-6)
print("right")
"""


@pytest.mark.parametrize("code", [80, 90])
def test_blocks_of_code_for_older_devices_are_no_clusters(package: Path, code: int) -> None:
    """A build for 8.0 with PTX runs on a GPU of compute capability 9.0, but it contains no clusters."""
    done = in_package(package, 90, "-c", OLDER_CODE, LITE_RTSE_EMULATED_CODE=str(code))
    assert done.stdout == "right\n", done.stdout + done.stderr


TOO_LARGE = """
from tests.compare import assert_agrees
from tests.ops.operators import MULTI_ORDER_CONV as operator, Shape
try:
    operator(operator.inputs(Shape(batch=1, frames=2, bins=2, channels=2048, in_channels=1)))
except RuntimeError as error:
    print(error)
tensors = operator.inputs(operator.tiny)
assert_agrees(operator(tensors), operator.reference(tensors), 2e-6)
print("and the next call is right")
"""


def test_a_launch_that_fits_no_device_is_refused_in_words(package: Path) -> None:
    done = in_package(package, 75, "-c", TOO_LARGE)
    assert re.search(
        r"lite_rtse::multi_order_conv on .*, compute capability 7\.5, with a first argument of shape \(1, 1, 2, 2\): "
        r".*no launch for these sizes fits the device, which has 65536 bytes of shared memory a block",
        done.stdout,
    ), done.stdout + done.stderr
    assert done.stdout.endswith("and the next call is right\n"), done.stderr
