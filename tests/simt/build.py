"""Builds CUDA sources for the emulator with g++ or Clang: one shared library for each operator and flavour.

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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CUDA_SOURCES = ROOT / "csrc" / "cuda"
OUT = HERE / "build"

FLAVOURS = {
    "plain": ["-O2"],
    "quick": ["-O0"],
    "asan": ["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
    "tsan": ["-O1", "-g1", "-fsanitize=thread"],
}
"""As built for speed, for a quick build, for accesses out of bounds and undefined behaviour, and for data races.

Building optimised code with AddressSanitizer takes longer than running the other does.
"""

# As nvcc: x · y + z is contracted, and numbers may be moved as words of another type.
COMMON = ["-std=c++20", "-fPIC", "-ffp-contract=fast", "-fno-strict-aliasing", "-Wall", "-Wno-unknown-pragmas"]
# Keep __shared__ variables, which are thread-local here, to their library. Clang does so by itself.
ONLY_GCC = ["-fmax-errors=3", "-fno-gnu-unique", "-fno-extern-tls-init"]
ONLY_CLANG = ["-ferror-limit=3", "-Wno-pass-failed"]  # the kernels' #pragma unroll is a wish
EMULATOR = [HERE / f"{name}.cpp" for name in ("simt", "block", "together", "fiber", "shared_memory", "symbols", "mma")]
# Of operators whose kernels have arguments of their own.
STRUCTS = {"lstm": "LstmRecurrence", "gru": "GruRecurrence"}
KEPT_DAYS = 7
COMPILERS = 2  # run at the same time for one library


class BuildError(Exception):
    """A compiler's messages."""


def compiler() -> str:
    """The compiler to use: what the environment variable SIMT_CXX names, or g++."""
    return os.environ.get("SIMT_CXX") or "g++"


def missing() -> str:
    """Why nothing can be built on this machine; empty if all is well."""
    if not CUDA_SOURCES.is_dir():
        return f"the sources of the CUDA kernels are not in {CUDA_SOURCES}"
    if not shutil.which(compiler()):
        return f"the CUDA emulator needs {compiler()} (the environment variable SIMT_CXX may name another compiler)"
    return ""


@cache
def machine_flags() -> tuple[str, ...]:
    """Fused multiply-add where this processor has it: kernels do little else; without it each is a function call."""
    try:
        has_fma = re.search(r"^flags\b.*\bfma\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        has_fma = None
    return ("-mfma",) if has_fma else ()


@cache
def version(compiler: str) -> str:
    """What a compiler says about itself."""
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def is_clang(compiler: str) -> bool:
    return "clang" in version(compiler)


def own_flags(compiler: str) -> list[str]:
    """Those that not every compiler has."""
    return ONLY_CLANG if is_clang(compiler) else ONLY_GCC


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
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of this name among all processes."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prune(folder: Path) -> None:
    """Removes what was last used long ago."""
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be faster
            if file.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
                file.unlink()


def _produce(
    name: str, suffix: str, inputs: Sequence[Path], arguments: Sequence[str], source: Sequence[str] = ()
) -> Path:
    """The result of ``compiler arguments source -o result``, made unless it is there already.

    Where ``source`` lies does not matter, only what it says.
    """

    def target() -> Path:
        digest = hashlib.sha256(repr((compiler(), version(compiler()), list(arguments))).encode())
        for path in inputs:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return OUT / f"{name}-{digest.hexdigest()[:20]}{suffix}"

    with locked(OUT / f"{name}.lock"):
        while not (result := target()).exists():
            prune(OUT)
            unfinished = result.with_suffix(f".{os.getpid()}")
            command = [compiler(), *arguments, *source, "-o", str(unfinished)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            if target() != result:  # a source was edited meanwhile: nobody knows which state of it was compiled
                unfinished.unlink(missing_ok=True)
                continue
            if done.returncode:
                raise BuildError(f"{name}:\n{done.stderr}")
            os.replace(unfinished, result)
        os.utime(result)
    return result


def compile_object(source: Path, flags: Sequence[str]) -> Path:
    """An object file of a C++ or CUDA source."""
    folders = [HERE / "include", *([] if "-DSIMT_USE_CUDA_HEADERS" in flags else [HERE / "include" / "own"])]
    arguments = [*COMMON, *own_flags(compiler()), *machine_flags(), *(f"-I{folder}" for folder in folders), *flags]
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
    wanted = [(source, [*FLAVOURS[flavour], *flags]) for source in sources]
    wanted += [(source, ["-O2", *flags]) for source in EMULATOR]
    with ThreadPoolExecutor(COMPILERS) as pool:
        objects = [*pool.map(lambda item: compile_object(*item), wanted), *support]
    sanitize = [flag for flag in FLAVOURS[flavour] if flag.startswith("-fsanitize=")]
    # Its symbols are its own, whatever else the process has loaded.
    link = ["-shared", "-Wl,-Bsymbolic", *sanitize, *map(str, objects), "-ldl", "-pthread"]
    return _produce(sources[0].stem + "-" + flavour, ".so", objects, link)


@cache
def runner(flavour: str) -> Path:
    """The program that runs functions of libraries of that flavour."""
    flags = [*FLAVOURS[flavour], "-std=c++20", "-no-pie", "-x", "c++", str(HERE / "runner.cpp"), "-ldl", "-pthread"]
    return _produce(f"runner-{flavour}", "", [HERE / "runner.cpp"], flags)


def struct(operator: str) -> str:
    """The operator's name as its argument structures have it."""
    return STRUCTS.get(operator) or "".join(part.capitalize() for part in operator.split("_"))


def operator_sources(operator: str, folder: Path = CUDA_SOURCES) -> list[Path]:
    """The .cu files of an operator: those that begin with its name, in ``folder`` and the folders in it."""
    return sorted(folder.rglob(f"{operator}*.cu"))


@cache
def operator_library(operator: str, flavour: str = "plain", folder: Path = CUDA_SOURCES) -> Path:
    """The launchers of one operator, built from the sources in ``folder``, with the functions of capi.cpp.

    Sources are looked at once in a process.
    """
    sources = operator_sources(operator, folder)
    if not sources:
        raise BuildError(f"there is no {operator}*.cu in {folder}")
    prefix = struct(operator)
    names = " ".join(f"X({name})" for name in sorted(dynamic_shared_names(sources)))
    capi = compile_object(HERE / "capi.cpp", ["-O2", f"-DSIMT_OPERATOR={prefix}", f"-DSIMT_DYNAMIC_SHARED(X)={names}"])
    return library(sources, flavour, [capi, guarded()])


def guarded() -> Path:
    """The object that surrounds buffers with red zones."""
    return compile_object(HERE / "guarded.cpp", ["-O2"])


@cache
def device_table() -> Path:
    """The table of devices of csrc/cuda/common/plan.h as a library."""
    table = compile_object(HERE / "devices.cpp", ["-O0"])
    return _produce("devices", ".so", [table], ["-shared", str(table)])
