"""The environment of a measurement: what timings depend on besides the code."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lite_rtse_ext.utils.cores import cores

if TYPE_CHECKING:
    import torch

__all__ = ["Environment", "environment", "gpu_name"]


@dataclass(frozen=True)
class Environment:
    """What timings depend on besides the code. Peak and bandwidth were measured on one thread at creation."""

    machine: str
    cores: int
    memory_gib: float
    isa: str
    threads: int
    torch: str
    python: str
    lite_rtse_ext: str
    fma_peak_gflops: float
    copy_gbps: float
    gpu: str = ""


def environment(device: torch.device | str = "cpu") -> Environment:
    """The current environment. Measuring peak and bandwidth takes less than a second."""
    import torch

    from lite_rtse_ext import __version__, ops
    from lite_rtse_ext.ops import _native

    return Environment(
        machine=f"{platform.machine()}, {_processor()}",
        cores=cores(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        isa=ops.isa(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        lite_rtse_ext=__version__,
        fma_peak_gflops=round(_native.fma_peak_gflops(), 1),
        copy_gbps=round(_native.copy_gbps(), 1),
        gpu=gpu_name(device),
    )


def gpu_name(device: torch.device | str) -> str:
    """A GPU's name and properties, and the architectures of the kernels. Empty for the CPU."""
    import torch

    from lite_rtse_ext.ops import _native

    device = torch.device(device)
    if device.type != "cuda":
        return ""
    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"{properties.multi_processor_count} multiprocessors, CUDA {torch.version.cuda}; "
        f"kernels for {', '.join(_native.cuda_architectures())}"
    )


def _processor() -> str:
    """The processor's name, family and model. Virtual machines often show a name that several generations share."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            first = file.read().partition("\n\n")[0]
    except OSError:  # not Linux
        first = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    name = facts.get("model name") or platform.processor() or "unknown processor"
    if {"cpu family", "model"} <= facts.keys():
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return name
