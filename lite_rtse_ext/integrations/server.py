"""A WebSocket server that enhances many calls (``pip install "lite-rtse-ext[server]"``).

::

    python -m lite_rtse_ext.integrations.server --port 8765

A call is a connection to ``ws://HOST:PORT/?sample_rate=16000``. Further parameters are ``wet``,
``attenuation_limit_db`` and ``extra_reduction_db``. The server first sends a text with the call's sample rate and
delay, as JSON. After that it answers each binary message of int16 PCM (little-endian, one channel) with one that is as
long.

The server has neither encryption nor authentication. Outside one machine, place it behind a proxy that has them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from lite_rtse_ext.integrations.batches import Batches
from lite_rtse_ext.integrations.pcm import SAMPLE_BYTES, Settings, packaged_network, pcm_of, samples_of
from lite_rtse_ext.signal import SAMPLE_RATE_HZ
from lite_rtse_ext.stream.network import Network
from lite_rtse_ext.stream.streamer import Streamer
from lite_rtse_ext.utils.path_name import PathName

__all__ = ["RATES_HZ", "CallServer", "Limits", "serving"]

RATES_HZ = (8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""The sample rates of calls. Each needs resamplers that are prepared once, so their number is limited."""

_PARAMETERS = ("sample_rate", *Settings.NAMES)  # of a call's address
_REASON_BYTES = 123  # the longest reason that the protocol allows
_QUEUE = 8  # messages of a call that wait in memory. After that, the sender is stopped by TCP.


@dataclass(frozen=True)
class Limits:
    """What a server grants.

    Args:
        calls: number of calls at a time.
        message_bytes: size of a message.
        idle_s: seconds without a message, or with an answer that the client does not read.

    Raises:
        ValueError: ``idle_s`` is not above 0.
    """

    calls: int = 32
    message_bytes: int = 64 << 10
    idle_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.idle_s > 0:  # nor is NaN, with which no call would ever be idle
            raise ValueError(f"idle_s: expected seconds above 0, got {self.idle_s:g}")


