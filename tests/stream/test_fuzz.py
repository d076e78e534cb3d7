"""The inputs that the fuzzers in Python begin with, and those on which they once found something; needs no atheris."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from lite_rtse_ext.stream import Network
from tests.stream.fuzz import fuzz_feed, fuzz_weights
from tests.stream.fuzz.script import corpus, limited_memory

READ = {"network", "float16", "bfloat16-wrapped", "full"}


@pytest.mark.parametrize("path", corpus("corpus_weights"), ids=lambda path: path.name)
def test_weights_are_read_or_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Seen(Network):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(fuzz_weights, "Network", Seen)
    with limited_memory():
        fuzz_weights.check(path.read_bytes())
    assert bool(made) == (path.name in READ)


@pytest.mark.parametrize("path", corpus("corpus_feed"), ids=lambda path: path.name)
def test_whatever_is_fed(path: Path) -> None:
    fuzz_feed.check(path.read_bytes())


def test_memory_is_limited_while_they_run() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with limited_memory(), pytest.raises(MemoryError):
        np.empty(1 << 31, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
