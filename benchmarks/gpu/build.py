"""The build that a pass tests and measures: for the card of this machine alone, in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.parts import BUILD_LIMIT_S
from benchmarks.gpu.record import FAILED, PASSED, Part, Record, Results, run

LIBRARY = Path("lite_rtse_ext") / "_C.abi3.so"
_COPIED = ("lite_rtse_ext", "benchmarks", "tests")
_ASKED = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps([torch.cuda.get_device_name(0) if cuda else "", torch.__version__,
                  ".".join(map(str, torch.cuda.get_device_capability(0))) if cuda else ""]))
"""
_HAS_CUDA = "from lite_rtse_ext import ops; assert ops.has_cuda(), 'the library has no CUDA kernels'"
_IMPORTS = "from lite_rtse_ext import ops; assert ops.available()"


@dataclass(frozen=True)
class Machine:
    """The card, its compute capability such as "9.0", and torch's version. A rehearsal has no card."""

    name: str
    torch: str
    capability: str

    @property
    def rehearses(self) -> bool:
        return not self.capability


def machine(rehearse: bool) -> Machine | str:
    """What this machine has, or why no pass can run here. A process of its own asks torch."""
    done = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True)
    if done.returncode:
        return f"torch cannot be imported: {done.stderr.strip().splitlines()[-1]}"
    name, version, capability = json.loads(done.stdout.splitlines()[-1])
    if rehearse:
        return Machine("a rehearsal on the CPU", version, "")
    return Machine(name, version, capability) if capability else "no CUDA GPU on this machine (--rehearse needs none)"


def fingerprint(root: Path, machine: Machine, library: Path | None) -> str:
    """A name for the results: they hold for one card, one torch, and one state of the sources."""
    digest = hashlib.sha256(repr(machine).encode())
    sources = sorted(p for folder in ("csrc", *_COPIED) for p in (root / folder).rglob("*") if p.suffix in _SUFFIXES)
    for path in [root / "setup.py", *sources, *([library] if library else [])]:
        digest.update(path.read_bytes())
    return f"{'rehearsal' if machine.rehearses else machine.name.replace(' ', '-')}-{digest.hexdigest()[:12]}"


_SUFFIXES = (".py", ".h", ".inl", ".cpp", ".cu", ".cuh", ".hpp")


def environment(folder: Path) -> dict[str, str]:
    """Variables under which a part finds this build and no other."""
    return {"PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def build(root: Path, folder: Path, results: Results, machine: Machine, library: Path | None) -> Record:
    """Put package, tests and benchmarks into ``folder``, with a library for this machine. Done once.

    The library is built if nvcc and the compilers are here. Otherwise one that was built elsewhere is taken:
    ``library``, or what ``make cuda`` left in ``build/cuda``.
    """
    before = results.read("build")
    if before and before.status == PASSED and (folder / LIBRARY).is_file():
        return before
    own = root / LIBRARY if machine.rehearses else None
    reason, record = "", None
    if own is None and library is None:
        record = _compiled(root, results, machine)
        own = next((root / "build" / "gpu-native").glob(f"lib.*/{LIBRARY}"), None)
        if record.status != PASSED:
            own = root / "build" / "cuda" / "run" / LIBRARY
            reason = f"it could not be built here ({record.reason}); that of an earlier `make cuda` is used"
    chosen = library or own
    if chosen is None or not chosen.is_file():
        why = record.reason if record else ""
        return results.write(Record("build", FAILED, f"{why}; {chosen} is not there, --library names another"))
    shutil.rmtree(folder, ignore_errors=True)
    for name in _COPIED:
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.so"))
    shutil.copy(chosen, folder / LIBRARY)
    return _checked(folder, results, machine, reason, record.seconds if record else 0.0)


def _compiled(root: Path, results: Results, machine: Machine) -> Record:
    """Build for this card alone. Objects stay, so a build that was cut off goes on where it was."""
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-base", "build/gpu-native"]
    settings: Mapping[str, str] = {
        "FORCE_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": machine.capability,
        "MAX_JOBS": str(os.cpu_count() or 1),
    }
    return run(Part("build", command, BUILD_LIMIT_S), results, BUILD_LIMIT_S, root, settings)


def _checked(folder: Path, results: Results, machine: Machine, reason: str, seconds: float) -> Record:
    code = _IMPORTS if machine.rehearses else _HAS_CUDA
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | environment(folder),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return results.write(Record("build", FAILED, done.stderr.strip().splitlines()[-1], seconds))
    return results.write(Record("build", PASSED, reason, seconds))
