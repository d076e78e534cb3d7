"""Building says in plain words what it lacks, and the operators say so where they were not built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="runs in a checkout only")


def build(tmp_path: Path, compiler: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", tmp_path, "--build-temp", tmp_path]
    environment = os.environ | {"CXX": compiler}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


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
    old = tmp_path / "old-c++"
    old.write_text(f"#!/bin/sh\ncat <<'END'\n{defines}\nEND\n")
    old.chmod(0o755)
    result = build(tmp_path, str(old) + flags)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


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
    code = "import torch, lite_rtse_ext as l; l.causal_dwconv2d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "RuntimeError: lite_rtse_ext cannot run its fused operators" in result.stderr
    assert "pip install --no-build-isolation ." in result.stderr


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    package = tmp_path / "lite_rtse_ext"
    shutil.copytree(ROOT / "lite_rtse_ext", package, ignore=shutil.ignore_patterns("_C*", "__pycache__"))
    (package / "_C.abi3.so").write_bytes(b"not a library")
    code = "import lite_rtse_ext as l; print(l.ops.available()); l.ops.isa()"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "False"
    assert "_C.abi3.so cannot be loaded" in result.stderr
