"""How many calls a core holds: ``python -m benchmarks.calls`` loads the WebSocket server on loopback, in real time.

The server is a process of its own on one core. This process is the client, on the other cores where there are any. Each
call sends a packet of int16 PCM when it is due, whether or not the last one was answered. Calls begin at random times
within a packet. The latency of a packet is the time from sending to receiving its answer. So it includes the client's
own delays. ``client_late_ms`` says how late the client itself was, and a high value means a disturbed measurement. The
server's processor time is hardly disturbed by other programs, so the JSON has it for each number of calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import show
from benchmarks.harness import RESULTS, packages
from lite_rtse_ext.benchmark.environment import environment
from lite_rtse_ext.benchmark.frames import FRAME_MS, speech_like
from lite_rtse_ext.integrations.pcm import SAMPLE_BYTES, pcm_of
from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ

_SKIPPED_S = 1.0  # at the beginning of a load, while connections and caches settle


@dataclass(frozen=True)
class Load:
    """What a number of calls at a time took. Latencies are in milliseconds."""

    calls: int
    packets: int
    p50: float
    p99: float
    max: float
    late_share: float
    """Share of the packets that took longer than a frame."""
    client_late_ms: float
    """99th percentile of the time from when a packet was due until the client sent it."""
    core_share: float
    """Share of a core that the server used."""
    cpu_ms: float
    """The server's processor time for a second of one call, in milliseconds."""


class Calls:
    """Calls of equal packets, and when their packets were due, sent and answered."""

    def __init__(self, url: str, packet_ms: float, seconds: float) -> None:
        self._url, self._packet_s = url, packet_ms / 1e3
        self._bytes = SAMPLE_BYTES * round(self._packet_s * SAMPLE_RATE_HZ)
        self._packets = round(seconds / self._packet_s)
        self._sound = pcm_of(speech_like(-(-self._packets * self._bytes // (SAMPLE_BYTES * HOP_LENGTH))))
        self.latency_ms: list[float] = []
        self.late_ms: list[float] = []

    async def run(self, calls: int) -> None:
        """Connect the calls, and have them all at the same time."""
        connections = [await connect(self._url, compression=None, ping_interval=None) for _ in range(calls)]
        start, phases = time.perf_counter() + 0.1, random.Random(0)
        await asyncio.gather(*(self._call(each, start + phases.random() * self._packet_s) for each in connections))
        await asyncio.gather(*(each.close() for each in connections))

    async def _call(self, connection: ClientConnection, start: float) -> None:
        await connection.recv()  # the description of the call
        sent: list[float] = []
        await asyncio.gather(self._send(connection, start, sent), self._receive(connection, start, sent))

    async def _send(self, connection: ClientConnection, start: float, sent: list[float]) -> None:
        for number in range(self._packets):
            due = start + number * self._packet_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent.append(time.perf_counter())
            if sent[-1] - start >= _SKIPPED_S:
                self.late_ms.append(1e3 * (sent[-1] - due))
            await connection.send(self._sound[number * self._bytes : (number + 1) * self._bytes])

    async def _receive(self, connection: ClientConnection, start: float, sent: list[float]) -> None:
        for number in range(self._packets):
            answer = await connection.recv()
            if len(answer) != self._bytes:
                raise RuntimeError(f"answer {number}: expected {self._bytes} bytes, got {len(answer)}")
            if sent[number] - start >= _SKIPPED_S:
                self.latency_ms.append(1e3 * (time.perf_counter() - sent[number]))


@contextmanager
def server(most_calls: int) -> Iterator[tuple[str, int]]:
    """Run a server on the last core that this process may use. Yields its address and the process's number."""
    before = os.sched_getaffinity(0)
    core = max(before)
    command = [sys.executable, "-m", "lite_rtse_ext.integrations.server", "--port", "0", "--calls", str(most_calls)]
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # it inherits the core
    finally:
        os.sched_setaffinity(0, before - {core} or before)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait(30)
        os.sched_setaffinity(0, before)


def cpu_seconds(process: int) -> float:
    """Processor time of a running process. Linux counts it in ticks of 10 ms."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(calls: int, seconds: float, packet_ms: float) -> Load:
    """Measure a number of calls at a time, in a server of their own."""
    with server(calls) as (url, process):
        load = Calls(url, packet_ms, seconds)
        asyncio.run(load.run(1))  # the server's first packets take longer
        load = Calls(url, packet_ms, seconds)
        begin = cpu_seconds(process)
        asyncio.run(load.run(calls))
        used = cpu_seconds(process) - begin
    ms = np.asarray(load.latency_ms)
    p50, p99, most = (float(q) for q in np.quantile(ms, (0.5, 0.99, 1.0)))
    late = float(np.quantile(load.late_ms, 0.99))
    share = float((ms > FRAME_MS).mean())
    return Load(calls, len(ms), p50, p99, most, share, late, used / seconds, 1e3 * used / seconds / calls)


def held(loads: Sequence[Load]) -> int:
    """The largest number of calls up to which every load had a p99 below a frame; 0 if there is none."""
    most = 0
    for load in sorted(loads, key=lambda load: load.calls):
        if load.p99 >= FRAME_MS:
            break
        most = load.calls
    return most


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 20, 30, 40], help="numbers of calls at a time")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each call, at least 2")
    parser.add_argument("--packet-ms", type=float, default=20.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    settings = vars(parser.parse_args(arguments))
    folder = settings.pop("results")
    loads = [measure(calls, settings["seconds"], settings["packet_ms"]) for calls in settings["calls"]]
    where = environment()
    print(f"{where.machine}, {where.cores} cores; {where.isa}; packets of {settings['packet_ms']:g} ms\n")
    print(_table(loads))
    print(f"\ncalls that one core holds at p99 < {FRAME_MS:g} ms, of those tried: {held(loads)}")
    data = {
        "question": "calls",
        "environment": asdict(where),
        "packages": packages(),
        "settings": settings,
        "held": held(loads),
        "records": [asdict(load) for load in loads],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "calls.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"results: {path}")


def _table(loads: Sequence[Load]) -> str:
    rows = [["calls", "p50 ms", "p99", "max", "late", "client late ms", "core", "CPU ms per call and s"]]
    for load in loads:
        times = [f"{value:.1f}" for value in (load.p50, load.p99, load.max)]
        shares = [f"{100 * load.late_share:.2f} %", f"{load.client_late_ms:.1f}", f"{100 * load.core_share:.0f} %"]
        rows.append([str(load.calls), *times, *shares, f"{load.cpu_ms:.1f}"])
    return show.grid(rows)


if __name__ == "__main__":
    main()
