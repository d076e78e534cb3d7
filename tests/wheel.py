"""What must hold for the built wheel: ``python -m tests.wheel WHEEL`` says what does not.

Size, tags, contents, and what the metadata ask for. abi3audit checks the use of Python's limited API. auditwheel checks
the symbols that the libraries take from the system.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

from elftools.elf.elffile import ELFFile

MOST_BYTES = 12_000_000
OLDEST_GLIBC = (2, 28)
ENGINE_NEEDS = {"click", "numpy", "safetensors", "soundfile", "soxr"}
WANTED = {
    "lite_rtse_ext/_C.abi3.so",
    "lite_rtse_ext/_stream.abi3.so",
    "lite_rtse_ext/_stream.pyi",
    "lite_rtse_ext/models/weights/lite-rtse.safetensors",
    "lite_rtse_ext/py.typed",
}


def faults(wheel: Path) -> Iterator[str]:
    """What is wrong with a wheel for Linux, a line each."""
    if wheel.stat().st_size > MOST_BYTES:
        yield f"size: expected at most {MOST_BYTES} bytes, got {wheel.stat().st_size}"
    yield from _tag_faults(wheel.name)
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        if not names >= WANTED:
            yield f"contents: expected {', '.join(sorted(WANTED - names))}, got none"
        others = sorted(name for name in names if not re.match(r"lite_rtse_ext(-[^/]*\.dist-info)?/", name))
        if others:
            yield f"contents: expected the package and its metadata, got {', '.join(others)}"
        yield from _metadata_faults(archive)
        yield from _python_in_operators(archive)
    audit = subprocess.run([_tool("abi3audit"), "--strict", "--verbose", wheel], capture_output=True, text=True)
    if audit.returncode:
        yield f"abi3audit: {audit.stdout}{audit.stderr}"
    shown = subprocess.run([_tool("auditwheel"), "show", wheel], capture_output=True, text=True).stdout
    if f'constrains the platform tag to "{wheel.stem.split("-")[4]}"' not in " ".join(shown.split()):
        yield f"auditwheel: expected the tag of the file's name, got {shown}"


def _tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _tag_faults(name: str) -> Iterator[str]:
    found = re.fullmatch(r"lite_rtse_ext-[\d.]+-cp310-abi3-manylinux_(\d+)_(\d+)_(x86_64|aarch64)\.whl", name)
    if not found:
        yield f"name: expected one platform of cp310-abi3-manylinux, got {name}"
    elif (int(found[1]), int(found[2])) > OLDEST_GLIBC:
        yield f"name: expected at most manylinux_{OLDEST_GLIBC[0]}_{OLDEST_GLIBC[1]}, got {name}"


def _metadata_faults(archive: ZipFile) -> Iterator[str]:
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(archive.read(name).decode())
    required = metadata.get_all("Requires-Dist", [])
    always = {re.split(r"[^\w-]", line)[0] for line in required if "extra ==" not in line}
    if always != ENGINE_NEEDS:
        yield f"dependencies: expected {', '.join(sorted(ENGINE_NEEDS))}, got {', '.join(sorted(always))}"
    if not any(line.startswith("torch") and "extra == 'torch'" in line.replace('"', "'") for line in required):
        yield "extra torch: expected torch, got none"
    if metadata["Requires-Python"] != ">=3.10":
        yield f"Requires-Python: expected >=3.10, got {metadata['Requires-Python']}"


def _python_in_operators(archive: ZipFile) -> Iterator[str]:
    """The operators' library is for any Python, as it uses none: only PyTorch's stable C functions."""
    with archive.open("lite_rtse_ext/_C.abi3.so") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()
        wanted = [symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"]
    foreign = [name for name in wanted if re.match(r"_?Py|_ZN(K?)(2at|3c10|5torch)", name)]
    if foreign:
        yield f"_C.abi3.so: expected no symbols of Python or of PyTorch's C++, got {', '.join(foreign)}"


def main() -> None:
    """Check the wheels that are named."""
    found = [(name, fault) for name in sys.argv[1:] for fault in faults(Path(name))]
    for name, fault in found:
        print(f"{name}: {fault}", file=sys.stderr)
    if found or len(sys.argv) != 2:
        sys.exit(f"wheels: expected one without faults, got {len(sys.argv) - 1} with {len(found)} faults")
    print(f"{sys.argv[1]}: {Path(sys.argv[1]).stat().st_size / 1e6:.1f} MB, no faults")


if __name__ == "__main__":
    main()
