"""The small corpus, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.prepare.corpus import make_corpus


@pytest.fixture(scope="session")
def manifest_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small corpus; not to be changed."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))
