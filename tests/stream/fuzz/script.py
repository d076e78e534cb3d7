"""What the fuzzers in Python share: bytes read as a script, and the way to run atheris on it."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_MORE_BYTES = 1 << 30
"""How much an input may take on top of what the process has: a header may say petabytes."""


class Script:
    """Numbers out of the fuzzer's bytes; zeros where these end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        taken, self._data = self._data[:count], self._data[count:]
        return taken.ljust(count, b"\0")

    def number(self, size: int = 1) -> int:
        """An unsigned one of so many bytes."""
        return int.from_bytes(self.take(size), "little")


@contextmanager
def limited_memory() -> Iterator[None]:
    """An allocation far beyond what a file could need fails, with a MemoryError or an abort."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MORE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(check: Callable[[bytes], None], mutate: Callable[[bytes, int, int], bytes] | None = None) -> None:
    """Runs atheris with libFuzzer's options from the command line."""
    import atheris

    atheris.Setup(sys.argv, check, **({"custom_mutator": mutate} if mutate else {}))
    with limited_memory():
        atheris.Fuzz()


def corpus(name: str) -> list[Path]:
    """The committed inputs of a fuzzer."""
    return sorted((Path(__file__).parent / name).iterdir())