class _Refusal(Exception):
    """The reason why a call ends: a close code and words."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(eq=False)
class _Call:
    connection: ServerConnection
    since: float
    """When the last message came or the last answer left."""
    answering: bool = False


class CallServer:
    """A running server. :func:`serving` makes it.

    Args:
        network: the weights.
        limits: what is granted.
    """

    _server: Server

    def __init__(self, network: Network, limits: Limits) -> None:
        self._network, self.limits, self._batches = network, limits, Batches()
        self._calls: set[_Call] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def port(self) -> int:
        """Where the server listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def listen(self, host: str, port: int) -> None:
        """Begin to accept calls.

        The resamplers of all rates are prepared first, for half a second. After that, a call begins within about 1 ms.

        Raises:
            OSError: the server can't listen there.
        """
        for rate in RATES_HZ:
            Streamer(self._network, sample_rate=rate, compensate_delay=False)
        self._server = await serve(
            self._answer,
            host,
            port,
            compression=None,  # PCM hardly becomes smaller, and deflating it costs much time
            max_size=self.limits.message_bytes,
            max_queue=_QUEUE,
            ping_interval=None,  # the limit of idleness finds lost clients, and a pong waits behind stopped messages
            close_timeout=5,
        )

    @property
    def calls(self) -> int:
        """Number of calls at the moment."""
        return len(self._calls)

    async def _answer(self, connection: ServerConnection) -> None:
        call = _Call(connection, self._now())
        try:
            if self.calls >= self.limits.calls:
                raise _Refusal(CloseCode.TRY_AGAIN_LATER, f"calls: expected at most {self.limits.calls} at a time")
            self._calls.add(call)
            await self._serve(call)
        except _Refusal as refusal:
            await connection.close(refusal.code, _short(refusal.reason))
        except ConnectionClosed:
            pass  # the client has gone, perhaps within a message
        finally:
            self._calls.discard(call)

    async def _serve(self, call: _Call) -> None:
        request = call.connection.request
        streamer = _streamer(self._network, request.path if request else "/")
        about = {"sample_rate": streamer.sample_rate, "latency_samples": streamer.latency_samples}
        await call.connection.send(json.dumps(about))
        async for message in call.connection:
            call.since, call.answering = self._now(), True
            await call.connection.send(await self._enhanced(streamer, message))
            call.since, call.answering = self._now(), False
            if self._stopping:
                raise _Refusal(CloseCode.GOING_AWAY, "the server stops")

    async def _enhanced(self, streamer: Streamer, message: str | bytes) -> bytes:
        if isinstance(message, str):
            raise _Refusal(CloseCode.UNSUPPORTED_DATA, "message: expected binary PCM, got text")
        if len(message) % SAMPLE_BYTES:
            text = f"message: expected an even number of bytes of int16 PCM, got {len(message)}"
            raise _Refusal(CloseCode.INVALID_DATA, text)
        return pcm_of(await self._batches.feed(streamer, samples_of(message)))

    async def watch(self) -> None:
        """End the calls that are idle, forever."""
        limit = self.limits.idle_s
        while True:
            await asyncio.sleep(limit / 4)
            for call in [call for call in self._calls if self._now() - call.since > limit]:
                if call.answering:  # it does not read, so no reason can reach it
                    call.connection.transport.abort()
                else:
                    self._end(call, CloseCode.POLICY_VIOLATION, f"idle: expected a message within {limit:g} s")

    async def stop(self) -> None:
        """Accept no more calls, finish the answers that are begun, end all calls. It takes at most ``idle_s``."""
        server = self._server
        self._stopping = True
        server.close(close_connections=False)
        for call in self._calls:
            if not call.answering:
                self._end(call, CloseCode.GOING_AWAY, "the server stops")
        try:
            await asyncio.wait_for(server.wait_closed(), self.limits.idle_s)
        except asyncio.TimeoutError:
            for call in self._calls:
                call.connection.transport.abort()
            await server.wait_closed()

    def _end(self, call: _Call, code: CloseCode, reason: str) -> None:
        """Begin to close a connection. Its handler notices, so nothing waits for the task."""
        closing = asyncio.create_task(call.connection.close(code, _short(reason)))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _short(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")


def _streamer(network: Network, path: str) -> Streamer:
    """The streamer for a call to this address."""
    try:
        return Streamer(network, compensate_delay=False, on_fault="mute", **_options(path))
    except (TypeError, ValueError) as error:
        raise _Refusal(CloseCode.POLICY_VIOLATION, str(error)) from error


def _options(path: str) -> dict[str, Any]:
    """The parameters of a call's address, as arguments of a streamer."""
    options: dict[str, float] = {"sample_rate": SAMPLE_RATE_HZ}
    given = parse_qsl(urlsplit(path).query, keep_blank_values=True)
    for name, text in given:
        if name not in _PARAMETERS:
            raise ValueError(f"parameter: expected one of {', '.join(_PARAMETERS)}, got {name!r}")
        try:
            options[name] = float(text)
        except ValueError:
            raise ValueError(f"{name}: expected a number, got {text!r}") from None
    if len(dict(given)) < len(given):
        raise ValueError("parameters: expected each once, got one twice")
    if options["sample_rate"] not in RATES_HZ:
        raise ValueError(
            f"sample_rate: expected one of {', '.join(map(str, RATES_HZ))}, got {dict(given)['sample_rate']}"
        )
    return options


@asynccontextmanager
async def serving(
    network: Network, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None
) -> AsyncIterator[CallServer]:
    """Serve calls until the context ends. All calls then end as :meth:`CallServer.stop` says.

    Args:
        network: the weights.
        host, port: where to listen. Port 0 is any that is free.
        limits: what is granted.

    Raises:
        OSError: the server can't listen there.
    """
    server = CallServer(network, limits or Limits())
    await server.listen(host, port)
    watch = asyncio.create_task(server.watch())
    try:
        yield server
    finally:
        await server.stop()
        watch.cancel()


async def _run(network: Network, host: str, port: int, limits: Limits, ready: Callable[[CallServer], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serving(network, host, port, limits) as server:
        ready(server)
        await stopped.wait()


@click.command(help="Enhance calls over WebSocket. SIGINT and SIGTERM end it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 is any free one.")
@click.option("--weights", type=PathName(dir_okay=False), help="A safetensors file, instead of the package's weights.")
@click.option("--calls", default=Limits.calls, show_default=True, type=click.IntRange(1), help="Most calls at a time.")
@click.option(
    "--message-bytes", default=Limits.message_bytes, show_default=True, type=click.IntRange(2), help="Largest message."
)
@click.option(
    "--idle-s",
    default=Limits.idle_s,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds without a message that end a call.",
)
def main(host: str, port: int, weights: Path | None, calls: int, message_bytes: int, idle_s: float) -> None:
    def ready(server: CallServer) -> None:
        address = f"[{host}]" if ":" in host else host  # of IPv6
        click.echo(f"listening on ws://{address}:{server.port}/")

    try:
        network = Network.from_pretrained(weights) if weights else packaged_network()
        asyncio.run(_run(network, host, port, Limits(calls, message_bytes, idle_s), ready))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
