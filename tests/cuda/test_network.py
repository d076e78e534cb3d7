"""The whole network on a GPU: the reference's values, training, autocast, fuse, and inference in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lite_rtse_ext import LiteRTSE, fuse, reference, unfuse

from ..compare import assert_agrees, assert_all_agree

pytestmark = pytest.mark.cuda

SMALL = {"bins": 9, "channels": 8, "order": 3}


def random(device: torch.device, *size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64).to(device, dtype)


def pair(device: torch.device, dtype: torch.dtype = torch.float64, **config: int) -> tuple[LiteRTSE, nn.Module]:
    """The fused and the plain network with equal parameters, made on the CPU and moved."""
    torch.manual_seed(0)
    ours = LiteRTSE(**config)
    plain = reference.LiteRTSE(**config)
    plain.load_state_dict(ours.state_dict())
    return ours.to(device, dtype), plain.to(device, dtype)


def results(model: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    leaf = x.clone().requires_grad_()
    y = model(leaf)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), [leaf, *model.parameters()])]


def names(model: nn.Module) -> list[str]:
    return ["spectrogram", "gradient of the input", *dict(model.named_parameters())]


@pytest.mark.parametrize("depthwise", [True, False])
def test_value_and_gradients_are_the_references(depthwise: bool, gpu: torch.device) -> None:
    ours, plain = pair(gpu, **SMALL, depthwise=depthwise)
    x, weight = random(gpu, 2, 9, 8, 2), random(gpu, 2, 9, 8, 2, seed=1)
    assert_all_agree(results(ours, x, weight), results(plain, x, weight), 1e-11, names(ours))


def test_full_size_in_float32(gpu: torch.device) -> None:
    ours, plain = pair(gpu, torch.float32)
    x = random(gpu, 2, 257, 40, 2, dtype=torch.float32)
    with torch.no_grad():
        assert_agrees(ours(x), plain.double()(x.double()), 1e-5)


def test_a_gpu_and_the_cpu_agree(gpu: torch.device) -> None:
    """One network moved to the GPU and back."""
    model, _ = pair(torch.device("cpu"), **SMALL)
    x, weight = random(torch.device("cpu"), 2, 9, 8, 2), random(torch.device("cpu"), 2, 9, 8, 2, seed=1)
    expected = results(model, x, weight)
    found = [t.cpu() for t in results(model.to(gpu), x.to(gpu), weight.to(gpu))]
    assert_all_agree(found, expected, 1e-11, names(model))
    assert_all_agree(results(model.cpu(), x, weight), expected, 1e-12, names(model))


def test_training_goes_the_way_of_the_reference(gpu: torch.device) -> None:
    """Ten steps of AdamW in float64, where rounding cannot part the two."""
    x, target = random(gpu, 2, 9, 8, 2), random(gpu, 2, 9, 8, 2, seed=1)
    losses = []
    for model in pair(gpu, **SMALL):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        for _ in range(10):
            loss = (model(x) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.detach())
    assert_agrees(losses[0], losses[1], 1e-8, "loss")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_trains(dtype: torch.dtype, gpu: torch.device) -> None:
    """With gradient scaling, which halves the scale where float16 overflows and goes on."""
    model, _ = pair(gpu, torch.float32, **SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    x, target = (random(gpu, 2, 9, 8, 2, seed=seed, dtype=torch.float32) for seed in (0, 1))
    losses = []
    for _ in range(20):
        with torch.autocast("cuda", dtype):
            y = model(x)
        assert y.dtype == torch.float32  # the reconstruction keeps it
        loss = (y - target).square().mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_fuse_on_a_gpu(gpu: torch.device) -> None:
    _, plain = pair(gpu, **SMALL)
    model = copy.deepcopy(plain)
    report = fuse(model)
    assert report.fused
    assert not report.left
    x, weight = random(gpu, 2, 9, 8, 2), random(gpu, 2, 9, 8, 2, seed=1)
    expected = results(plain, x, weight)
    assert_all_agree(results(model, x, weight), expected, 1e-11, names(plain))
    unfuse(model)
    assert_all_agree(results(model, x, weight), expected, 1e-12, names(plain))


@torch.no_grad()
def test_inference_in_a_cuda_graph(gpu: torch.device) -> None:
    model, _ = pair(gpu, torch.float32)
    inputs = [random(gpu, 1, 257, 50, 2, seed=seed, dtype=torch.float32) for seed in range(3)]
    expected = [model(x) for x in inputs]
    static = inputs[0].clone()
    side = torch.cuda.Stream(gpu)
    side.wait_stream(torch.cuda.current_stream(gpu))
    with torch.cuda.stream(side):
        for _ in range(3):
            model(static)
    torch.cuda.current_stream(gpu).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = model(static)
    for x, wanted in zip(inputs[1:], expected[1:], strict=True):
        static.copy_(x)
        graph.replay()
        assert_agrees(y, wanted, 1e-6)  # cuBLAS may choose another algorithm in a capture


def test_enhance_takes_audio_on_a_gpu(gpu: torch.device) -> None:
    model, _ = pair(gpu, torch.float32)
    noisy = random(gpu, 2, 16000, dtype=torch.float32)
    with torch.no_grad():
        enhanced = model.enhance(noisy)
    assert enhanced.device == gpu
    assert enhanced.shape == noisy.shape
    with torch.no_grad():
        assert_agrees(enhanced.cpu(), model.cpu().enhance(noisy.cpu()), 1e-4)
