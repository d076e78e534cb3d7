"""Builds the operators (`lite_rtse_ext/_C`) and the streaming engine (`lite_rtse_ext/_stream`).

All other metadata is in pyproject.toml.

The CUDA kernels are built along where torch has CUDA and a toolkit is found. Environment variables:

    FORCE_CUDA            1: fail, saying why, where they cannot be built; 0: build for the CPU only
    CUDA_HOME             the toolkit's folder; else that of the nvcc on PATH, or /usr/local/cuda
    TORCH_CUDA_ARCH_LIST  compute capabilities, as torch's extensions take them: "8.0 9.0+PTX", "native", ...
    MAX_JOBS              compilers that run at a time
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    import torch
except ImportError:
    sys.exit(
        "lite-rtse-ext: building needs torch >= 2.10, which this environment lacks.\n"
        "Either install torch first and use `pip install --no-build-isolation .`, or let pip set up its own build\n"
        "environment with `pip install .`."
    )
try:
    import numpy
except ImportError:
    sys.exit("lite-rtse-ext: building needs numpy >= 2, which this environment lacks: `pip install 'numpy>=2'`.")

# One build serves every later torch: the operators use the LibTorch stable ABI as of torch 2.10 and nothing else.
STABLE_ABI = "0x020a000000000000"
# And every later Python, but a free-threaded one: there the limited API begins with 3.15.
LIMITED_API = "0x030a0000"
ONE_FOR_ALL = not sysconfig.get_config_var("Py_GIL_DISABLED")
ROOT = Path(__file__).resolve().parent
MINIMUM_GCC = 12  # __builtin_shufflevector
# There the engine alone, by clang-cl: the operators would have to share C++ with a PyTorch that MSVC has built.
WINDOWS = os.name == "nt"
X86_ONLY = ("isa_avx2.cpp", "isa_avx512.cpp", "frame_isa_avx2.cpp", "frame_isa_avx512.cpp")
# What the kernels are planned for, as far as the toolkit knows it; the last one also as PTX, for later devices.
ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


def require_compiler() -> None:
    """Stops with plain words where there is no compiler, or one too old."""
    if WINDOWS:
        if shutil.which("clang-cl") is None:
            sys.exit("lite-rtse-ext: no clang-cl was found: LLVM >= 14 and Visual Studio's C++ tools are needed.")
        return
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


class NoCuda(Exception):
    """Why the CUDA kernels cannot be built here."""


def output_of(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.stdout + done.stderr


def toolkit() -> Path:
    """The folder of the CUDA toolkit, for the CUDA that torch was built with.

    nvcc is asked where it runs from: the one on PATH may be a script that starts another.
    """
    if not torch.version.cuda:
        raise NoCuda(f"torch {torch.__version__} was built without CUDA")
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = f"{named}/bin/nvcc" if named else shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if shutil.which(nvcc) is None:
        where = f"CUDA_HOME is {named}, which has no bin/nvcc" if named else "no nvcc was found; set CUDA_HOME"
        raise NoCuda(f"torch {torch.__version__} is for CUDA {torch.version.cuda}, but {where}")
    top = re.search(r"^#\$ TOP=(.+)$", output_of(nvcc, "--dryrun", "-x", "cu", "-c", os.devnull), re.MULTILINE)
    release = re.search(r"release (\d+)\.\d+", output_of(nvcc, "--version"))
    if not top or not release:
        raise NoCuda(f"{nvcc} does not run, or is no nvcc")
    if release[1] != torch.version.cuda.split(".")[0]:
        raise NoCuda(f"torch {torch.__version__} is for CUDA {torch.version.cuda}, and {nvcc} has {release[0]}")
    return Path(top[1]).resolve()


def find_toolkit() -> tuple[Path | None, str]:
    """The CUDA toolkit to build with, or None and why the build is for the CPU only."""
    if os.environ.get("FORCE_CUDA") == "0":
        return None, "FORCE_CUDA is 0"
    try:
        return toolkit(), ""
    except NoCuda as reason:
        return None, str(reason)


CUDA_HOME, WHY_NO_CUDA = find_toolkit()
if CUDA_HOME:
    os.environ["CUDA_HOME"] = str(CUDA_HOME)  # torch's helpers read it when they are imported, and would guess anew

from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension, include_paths  # noqa: E402


class Build(BuildExtension):
    def run(self) -> None:
        require_compiler()
        if CUDA_HOME:
            codes = output_of(CUDA_HOME / "bin" / "nvcc", "--list-gpu-code").split()
            known = [a for a in ARCHITECTURES if f"sm_{a.replace('.', '')}" in codes]
            os.environ["TORCH_CUDA_ARCH_LIST"] = os.environ.get("TORCH_CUDA_ARCH_LIST") or " ".join(known) + "+PTX"
        elif os.environ.get("FORCE_CUDA") not in (None, "", "0"):
            sys.exit(f"lite-rtse-ext: FORCE_CUDA is set, but the CUDA kernels cannot be built: {WHY_NO_CUDA}.")
        else:
            print(f"lite-rtse-ext: building for the CPU only: {WHY_NO_CUDA}.", file=sys.stderr)
        super().run()
        if self.inplace and ONE_FOR_ALL:  # Python would prefer one that an older version of this file built
            Path(f"lite_rtse_ext/_stream{sysconfig.get_config_var('EXT_SUFFIX')}").unlink(missing_ok=True)

    def build_extensions(self) -> None:
        if not WINDOWS:
            return super().build_extensions()
        self.compiler.initialize()
        self.compiler.cc, self.compiler.linker = shutil.which("clang-cl"), shutil.which("lld-link")
        return build_ext.build_extensions(self)  # PyTorch's would call ninja with the flags of MSVC


def sources() -> list[str]:
    patterns = [
        "csrc/*.cpp",
        "csrc/cpu/*.cpp",
        "csrc/ops/*.cpp",
        *(["csrc/cuda/*/*.cu", "csrc/ops/*.cu"] if CUDA_HOME else []),
    ]
    unwanted = set() if CUDA_HOME else {"csrc/ops/cuda.cpp"}
    if platform.machine() not in ("x86_64", "AMD64"):
        unwanted |= {f"csrc/cpu/{name}" for name in X86_ONLY}
    return [name for pattern in patterns for name in sorted(map(str, Path().glob(pattern))) if name not in unwanted]


CXX_FLAGS = [
    "-O3",
    "-g0",
    "-std=c++20",
    f"-DTORCH_TARGET_VERSION={STABLE_ABI}",
    "-fvisibility=hidden",
    # Error messages name sources, not the folders of the machine that built them.
    f"-ffile-prefix-map={ROOT}/=",
    *(f"-ffile-prefix-map={folder}/=" for folder in include_paths()),
    "-fno-math-errno",
    "-fno-trapping-math",  # nobody looks at exception flags, and GCC does not turn branches into masks before it knows
    "-ffp-contract=fast",
    "-Wno-psabi",
    "-Wno-ignored-attributes",
]
# Without a path: torch adds no architectures of its own where a flag has "arch" in it, as in /home/me/research.
NVCC_FLAGS = ["-O3", "-std=c++20", "-Werror", "all-warnings", "-Xcompiler", "-fvisibility=hidden"]

# clang-cl hands these on to Clang.
CLANG_CL_FLAGS = ["/std:c++20", "/EHsc", *(f"/clang:{flag}" for flag in CXX_FLAGS if flag.startswith(("-O", "-f")))]

if CUDA_HOME:
    extension = CUDAExtension(
        "lite_rtse_ext._C",
        sources(),
        # USE_CUDA: PyTorch's stable headers then declare what is theirs on CUDA.
        extra_compile_args={"cxx": [*CXX_FLAGS, "-DLITE_RTSE_CUDA", "-DUSE_CUDA"], "nvcc": NVCC_FLAGS},
        py_limited_api=True,
    )
else:
    extension = CppExtension("lite_rtse_ext._C", sources(), extra_compile_args=CXX_FLAGS, py_limited_api=True)

# The streaming engine: numpy alone, no torch.
stream = Extension(
    "lite_rtse_ext._stream",
    [
        str(path)
        for path in (*sorted(Path("csrc").glob("*.cpp")), *sorted(Path("csrc/stream").glob("*.cpp")))
        if path.name not in X86_ONLY or platform.machine() in ("x86_64", "AMD64")
    ],
    include_dirs=[numpy.get_include()],
    define_macros=[("Py_LIMITED_API", LIMITED_API)] if ONE_FOR_ALL else [],
    extra_compile_args=CLANG_CL_FLAGS if WINDOWS else [flag for flag in CXX_FLAGS if "TORCH" not in flag],
    language="c++",
    py_limited_api=ONE_FOR_ALL,
)

setup(
    ext_modules=[stream] if WINDOWS else [extension, stream],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if ONE_FOR_ALL else {},
)
