"""Baselines compute what the reference computes; one that does not is refused, one that is missing is named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

from benchmarks import dtypes, model, operators, unrolled, variants
from benchmarks.harness import Report, Settings
from lite_rtse_ext import reference
from lite_rtse_ext.benchmark.operators import CASES, LIMITS, WrongResult, candidate, case, check, difference

# What needs no compiler run: compilation takes minutes, and what it compiles is tested uncompiled below.
PLAIN = ("fused", "eager", "channels_last")


@pytest.mark.parametrize("what", ["forward", "forward + backward"])
@pytest.mark.parametrize("name", [*CASES, "conv_blocks"])
@pytest.mark.parametrize("variant", PLAIN)
def test_plain_variants(variant: str, name: str, what: str) -> None:
    this = case(name, batch=2, frames=3)
    runnable, suited = variants.VARIANTS[variant].build(this, what == "forward")
    expected = candidate("eager", this.reference, this, what).run()
    check(candidate(variant, runnable, suited, what), expected, LIMITS[what], name)


@pytest.mark.parametrize("instruction_set", ["AVX2", "AVX512"])
def test_compiled_code_has_a_folder_for_each_instruction_set(
    instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = default_cache_dir()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instruction_set)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default)  # as PyTorch leaves it after its import
    variants.compiled(torch.nn.Linear(2, 2), inference=False)
    assert cache_dir() == f"{default}_{instruction_set.lower()}"
    variants.compiled(torch.nn.Linear(2, 2), inference=False)
    assert cache_dir() == f"{default}_{instruction_set.lower()}"


def test_a_folder_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    variants.compiled(torch.nn.Linear(2, 2), inference=False)
    assert cache_dir() == str(tmp_path)


@pytest.mark.parametrize("what", ["forward", "forward + backward"])
@pytest.mark.parametrize("name", [*CASES, "conv_blocks"])
def test_the_rewrite_before_it_is_compiled(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "compiled", lambda module, inference: module)
    this = case(name, batch=2, frames=3)
    runnable, suited = variants.VARIANTS["compile unrolled"].build(this, what == "forward")
    assert isinstance(runnable, torch.nn.Module)
    assert any(type(module).__module__ == unrolled.__name__ for module in runnable.modules())
    expected = candidate("eager", this.reference, this, what).run()
    check(candidate("unrolled", runnable, suited, what), expected, LIMITS[what], name)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 7)])
def test_the_rewritten_convolution_in_float64(kernel: tuple[int, int]) -> None:
    x, weight, bias = (torch.randn(s, dtype=torch.float64) for s in ((2, 3, 5, 8), (3, 1, *kernel), (3,)))
    operands = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    dy = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    results = []
    for convolution in (reference.causal_dwconv2d, unrolled.causal_dwconv2d):
        y = convolution(*operands)
        results.append([y.detach(), *torch.autograd.grad(y, operands, dy)])
    assert difference(*results) < 1e-14


@pytest.mark.parametrize("variant", ["onnxruntime", "openvino"])
def test_inference_engines(variant: str) -> None:
    for package in ("onnx", "onnxscript", variant):
        pytest.importorskip(package)
    this = case("mask_residual", batch=1, frames=3)
    runnable, suited = variants.VARIANTS[variant].build(this, True)
    expected = candidate("eager", this.reference, this, "forward").run()
    check(candidate(variant, runnable, suited, "forward"), expected, LIMITS["forward"], variant)


def test_a_missing_package_is_a_visible_line(
    answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    operators.add(answer, settings, "mask_residual", ["forward"], ["fused", "onnxruntime"])
    assert [record.variant for record in answer.records] == ["fused"]
    (line,) = answer.missing
    assert line == "onnxruntime: onnxruntime is not installed: pip install 'lite-rtse-ext[bench]'"
    assert line in capsys.readouterr().err


def test_a_baseline_left_out_is_a_visible_line(answer: Report, settings: Settings) -> None:
    settings = replace(settings, without=("channels_last",))
    operators.add(answer, settings, "conv_block", ["forward"], ["fused", "channels_last"])
    assert [record.variant for record in answer.records] == ["fused"]
    assert answer.missing == ["channels_last: left out, as asked"]


def test_a_cuda_graph_is_for_a_gpu() -> None:
    this = case("LiteRTSE", batch=1, frames=3)
    with pytest.raises(variants.CannotRun, match="for a GPU"):
        variants.VARIANTS["fused graph"].build(this, True)


@pytest.mark.cuda
def test_the_network_in_a_cuda_graph(answer: Report, settings: Settings, gpu: torch.device) -> None:
    settings = replace(settings, device="cuda")
    names = ["eager", "fused", "fused graph", "eager graph"]
    model.add_inference(answer, settings, names)
    model.add_training(answer, settings, variants=names)
    assert [r.variant for r in answer.records] == names * (1 + len(model.TRAINING))
    assert all(record.difference <= record.limit for record in answer.records)


def test_a_wrong_baseline_is_refused(answer: Report, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    right = variants.VARIANTS["channels_last"].build

    def wrong(this: variants.Case, inference: bool) -> tuple[variants.Runnable, variants.Case]:
        runnable, suited = right(this, inference)
        return (lambda x: 1.001 * runnable(x)), suited

    monkeypatch.setitem(variants.VARIANTS, "channels_last", variants.Variant("channels_last", wrong))
    with pytest.raises(WrongResult, match="conv_block, forward: channels_last and eager differ by 1"):
        operators.add(answer, settings, "conv_block", ["forward"], ["fused", "channels_last"])
    assert answer.records == []


def test_a_training_step_and_its_parts(answer: Report, settings: Settings) -> None:
    model.add_training(answer, settings, variants=["fused", "eager"])
    assert [(r.what, r.variant) for r in answer.records] == [(w, v) for w in model.TRAINING for v in ("fused", "eager")]
    assert all(record.difference <= record.limit for record in answer.records)


def test_a_training_step_changes_no_parameter() -> None:
    this = case("LiteRTSE", 1, 2)
    before = [parameter.detach().clone() for parameter in this.reference.parameters()]
    model.training_candidate("eager", this.reference, this).run()
    assert difference(before, [parameter.detach() for parameter in this.reference.parameters()]) == 0.0


def test_bfloat16_is_held_to_what_eager_manages(answer: Report, settings: Settings) -> None:
    dtypes.add(answer, settings, "multi_order_conv", "forward")
    single, half = answer.find("multi_order_conv", "forward", "fused"), answer.records[2]
    assert (single.dtype, half.dtype, half.variant) == ("float32", "bfloat16", "fused")
    assert single.limit == LIMITS["forward"]
    assert half.limit == pytest.approx(1.5 * answer.records[3].difference)
    assert half.difference > 100 * single.difference


@pytest.mark.parametrize("name", [*CASES, "conv_blocks"])
@pytest.mark.parametrize("variant", [*PLAIN, "compile", "compile channels_last", "compile unrolled"])
def test_variants_stay_on_the_device(variant: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device ``meta`` stands for a GPU: it computes shapes, and refuses what is elsewhere."""
    monkeypatch.setattr(variants, "compiled", lambda module, inference: module)
    this = case(name, batch=2, frames=3, device="meta")
    runnable, suited = variants.VARIANTS[variant].build(this, False)
    found = candidate(variant, runnable, suited, "forward + backward").run()
    assert {tensor.device.type for tensor in found} == {"meta"}


def test_engines_of_the_cpu_are_a_visible_line_on_a_gpu() -> None:
    this = case("mask_residual", batch=1, frames=3, device="meta")
    for variant in ("onnxruntime", "openvino"):
        with pytest.raises(variants.CannotRun, match="on the CPU alone"):
            variants.VARIANTS[variant].build(this, True)
