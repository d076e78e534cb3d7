"""What PyTorch makes of the network besides running it: graphs for any length, and graphs that run elsewhere."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.func import functional_call, stack_module_state
from torch.fx.experimental.proxy_tensor import make_fx

from lite_rtse_ext import LiteRTSE, fuse, reference, unfuse
from lite_rtse_ext import nn as fused_nn

from ..compare import assert_agrees
from ..fusion.foreign import MultiScale, PublicLiteRTSE

LIMIT = 20  # frames that go through at once, in these tests
LENGTHS = (1, 2, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT)
needs_onnx = pytest.mark.skipif(
    not all(map(__import__("importlib.util").util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs the extra onnx",
)


@pytest.fixture(autouse=True)
def few_frames_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("lite_rtse_ext.models.lite_rtse.PIECE_FRAMES", LIMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; the exporters talk about LSTMs
        yield


def small(seed: int = 0) -> LiteRTSE:
    torch.manual_seed(seed)
    return LiteRTSE(bins=9, channels=8, order=3).eval().requires_grad_(False)


def fused() -> nn.Module:
    torch.manual_seed(0)
    model = PublicLiteRTSE(bins=9, width=8, order=3).eval()
    assert fuse(model).fused
    return model


def sound(frames: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 9, frames, 2, generator=torch.Generator().manual_seed(frames))


# ---- graphs for any length


def exported(strict: bool, dynamic: Any) -> Callable[[int], Callable[[Tensor], Tensor]]:
    def make(example: int) -> Callable[[Tensor], Tensor]:
        shapes = ({2: dynamic},)
        return torch.export.export(small(), (sound(example),), dynamic_shapes=shapes, strict=strict).module()

    return make


def compiled(example: int) -> Callable[[Tensor], Tensor]:
    torch._dynamo.reset()
    graph = torch.compile(small(), dynamic=True, backend="eager")
    graph(sound(example))
    return graph


def symbolic(example: int) -> Callable[[Tensor], Tensor]:
    model = small()
    parameters = dict(model.named_parameters())

    def run(values: dict[str, Tensor], x: Tensor) -> Any:
        return functional_call(model, values, (x,))

    graph = make_fx(run, tracing_mode="symbolic")(parameters, sound(example))
    return lambda x: graph(parameters, x)


def traced(example: int) -> Callable[[Tensor], Tensor]:
    return torch.jit.trace(small(), (sound(example),))


GRAPHS = {
    "export to a limit": exported(False, Dim("frames", min=2, max=4000)),
    "export automatic": exported(False, Dim.AUTO),
    "strict export to a limit": exported(True, Dim("frames", min=2, max=4000)),
    "strict export automatic": exported(True, Dim.AUTO),
    "compile": compiled,
    "make_fx": symbolic,
    "jit.trace": traced,
}


@pytest.mark.parametrize("example", [LIMIT // 2, 2 * LIMIT])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_holds_on_both_sides_of_the_limit(graph: str, example: int) -> None:
    model, run = small(), GRAPHS[graph](example)
    for frames in LENGTHS[1:]:
        assert_agrees(run(sound(frames)), model(sound(frames)), 1e-5)


def test_utterances_and_frames_may_both_be_dynamic() -> None:
    model, shapes = small(), ({0: Dim("utterances", min=2, max=50), 2: Dim("frames", min=1, max=4000)},)
    program = torch.export.export(model, (sound(6, batch=2),), dynamic_shapes=shapes).module()
    for batch, frames in ((2, 1), (3, 7), (40, 2), (2, 50)):
        assert_agrees(program(sound(frames, batch)), model(sound(frames, batch)), 1e-5)


@pytest.mark.parametrize("frames", LENGTHS)
def test_several_networks_run_as_one(frames: int) -> None:
    models = [small(seed) for seed in range(3)]
    parameters, _ = stack_module_state(models)
    shell, x = copy.deepcopy(models[0]).to("meta"), sound(frames)
    with torch.no_grad():
        together = torch.vmap(lambda values: functional_call(shell, values, (x,)))(parameters)
    for model, enhanced in zip(models, together, strict=True):
        assert_agrees(enhanced, model(x), 1e-5)


def test_enhance_can_be_recorded_and_mapped() -> None:
    """Its questions about the samples' values are left out there."""
    model, waveforms = LiteRTSE(channels=4, order=2), 0.1 * torch.randn(2, 600)

    class Enhancing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, waveform: Tensor) -> Tensor:
            return self.model.enhance(waveform)

    expected = model.enhance(waveforms)
    assert_agrees(torch.vmap(model.enhance)(waveforms), expected, 1e-5)
    assert_agrees(torch.export.export(Enhancing(), (waveforms,)).module()(waveforms), expected, 1e-5)


