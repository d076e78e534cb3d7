"""Busy neighbors: processes that load other processors, the shared cache and the memory while something is timed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["COPIED_MEGABYTES", "busy_neighbors"]

COPIED_MEGABYTES = 64
"""What a neighbor copies at a time. It is more than a processor's last level of cache usually holds."""

_COPY = """
import sys
import numpy as np
source = np.ones(int(sys.argv[1]) << 20, np.uint8)
target = np.empty_like(source)
np.copyto(target, source)
print("copying", flush=True)
while True:
    np.copyto(target, source)
"""


@contextmanager
def busy_neighbors(count: int) -> Iterator[None]:
    """Run ``count`` processes that copy memory without a pause, until the block ends.

    Raises:
        RuntimeError: a neighbor ended while the block ran, so that it was not timed beside all of them.
    """
    command = [sys.executable, "-c", _COPY, str(COPIED_MEGABYTES)]
    neighbors = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for neighbor in neighbors:
            assert neighbor.stdout is not None
            neighbor.stdout.readline()  # its first copy has put all its pages in place
        yield
        ended = [neighbor.returncode for neighbor in neighbors if neighbor.poll() is not None]
        if ended:
            raise RuntimeError(f"neighbors: expected {count} until the end, got {len(ended)} that ended with {ended}")
    finally:
        for neighbor in neighbors:
            neighbor.kill()
            neighbor.communicate()
