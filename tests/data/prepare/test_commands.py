"""``lite-rtse prepare`` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
from click.testing import CliRunner, Result

from lite_rtse_ext.cli import main
from lite_rtse_ext.data import Manifest


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", *map(str, arguments)])


def fill(folder: Path, files: int, seconds: float) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(files):
        sf.write(folder / f"{number}.wav", random.normal(0, 0.1, round(seconds * 16_000)), 16_000)
    return folder


def test_folders_are_prepared_and_summed_up(tmp_path: Path) -> None:
    speech, noise = fill(tmp_path / "speech" / "anna", 30, 2.5), fill(tmp_path / "noise" / "street", 2, 30.0)
    (speech / "bad.wav").write_bytes(b"nonsense")
    arguments = (
        "--speech",
        speech.parent,
        "--noise",
        noise.parent,
        "--mixtures",
        4,
        "--valid-share",
        0.3,
        "--test-share",
        0.3,
    )
    outcome = prepare("folders", *arguments, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    manifest = Manifest.load(tmp_path / "out" / "manifest.json")
    assert f"left out: {speech / 'bad.wav'}" in outcome.output
    assert "train: speech" in outcome.output
    assert f"manifest: {manifest.root / 'manifest.json'}" in outcome.output
    assert len(manifest.fixed("test")) == 4
    strict = prepare("folders", *arguments, "--out", tmp_path / "out", "--refuse-damaged")
    assert strict.exit_code == 1
    assert "bad.wav" in strict.output.splitlines()[-1]


def test_faults_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (("vctk-demand", tmp_path, "--out", tmp_path / "out"), "lacks clean_trainset_28spk_wav"),
        (("debian", "--debs", tmp_path, "--out", tmp_path / "out"), "has no .deb of"),
        (
            ("folders", "--speech", tmp_path / "x", "--noise", tmp_path / "y", "--out", tmp_path / "out"),
            "no such folder",
        ),
        (
            ("folders", "--speech", tmp_path, "--noise", tmp_path, "--out", tmp_path / "out"),
            "--speech and --noise: expected separate folders, got the same folder",
        ),
    ):
        outcome = prepare(*arguments)
        assert outcome.exit_code == 1
        assert message in outcome.output
        assert len(outcome.output.strip().splitlines()) == 1
