"""``lite-rtse info``."""

from __future__ import annotations

from importlib.util import find_spec

import click


@click.command()
def info() -> None:
    """Show versions, instruction set, CUDA and threads: what to put into a bug report.

    Without PyTorch these are the facts of the streaming engine. The instruction set is chosen when the library loads;
    LITE_RTSE_ISA picks another of the available ones.
    """
    for name, value in _facts():
        click.echo(f"{name + ':':<22}{value}")


def _facts() -> list[tuple[str, str]]:
    import platform

    from lite_rtse_ext import __version__

    facts = [
        ("lite-rtse-ext", __version__),
        ("Python", f"{platform.python_version()}, {platform.platform()}"),
    ]
    return facts + (_facts_of_operators() if find_spec("torch") else _facts_of_engine())


def _facts_of_engine() -> list[tuple[str, str]]:
    from lite_rtse_ext.stream import isa, isas

    return [("PyTorch", "not installed"), ("instruction set", isa()), ("available", ", ".join(isas()))]


def _facts_of_operators() -> list[tuple[str, str]]:
    import torch

    from lite_rtse_ext import ops
    from lite_rtse_ext.ops import _native

    native = ops.available()
    capabilities = _native.cuda_architectures()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no usable GPU"
    return [
        ("PyTorch", torch.__version__),
        ("native library", str(_native.path()) if native else "not built"),
        ("instruction set", ops.isa() if native else "none"),
        ("available", ", ".join(ops.isas()) if native else "none"),
        ("CUDA kernels", f"for compute capability {', '.join(capabilities)}" if capabilities else "not compiled in"),
        ("CUDA in PyTorch", f"{torch.version.cuda or 'none'}, {gpu}"),
        ("threads", str(torch.get_num_threads())),
    ]
