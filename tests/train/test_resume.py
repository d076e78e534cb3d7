"""A run killed in the middle goes on exactly as if it had not been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from lite_rtse_ext.utils.folder_lock import sole_user
from lite_rtse_ext.utils.new_folder import new_folder
from tests.data.prepare.corpus import make_corpus
from tests.train.runs import QUICK, newest, train

LITE_RTSE = (
    "model.class_path=tests.train.networks.MortalLiteRTSE",
    "model.arguments={channels: 4, order: 2}",
    "model.normalize_input=true",
    "model.identity=true",
    "model.dropout=0.1",
    "model.min_gain=[0.05,0.1]",
    "model.delayed_branch=msmo_conv",
    "model.delayed_branch_step=9",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize(
    ("settings", "kill_at", "changed"),
    [
        pytest.param((), 9, (), id="in mid-epoch"),
        pytest.param((), 9, ("data.workers=2", "run.save_every=3"), id="in mid-epoch, other settings after that"),
        pytest.param(("data.workers=2",), 9, (), id="in mid-epoch, with workers"),
        pytest.param((), 12, (), id="just after an epoch"),
        pytest.param(("data.workers=2",), 12, ("data.workers=0",), id="just after an epoch, with workers before"),
        pytest.param(("run.accumulate=2", "run.steps=6", "run.save_every=1"), 8, (), id="with accumulated gradients"),
        pytest.param(("run.average=0.9",), 9, (), id="with averaged weights"),
        pytest.param(LITE_RTSE, 9, (), id="Lite-RTSE, whose branch joins after that"),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    corpus: Path, tmp_path: Path, settings: Sequence[str], kill_at: int, changed: Sequence[str]
) -> None:
    arguments = [QUICK, "run.steps=14", *settings, "--data", str(corpus)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = train([*arguments, "--out", str(whole)])
    assert done.returncode == 0, done.stderr

    killed = train([*arguments, "--out", str(cut)], KILL_AT=str(kill_at))
    assert killed.returncode == -9
    assert newest(cut)["global_step"] < newest(whole)["global_step"]
    resumed = train(["--resume", "--out", str(cut), *changed])
    assert resumed.returncode == 0, resumed.stderr
    assert "the run goes on after step" in resumed.stderr

    a, b = newest(whole), newest(cut)
    assert a["global_step"] == b["global_step"]
    for weights in ("state_dict", "current_model_state") if "run.average=0.9" in settings else ("state_dict",):
        assert a[weights].keys() == b[weights].keys()
        for name, value in a[weights].items():
            assert torch.equal(value, b[weights][name]), name
    for old, new in zip(*(c["optimizer_states"][0]["state"].values() for c in (a, b)), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    best = [(folder / "best.safetensors").read_bytes() for folder in (whole, cut)]
    assert best[0] == best[1]
    assert not list(cut.rglob("*.part"))


def test_a_run_is_neither_overwritten_nor_mixed_up(corpus: Path, tmp_path: Path) -> None:
    arguments = [QUICK, "run.steps=2", "--data", str(corpus), "--out", str(tmp_path)]
    first = train(arguments)
    assert (first.returncode, first.stderr) == (0, "")
    again = train(arguments)
    assert again.returncode == 1
    assert "has a run in it already" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    nowhere = train(["--resume", "--out", str(tmp_path / "nowhere")])
    assert nowhere.returncode == 1
    assert "recipe.yaml: No such file or directory" in nowhere.stderr


def test_two_processes_do_not_train_in_one_folder(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = [QUICK, "run.steps=2", "--data", str(corpus)]
    for arguments in (first, ["--resume", "run.steps=3"]):
        with new_folder(folder), sole_user(folder):
            refused = train([*arguments, "--out", str(folder)])
        assert (refused.returncode, refused.stderr) == (1, f"Error: {folder}: another process uses this folder\n")
        done = train([*arguments, "--out", str(folder)])
        assert done.returncode == 0, done.stderr
