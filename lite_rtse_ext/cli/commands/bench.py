"""``lite-rtse bench``."""

from __future__ import annotations

from pathlib import Path

import click

from lite_rtse_ext.cli.bench_stream import json_file, stream
from lite_rtse_ext.utils.path_name import PathName


@click.group(invoke_without_command=True, options_metavar="[OPTIONS]", subcommand_metavar="[stream]")
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True, help="Utterances at a time.")
@click.option("--frames", type=click.IntRange(min=1), default=250, show_default=True, help="Frames of 16 ms each.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Times each side is timed.")
@click.option("--json", "json_path", type=PathName(), help="Also write the results to this file.")
@click.pass_context
def bench(context: click.Context, batch: int, frames: int, threads: int, rounds: int, json_path: Path | None) -> None:
    """Time the fused operators and the network against plain PyTorch, float32 on the CPU; or, `bench stream`, the
    streaming engine.

    Both sides are first shown to compute the same, then timed alternately. The columns are the median of each side, the
    median of the rounds' ratios and their 20th to 80th percentile; "diff" is the relative difference of the results
    (the outputs for forward, the gradients for forward + backward). With the defaults it takes about a minute and a
    half.

    \b
    lite-rtse bench
    lite-rtse bench --threads 2 --rounds 3 --json bench.json
    lite-rtse bench stream
    """
    if context.invoked_subcommand:
        return
    with json_file(json_path) as save:
        import torch

        from lite_rtse_ext.benchmark import operators as harness
        from lite_rtse_ext.benchmark.environment import environment

        torch.set_num_threads(threads)
        where = environment()
        click.echo(f"torch {where.torch}, {where.isa}, {where.threads} thread(s), {where.machine}")
        click.echo(f"one thread: {where.fma_peak_gflops:.0f} GFLOP/s float32 peak, {where.copy_gbps:.0f} GB/s copy")
        click.echo(f"{batch} × {frames} frames ({batch * frames * 0.016:.1f} s of audio), {rounds} rounds\n")
        click.echo(f"{'':<38}{'eager ms':>10}{'fused ms':>10}{'ratio':>8}{'p20–p80':>14}{'diff':>9}")
        timings = []
        for timing in harness.run(batch, frames, rounds):
            ratio = timing.ratio
            numbers = f"{timing.eager_ms.p50:>10.1f}{timing.fused_ms.p50:>10.1f}{ratio.p50:>7.2f}×"
            spread = f"{ratio.p20:.2f}–{ratio.p80:.2f}"
            click.echo(f"{timing.name:<18}{timing.what:<20}{numbers}{spread:>14}{timing.difference:>9.0e}")
            timings.append(timing)
        save(harness.as_json(where, batch, frames, rounds, timings))


bench.add_command(stream)
