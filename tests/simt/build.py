"""Builds CUDA sources for the emulator with g++: one shared library for each operator and flavour.

Everything built is kept in ``build`` beside this file under a hash of all that went into it: sources, what they
include, flags, compiler. So a library is rebuilt when it has to be and never otherwise, and processes may build at the
same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CUDA_SOURCES = ROOT / "csrc" / "cuda"
OUT = HERE / "build"

FLAVOURS = {
    "plain": ["-O2"],
    "asan": ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
    "tsan": ["-O1", "-g1", "-fsanitize=thread"],
}
"""As built for speed, for accesses out of bounds and undefined behaviour, and for data races."""

# nvcc contracts x · y + z too. The last two keep __shared__ variables, which are thread-local here, to their library.
COMMON = ["-std=c++20", "-fPIC", "-ffp-contract=fast", "-Wall", "-Wno-unknown-pragmas", "-fmax-errors=3"]
COMMON += ["-fno-gnu-unique", "-fno-extern-tls-init"]
EMULATOR = [HERE / name for name in ("simt.cpp", "block.cpp", "fiber.cpp", "shared_memory.cpp", "symbols.cpp")]
KEPT_DAYS = 7


class BuildError(Exception):
    """A compiler's messages."""


@cache
def compiler() -> str | None:
    """The g++ to use, or None: the environment variable SIMT_CXX, or g++."""
    return shutil.which(os.environ.get("SIMT_CXX", "g++"))


def missing() -> str:
    """Why nothing can be built on this machine; empty if all is well."""
    return "" if compiler() else "the CUDA emulator needs g++ (or the environment variable SIMT_CXX naming one)"


@cache
def machine_flags() -> tuple[str, ...]:
    """Fused multiply-add where this processor has it: kernels do little else; without it each is a function call."""
    try:
        has_fma = re.search(r"^flags\b.*\bfma\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        has_fma = None
    return ("-mfma",) if has_fma else ()


@cache
def compiler_version() -> str:
    return subprocess.run([compiler() or "", "--version"], capture_output=True, text=True, check=True).stdout


def included_files(source: Path, folders: Sequence[Path]) -> list[Path]:
    """The file and all that it includes, as far as they lie beside it or in ``folders``, whatever the conditions."""
    found: dict[Path, None] = {}
    waiting = [source.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        for name in re.findall(r'^\s*#\s*include\s*[<"]([^">]+)[">]', path.read_text(), re.MULTILINE):
            beside = ((folder / name).resolve() for folder in (path.parent, *folders))
            waiting += [file for file in beside if file.is_file()][:1]
    return list(found)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prune() -> None:
    for file in OUT.iterdir():
        if file.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
            file.unlink(missing_ok=True)


def _produce(
    name: str, suffix: str, inputs: Sequence[Path], arguments: Sequence[str], source: Sequence[str] = ()
) -> Path:
    """The result of ``g++ arguments source -o result``, made unless it is there already.

    Where ``source`` lies does not matter, only what it says.
    """
    digest = hashlib.sha256(repr((compiler_version(), list(arguments))).encode())
    for path in inputs:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    result = OUT / f"{name}-{digest.hexdigest()[:20]}{suffix}"
    with _locked(OUT / f"{name}.lock"):
        if result.exists():
            os.utime(result)
            return result
        _prune()
        unfinished = result.with_suffix(f".{os.getpid()}")
        command = [compiler() or "", *arguments, *source, "-o", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise BuildError(f"{name}:\n{done.stderr}")
        os.replace(unfinished, result)
    return result


def compile_object(source: Path, flags: Sequence[str]) -> Path:
    """An object file of a C++ or CUDA source."""
    folders = [HERE / "include", *([] if "-DSIMT_USE_CUDA_HEADERS" in flags else [HERE / "include" / "own"])]
    arguments = [*COMMON, *machine_flags(), *(f"-I{folder}" for folder in folders), *flags]
    if source.suffix == ".cu":
        arguments += ["-include", "cuda_runtime.h"]  # as nvcc does
    inputs = [file for root in (source, HERE / "simt.hpp") for file in included_files(root, folders)]
    return _produce(source.stem, ".o", inputs, [*arguments, "-x", "c++", "-c"], [str(source)])


def toolkit_flags(toolkit: Path) -> tuple[str, ...]:
    """For vectors and half types as the headers of a CUDA toolkit have them, instead of the emulator's own."""
    return "-DSIMT_USE_CUDA_HEADERS", "-isystem", str(toolkit / "include")


def dynamic_shared_names(sources: Sequence[Path]) -> set[str]:
    """The names under which kernels declare their dynamic shared memory."""
    files = {file for source in sources for file in included_files(source, [])}
    text = "\n".join(file.read_text() for file in sorted(files))
    return set(re.findall(r"extern\s+__shared__[^;=]*?(\w+)\s*\[\s*\]\s*;", text))


def library(sources: Sequence[Path], flavour: str, support: Sequence[Path] = (), flags: Sequence[str] = ()) -> Path:
    """A shared library of kernels, emulator and the objects ``support``; the last two are built without sanitizers."""
    objects = [compile_object(source, [*FLAVOURS[flavour], *flags]) for source in sources]
    objects += [*support, *(compile_object(source, ["-O2", *flags]) for source in EMULATOR)]
    sanitize = [flag for flag in FLAVOURS[flavour] if flag.startswith("-fsanitize=")]
    # Its symbols are its own, whatever else the process has loaded.
    link = ["-shared", "-Wl,-Bsymbolic", *sanitize, *map(str, objects), "-ldl", "-pthread"]
    return _produce(sources[0].stem + "-" + flavour, ".so", objects, link)


@cache
def runner(flavour: str) -> Path:
    """The program that runs functions of libraries of that flavour."""
    flags = [*FLAVOURS[flavour], "-std=c++20", str(HERE / "runner.cpp"), "-ldl", "-pthread"]
    return _produce(f"runner-{flavour}", "", [HERE / "runner.cpp"], flags)


def operator_sources(operator: str, folder: Path = CUDA_SOURCES) -> list[Path]:
    """The .cu files of an operator: those that begin with its name."""
    return sorted(folder.glob(f"{operator}*.cu"))


@cache
def operator_library(operator: str, flavour: str = "plain", folder: Path = CUDA_SOURCES) -> Path:
    """The launchers of one operator, built from the sources in ``folder``, with the functions of capi.cpp.

    Sources are looked at once in a process.
    """
    sources = operator_sources(operator, folder)
    if not sources:
        raise BuildError(f"there is no {operator}*.cu in {folder}")
    struct = "".join(part.capitalize() for part in operator.split("_"))
    names = " ".join(f"X({name})" for name in sorted(dynamic_shared_names(sources)))
    capi = compile_object(HERE / "capi.cpp", ["-O2", f"-DSIMT_OPERATOR={struct}", f"-DSIMT_DYNAMIC_SHARED(X)={names}"])
    return library(sources, flavour, [capi, guarded()])


def guarded() -> Path:
    """The object that surrounds buffers with red zones."""
    return compile_object(HERE / "guarded.cpp", ["-O2"])


@cache
def device_table() -> Path:
    """The table of devices of csrc/cuda/plan.h as a library."""
    table = compile_object(HERE / "devices.cpp", ["-O0"])
    return _produce("devices", ".so", [table], ["-shared", str(table)])
