"""A program with the C library under valgrind, which tells reads of memory that nobody wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lite_rtse_ext import LiteRTSE

from .library import ROOT, SHARED, Library


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_a_program_reads_only_what_was_written_and_frees_all(library: Library, tmp_path: Path) -> None:
    program, weights = tmp_path / "enhance_raw", tmp_path / "small.safetensors"
    flags = [f"-I{ROOT}/csrc/capi", str(SHARED), f"-Wl,-rpath,{SHARED.parent}"]
    subprocess.run(["cc", "-std=c99", ROOT / "examples" / "c" / "enhance_raw.c", *flags, "-o", program], check=True)
    LiteRTSE(channels=8, order=3).save_checkpoint(weights)
    noise = 0.1 * np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    done = subprocess.run(
        ["valgrind", "--quiet", "--leak-check=full", program, weights],
        input=noise.tobytes(),
        capture_output=True,
        env=os.environ | {"LITE_RTSE_ISA": "baseline"},  # valgrind does not know AVX-512
        check=True,
    )
    assert done.stderr.decode() == ""
    assert len(done.stdout) == 4 * len(noise)
