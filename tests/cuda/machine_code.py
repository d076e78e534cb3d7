"""The machine code of the CUDA kernels: compiled by nvcc, read by the disassembler, no GPU needed.

    for kernel in kernels(source, 90):
        print(kernel.name, kernel.registers, kernel.stack_bytes, kernel.count("LDG"))

Needs nvcc (of the toolkit that CUDA_HOME names, or the first on PATH), and ``cuobjdump`` and ``nvdisasm``: of the same
toolkit, on PATH, or from the wheels nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..simt.build import CUDA_SOURCES, included_files
from .cache import produce, run

FLAGS = ("-std=c++20", "-O3", "-Werror", "all-warnings")
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
DEFAULT = (80, 90, 120)
CHOICE = "LITE_RTSE_CUDA_ARCHS"
WHEELS = {"cuobjdump": "nvidia-cuda-cuobjdump", "nvdisasm": "nvidia-cuda-nvdisasm"}
SYSTEM_SHARED, SYSTEM_SHARED_SINCE = 1024, 90  # bytes that cuobjdump counts as the kernel's from sm_90 on
USUAL_HOME = Path("/usr/local/cuda")


def architectures() -> tuple[int, ...]:
    """Those to read: of the environment variable LITE_RTSE_CUDA_ARCHS, such as ``80,90`` or ``all``, or the default.

    Raises:
        ValueError: the variable names none, or one that is not among ``ARCHITECTURES``.
    """
    chosen = os.environ.get(CHOICE, "")
    if not chosen:
        return DEFAULT
    if chosen == "all":
        return ARCHITECTURES
    words = chosen.replace(",", " ").split()
    known = {str(arch): arch for arch in ARCHITECTURES}
    if not words or any(word not in known for word in words):
        raise ValueError(f"{CHOICE} must be 'all' or some of {', '.join(known)}, but is {chosen!r}")
    return tuple(known[word] for word in words)


def _in_wheel(tool: str) -> str | None:
    try:
        files = importlib.metadata.files(WHEELS[tool]) or []
    except (KeyError, importlib.metadata.PackageNotFoundError):
        return None
    found = [Path(str(file.locate())) for file in files if file.name == tool]
    return str(found[0]) if found else None


@cache
def tool(name: str) -> str | None:
    """Where a tool is, or None."""
    home = os.environ.get("CUDA_HOME")
    at_home = [Path(home) / "bin"] if home else []
    for folder in (*at_home, None, USUAL_HOME / "bin"):
        found = shutil.which(name, path=str(folder) if folder else None)
        if found:
            return found
    return _in_wheel(name)


def missing() -> str:
    """Why no machine code can be read on this machine; empty if all is well."""
    if not tool("nvcc"):
        return "no nvcc: neither in CUDA_HOME nor on PATH"
    absent = [name for name in WHEELS if not tool(name)]
    if absent:
        return f"no {' and no '.join(absent)}: pip install {' '.join(WHEELS[name] for name in absent)}"
    return "" if shutil.which("c++filt") else "no c++filt (of binutils)"


class Instruction(NamedTuple):
    """``opcode`` with all its suffixes; ``predicate`` such as ``@!P0``, or empty."""

    opcode: str
    operands: str = ""
    predicate: str = ""

    @property
    def name(self) -> str:
        """The opcode without suffixes."""
        return self.opcode.split(".")[0]


@dataclass(frozen=True)
class Kernel:
    """One entry point, compiled for one architecture. Bytes of stack, local and shared memory are those of fixed size.

    Branches name the address of their target; instruction i is at address 16 i.
    """

    name: str  # without namespaces: "reduce_rows<float>"
    qualified_name: str
    source: str
    arch: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    max_threads: int | None  # of __launch_bounds__
    instructions: tuple[Instruction, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.source}: {self.name} for sm_{self.arch}"

    @property
    def family(self) -> str:
        """The name without template arguments."""
        return self.name.split("<")[0]

    @property
    def template_arguments(self) -> tuple[str, ...]:
        inside = re.search(r"<(.*)>$", self.name)
        return tuple(word.strip() for word in inside[1].split(",")) if inside else ()

    def count(self, opcode: str) -> int:
        """Instructions of that name, or with a pattern such as ``LDG.*\\.128`` those that it matches wholly."""
        pattern = re.compile(opcode)
        return sum(bool(pattern.fullmatch(i.name) or pattern.fullmatch(i.opcode)) for i in self.instructions)


def sources(folder: Path = CUDA_SOURCES) -> list[Path]:
    """All files that hold kernels."""
    return sorted(folder.rglob("*.cu"))


def global_names(files: Sequence[Path]) -> set[str]:
    """The functions that the files, and what they include, declare ``__global__``."""
    text = "\n".join(file.read_text() for file in sorted({f for file in files for f in included_files(file, [])}))
    text = re.sub(r"//.*", "", text)
    nested = r"[^()]*"
    for _ in range(3):  # parentheses within parentheses
        nested = rf"(?:[^()]|\({nested}\))*"
    bounds = rf"(?:\s*__launch_bounds__\s*\({nested}\))?"
    return set(re.findall(rf"__global__\s+void{bounds}\s*(\w+)\s*\(", text))


def cubin(source: Path, arch: int) -> Path:
    """The file compiled for one architecture.

    Raises:
        BuildError: nvcc failed, or warned.
    """
    nvcc = tool("nvcc")
    assert nvcc, missing()
    command: list[str | Path] = [nvcc, *FLAGS, f"-arch=sm_{arch}", "-cubin", source]
    return produce(f"{source.stem}-sm_{arch}", ".cubin", command, included_files(source, []))


def compile_all(files: Sequence[Path], archs: Sequence[int]) -> None:
    """Compiles every file for every architecture, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # the longest first
        pairs = [(f, a) for f in sorted(files, key=lambda f: -f.stat().st_size) for a in archs]
        list(pool.map(lambda pair: cubin(*pair), pairs))


