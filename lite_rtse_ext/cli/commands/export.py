"""``lite-rtse export``."""

from __future__ import annotations

import errno
from pathlib import Path

import click

from lite_rtse_ext.cli.weights import checkpoint_option, chosen
from lite_rtse_ext.utils.atomic_file import replaceable
from lite_rtse_ext.utils.extras import require
from lite_rtse_ext.utils.path_name import PathName

LIMIT = 1e-4  # two float32 implementations, on a network whose phase may turn on a small number


@click.command()
@click.argument("target", metavar="OUT", type=PathName())
@checkpoint_option
@click.option("--force", is_flag=True, help="Replace OUT if it exists already.")
def export(target: Path, checkpoint: Path | None, force: bool) -> None:
    """Write the network as an ONNX graph of one frame, for other runtimes.

    The graph goes from a frame's spectrum (1, 257, 2) to the enhanced one. What the network remembers from frame to
    frame goes in and out as further tensors: zeros at first, then each output next_NAME into the input NAME. Windows
    and transforms are the caller's. Lite-RTSE takes 512 samples every 256 at 16 kHz, square-root Hann before and after.

    The file is then run in ONNX Runtime and compared frame by frame with the network's pass over a whole spectrogram.
    A network that needs the whole recording has no such graph.

    \b
    lite-rtse export model.onnx
    """
    if replaceable(target) and not force:
        raise FileExistsError(errno.EEXIST, "exists already; --force replaces it", str(target))
    require("exporting", "onnx", ("torch", "onnx", "onnxscript", "onnxruntime"))
    from lite_rtse_ext.models.checkpoint import load_model
    from lite_rtse_ext.models.onnx import check_onnx, export_onnx

    model = load_model(chosen(checkpoint)).eval()
    export_onnx(model, target)
    difference = check_onnx(target, model)
    if not difference <= LIMIT:
        raise RuntimeError(f"{target}: ONNX Runtime and PyTorch differ by {difference:.1e}; do not use this file")
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB; differs from PyTorch by {difference:.0e}")
