"""A small corpus and a network to judge on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lite_rtse_ext import LiteRTSE
from tests.data.prepare.corpus import make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a small corpus; not to be changed."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has learnt nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    LiteRTSE(channels=4, order=2).save_checkpoint(path)
    return path
