"""``lite-rtse models``."""

from __future__ import annotations

import click


@click.command()
def models() -> None:
    """List the networks with their default arguments: name, size, work, latency, look-ahead and sample rate.

    The work is that of one second: the multiply-accumulates (MAC) of matrix products and convolutions. The latency is
    the algorithmic one, which no machine shortens: the window and the look-ahead, which is stated in frames. "all"
    stands for the whole recording. Networks of other packages are listed as well. Each
    has an entry point of the group lite_rtse_ext.models.
    """
    from lite_rtse_ext.models.complexity import cost
    from lite_rtse_ext.models.registry import find_model, model_names

    click.echo(f"{'name':<20}{'parameters':>12}{'MMAC/s':>10}{'latency':>10}{'look-ahead':>12}{'rate':>10}")
    for name in model_names():
        found = cost(name)
        work, rate = found.mac_per_second / 1e6, f"{found.signal.sample_rate} Hz"
        latency = "all" if found.latency_ms is None else f"{found.latency_ms:g} ms"
        late = "all" if found.look_ahead_frames is None else str(found.look_ahead_frames)
        row = f"{name:<20}{found.parameters:>12,}{work:>10.1f}{latency:>10}{late:>12}{rate:>10}"
        click.echo(f"{row}  {find_model(name).remark}".rstrip())
