"""Baselines that a user could run instead. Each is built in its best form from the reference module of a case."""

from __future__ import annotations

import copy
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from benchmarks import unrolled
from lite_rtse_ext.benchmark.operators import Case

Runnable = Callable[..., Tensor]

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


class CannotRun(RuntimeError):
    """A baseline does not support this case. Reports state this in a line and never omit it silently."""


class NotInstalled(CannotRun):
    """The package of a baseline is not installed."""


@dataclass(frozen=True)
class Variant:
    """One way to run a case.

    Args:
        name: its name in reports.
        build: ``build(case, inference)`` returns a callable, and the case with inputs in the layout that suits it best.
        trains: whether it can compute gradients.
        compiles: whether its first call compiles.
        graph: whether it is a CUDA graph, whose launches are recorded once and replayed. This is for the network on a
            GPU, as the CPU can hardly issue its launches fast enough.
    """

    name: str
    build: Callable[[Case, bool], tuple[Runnable, Case]]
    trains: bool = True
    compiles: bool = False
    graph: bool = False


def _eager(case: Case, inference: bool) -> tuple[Runnable, Case]:
    return case.reference, case


def _fused(case: Case, inference: bool) -> tuple[Runnable, Case]:
    return case.fused, case


def _channels_last(case: Case, inference: bool) -> tuple[Runnable, Case]:
    """Build the reference with features in memory as (B, T, F, C), the preferred layout of cuDNN on a GPU.

    Inputs and parameters are converted beforehand.
    """
    module = copy.deepcopy(case.reference).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if case.name in ("mask_residual", "LiteRTSE"):  # their inputs and outputs are no features
        return module, case
    inputs = tuple(x.contiguous(memory_format=torch.channels_last) for x in case.inputs)
    gradient = case.output_gradient.contiguous(memory_format=torch.channels_last)
    return module, replace(case, inputs=inputs, output_gradient=gradient)


def compiled(module: nn.Module, inference: bool) -> Runnable:
    """Compile for one shape with ``torch.compile``. In inference the weights are constants, so it may repack them."""
    _use_cache_of_this_instruction_set()
    options: dict[str, Any] = {"freezing": True} if inference else {}
    # Recompilations are intended: one process measures several shapes, both with and without gradients.
    torch._dynamo.config.recompile_limit = 64
    run: Runnable = torch.compile(module, dynamic=False, options=options)
    return run


def _use_cache_of_this_instruction_set() -> None:
    """Give compiled code a folder for each instruction set, unless the user chose one.

    PyTorch 2.13 takes code for AVX-512 from its cache where it must run AVX2, and is then wrong. It sets the variable
    to its default when it is imported.
    """
    default = default_cache_dir()
    if os.environ.get(_CACHE, default) == default:
        os.environ[_CACHE] = f"{default}_{torch.backends.cpu.get_cpu_capability().lower()}"


def _compile(case: Case, inference: bool) -> tuple[Runnable, Case]:
    return compiled(copy.deepcopy(case.reference), inference), case


def _compile_channels_last(case: Case, inference: bool) -> tuple[Runnable, Case]:
    module, case = _channels_last(case, inference)
    assert isinstance(module, nn.Module)
    return compiled(module, inference), case


def _rewritten(name: str) -> nn.Module:
    if name == "conv_blocks":
        return nn.Sequential(unrolled.ConvBlock(1, 32), unrolled.ConvBlock(32, 32))
    makers: dict[str, Callable[[], nn.Module]] = {
        "causal_dwconv2d": lambda: unrolled.CausalDepthwiseConv2d(64, 7),
        "conv_block": lambda: unrolled.ConvBlock(32, 32),
        "multi_order_conv": unrolled.MultiOrderConv,
        "mask_residual": unrolled.MaskResidual,
        "LiteRTSE": unrolled.LiteRTSE,
    }
    return makers[name]()


def _compile_unrolled(case: Case, inference: bool) -> tuple[Runnable, Case]:
    module = _rewritten(case.name).to(case.output_gradient)
    module.load_state_dict(case.reference.state_dict())
    return compiled(module, inference), case


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{error.name} is not installed: pip install 'lite-rtse-ext[bench]'") from error


def _export(case: Case, folder: str) -> Path:
    """Export the reference as an ONNX graph of exactly these shapes."""
    _package("onnx"), _package("onnxscript")
    path = Path(folder) / "model.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # duplicate parameters of LSTMs, deprecations in the exporter
        warnings.simplefilter("ignore")
        torch.onnx.export(case.reference, case.inputs, path, dynamo=True, external_data=False, verbose=False)
    return path


def _on_cpu(case: Case) -> None:
    if case.device.type != "cpu":
        raise CannotRun("is a baseline on the CPU alone")


def _onnxruntime(case: Case, inference: bool) -> tuple[Runnable, Case]:
    _on_cpu(case)
    ort = _package("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Otherwise its idle threads would keep spinning while the next candidate is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        session = ort.InferenceSession(_export(case, folder), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run, case


def _openvino(case: Case, inference: bool) -> tuple[Runnable, Case]:
    _on_cpu(case)
    openvino = _package("openvino")
    with tempfile.TemporaryDirectory() as folder:
        model = openvino.Core().compile_model(
            str(_export(case, folder)),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 if the processor supports it
            },
        )

    def run(*inputs: Tensor) -> Tensor:
        outputs = model([x.numpy() for x in inputs], share_inputs=True, share_outputs=True)
        return torch.from_numpy(outputs[0])

    return run, case


def _graph(side: str) -> Callable[[Case, bool], tuple[Runnable, Case]]:
    def build(case: Case, inference: bool) -> tuple[Runnable, Case]:
        if case.device.type != "cuda":
            raise CannotRun("a CUDA graph is for a GPU")
        module = copy.deepcopy(getattr(case, side))
        for layer in module.modules():
            if isinstance(layer, nn.RNNBase):
                layer.flatten_parameters()  # cuDNN needs contiguous weights; those of a copy are not
        graphed: Any = torch.cuda.make_graphed_callables(module, case.inputs)
        return graphed, case

    return build


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("fused", _fused),
        Variant("eager", _eager),
        Variant("channels_last", _channels_last),
        Variant("compile", _compile, compiles=True),
        Variant("compile channels_last", _compile_channels_last, compiles=True),
        Variant("compile unrolled", _compile_unrolled, compiles=True),
        Variant("fused graph", _graph("fused"), graph=True),
        Variant("eager graph", _graph("reference"), graph=True),
        Variant("onnxruntime", _onnxruntime, trains=False),
        Variant("openvino", _openvino, trains=False),
    )
}
"""All variants by name, in the order of tables."""

PYTORCH = ("eager", "channels_last", "compile")
"""The three baselines of training ratios. The other compiled variants are shown in addition."""
