"""The call server over real WebSockets: the same bytes as single streamers, limits, bad input, and its end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("websockets", reason="websockets is not installed: pip install lite-rtse-ext[server]")

from websockets.asyncio.client import ClientConnection, connect

from lite_rtse_ext.integrations.pcm import packaged_network
from lite_rtse_ext.integrations.server import RATES_HZ, CallServer, Limits, serving

from .recordings import expected, recording

MODULE = [sys.executable, "-m", "lite_rtse_ext.integrations.server"]
PACKET = 640


def with_server(scenario: Callable[[CallServer], Awaitable[None]], **limits: float) -> None:
    async def run() -> None:
        async with serving(packaged_network(), limits=Limits(**limits)) as server:  # type: ignore[arg-type]
            await scenario(server)

    asyncio.run(asyncio.wait_for(run(), 60))


@asynccontextmanager
async def calling(server: CallServer, query: str = "") -> AsyncIterator[ClientConnection]:
    """A call that is accepted."""
    async with connect(f"ws://127.0.0.1:{server.port}/{query}") as connection:
        await connection.recv()
        yield connection


async def talk(connection: ClientConnection, pcm: bytes, size: int = PACKET) -> bytes:
    got = b""
    for begin in range(0, len(pcm), size):
        await connection.send(pcm[begin : begin + size])
        answer = await connection.recv()
        assert isinstance(answer, bytes)
        got += answer
    return got


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def ended(connection: ClientConnection) -> tuple[int | None, str | None]:
    """Close code and reason of a call that the server ends."""
    await asyncio.wait_for(connection.wait_closed(), 20)
    return connection.close_code, connection.close_reason


async def empty(server: CallServer) -> None:
    """Wait until the server has noticed the end of all calls."""
    for _ in range(2000):
        if not server.calls:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{server.calls} calls are left")


async def serves_as_before(server: CallServer) -> None:
    pcm = recording(seconds=0.2)
    async with calling(server) as connection:
        assert await talk(connection, pcm) == expected(pcm)
    await empty(server)


# --- sound ------------------------------------------------------------------------------------------------------------


def test_eight_calls_give_the_bytes_of_eight_streamers() -> None:
    async def scenario(server: CallServer) -> None:
        async def call(number: int) -> bytes:
            async with calling(server) as connection:
                return await talk(connection, recording(number), PACKET + 2 * number)

        got = await asyncio.gather(*map(call, range(8)))
        assert list(got) == [expected(recording(number)) for number in range(8)]

    with_server(scenario)


def test_calls_of_all_rates_together() -> None:
    async def scenario(server: CallServer) -> None:
        async def call(rate: int) -> bytes:
            async with connect(f"ws://127.0.0.1:{server.port}/?sample_rate={rate}") as connection:
                about = json.loads(await connection.recv())
                assert about["sample_rate"] == rate
                assert about["latency_samples"] >= 0.032 * rate
                return await talk(connection, recording(sample_rate=rate, seconds=0.5), rate // 50 * 2)

        got = await asyncio.gather(*map(call, RATES_HZ))
        assert list(got) == [expected(recording(sample_rate=rate, seconds=0.5), rate) for rate in RATES_HZ]

    with_server(scenario)


@pytest.mark.parametrize("size", [0, 2, 510, 514, 20_000, 64_000])
def test_messages_of_any_even_size(size: int) -> None:
    pcm = recording(seconds=0.2 if size < 100 else 2.0)[: 400 if size == 2 else None]

    async def scenario(server: CallServer) -> None:
        async with calling(server) as connection:
            await connection.send(b"")
            assert await connection.recv() == b""
            assert await talk(connection, pcm, size or PACKET) == expected(pcm)

    with_server(scenario)


def test_a_message_in_fragments() -> None:
    pcm = recording(seconds=0.2)

    async def scenario(server: CallServer) -> None:
        async with calling(server) as connection:
            await connection.send([pcm[:333], pcm[333:1000], pcm[1000:]])
            assert await connection.recv() == expected(pcm)

    with_server(scenario)


def test_settings_of_a_call() -> None:
    pcm = recording(seconds=0.3)

    async def scenario(server: CallServer) -> None:
        async with calling(server, "?attenuation_limit_db=6&sample_rate=16000") as connection:
            assert await talk(connection, pcm) == expected(pcm, attenuation_limit_db=6)
        async with calling(server, "?wet=0.5") as connection:
            assert await talk(connection, pcm) == expected(pcm, wet=0.5)
        async with calling(server, "?extra_reduction_db=6") as connection:
            assert await talk(connection, pcm) == expected(pcm, extra_reduction_db=6)

    with_server(scenario)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?sample_rate=7", "sample_rate: expected one of 8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000, got 7"),
        ("?sample_rate=nan", "sample_rate: expected one of "),
        ("?sample_rate=16000.5", "sample_rate: expected one of "),
        ("?sample_rate=", "sample_rate: expected a number, got ''"),
        ("?sample_rate=" + 90 * "é", "sample_rate: expected a number, got 'éé"),
        ("?sample_rate=8000&sample_rate=16000", "parameters: expected each once, got one twice"),
        ("?wet=2", "wet: expected a share from 0 to 1, got 2.0"),
        ("?attenuation_limit_db=-1", "attenuation_limit_db: expected None or a number of dB from 0 up, got -1.0"),
        ("?extra_reduction_db=-1", "extra_reduction_db: expected a number of dB from 0 up, got -1.0"),
        (
            "?channels=2",
            "parameter: expected one of sample_rate, wet, attenuation_limit_db, extra_reduction_db, got 'channels'",
        ),
    ],
)
def test_bad_parameters(query: str, reason: str) -> None:
    async def scenario(server: CallServer) -> None:
        async with connect(f"ws://127.0.0.1:{server.port}/{query}") as connection:
            code, words = await ended(connection)
        assert code == 1008
        assert (words or "").startswith(reason)
        await empty(server)
        await serves_as_before(server)

    with_server(scenario)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"\0" * 639, 1007, "message: expected an even number of bytes of int16 PCM, got 639"),
        (b"\0", 1007, "message: expected an even number of bytes of int16 PCM, got 1"),
        ("hello", 1003, "message: expected binary PCM, got text"),
        (b"\0" * 65_538, 1009, "frame with 65538 bytes"),
    ],
)
def test_bad_messages(message: str | bytes, code: int, reason: str) -> None:
    async def scenario(server: CallServer) -> None:
        async with calling(server) as other, calling(server) as connection:
            first = await talk(other, recording()[:6400])
            sending = asyncio.create_task(connection.send(message))
            got, words = await ended(connection)
            await asyncio.gather(sending, return_exceptions=True)
            assert got == code
            assert (words or "").startswith(reason)
            assert first + await talk(other, recording()[6400:19_200]) == expected(recording()[:19_200])
        await empty(server)
        await serves_as_before(server)

    with_server(scenario)


def test_too_many_calls() -> None:
    async def scenario(server: CallServer) -> None:
        async with calling(server), calling(server):
            async with connect(f"ws://127.0.0.1:{server.port}/") as third:
                assert await ended(third) == (1013, "calls: expected at most 2 at a time")
            assert server.calls == 2
        await empty(server)
        await serves_as_before(server)

    with_server(scenario, calls=2)


def test_a_message_that_claims_to_be_huge() -> None:
    async def scenario(server: CallServer) -> None:
        async with calling(server) as connection:
            connection.transport.write(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(1000))
            code, words = await ended(connection)
            assert code == 1009
            assert words
        await empty(server)
        await serves_as_before(server)

    with_server(scenario)


@pytest.mark.parametrize(
    "sent", [b"\x82", b"\x82\xfe\x02\x80\0\0", b"\x82\xfe\x02\x80\0\0\0\0" + 99 * b"\1", b"\xff\xff"]
)
def test_a_connection_that_breaks_within_a_message(sent: bytes) -> None:
    async def scenario(server: CallServer) -> None:
        for _ in range(3):
            async with calling(server) as connection:
                await talk(connection, recording()[:6400])
                connection.transport.write(sent)
                await asyncio.sleep(0.02)
                connection.transport.abort()
        await empty(server)
        await serves_as_before(server)

    with_server(scenario, calls=3)


def test_connections_that_do_not_speak_websocket() -> None:
    async def scenario(server: CallServer) -> None:
        for sent in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 10_000):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            writer.close()
        await serves_as_before(server)

    with_server(scenario)


def test_calls_that_are_abandoned_while_they_are_enhanced() -> None:
    async def scenario(server: CallServer) -> None:
        for _ in range(5):
            async with calling(server) as connection:
                await connection.send(recording()[:64_000])
                connection.transport.abort()
        await empty(server)
        await serves_as_before(server)

    with_server(scenario)


def test_an_idle_call_ends() -> None:
    async def scenario(server: CallServer) -> None:
        async with calling(server) as idle, calling(server) as busy:
            ending = asyncio.create_task(ended(idle))
            while not ending.done():
                await talk(busy, recording()[:PACKET])
                await asyncio.sleep(0.02)
            assert await ending == (1008, "idle: expected a message within 0.5 s")
            assert server.calls == 1
        await serves_as_before(server)

    with_server(scenario, idle_s=0.5)


def test_a_client_that_does_not_read_is_stopped_and_then_cut_off() -> None:
    async def flood(connection: ClientConnection) -> None:
        while True:
            await connection.send(bytes(64_000))

    async def scenario(server: CallServer) -> None:
        pcm = recording(seconds=0.2)
        async with connect(f"ws://127.0.0.1:{server.port}/", max_queue=1) as connection:
            flooding = asyncio.create_task(flood(connection))
            async with calling(server) as other:
                assert await talk(other, pcm) == expected(pcm)
            assert not flooding.done()
            await empty(server)
            connection.transport.abort()
            await asyncio.gather(flooding, return_exceptions=True)

    with_server(scenario, idle_s=1.0)


# --- end --------------------------------------------------------------------------------------------------------------


def test_stopping_finishes_what_is_begun() -> None:
    pcm = recording()[:64_000]

    async def run() -> None:
        async with serving(packaged_network()) as server, calling(server) as busy, calling(server) as idle:
            url = f"ws://127.0.0.1:{server.port}/"
            await busy.send(pcm)
            await asyncio.sleep(0.01)
            stopping = asyncio.create_task(server.stop())
            assert await busy.recv() == expected(pcm)
            assert await ended(busy) == (1001, "the server stops")
            assert await ended(idle) == (1001, "the server stops")
            await stopping
            with pytest.raises(OSError, match="Connect call failed"):
                await connect(url)

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize(
    ("number", "arguments"), [(signal.SIGTERM, []), (signal.SIGINT, []), (signal.SIGTERM, ["--host", "::1"])]
)
def test_a_signal_ends_the_program(number: signal.Signals, arguments: list[str]) -> None:
    """The line that it prints has the address for a client."""
    if arguments and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    command = [*MODULE, "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]

    async def call() -> None:
        async with connect(url) as connection:
            await connection.recv()
            assert await talk(connection, recording()[:6400]) == expected(recording()[:6400])
            process.send_signal(number)
            assert await ended(connection) == (1001, "the server stops")

    asyncio.run(call())
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_the_program_says_in_a_line_what_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        faults = (
            (["--port", port], "address already in use"),
            (["--weights", "none"], "none"),
            (["--idle-s", "nan"], "idle_s: expected seconds above 0, got nan"),
        )
        for arguments, words in faults:
            done = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1
            assert done.stderr.startswith("error: ")
            assert words in done.stderr
            assert done.stderr.count("\n") == 1
