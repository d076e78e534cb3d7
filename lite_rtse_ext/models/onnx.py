"""Networks as ONNX graphs of one frame, with their memory as explicit inputs and outputs.

The graph is for runtimes other than this package. It maps the spectrum of a frame to its enhanced spectrum. Any network
that runs frame by frame has such a graph: see :meth:`lite_rtse_ext.SpectrogramModel.next_frame`.

The caller computes windows and transforms, as in :mod:`lite_rtse_ext.audio.spectrogram`. Their sizes and window are
those of the network's :class:`lite_rtse_ext.signal.Signal`. For Lite-RTSE a frame has 512 samples, and the hop is 256
samples at 16 kHz. A square-root Hann window is applied before the transform and
after the inverse. The caller also applies the high-pass that first removes a constant offset from the samples.
:mod:`lite_rtse_ext.audio.high_pass` has its recursion.

Every input except the first is a piece of memory. It is zero before the first frame. Afterwards it is an output of the
preceding frame: the one whose name is ``next_`` followed by the input's name.
"""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from lite_rtse_ext.interface import SpectrogramModel, evaluation_mode, placement
from lite_rtse_ext.utils.atomic_file import replacing
from lite_rtse_ext.utils.listing import listed

__all__ = ["OneFrame", "check_onnx", "export_onnx"]

OPSET = 18


class OneFrame(nn.Module):
    """A network for one frame at a time, with its memory as a list of tensors.

    ``forward(spectrum, *memory)`` takes a spectrum (B, bins, 2) with real and imaginary part, and the memory. It
    returns the enhanced spectrum and the memory for the next frame.

    :attr:`memory` gives the names of the pieces and their shapes without the batch.

    Args:
        model: the network. Its parameters are shared, not copied.

    Raises:
        NotImplementedError: the network cannot run frame by frame.
    """

    def __init__(self, model: SpectrogramModel) -> None:
        super().__init__()
        self.model = model
        self.memory = {name: tuple(piece.shape[1:]) for name, piece in model.start().items()}

    def start(self, batch: int = 1) -> list[Tensor]:
        """The memory before the first frame, which is zero."""
        return list(self.model.start(batch).values())

    def forward(self, spectrum: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        enhanced, after = self.model.next_frame(spectrum, dict(zip(self.memory, memory, strict=True)))
        return (enhanced, *(after[name] for name in self.memory))


def export_onnx(model: SpectrogramModel, path: str | os.PathLike[str], batch: int = 1) -> None:
    """Write a network as an ONNX graph of one frame.

    Args:
        model: the network, float32. The graph is that of its evaluation mode.
        path: the file to write. An existing file is replaced only once the new file is complete.
        batch: number of streams that the graph processes at a time.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        NotImplementedError: the network cannot run frame by frame.
        OSError: the folder does not exist or cannot be written to, or ``path`` is a folder.
        ValueError: ``batch`` is not positive. The network is not float32, or its parameters were replaced, for example
            by quantization.
    """
    if batch < 1:
        raise ValueError(f"batch: expected a positive number, got {batch}")
    _, dtype = placement(model)
    if dtype != torch.float32:
        raise ValueError(f"model: expected float32, got {dtype}")
    replaced = [name for name, each in model.state_dict().items() if not _is_plain(each)]
    if replaced:
        raise ValueError(f"model: expected parameters in float32, got others for {listed(replaced)}")
    for name in ("onnx", "onnxscript"):
        _package(name)
    frame = OneFrame(copy.deepcopy(model).cpu().eval().requires_grad_(False)).eval()
    inputs = (torch.zeros(batch, model.signal.bins, 2), *frame.start(batch))
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


def check_onnx(path: str | os.PathLike[str], model: SpectrogramModel, frames: int = 50) -> float:
    """Compare a graph of one stream in ONNX Runtime with the network's pass over a whole spectrogram, on noise.

    Args:
        path: the graph, for a batch of 1.
        model: the network that was exported.
        frames: number of frames to compare.

    Returns:
        The largest relative L2 difference of a frame's enhanced spectrum.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the graph's inputs differ from those that :func:`export_onnx` writes.
    """
    ort = _package("onnxruntime")
    graph = Path(path).read_bytes()  # ONNX Runtime cannot open a path that is not UTF-8
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    memory = {name: np.zeros((1, *shape), np.float32) for name, shape in OneFrame(model).memory.items()}
    inputs = [entry.name for entry in session.get_inputs()]
    if inputs != ["spectrum", *memory]:
        raise ValueError(
            f"{path}: its inputs should be {', '.join(['spectrum', *memory])}, but are {', '.join(inputs)}"
        )
    noise = np.random.default_rng(0).normal(0, 1, (1, model.signal.bins, frames, 2)).astype(np.float32)
    noise[:, [0, -1], :, 1] = 0  # as in the transform of any real signal
    with torch.no_grad(), evaluation_mode(model):
        device, dtype = placement(model)
        expected = model(torch.from_numpy(noise).to(device, dtype)).cpu().numpy()
    late, largest = model.look_ahead_frames or 0, 0.0
    silence = np.zeros((1, model.signal.bins, late, 2), np.float32)
    for t, spectrum in enumerate(np.moveaxis(np.concatenate([noise, silence], axis=2), 2, 0)):
        enhanced, *after = session.run(None, {"spectrum": spectrum} | memory)
        memory = dict(zip(memory, after, strict=True))
        if t >= late:
            wanted = expected[:, :, t - late]
            largest = max(largest, float(np.linalg.norm(enhanced - wanted) / np.linalg.norm(wanted)))
    return largest


def _is_plain(entry: object) -> bool:
    """Whether an entry of a state dict is a parameter in float32, or a counter."""
    return isinstance(entry, Tensor) and entry.dtype in (torch.float32, torch.int64)


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"exporting needs {name}, which is not installed: pip install 'lite-rtse-ext[onnx]'"
        ) from error
