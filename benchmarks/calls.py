"""How many calls a core holds: ``python -m benchmarks.calls`` loads the WebSocket server on loopback, in real time.

Each call sends a packet of int16 PCM when it is due, whether or not the last one was answered. Calls begin at random
times within a packet. The latency of a packet is the time from sending to receiving its answer. Two clocks measure it:

- "cpu": server and client share a process. Time is its processor time, and idle time is skipped. Other programs hardly
  disturb this clock, so a busy machine shows what a core of its own would. The client's work counts as well, so the
  server alone holds more calls.
- "wall": the server is a process of its own on one core, and this process is the client on the others. Any other
  program on the machine makes the latencies longer. ``client_late_ms`` shows it: it is small where nothing disturbs.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import random
import selectors
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
from lite_rtse_ext.integrations.pcm import SAMPLE_BYTES, packaged_network, pcm_of
from lite_rtse_ext.integrations.server import Limits, serving
from lite_rtse_ext.signal import HOP_LENGTH, SAMPLE_RATE_HZ

_SKIPPED_S = 1.0  # at the beginning of a load, while connections and caches settle


@dataclass(frozen=True)
class Load:
    """What a number of calls at a time took. Latencies are in milliseconds."""

    clock: str
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
    """Share of a core that the server used. With the clock "cpu", the client's part is included, also below."""
    cpu_ms: float
    """Processor time for a second of one call, in milliseconds."""


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Selector(selectors.DefaultSelector):
    """A selector that does not sleep. It adds the time that it would have slept to :attr:`skipped`."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self.skipped += timeout
        return ready


class CpuClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the processor time of this process, without idle time.

    Other programs can interrupt this process, but they hardly change its processor time. So a busy machine shows
    the latencies of a core that does nothing else.
    """

    def __init__(self) -> None:
        self._waits = _Selector()
        super().__init__(self._waits)

    def time(self) -> float:
        return time.process_time() + self._waits.skipped


