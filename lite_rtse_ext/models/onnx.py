"""The network as an ONNX graph of one frame, with its memory as explicit inputs and outputs.

The graph is for runtimes other than this package's own engine, :mod:`lite_rtse_ext.stream`. It maps the spectrum of a
frame to its enhanced spectrum.

The caller computes windows and transforms, as in :mod:`lite_rtse_ext.audio.spectrogram`. A frame has 512 samples, and
the hop is 256 samples at 16 kHz. A square-root Hann window is applied before the transform and after the inverse. The
caller also applies the high-pass that first removes a constant offset from the samples.
:mod:`lite_rtse_ext.audio.high_pass` has its recursion.

Every input except the first is a piece of memory. It is zero before the first frame. Afterwards it is an output of the
preceding frame: the one whose name is ``next_`` followed by the input's name.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lite_rtse_ext import reference
from lite_rtse_ext.interface import placement
from lite_rtse_ext.models.checkpoint import load_into
from lite_rtse_ext.reference import ConvBlock, LiteRTSE, MultiOrderConv, complex_gain, magnitude
from lite_rtse_ext.utils.atomic_file import replacing

__all__ = ["OneFrame", "check_onnx", "export_onnx"]

OPSET = 18


class OneFrame(nn.Module):
    """A network for one frame at a time, in plain PyTorch.

    ``forward(spectrum, *memory)`` takes a spectrum (B, 257, 2) with real and imaginary part, and the memory. It returns
    the enhanced spectrum and the memory for the next frame.

    :attr:`memory` gives the names of the pieces and their shapes without the batch. There are h and c of both LSTMs,
    (257,). For each causal convolution there are the last k - 1 frames of its input, (channels, k - 1, 257).

    Args:
        model: the network. Its parameters are shared, not copied.
    """

    def __init__(self, model: LiteRTSE) -> None:
        super().__init__()
        self.model = model
        self.memory: dict[str, tuple[int, ...]] = {
            f"{lstm}_{part}": (model.bins,) for lstm in ("lstm1", "lstm2") for part in ("h", "c")
        }
        for name, module in model.msmo_conv.named_modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
                frames = module.kernel_size[0] - 1
                self.memory[f"msmo_conv_{name.replace('.', '_')}"] = (module.in_channels, frames, model.bins)

    def start(self, batch: int = 1) -> list[Tensor]:
        """The memory before the first frame, which is zero."""
        device, dtype = placement(self.model)
        return [torch.zeros(batch, *shape, device=device, dtype=dtype) for shape in self.memory.values()]

    def forward(self, spectrum: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        h1, c1, h2, c2, *histories = memory
        mag = magnitude(spectrum.unsqueeze(2))[:, 0]
        levels = model.read(mag)
        h1, c1 = _lstm_step(model.lstm1, levels, h1, c1)
        logit = model.fc1(h1)
        frames = _Frames(histories)
        features = levels[:, None, None]
        for block in model.msmo_conv:
            features = (
                frames.multi_order(block, features)
                if isinstance(block, MultiOrderConv)
                else frames.conv_block(block, features)
            )
        features = features[:, 0, 0]
        logit = logit + features if model.mask_branch else logit
        fused = model.fc2(torch.cat([levels, model.read(mag * torch.sigmoid(logit)), features], dim=-1))
        h2, c2 = _lstm_step(model.lstm2, fused, h2, c2)
        heads = (logit, model.to_mag(h2), model.to_real(h2), model.to_imag(h2))
        enhanced = complex_gain(spectrum.unsqueeze(2), *(head.unsqueeze(1) for head in heads)).squeeze(2)
        return (enhanced, h1, c1, h2, c2, *frames.next)


class _Frames:
    """The causal convolutions of one frame. Each takes the next history in order and stores the updated one."""

    def __init__(self, histories: Sequence[Tensor]) -> None:
        self._left = iter(histories)
        self.next: list[Tensor] = []

    def causal(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        window = torch.cat([next(self._left), x], dim=2)
        self.next.append(window[:, :, 1:])
        return functional.conv2d(
            window, conv.weight, conv.bias, padding=(0, conv.kernel_size[1] // 2), groups=conv.groups
        )

    def conv_block(self, block: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(block, ConvBlock)
        inner, causal, outer = block.conv[0], block.conv[2], block.conv[3]
        assert isinstance(causal, nn.Conv2d)
        result: Tensor = outer(self.causal(causal, inner(x))) * block.skip(x)
        return result

    def multi_order(self, block: MultiOrderConv, x: Tensor) -> Tensor:
        h = block.pwconv1(x)
        channels = block.dwconvs[0][1].in_channels  # type: ignore[index]
        d, p = h[:, :channels], h[:, channels:]
        for depthwise, pointwise in zip(block.dwconvs, block.pwconvs, strict=True):
            u = self.causal(depthwise[1], d)  # type: ignore[index]
            gates = p.shape[1]
            d, p = u[:, :-gates], pointwise(p * u[:, -gates:])
        result: Tensor = block.pwconvN(d * p)
        return result


def _lstm_step(lstm: nn.LSTM, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    _, (h, c) = lstm(x.unsqueeze(1), (h.unsqueeze(0), c.unsqueeze(0)))
    return h[0], c[0]


def export_onnx(model: LiteRTSE, path: str | os.PathLike[str], batch: int = 1) -> None:
    """Write a network as an ONNX graph of one frame.

    Args:
        model: the fused or the reference network, float32.
        path: the file to write. An existing file is replaced only once the new file is complete.
        batch: number of streams that the graph processes at a time.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        OSError: the folder does not exist or cannot be written to, or ``path`` is a folder.
        ValueError: ``batch`` is not positive. The network is not float32, or its parameters were replaced, for example
            by quantization.
    """
    if batch < 1:
        raise ValueError(f"batch must be positive, but is {batch}")
    _, dtype = placement(model)
    if dtype != torch.float32:
        raise ValueError(f"model must be float32, but is {dtype}")
    for name in ("onnx", "onnxscript"):
        _package(name)
    plain = reference.LiteRTSE(**model.config())
    load_into(plain, model.state_dict())
    frame = OneFrame(plain.eval().requires_grad_(False)).eval()
    inputs = (torch.zeros(batch, model.bins, 2), *frame.start(batch))
    names = list(frame.memory)
    # The warnings concern parameters that LSTMs store twice, and deprecations in the exporter.
    with replacing(path) as temporary, _only_errors("torch.onnx"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            frame,
            inputs,
            Path(temporary),
            input_names=["spectrum", *names],
            output_names=["enhanced", *(f"next_{name}" for name in names)],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _only_errors(logger: str) -> Iterator[None]:
    level = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(level)


def check_onnx(path: str | os.PathLike[str], model: LiteRTSE, frames: int = 50) -> float:
    """Compare a graph of one stream in ONNX Runtime with the engine, on noise.

    Args:
        path: the graph, for a batch of 1.
        model: the network that was exported.
        frames: number of frames to compare.

    Returns:
        The largest relative L2 difference of a frame's output, over the frames for which the engine returns samples.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the graph's inputs differ from those that :func:`export_onnx` writes.
    """
    from lite_rtse_ext.signal import HOP_LENGTH
    from lite_rtse_ext.stream import Streamer

    ort = _package("onnxruntime")
    graph = Path(path).read_bytes()  # ONNX Runtime cannot open a path that is not UTF-8
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    memory = {name: np.zeros((1, *shape), np.float32) for name, shape in OneFrame(model).memory.items()}
    inputs = [entry.name for entry in session.get_inputs()]
    if inputs != ["spectrum", *memory]:
        raise ValueError(
            f"{path}: its inputs should be {', '.join(['spectrum', *memory])}, but are {', '.join(inputs)}"
        )
    window = np.sin(np.pi * np.arange(2 * HOP_LENGTH) / (2 * HOP_LENGTH))
    streamer = Streamer.from_model(model, high_pass=False)  # the graph has no high-pass
    noise = np.random.default_rng(0).normal(0, 0.1, (frames, HOP_LENGTH)).astype(np.float32)
    before, overlap, largest = np.zeros(HOP_LENGTH, np.float32), np.zeros(HOP_LENGTH), 0.0
    for block in noise:
        spectrum: NDArray[np.complex128] = np.fft.rfft(np.concatenate([before, block]) * window)
        parts = np.stack([spectrum.real, spectrum.imag], axis=-1)[None].astype(np.float32)
        enhanced, *after = session.run(None, {"spectrum": parts} | memory)
        memory = dict(zip(memory, after, strict=True))
        samples = np.fft.irfft(enhanced[0, :, 0] + 1j * enhanced[0, :, 1]) * window
        expected = streamer.feed(block)
        if len(expected):
            difference = np.linalg.norm(overlap + samples[:HOP_LENGTH] - expected)
            largest = max(largest, float(difference / np.linalg.norm(expected)))
        before, overlap = block, samples[HOP_LENGTH:]
    return largest


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"exporting needs {name}, which is not installed: pip install 'lite-rtse-ext[onnx]'"
        ) from error
