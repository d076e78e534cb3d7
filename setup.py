"""Builds the operators (`lite_rtse_ext/_C`). All other metadata is in pyproject.toml."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup

try:
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError:
    sys.exit(
        "lite-rtse-ext: building needs torch >= 2.10, which this environment lacks.\n"
        "Either install torch first and use `pip install --no-build-isolation .`, or let pip set up its own build\n"
        "environment with `pip install .`."
    )

# One build serves every later torch: the operators use the LibTorch stable ABI as of torch 2.10 and nothing else.
STABLE_ABI = "0x020a000000000000"
ROOT = Path(__file__).resolve().parent
MINIMUM_GCC = 12  # __builtin_shufflevector


def require_compiler() -> None:
    """Stops with plain words where there is no compiler, or one too old."""
    command = shlex.split(os.environ.get("CXX") or "c++")
    if shutil.which(command[0]) is None:
        sys.exit(
            f"lite-rtse-ext: no C++ compiler: '{command[0]}' was not found.\n"
            f"Install GCC >= {MINIMUM_GCC} or Clang >= 14 (Debian, Ubuntu: `apt install g++`), or set CXX to yours."
        )
    macros = subprocess.run([*command, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True).stdout
    defined = dict(line.split(" ", 2)[1:] for line in macros.splitlines() if line.count(" ") >= 2)
    if int(defined.get("__clang_major__", 14)) < 14:
        sys.exit(
            f"lite-rtse-ext: {command[0]} is Clang {defined['__clang_major__']}; GCC >= 12 or Clang >= 14 is needed."
        )
    if "__clang__" not in defined and int(defined.get("__GNUC__", MINIMUM_GCC)) < MINIMUM_GCC:
        sys.exit(
            f"lite-rtse-ext: {command[0]} is GCC {defined['__GNUC__']}; GCC >= {MINIMUM_GCC} or Clang >= 14 is needed."
        )


class Build(BuildExtension):
    def run(self) -> None:
        require_compiler()
        super().run()


def sources() -> list[str]:
    names = sorted(str(p) for folder in ("csrc/kernels", "csrc/ops") for p in Path(folder).glob("*.cpp"))
    x86_only = {"csrc/kernels/isa_avx2.cpp", "csrc/kernels/isa_avx512.cpp"}
    return [n for n in names if platform.machine() in ("x86_64", "AMD64") or n not in x86_only]


setup(
    ext_modules=[
        CppExtension(
            "lite_rtse_ext._C",
            sources(),
            extra_compile_args=[
                "-O3",
                "-g0",
                "-std=c++20",
                f"-DTORCH_TARGET_VERSION={STABLE_ABI}",
                "-fvisibility=hidden",
                f"-ffile-prefix-map={ROOT}/=",  # error messages name sources, not the folder they were built in
                "-fno-math-errno",
                "-ffp-contract=fast",
                "-Wno-psabi",
                "-Wno-ignored-attributes",
            ],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
