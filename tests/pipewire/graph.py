"""A PipeWire of its own for a test: no session, no device, no other user's sound.

It has one device, the node "microphone", which gives what is linked to it. A timer of that node drives the graph. Its
cycles are so long that a busy machine keeps up with them. There is no session manager, so this module does what one
does: it gives ports to nodes, and links the ports.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

DEADLINE_S = 60
CONFIGURATION = """
context.properties = {
    core.daemon = true
    core.name = pipewire-0
    support.dbus = false
    default.clock.rate = %(rate)d
    default.clock.allowed-rates = [ %(rate)d ]
    default.clock.quantum = %(quantum)d
    default.clock.min-quantum = %(quantum)d
    default.clock.max-quantum = %(quantum)d
}
context.spa-libs = {
    audio.convert.* = audioconvert/libspa-audioconvert
    support.* = support/libspa-support
}
context.modules = [
    { name = libpipewire-module-protocol-native }
    { name = libpipewire-module-metadata }
    { name = libpipewire-module-spa-node-factory }
    { name = libpipewire-module-client-node }
    { name = libpipewire-module-access }
    { name = libpipewire-module-adapter }
    { name = libpipewire-module-link-factory }
]
context.objects = [
    { factory = adapter
      args = {
          factory.name = support.null-audio-sink
          node.name = microphone
          media.class = Audio/Source/Virtual
          audio.position = [ MONO ]
          adapter.auto-port-config = { mode = dsp monitor = true position = preserve }
      }
    }
]
"""
MONO = ["MONO"]

Samples = NDArray[np.float32]
T = TypeVar("T")


class Graph:
    """A running instance.

    Args:
        folder: an empty folder for its files.
        rate: sample rate in Hz of the whole graph.
        quantum: samples of a cycle.
        drop_ins: configuration files, as users put them into pipewire.conf.d.
    """

    def __init__(self, folder: Path, rate: int, quantum: int, *drop_ins: Path) -> None:
        self.folder, self.rate, self.quantum = folder, rate, quantum
        configured, runtime = folder / "config" / "pipewire", folder / "run"
        (configured / "test.conf.d").mkdir(parents=True)
        runtime.mkdir(mode=0o700)
        (configured / "test.conf").write_text(CONFIGURATION % {"rate": rate, "quantum": quantum})
        for drop_in in drop_ins:
            (configured / "test.conf.d" / drop_in.name).write_bytes(drop_in.read_bytes())
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIPEWIRE", "DBUS"))},
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(runtime),
            "PIPEWIRE_DEBUG": "2,pw.node:3,pw.context:3",
        }
        self._running = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Graph:
        self._daemon = self._running.enter_context(self._process("pipewire", "-c", "test.conf"))
        self._until("PipeWire answers", lambda: self.call("pw-cli", "info", "0", check=False).returncode == 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def was_late(self) -> bool:
        """Whether a program did not finish its part of a cycle in time. PipeWire then loses sound."""
        return any(line in self.log() for line in ("XRun!", "graph not finished"))

    def log(self) -> str:
        return (self.folder / "pipewire.log").read_text(errors="replace")

    def call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=self._variables, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr}\n{self.log()}")
        return done

    @contextmanager
    def _process(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A program that is asked to end at the end, by SIGINT."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([name, *arguments], env=self._variables, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def _until(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` returns, once that is true."""
        end = time.monotonic() + DEADLINE_S
        while not (answer := ask()):
            if self._daemon is None or self._daemon.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"expected within {DEADLINE_S} s that {what}. The log:\n{self.log()}")
            time.sleep(0.05)
        return answer

    def _objects(self, kind: str) -> list[dict[str, Any]]:
        try:
            found = json.loads(self.call("pw-dump").stdout)
        except json.JSONDecodeError:  # the dump was cut by a change
            return []
        return [item["info"] | {"id": item["id"]} for item in found if item["type"].endswith(kind) and item.get("info")]

    def node(self, name: str) -> dict[str, Any]:
        """What PipeWire tells of a node, once it is there."""
        found = self._until(
            f"there is a node {name}",
            lambda: [node for node in self._objects(":Node") if node["props"].get("node.name") == name],
        )
        return found[0]

    def give_ports(self, name: str, direction: str, positions: list[str]) -> None:
        audio = "mediaType: audio, mediaSubtype: raw, format: F32P"
        channels = f"rate: {self.rate}, channels: {len(positions)}, position: [ {' '.join(positions)} ]"
        configured = f"{{ direction: {direction}, mode: dsp, format: {{ {audio}, {channels} }} }}"
        self.call("pw-cli", "set-param", str(self.node(name)["id"]), "PortConfig", configured)
        counted = f"n-{direction.lower()}-ports"
        self._until(f"{name} has ports", lambda: self.node(name)[counted] == len(positions))

    def link(self, output: str, to: str) -> None:
        self.call("pw-link", output, to)

    def play_and_record(self, sound: Path, links: list[tuple[str, str]], positions: list[str]) -> Samples:
        """Play a file with one channel into the microphone.

        Returns:
            ``(samples, len(positions))``, the sound at the ports recorder:input_NAME.
        """
        recording = self.folder / f"recording{time.monotonic_ns()}.wav"
        free = ["--target", "0", "-P"]  # nothing links these nodes but this function
        layout = ["--rate", str(self.rate), "--channels", str(len(positions)), "--channel-map", ",".join(positions)]
        record = [*free, "{ node.name = recorder }", "--record", *layout, "--format", "f32", str(recording)]
        with self._process("pw-cat", *record):
            self.give_ports("recorder", "Input", positions)
            for output, to in links:
                self.link(output, to)
            with self._process("pw-cat", *free, "{ node.name = player }", "--playback", str(sound)) as player:
                self.give_ports("player", "Output", MONO)
                self.link("player:output_MONO", "microphone:input_MONO")
                self._until("the player ends", lambda: player.poll() is not None)
        recorded: Samples = sf.read(recording, dtype="float32", always_2d=True)[0]
        return recorded
