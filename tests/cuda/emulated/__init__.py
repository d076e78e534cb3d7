"""The package as if for a GPU, on the CPU: its operators with CUDA kernels, which the emulator of ``tests/simt`` runs.

In :func:`package` every operator takes the way it takes on a GPU (``csrc/ops``: arguments, scratch memory, launch,
errors), but on tensors of the CPU. So the tests of ``tests/ops``, which ask what an operator must hold on any device,
are run there on the CUDA kernels.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from ...simt import build

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TORCH = Path(torch.__file__).parent
STABLE_ABI = "0x020a000000000000"  # as in setup.py
TESTS = ("__init__.py", "conftest.py", "compare.py", "forks.py", "ops")  # what tests/ops needs


def _objects() -> list[Path]:
    """Kernels, operators, the emulator and what stands in for PyTorch's CUDA, compiled."""
    kernels = sorted((ROOT / "csrc" / "cuda").rglob("*.cu"))
    own = sorted(path for path in HERE.rglob("*") if path.suffix in (".cpp", ".hpp", ".h"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in own) + torch.__version__.encode()).hexdigest()
    names = " ".join(f"X({name})" for name in sorted(build.dynamic_shared_names(kernels)))
    torch_headers = ["-isystem", str(TORCH / "include"), f"-DTORCH_TARGET_VERSION={STABLE_ABI}", "-DUSE_CUDA"]
    plain = ["-O1", f"-I{HERE / 'include'}", *torch_headers, f"-DBUILT_FROM_{digest[:20]}"]
    operator = [*plain, "-DLITE_RTSE_CUDA", "-include", str(HERE / "on_cpu.hpp")]
    wanted = [(source, ["-O2"]) for source in (*kernels, *build.EMULATOR)]
    wanted += [(source, operator) for source in sorted((ROOT / "csrc" / "ops").glob("*.cpp"))]
    wanted += [
        (source, ["-O1", f"-I{HERE / 'include'}", "-D__CUDA_ARCH_LIST__=860"])
        for source in (ROOT / "csrc" / "ops").glob("*.cu")
    ]
    wanted += [(HERE / "runtime.cpp", [*plain, f"-DSIMT_DYNAMIC_SHARED(X)={names}"])]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda item: build.compile_object(*item), wanted))


def package(folder: Path) -> Path:
    """Makes ``lite_rtse_ext`` with emulated CUDA kernels in a folder, beside it ``tests/ops``; returns the folder."""
    shutil.copytree(
        ROOT / "lite_rtse_ext", folder / "lite_rtse_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    (folder / "tests").mkdir()
    for name in TESTS:
        source = ROOT / "tests" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / "tests" / name)
    library = folder / "lite_rtse_ext" / "_C.abi3.so"
    # -Bsymbolic: the stand-ins are taken for the functions of PyTorch whose names they bear.
    command = [build.compiler(), "-shared", "-Wl,-Bsymbolic", *_objects(), f"-L{TORCH / 'lib'}", "-ltorch_cpu", "-lc10"]
    command += ["-ldl", "-pthread", "-o", library]
    subprocess.run([str(word) for word in command], check=True)
    return folder
