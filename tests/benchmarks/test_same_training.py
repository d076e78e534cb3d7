"""The comparison of two runs: that it sees the same examples, and would see a difference."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import same_training
from lite_rtse_ext.data import Manifest
from tests.data.prepare.corpus import make_corpus

pytest.importorskip("lightning")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def test_the_two_runs_agree(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(manifest), "--steps", "4", "--batch", "1", "--seconds", "0.2", "--every", "2"]
    monkeypatch.setattr(sys, "argv", ["same_training", *arguments, "--results", str(tmp_path)])
    same_training.main()
    found = json.loads((tmp_path / "same_training.json").read_text())
    assert found["largest_difference_of_a_step"] < 1e-3
    assert [len(found["losses"][name]) for name in ("eager", "fused")] == [4, 4]
    assert [steps for steps, _ in found["validation"]["fused"]] == [2, 4]
    assert found["seconds_to_it"]["eager"] > 0
    assert (tmp_path / "same_training.png").read_bytes().startswith(b"\x89PNG")


def test_other_initial_values_are_seen(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_training.torch, "manual_seed", lambda seed: None)
    with pytest.raises(RuntimeError, match="do not begin with the same values"):
        same_training.compare(Manifest.load(manifest), 1, 1, 0.2, 1)
