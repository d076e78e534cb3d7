"""An installed library is found by pkg-config and by CMake, and the examples work with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lite_rtse_ext import Streamer

from .library import ROOT, Library

EXAMPLES = ROOT / "examples" / "c"
NOISE = (0.1 * np.random.default_rng(2).standard_normal(5000)).astype(np.float32)


def call(*command: str | Path, given: bytes = b"", **variables: str) -> bytes:
    done = subprocess.run(
        [str(word) for word in command], input=given, capture_output=True, env=os.environ | variables, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def enhanced(limit: float | None = None) -> bytes:
    streamer = Streamer.from_pretrained(attenuation_limit_db=limit)
    return np.concatenate([streamer.feed(NOISE), streamer.flush()]).tobytes()


@pytest.fixture(scope="module")
def prefix(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    call("make", "-C", ROOT / "csrc" / "capi", "install", f"PREFIX={folder}")
    return folder


def test_files(prefix: Path, tmp_path: Path) -> None:
    """A package's staged files are those of an installation."""
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    assert files == {
        "include/lite_rtse.h",
        "lib/liblite_rtse.a",
        "lib/liblite_rtse.so",
        "lib/liblite_rtse.so.0.1",
        "lib/liblite_rtse.so.0.1.0",
        "lib/pkgconfig/lite_rtse.pc",
        "lib/cmake/lite_rtse/lite_rtseConfig.cmake",
        "lib/cmake/lite_rtse/lite_rtseConfigVersion.cmake",
        "share/lite_rtse/lite-rtse.safetensors",
    }
    call("make", "-C", ROOT / "csrc" / "capi", "install", "PREFIX=/opt/x", f"DESTDIR={tmp_path}")
    staged = tmp_path / "opt" / "x"
    assert {str(path.relative_to(staged)) for path in staged.rglob("*") if not path.is_dir()} == files
    assert str(tmp_path) not in (staged / "lib/pkgconfig/lite_rtse.pc").read_text()


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
@pytest.mark.parametrize("options", [[], ["--static"]], ids=["shared", "static"])
def test_pkg_config(prefix: Path, tmp_path: Path, options: list[str]) -> None:
    found = {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    flags = call("pkg-config", *options, "--cflags", "--libs", "lite_rtse", **found).decode().split()
    if options:
        flags[flags.index("-llite_rtse")] = "-l:liblite_rtse.a"
    program = tmp_path / "enhance_raw"
    strict = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    call("cc", *strict, EXAMPLES / "enhance_raw.c", *flags, "-o", program)
    weights = call("pkg-config", "--variable=weights", "lite_rtse", **found).decode().strip()
    output = call(program, weights, given=NOISE.tobytes(), LD_LIBRARY_PATH="" if options else str(prefix / "lib"))
    assert output == enhanced()


PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(test C CXX)
find_package(lite_rtse 0.1 REQUIRED)
foreach(kind lite_rtse static)
  add_executable(enhance_${kind} SOURCE)
  target_link_libraries(enhance_${kind} PRIVATE lite_rtse::${kind})
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/weights ${lite_rtse_WEIGHTS})
"""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
def test_cmake(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.replace("SOURCE", str(EXAMPLES / "enhance_raw.c")))
    build = tmp_path / "build"
    call("cmake", "-S", tmp_path, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", build)
    weights = (build / "weights").read_text()
    for kind in ("lite_rtse", "static"):
        assert call(build / f"enhance_{kind}", weights, given=NOISE.tobytes()) == enhanced()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
@pytest.mark.parametrize("version", ["0.2", "1.0", "0.1.1"])
def test_cmake_refuses_another_version(prefix: Path, tmp_path: Path, version: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(test NONE)\nfind_package(lite_rtse {version} REQUIRED)\n"
    )
    done = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}"], capture_output=True
    )
    assert done.returncode != 0
    assert b"version: 0.1.0" in done.stderr


def test_ctypes_example(prefix: Path) -> None:
    example = EXAMPLES / "enhance_raw.py"
    library, weights = prefix / "lib" / "liblite_rtse.so", prefix / "share" / "lite_rtse" / "lite-rtse.safetensors"
    assert call(sys.executable, example, library, weights, given=NOISE.tobytes()) == enhanced(24.0)


def test_header_is_also_for_cpp(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.cpp").write_text("#include <lite_rtse.h>\nint32_t (*version)() = lite_rtse_version;\n")
    call(
        "c++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-pedantic",
        "-Werror",
        f"-I{prefix}/include",
        "-fsyntax-only",
        tmp_path / "empty.cpp",
    )


def test_header_tells_each_parameter_of_a_stream_in_a_line_of_its_own() -> None:
    header = (ROOT / "csrc" / "capi" / "lite_rtse.h").read_text()
    comment, _, declaration = header.partition("LITE_RTSE_API lite_rtse_status lite_rtse_stream_create_at(")
    told = re.findall(r"^ \*   ([a-z_, ]+?)  +\S", comment[comment.rindex("/*") :], re.MULTILINE)
    parameters = re.findall(r"(\w+)[,)]", declaration[: declaration.index(";")])
    assert {"network", *", ".join(told).split(", ")} == set(parameters)