def _demangled(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return run(["c++filt", *names]).splitlines()


def _without_parameters(full_name: str) -> tuple[str, int]:
    """The function's name with its namespaces and template arguments, and where in it the namespaces end."""
    name = full_name.removeprefix("void ")
    depth = begin = 0
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if depth == 0 and letter == "(" and not name.startswith("(anonymous namespace)", i):
            return name[:i], begin
        if depth == 0 and name.startswith("::", i):
            begin = i + 2
    return name, begin


def _resources(path: Path) -> dict[str, dict[str, int]]:
    """Of each kernel what ``cuobjdump`` says: REG, STACK, LOCAL, SHARED."""
    text = run([tool("cuobjdump") or "", "-res-usage", path])
    found = {}
    for name, usage in re.findall(r"^ *Function (\S+):\s*\n(.*)$", text, re.MULTILINE):
        found[name] = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", usage)}
    return found


def _most_threads(path: Path) -> dict[str, int]:
    """By kernel the most threads of a block, where that is bound."""
    text = run([tool("cuobjdump") or "", "-elf", path])
    found = {}
    for name, body in re.findall(r"^\.nv\.info\.(\S+)$(.*?)^$", text, re.MULTILINE | re.DOTALL):
        bound = re.search(r"EIATTR_MAX_THREADS\s+Format:\s*\S+\s+Value:\s*(\S+) (\S+) (\S+)", body)
        if bound:
            x, y, z = (int(word, 16) for word in bound.groups())
            found[name] = x * y * z
    return found


def _instructions(path: Path) -> dict[str, tuple[Instruction, ...]]:
    _, functions = json.loads(run([tool("nvdisasm") or "", "-json", path]))
    return {
        function["function-name"]: tuple(
            Instruction(i["opcode"], i.get("operands", ""), i.get("predicate", ""))
            for i in function["sass-instructions"]
        )
        for function in functions
    }


@cache
def read(path: Path, source: str, arch: int) -> tuple[Kernel, ...]:
    """The kernels of a compiled file."""
    resources, threads, code = _resources(path), _most_threads(path), _instructions(path)
    mangled = [name for name in code if name in resources]
    found = []
    for name, full_name in zip(mangled, _demangled(mangled), strict=True):
        usage = resources[name]
        qualified, begin = _without_parameters(full_name)
        found.append(
            Kernel(
                qualified[begin:],
                qualified,
                source,
                arch,
                usage["REG"],
                usage["STACK"],
                usage["LOCAL"],
                usage["SHARED"] - (SYSTEM_SHARED if arch >= SYSTEM_SHARED_SINCE else 0),
                threads.get(name),
                code[name],
            )
        )
    return tuple(found)


def kernels(source: Path, arch: int) -> tuple[Kernel, ...]:
    """The kernels of a file, compiled for one architecture.

    Raises:
        BuildError: a tool failed, or nvcc warned.
    """
    return read(cubin(source, arch), source.name, arch)


def all_kernels(archs: Sequence[int], wanted: Callable[[Kernel], bool] = lambda kernel: True) -> Iterator[Kernel]:
    """The kernels of all files that are wanted."""
    compile_all(sources(), archs)
    for source in sources():
        for arch in archs:
            yield from filter(wanted, kernels(source, arch))