# ---- graphs that run elsewhere


@pytest.mark.parametrize("make", [small, fused])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_trace_needs_nothing_of_this_package(make: Callable[[], nn.Module], gradients: bool) -> None:
    model = make()
    with torch.set_grad_enabled(gradients):
        graph = torch.jit.trace(model, (sound(5),))
    assert "lite_rtse::" not in str(graph.inlined_graph)
    assert_agrees(graph(sound(50)), model(sound(50)).detach(), 1e-5)


@needs_onnx
@pytest.mark.parametrize(
    ("make", "exporter"), [(small, "TorchScript"), (fused, "TorchScript"), (small, "torch.export")]
)
def test_onnx_needs_nothing_of_this_package(make: Callable[[], nn.Module], exporter: str) -> None:
    """Of any length by the older exporter; of the example's by that on torch.export, which unrolls PyTorch's LSTM."""
    import onnxruntime as ort

    model, file = make(), io.BytesIO()
    by_script = exporter == "TorchScript"
    options: dict[str, Any] = {"dynamic_axes": {"x": {2: "frames"}}} if by_script else {"verbose": False}
    torch.onnx.export(model, (sound(5),), file, input_names=["x"], dynamo=not by_script, **options)
    session = ort.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for frames in (5, 3 * LIMIT) if by_script else (5,):
        (enhanced,) = session.run(None, {"x": sound(frames).numpy()})
        assert_agrees(torch.from_numpy(np.asarray(enhanced)), model(sound(frames)).detach(), 1e-4)


OURS = [
    (fused_nn.CausalDepthwiseConv2d(2, 3), [(1, 2, 5, 6)]),
    (fused_nn.ConvBlock(2, 4), [(1, 2, 5, 6)]),
    (fused_nn.MultiOrderConv(8, 3), [(1, 4, 5, 6)]),
    (fused_nn.LSTM(6, 4, batch_first=True), [(1, 5, 6)]),
    (fused_nn.MaskResidual(), [(1, 6, 5, 2), *4 * [(1, 5, 6)]]),
]


@pytest.mark.parametrize(("module", "shapes"), OURS, ids=lambda value: type(value).__name__)
def test_each_module_traces_and_refuses_script(module: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    inputs = tuple(torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in shapes)
    graph = torch.jit.trace(module, inputs)
    assert "lite_rtse::" not in str(graph.inlined_graph)
    ours, theirs = module(*inputs), graph(*inputs)
    assert_agrees(*((y[0] if isinstance(y, tuple) else y).detach() for y in (theirs, ours)), 1e-5)
    with pytest.raises(RuntimeError, match=rf"^{type(module).__name__} can't be compiled by torch\.jit\.script"):
        torch.jit.script(nn.Sequential(module))


def test_script_is_refused_in_words() -> None:
    for model in (small(), fused(), reference_fused()):
        with pytest.raises(RuntimeError, match=r"call unfuse\(model\) first.* `lite-rtse export`"):
            torch.jit.script(model)


def reference_fused() -> nn.Module:
    model = reference.LiteRTSE(bins=9, channels=8, order=3)
    fuse(model)
    return model


def test_script_takes_the_model_again_after_unfuse() -> None:
    model = nn.Sequential(MultiScale(2, 4))
    fuse(model)
    with pytest.raises(RuntimeError, match="FusedMultiScale can't be compiled"):
        torch.jit.script(model)
    unfuse(model)
    x = torch.randn(1, 2, 4, 5)
    assert_agrees(torch.jit.script(model)(x).detach(), model(x).detach(), 1e-6)
