"""A build with CUDA kernels, seen from a machine that may have no GPU: what is registered, traced, linked and said.

``make cuda`` makes such a build and runs this. Fake tensors stand for those on a GPU: they have a device and no data.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from lite_rtse_ext import ops
from lite_rtse_ext.ops import _native

from ..ops.operators import CAUSAL_DWCONV2D, CONVOLUTIONS, LSTM, MASK_RESIDUAL, OPERATORS, WITH_LSTM, Operator, Tensors

pytestmark = pytest.mark.skipif(
    not ops.has_cuda(), reason="this build has no CUDA kernels; `make cuda` builds and tests one"
)

operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)
all_operators = pytest.mark.parametrize("operator", WITH_LSTM, ids=str)
HALF_TYPES = (torch.float16, torch.bfloat16)


def registered(name: str, key: str) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"lite_rtse::{name}", key))


@pytest.mark.parametrize("key", ["CPU", "CUDA", "Meta"])
@pytest.mark.parametrize("direction", ["", "_backward"])
@all_operators
def test_kernels_are_registered(operator: Operator, direction: str, key: str) -> None:
    assert registered(f"{operator.name}{direction}", key)


@pytest.mark.parametrize("direction", ["", "_backward"])
@all_operators
def test_derivatives_are_registered(operator: Operator, direction: str) -> None:
    """One registration for all devices, the key Autograd; what counts is that it serves CUDA."""
    name = f"lite_rtse::{operator.name}{direction}"
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "AutogradCUDA")
    assert registered(f"{operator.name}{direction}", "Autograd")


@all_operators
def test_autocast_is_registered(operator: Operator) -> None:
    assert registered(operator.name, "AutocastCUDA")


@all_operators
def test_what_is_asked_does_tell(operator: Operator) -> None:
    """The questions above have two answers."""
    assert not registered(operator.name, "XPU")
    assert not torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"lite_rtse::{operator.name}", "HIP")


def test_the_architectures_are_told() -> None:
    found = [float(capability) for capability in _native.cuda_architectures()]
    assert found
    assert found == sorted(found)
    assert min(found) >= 7.5


# --- what tracing sees ------------------------------------------------------------------------------------------------


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


def on_gpu(operator: Operator, index: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The operator's arguments on a GPU that need not exist."""
    sizes = operator.sizes(operator.tiny)
    return {name: torch.empty(size, dtype=dtype, device=f"cuda:{index}") for name, size in sizes.items()}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF_TYPES], ids=str)
@operators
def test_results_stay_on_the_device(operator: Operator, dtype: torch.dtype) -> None:
    tensors = on_gpu(operator, 1, dtype)
    y = operator(tensors)
    assert y.device == torch.device("cuda:1")
    assert (y.dtype, tuple(y.shape)) == (dtype, operator.result_size(operator.tiny))
    backward = getattr(torch.ops.lite_rtse, f"{operator.name}_backward").default
    arguments = [a for a in operator.arguments(tensors) if a is not tensors.get("bias")]
    options = [1] if operator is CAUSAL_DWCONV2D else []  # the dilation
    found = backward(torch.empty_like(y), *arguments, *options, True, True)
    for gradient, tensor in zip(found, tensors.values(), strict=True):
        assert (gradient.device, gradient.dtype) == (y.device, dtype)
        assert gradient.shape == tensor.shape


@pytest.mark.usefixtures("fake")
@operators
def test_a_graph_is_recorded(operator: Operator) -> None:
    tensors: Tensors = {name: tensor.requires_grad_() for name, tensor in on_gpu(operator).items()}
    y = operator(tensors)
    assert operator.name in type(y.grad_fn).__name__
    with torch.no_grad():
        assert not operator(tensors).requires_grad