class Calls:
    """Calls of equal packets, and when their packets were due, sent and answered."""

    def __init__(self, url: str, packet_ms: float, seconds: float) -> None:
        self._url, self._packet_s = url, packet_ms / 1e3
        self._bytes = SAMPLE_BYTES * round(self._packet_s * SAMPLE_RATE_HZ)
        self._packets, self._skipped = round(seconds / self._packet_s), round(_SKIPPED_S / self._packet_s)
        self._sound = pcm_of(speech_like(-(-self._packets * self._bytes // (SAMPLE_BYTES * HOP_LENGTH))))
        self.latency_ms: list[float] = []
        self.late_ms: list[float] = []

    async def run(self, calls: int) -> None:
        """Connect the calls, and have them all at the same time."""
        connections = [await connect(self._url, compression=None, ping_interval=None) for _ in range(calls)]
        start, phases = _now() + 0.1, random.Random(0)
        await asyncio.gather(*(self._call(each, start + phases.random() * self._packet_s) for each in connections))
        await asyncio.gather(*(each.close() for each in connections))

    async def _call(self, connection: ClientConnection, start: float) -> None:
        await connection.recv()  # the description of the call
        sent: list[float] = []
        await asyncio.gather(self._send(connection, start, sent), self._receive(connection, sent))

    async def _send(self, connection: ClientConnection, start: float, sent: list[float]) -> None:
        for number in range(self._packets):
            due = start + number * self._packet_s
            await asyncio.sleep(max(0.0, due - _now()))
            sent.append(_now())
            if number >= self._skipped:
                self.late_ms.append(1e3 * (sent[-1] - due))
            await connection.send(self._sound[number * self._bytes : (number + 1) * self._bytes])

    async def _receive(self, connection: ClientConnection, sent: list[float]) -> None:
        for number in range(self._packets):
            answer = await connection.recv()
            if len(answer) != self._bytes:
                raise RuntimeError(f"answer {number}: expected {self._bytes} bytes, got {len(answer)}")
            if number >= self._skipped:
                self.latency_ms.append(1e3 * (_now() - sent[number]))


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


def measure_cpu(calls: int, seconds: float, packet_ms: float) -> Load:
    """Measure a number of calls at a time by processor time. The client's own is counted, too."""

    async def run() -> tuple[Calls, float]:
        async with serving(packaged_network(), limits=Limits(calls=calls)) as server_:
            url = f"ws://127.0.0.1:{server_.port}/"
            await Calls(url, packet_ms, seconds / 4).run(1)  # the first packets take longer
            load = Calls(url, packet_ms, seconds)
            begin = time.process_time()
            await load.run(calls)
            return load, time.process_time() - begin

    loop = CpuClockLoop()
    try:
        load, used = loop.run_until_complete(run())
    finally:
        loop.close()
    return _load("cpu", calls, seconds, load, used)


def measure_wall(calls: int, seconds: float, packet_ms: float) -> Load:
    """Measure a number of calls at a time, in a server of their own."""
    with server(calls) as (url, process):
        load = Calls(url, packet_ms, seconds)
        asyncio.run(load.run(1))  # the server's first packets take longer
        load = Calls(url, packet_ms, seconds)
        begin = cpu_seconds(process)
        asyncio.run(load.run(calls))
        used = cpu_seconds(process) - begin
    return _load("wall", calls, seconds, load, used)


def _load(clock: str, calls: int, seconds: float, load: Calls, used: float) -> Load:
    ms = np.asarray(load.latency_ms)
    p50, p99, most = (float(q) for q in np.quantile(ms, (0.5, 0.99, 1.0)))
    late = float(np.quantile(load.late_ms, 0.99))
    share = float((ms > FRAME_MS).mean())
    return Load(clock, calls, len(ms), p50, p99, most, share, late, used / seconds, 1e3 * used / seconds / calls)


MEASURES = {"cpu": measure_cpu, "wall": measure_wall}


def held(loads: Sequence[Load]) -> int:
    """The largest number of calls up to which every load of a clock had a p99 below a frame; 0 if there is none."""
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
    parser.add_argument("--clocks", choices=MEASURES, nargs="+", default=list(MEASURES))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each call, at least 2")
    parser.add_argument("--packet-ms", type=float, default=20.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    settings = vars(parser.parse_args(arguments))
    folder = settings.pop("results")
    seconds, packet_ms = settings["seconds"], settings["packet_ms"]
    loads = [MEASURES[clock](calls, seconds, packet_ms) for clock in settings["clocks"] for calls in settings["calls"]]
    most = {clock: held([load for load in loads if load.clock == clock]) for clock in settings["clocks"]}
    where = environment()
    print(f"{where.machine}, {where.cores} cores; {where.isa}; packets of {packet_ms:g} ms\n")
    print(_table(loads))
    for clock, calls in most.items():
        print(f"calls that one core holds at p99 < {FRAME_MS:g} ms, of those tried, by the {clock} clock: {calls}")
    data = {
        "question": "calls",
        "environment": asdict(where),
        "packages": packages() | {"websockets": importlib.metadata.version("websockets")},
        "settings": settings,
        "held": most,
        "records": [asdict(load) for load in loads],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "calls.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"results: {path}")


def _table(loads: Sequence[Load]) -> str:
    rows = [["clock", "calls", "p50 ms", "p99", "max", "late", "client late ms", "core", "CPU ms per call and s"]]
    for load in loads:
        times = [f"{value:.1f}" for value in (load.p50, load.p99, load.max)]
        shares = [f"{100 * load.late_share:.2f} %", f"{load.client_late_ms:.1f}", f"{100 * load.core_share:.0f} %"]
        rows.append([load.clock, str(load.calls), *times, *shares, f"{load.cpu_ms:.1f}"])
    return show.grid(rows)


if __name__ == "__main__":
    main()
