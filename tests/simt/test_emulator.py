"""The emulator itself: what it promises to kernels, and that planted defects are caught.

``cases.cu`` holds the defects, ``features.cu`` and ``launch_features.cu`` the promises.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from . import build, harness

pytestmark = harness.needs()

WRONG = "wrong value"
RACE = r"data race[\s\S]*cases.cu:\d+"
MEETING_RACE = r"data race[\s\S]*meeting_cases.cuh:\d+"
CLUSTER_RACE = r"data race[\s\S]*cluster_cases.cuh:\d+"
NO_CHANGE = r"deadlock: a counter is waited for that no thread changes \(thread 0,0,0 at meeting_cases.cuh:\d+\)"
READ, WRITE = (r"use-after-poison[\s\S]*" + access for access in ("READ of size 4", "WRITE of size 4"))

# What each planted defect is reported as, in the flavours that can see it.
CAUGHT = {
    "weighted_sum/missing_barrier": {"plain": WRONG, "tsan": RACE},
    "weighted_sum/missing_write_after_read_barrier": {"plain": WRONG, "tsan": RACE},
    "weighted_sum/shared_read_past_end": {"plain": WRONG, "asan": READ},
    "weighted_sum/shared_write_past_end": {"plain": "write behind the dynamic shared memory", "asan": WRITE},
    "weighted_sum/static_shared_past_end": {"asan": r"index 5 out of bounds for type 'float ?\[5\]'"},
    "weighted_sum/global_read_past_end": {"plain": WRONG, "asan": READ},
    "weighted_sum/global_write_past_end": {"plain": "write behind output", "asan": WRITE},
    "weighted_sum/global_write_in_front": {"plain": "write in front of output", "asan": WRITE},
    "weighted_sum/input_written": {"plain": "the input input was written to"},
    "weighted_sum/missing_mask": {"plain": WRONG},
    "weighted_sum/uninitialised_shared": {"plain": WRONG},
    "neighbours/missing_syncwarp": {"plain": WRONG, "tsan": RACE},
    "neighbours/missing_lanes": {"plain": r"deadlock: .*warp operation cases.cu:\d+"},
    "neighbours/lane_exited": {"plain": r"warp operation at cases.cu:\d+ waits for a lane that has exited"},
    "neighbours/caller_not_in_mask": {"plain": r"mask .* lacks the calling lane \(thread .* at cases.cu:\d+\)"},
    "neighbours/different_operations": {"plain": "lanes of one warp are at different operations or masks"},
    "histogram/not_atomic": {"tsan": RACE},
    "rows/two_blocks_one_element": {"tsan": RACE},
    "vectors/misaligned_vector": {"asan": r"misaligned address .* requires 16 byte alignment"},
    "misuse/divergent_barrier": {"plain": r"divergent __syncthreads: some threads at cases.cu:\d+, others at"},
    "misuse/barrier_after_exit": {"plain": r"__syncthreads at cases.cu:\d+ is reached by 63 of 64 threads"},
    "misuse/different_barriers": {"plain": r"some threads at barrier [12] at cases.cu:\d+, others at barrier [12] at"},
    "misuse/barrier_of_a_part": {"plain": "barrier 1 for 32 of 64 threads: parts of a block are not emulated"},
    "misuse/deadlock": {"plain": r"deadlock: thread \d+ waits at .* cases.cu:\d+"},
    "misuse/trap": {"plain": r"block 0,0,0: __trap \(thread 5,0,0 at cases.cu:\d+\)"},
    "misuse/index_overflow": {"asan": "signed integer overflow"},
    "meetings/missing_arrive": {"plain": NO_CHANGE},
    "meetings/missing_wait": {"plain": WRONG, "tsan": MEETING_RACE},
    "meetings/missing_barrier": {"plain": WRONG, "tsan": MEETING_RACE},
    "meetings/wrong_count": {"plain": WRONG, "tsan": MEETING_RACE},
    "meetings/stale_read": {"plain": WRONG},
    "meetings/relaxed_arrive": {"tsan": MEETING_RACE},
    "meetings/relaxed_wait": {"tsan": MEETING_RACE},
    "meetings/too_many_blocks": {"plain": "too many blocks to run together: .* of grid 83,1,1"},
    "meetings/one_by_one": {"plain": NO_CHANGE},
    "ring/missing_arrive": {
        "plain": r"a thread waits at the cluster's barrier without arriving \(.* cluster_cases.cuh"
    },
    "ring/missing_wait": {
        "plain": r"a thread arrives twice at the cluster's barrier \(thread .* cluster_cases.cuh:\d+"
    },
    "ring/missing_barrier": {"plain": r"deadlock: thread \d+ waits at the cluster's barrier cluster_cases.cuh:\d+"},
    "ring/relaxed_arrive": {"tsan": CLUSTER_RACE},
    "ring/wrong_rank": {"plain": WRONG},
    "ring/stale_read": {"plain": WRONG, "tsan": CLUSTER_RACE},
    "ring/early_access": {"plain": "shared memory of a block that has not begun"},
    "ring/late_access": {"plain": "shared memory of a block that has exited"},
    "ring/late_write": {"plain": "write to the shared memory of a block that has exited", "asan": WRITE},
    "ring/too_many_blocks": {"plain": "invalid cluster of 16,1,1 blocks: .* of grid 6,1,1"},
    "ring/wrong_count": {"plain": "invalid cluster of 4,1,1 blocks: .* of grid 6,1,1"},
    "ring/one_by_one": {"plain": "the cluster has no block of rank 1"},
    "products/missing_lanes": {"plain": r"deadlock: .*warp operation mma_cases.cuh:\d+"},
    "products/lane_exited": {"plain": r"warp operation (at mma_cases.cuh:\d+ )?waits for a lane that has exited"},
    "products/different_operations": {"plain": "lanes of one warp are at different operations or masks"},
    "products/wrong_fragment": {"plain": WRONG},
    "products/partial_warp": {"plain": r"mma in a warp of 24 lanes \(thread .* at mma_cases.cuh:\d+\)"},
}
KERNELS = sorted({name.partition("/")[0] for name in CAUGHT})
SEEDS = {"plain": 200, "asan": 20, "tsan": 3}  # under which correct kernels are shown to pass
FEATURES = (
    "indices",
    "shuffles",
    "votes",
    "named_barrier",
    "partial_warp",
    "some_lanes",
    "tree",
    "absent_source",
    "products",
    "atomics",
    "shared_poison",
    "schedules",
    "launch_limits",
    "static_shared",
    "sticky_error",
    "streams",
    "attributes",
    "vectors",
    "copies",
    "mathematics",
)


FEATURE_SOURCES = [build.HERE / name for name in ("features.cu", "launch_features.cu")]


def toolkit() -> Path | None:
    """A CUDA toolkit's folder."""
    folders = [Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"))]
    if nvcc := shutil.which("nvcc"):
        folders.insert(0, Path(nvcc).resolve().parent.parent)
    if home := os.environ.get("CUDA_HOME"):
        folders.insert(0, Path(home))
    return next((folder for folder in folders if (folder / "include" / "cuda_fp16.h").is_file()), None)


@dataclass(frozen=True)
class Variant:
    """One way to build the emulator."""

    name: str
    flags: tuple[str, ...] = ()
    flavour: str = "plain"
    compiler: str = ""  # if not the usual one

    def __str__(self) -> str:
        return self.name


PLAIN = Variant("plain")
UCONTEXT = Variant("ucontext", ("-DSIMT_UCONTEXT",))  # fibers without assembly, for processors other than x86-64
TOOLKIT = pytest.param(  # vectors and half types of CUDA's own headers
    Variant("toolkit", build.toolkit_flags(toolkit() or Path())),
    marks=pytest.mark.skipif(toolkit() is None, reason="no CUDA toolkit on this machine"),
)
CLANG = pytest.param(
    Variant("clang", compiler="clang++"),
    marks=pytest.mark.skipif(shutil.which("clang++") is None, reason="no clang++ on this machine"),
)
VARIANTS = (
    PLAIN,
    Variant("unoptimised", ("-O0",)),
    Variant("asan", flavour="asan"),
    Variant("tsan", flavour="tsan"),
    UCONTEXT,
    TOOLKIT,
    CLANG,
)


@cache
def cases(flavour: str) -> Path:
    harness.require(flavour)
    return build.library([build.HERE / "cases.cu"], flavour, [build.guarded()])


@cache
def features(variant: Variant) -> Path:
    harness.require(variant.flavour)
    with pytest.MonkeyPatch.context() as patch:
        if variant.compiler:
            patch.setenv("SIMT_CXX", variant.compiler)
        return build.library(FEATURE_SOURCES, variant.flavour, flags=variant.flags)


def run_case(name: str, flavour: str, seeds: range) -> None:
    harness.run_function(cases(flavour), flavour, "simt_case", f"{name} {seeds.start} {seeds.stop}")


@pytest.mark.parametrize("flavour", SEEDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_correct_kernels_pass(kernel: str, flavour: str) -> None:
    run_case(f"{kernel}/none", flavour, range(SEEDS[flavour]))


@pytest.mark.parametrize(("defect", "flavour"), [(name, flavour) for name, by in CAUGHT.items() for flavour in by])
def test_planted_defects_are_caught(defect: str, flavour: str) -> None:
    """Within eight schedules: a missing write-after-read barrier shows in about four of five."""
    if defect == "vectors/misaligned_vector" and build.is_clang(build.compiler()):
        pytest.skip("Clang does not check the address of a structure that is copied whole")
    with pytest.raises(harness.EmulationError, match=CAUGHT[defect][flavour]):
        run_case(defect, flavour, range(8))


@pytest.mark.parametrize(
    ("defect", "least"), [("missing_barrier", 20), ("missing_write_after_read_barrier", 12), ("missing_syncwarp", 20)]
)
def test_missing_barriers_show_in_most_schedules(defect: str, least: int) -> None:
    kernel = "neighbours" if defect == "missing_syncwarp" else "weighted_sum"
    caught = 0
    for seed in range(20):
        try:
            run_case(f"{kernel}/{defect}", "plain", range(seed, seed + 1))
        except harness.EmulationError:
            caught += 1
    assert caught >= least


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_features(variant: Variant, feature: str) -> None:
    """In ten schedules each."""
    harness.run_function(features(variant), variant.flavour, "simt_feature", feature)


def test_a_sanitizer_that_needs_other_addresses_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ThreadSanitizer does not start with libraries at some of the addresses that are drawn at random."""
    program = tmp_path / "program"
    program.write_text(f"""#!/bin/sh
cd {tmp_path}
echo x >>starts
test $(wc -l <starts) -ge 5 && exit
echo "FATAL: ThreadSanitizer: unexpected memory mapping 0x7d0000000000-0x7d0000001000" >&2
exit 66
""")
    program.chmod(0o755)
    monkeypatch.setattr(build, "runner", lambda flavour: program)
    harness.run_function(Path("library"), "tsan", "function", "argument")
    assert (tmp_path / "starts").read_text().count("x") == 5


def test_a_sanitizer_that_never_starts_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'FATAL: no shadow memory' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(build, "runner", lambda flavour: program)
    monkeypatch.setattr(harness, "refused", harness.refused.__wrapped__)  # without what it remembers
    with pytest.raises(pytest.skip.Exception, match="no program runs with tsan: FATAL: no shadow memory"):
        harness.require("tsan")
    monkeypatch.undo()


def test_a_source_edited_while_it_is_compiled_is_compiled_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is kept under a state of the sources was made from that state."""
    source, run, texts = tmp_path / "edited.cpp", build.subprocess.run, []
    source.write_text("int before;\n")

    def edit_first(*arguments: object, **options: object) -> object:
        texts.append(source.read_text())
        if len(texts) == 1:
            source.write_text("int after;\n")
        return run(*arguments, **options)

    build.version(build.compiler())
    monkeypatch.setattr(build, "OUT", tmp_path / "build")
    monkeypatch.setattr(build.subprocess, "run", edit_first)
    result = build.compile_object(source, [])
    assert texts == ["int before;\n", "int after;\n"]
    assert b"after" in result.read_bytes()
    assert list((tmp_path / "build").glob("edited-*")) == [result]


def convert(library: Path, function: str, x: Tensor, result: torch.dtype) -> Tensor:
    y = torch.empty(x.shape, dtype=result)
    getattr(ctypes.CDLL(str(library)), function)(
        ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_int64(x.numel())
    )
    return y


def hard_floats() -> Tensor:
    """Every float of 17 leading bits, and its neighbours: all ties, all borders, subnormals, infinities, NaN."""
    bits = torch.arange(2**17, dtype=torch.int64) << 15
    bits = torch.cat([bits, bits + 1, (bits - 1).clamp_min(0), bits | 0x7FFF])
    return bits.to(torch.uint32).view(torch.float32)


@pytest.mark.parametrize("variant", [PLAIN, TOOLKIT], ids=str)
@pytest.mark.parametrize(("name", "dtype"), [("half", torch.float16), ("bfloat16", torch.bfloat16)])
def test_half_types(name: str, dtype: torch.dtype, variant: Variant) -> None:
    """As torch converts, in both directions; a NaN stays a NaN."""
    library = features(variant)
    x = hard_floats()
    found, expected = convert(library, f"simt_to_{name}", x, torch.int16).view(dtype), x.to(dtype)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.view(torch.int16)[~x.isnan()], expected.view(torch.int16)[~x.isnan()])
    assert (found.view(torch.int16)[x.isnan()] == 0x7FFF).all()
    h = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    found, expected = convert(library, f"simt_from_{name}", h, torch.float32), h.view(dtype).float()
    assert torch.equal(found.nan_to_num(7.0, 8.0, 9.0), expected.nan_to_num(7.0, 8.0, 9.0))
    assert torch.equal(found.isnan(), expected.isnan())


def test_every_case_is_tested() -> None:
    """No defect is left in the sources that no test plants."""
    source = (build.HERE / "cases.cu").read_text()
    listed = {f"{kernel}/{defect}" for kernel, defect in re.findall(r"CASE\((\w+), (\w+)\),", source)}
    assert listed == set(CAUGHT) | {f"{kernel}/none" for kernel in KERNELS}
    checks = [re.findall(r'\{"(\w+)", check_\w+\}', path.read_text()) for path in FEATURE_SOURCES]
    assert {check for found in checks for check in found} == set(FEATURES)