@pytest.fixture
def autocast(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """What ``torch.autocast("cuda", dtype)`` switches on; the context manager itself wants to see a GPU."""
    torch.set_autocast_dtype("cuda", request.param)
    torch.set_autocast_enabled("cuda", True)
    yield request.param
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", torch.float16)


@pytest.mark.usefixtures("fake")
@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
@pytest.mark.parametrize("autocast", HALF_TYPES, ids=str, indirect=True)
@operators
def test_autocast(operator: Operator, autocast: torch.dtype) -> None:
    assert operator(on_gpu(operator)).dtype == (autocast if operator in CONVOLUTIONS else torch.float32)
    assert operator(on_gpu(operator, dtype=torch.float64)).dtype == torch.float64
    if operator is MASK_RESIDUAL:
        assert operator(on_gpu(operator, dtype=autocast)).dtype == torch.float32


@pytest.mark.usefixtures("fake")
@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
@pytest.mark.parametrize("autocast", HALF_TYPES, ids=str, indirect=True)
def test_autocast_of_an_lstm(autocast: torch.dtype) -> None:
    for dtype in (torch.float32, *HALF_TYPES):
        assert LSTM(on_gpu(LSTM, dtype=dtype)).dtype == autocast
    with pytest.raises(RuntimeError, match=r"x has dtype torch.float64, must be float32, float16 or bfloat16"):
        LSTM(on_gpu(LSTM, dtype=torch.float64))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("elsewhere", ["cpu", "cuda:1"])
@operators
def test_a_tensor_on_another_device_is_named(operator: Operator, elsewhere: str) -> None:
    first, second, *_ = tensors = on_gpu(operator)
    for name in tensors:
        mixed = dict(tensors) | {name: torch.empty_like(tensors[name], device=elsewhere)}
        here, there = ("cuda:0", elsewhere) if name != first else (elsewhere, "cuda:0")
        named = second if name == first else name  # all are held against the first
        with pytest.raises(RuntimeError, match=re.escape(f"{named} is on {there}, must be on the device of {first}")):
            operator(mixed)
        assert here != there


# --- the library ------------------------------------------------------------------------------------------------------

# All that an operator may ask of the CUDA runtime. None of it waits for the device, allocates, or copies. The
# attributes of a function are asked for once a device.
LAUNCHING = {
    "__cudaGetKernel",
    "__cudaLaunchKernel",
    "__cudaPopCallConfiguration",
    "__cudaPushCallConfiguration",
    "__cudaRegisterFatBinary",
    "__cudaRegisterFatBinaryEnd",
    "__cudaRegisterFunction",
    "__cudaRegisterVar",
    "__cudaUnregisterFatBinary",
    "cudaDeviceGetAttribute",
    "cudaFuncGetAttributes",
    "cudaFuncSetAttribute",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaLaunchKernelExC",
    "cudaMemsetAsync",
}


def wanted_symbols() -> list[str]:
    """What the library takes from others."""
    command = ["nm", "--dynamic", "--undefined-only", "--format=just-symbols", str(_native.path())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.partition("@")[0] for line in done.stdout.split()]


@pytest.mark.skipif(not shutil.which("nm"), reason="reads the library's symbols with nm, which is not installed")
def test_nothing_synchronises_or_allocates() -> None:
    found = {name for name in wanted_symbols() if re.match(r"_*cu[A-Z]|_*cuda", name)}
    assert "cudaLaunchKernelExC" in found
    assert found <= LAUNCHING


@pytest.mark.skipif(not shutil.which("nm"), reason="reads the library's symbols with nm, which is not installed")
def test_of_pytorch_only_what_is_stable_is_used() -> None:
    """The C functions; nothing of ``at::`` or ``c10::``, which change from version to version."""
    found = wanted_symbols()
    assert "aoti_torch_get_current_cuda_stream" in found
    assert not [name for name in found if re.match(r"_ZN?K?(2at|3c10|5torch)", name)]


def test_import_and_cpu_operators_need_no_gpu() -> None:
    """In a process that sees no GPU, whatever this machine has."""
    code = (
        "import torch, lite_rtse_ext as l; assert not torch.cuda.is_available() and l.ops.has_cuda();"
        "x, w = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0); print(l.ops.causal_dwconv2d(x, w).item())"
    )
    environment = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout.strip() == "3.0", done.stderr
