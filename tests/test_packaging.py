"""Building says in plain words what it lacks, and the operators say so where they were not built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from .forks import ROOT, Done, python

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="runs in a checkout only")


def build(tmp_path: Path, compiler: str, cuda: str | None = None, **variables: str) -> Done:
    """Of the package, where torch says that it was built with this CUDA."""
    arguments = ["setup.py", "build_ext", "--build-lib", str(tmp_path), "--build-temp", str(tmp_path)]
    code = f"import runpy, sys, torch; torch.version.cuda = {cuda!r}; sys.argv[:] = {arguments}"
    code += "; runpy.run_path('setup.py', run_name='__main__')"
    return python("-c", code, env=os.environ | {"CXX": compiler} | variables)


def script(path: Path, text: str) -> Path:
    """A program that prints a text and does nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(0o755)
    return path


def test_no_compiler(tmp_path: Path) -> None:
    result = build(tmp_path, "no-such-compiler")
    assert result.returncode != 0
    assert "no C++ compiler: 'no-such-compiler' was not found" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("defines", "message"),
    [
        ("#define __GNUC__ 9", "is GCC 9; GCC >= 12"),
        (
            "#define __clang__ 1\n#define __clang_major__ 10\n#define __GNUC__ 4",
            "is Clang 10; GCC >= 12 or Clang >= 14",
        ),
    ],
    ids=["gcc", "clang"],
)
@pytest.mark.parametrize("flags", ["", " -m64"])
def test_old_compiler(tmp_path: Path, defines: str, message: str, flags: str) -> None:
    old = script(tmp_path / "old-c++", defines)
    result = build(tmp_path, str(old) + flags)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def idle_compiler(tmp_path: Path) -> str:
    """Passes for GCC 13, and makes nothing."""
    return str(script(tmp_path / "idle-c++", "#define __GNUC__ 13"))


def test_a_build_for_the_cpu_says_why(tmp_path: Path, idle_compiler: str) -> None:
    result = build(tmp_path, idle_compiler, FORCE_CUDA="0")
    assert "lite-rtse-ext: building for the CPU only: FORCE_CUDA is 0.\n" in result.stderr


def test_no_cuda_toolkit(tmp_path: Path, idle_compiler: str) -> None:
    """A line where CUDA may be missing, an error where it was asked for."""
    reason = rf"is for CUDA 13.0, but CUDA_HOME is {tmp_path}, which has no bin/nvcc\.\n"
    result = build(tmp_path, idle_compiler, "13.0", FORCE_CUDA="", CUDA_HOME=str(tmp_path))
    assert re.search(f"building for the CPU only: torch .* {reason}", result.stderr), result.stderr
    result = build(tmp_path, idle_compiler, "13.0", FORCE_CUDA="1", CUDA_HOME=str(tmp_path))
    assert result.returncode != 0
    assert re.search(f"FORCE_CUDA is set, but the CUDA kernels cannot be built: torch .* {reason}", result.stderr)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            "tools, release 12.4, V12.4.99\n#$ TOP=/usr",
            "is for CUDA 13.0, and .*/bin/nvcc has release 12.4",
        ),
        ("bash: no such file", "bin/nvcc does not run, or is no nvcc"),
    ],
    ids=["other version", "broken"],
)
def test_a_cuda_toolkit_of_no_use(tmp_path: Path, idle_compiler: str, says: str, reason: str) -> None:
    script(tmp_path / "bin" / "nvcc", says)
    result = build(tmp_path, idle_compiler, "13.0", FORCE_CUDA="1", CUDA_HOME=str(tmp_path))
    assert result.returncode != 0
    assert re.search(reason, result.stderr), result.stderr
    assert "Traceback" not in result.stderr


def test_cuda_needs_a_torch_with_cuda(tmp_path: Path, idle_compiler: str) -> None:
    result = build(tmp_path, idle_compiler, FORCE_CUDA="1")
    assert result.returncode != 0
    assert re.search(r"cannot be built: torch \S+ was built without CUDA\.", result.stderr), result.stderr


def test_source_distribution_has_every_source(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "build", "*.so", "*.egg-info", "demo-out", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", tmp_path, "--formats", "gztar"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=120)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.split("/", 1)[-1] for name in tar.getnames()}
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    assert wanted
    assert wanted <= packed


def test_without_the_library_import_works_and_use_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "lite_rtse_ext", tmp_path / "lite_rtse_ext", ignore=shutil.ignore_patterns("_C*", "__pycache__")
    )
    code = "import torch, lite_rtse_ext as l; l.ops.causal_dwconv2d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))"
    result = python("-c", code, cwd=tmp_path)
    assert "RuntimeError: lite_rtse_ext cannot run its fused operators" in result.stderr
    assert "pip install --no-build-isolation ." in result.stderr


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    package = tmp_path / "lite_rtse_ext"
    shutil.copytree(ROOT / "lite_rtse_ext", package, ignore=shutil.ignore_patterns("_C*", "__pycache__"))
    (package / "_C.abi3.so").write_bytes(b"not a library")
    code = "import lite_rtse_ext as l; print(l.ops.available()); l.ops.isa()"
    result = python("-c", code, cwd=tmp_path)
    assert result.stdout.strip() == "False"
    assert "_C.abi3.so cannot be loaded" in result.stderr
