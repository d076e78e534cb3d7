"""Instructions that the kernels take, counted, and the budgets they are held to.

Two counts, neither of which depends on how fast or how busy the machine is:

* Instructions of one call of a kernel, by callgrind, for the instruction sets that valgrind knows: AVX2 and baseline.
* Instructions to a multiply-add in the innermost loops of the AVX-512 build, which valgrind cannot run, read from its
  disassembly. That shows a register spilled or an address computed in a loop, but not how often the loop runs. The code
  around the loops is common to all builds, so the other count holds for it. NEON is not counted.

Caches and waiting are not counted, and of two ways to write a loop the shorter is not always the faster: a count says
that something changed; what it is worth, a benchmark does.

Counts depend on the compiler: ``budgets.json`` has a section for each that recorded its own, and with another nothing
can be said. ``make -C tests/native -j2 budgets`` records.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUDGETS = HERE / "budgets.json"
RECORD = "make -C tests/native -j2 budgets"
TOLERANCE = 0.03
"""A count may be this much above its budget; as much below, and the budget has to follow."""

TIMEOUT_SECONDS = 300
LACKS_ISA = 77
"""Exit status of count_kernels where the processor lacks the instruction set."""


class CountError(Exception):
    """A count that could not be taken, and why."""


class LacksIsaError(CountError):
    """This processor cannot run the instruction set."""


@dataclass(frozen=True)
class Case:
    """One call that is counted. The operators' files in ``operators`` have the shapes."""

    call: str
    direction: str
    dtype: str
    isa: str

    def __str__(self) -> str:
        return f"{self.call} {self.direction} {self.dtype} {self.isa}"


SLOW = "multi_order_conv"
"""valgrind takes 12 s for it in AVX2. bfloat16 differs in how rows are read and written, which the others count too."""


def countable(calls: Mapping[str, Sequence[str]]) -> list[Case]:
    """The cases of calls, each with the types that it takes, in both directions and all instruction sets."""
    return [
        Case(name, direction, dtype, isa)
        for isa in ("avx2", "baseline")
        for name, dtypes in calls.items()
        for direction in ("forward", "backward")
        for dtype in dtypes
        if (name, dtype, isa) != (SLOW, "bfloat16", "avx2")
    ]


def calls_of(folder: Path) -> dict[str, list[str]]:
    """The calls that the program in ``folder`` can make, each with the types that it takes."""
    command = [folder / "count_kernels", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: dtypes for name, *dtypes in map(str.split, lines)}


def short_name(function: str) -> str:
    """A function without its namespace, result, arguments and the suffix of a compiler's copy."""
    function = re.sub(r"lite_rtse::(\w+::)?(\(anonymous namespace\)::)?", "", function)
    return re.sub(r"^\w+ (?=\w+<)", "", function.split("(")[0]) or function


# ---- Instructions of a call -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """Instructions of one call: by function, those of what it calls not included."""

    functions: Counter[str]
    points: int
    """Time-frequency points of the call."""

    @property
    def instructions(self) -> int:
        return self.functions.total()

    @property
    def a_point(self) -> float:
        return self.instructions / self.points

    def largest(self, n: int = 4) -> str:
        shares = [f"{name} {100 * count / self.instructions:.0f} %" for name, count in self.functions.most_common(n)]
        return ", ".join(shares)


def own_costs(callgrind_out: str) -> Counter[str]:
    """Instructions by function, from a file that callgrind wrote with uncompressed names and positions."""
    costs: Counter[str] = Counter()
    function, called = "", False
    for line in callgrind_out.splitlines():
        if line.startswith("fn="):
            function = short_name(line[3:])
        elif line.startswith("calls="):
            called = True  # the next line is what the callee cost
        elif re.fullmatch(r"\d+ \d+", line):
            costs[function] += 0 if called else int(line.split()[1])
            called = False
    return costs


def count(case: Case, folder: Path) -> Count:
    """Counts one call of the program that stands in ``folder``.

    Raises:
        LacksIsaError: this processor cannot run the case's instruction set.
        CountError: anything else went wrong.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=counted_call", f"--callgrind-out-file={out}"]
        command += ["--compress-strings=no", "--compress-pos=no"]
        command += [str(folder / "count_kernels"), case.call, case.direction, case.dtype]
        # Bound at start: the first call of a shared library's function would look it up within what is counted.
        environment = os.environ | {"LITE_RTSE_ISA": case.isa, "LD_BIND_NOW": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if run.returncode == LACKS_ISA:
            raise LacksIsaError(f"this processor cannot run {case.isa}")
        if run.returncode != 0:
            raise CountError(f"{case}: exit status {run.returncode} from {' '.join(command)}\n{run.stderr}")
        text = out.read_text()
    functions, total = own_costs(text), re.search(r"^totals: (\d+)$", text, re.MULTILINE)
    if functions.total() == 0:
        raise CountError(f"{case}: callgrind counted nothing; is counted_call still a function of its own?")
    if not total or functions.total() != int(total[1]):
        raise CountError(f"{case}: {functions.total()} instructions by function, but callgrind's totals are {total}")
    return Count(functions, points=int(run.stdout))


# ---- Loops of the AVX-512 build -------------------------------------------------------------------------------------

LOOP_MULTIPLY_ADDS = 12
"""Loops with fewer are those for what is left of a row, and of no account."""


@dataclass(frozen=True)
class Loops:
    """The innermost loops of a function, one pass through each: float32 multiply-adds and all instructions."""

    multiply_adds: int
    instructions: int

    def __add__(self, other: Loops) -> Loops:
        return Loops(self.multiply_adds + other.multiply_adds, self.instructions + other.instructions)

    @property
    def ratio(self) -> float:
        return self.instructions / self.multiply_adds


def innermost_loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """The instructions of each innermost loop of a function, given as (address, text).

    A loop is what lies between a jump back and its target; innermost where no other lies within.
    """
    loops = set()
    for address, text in code:
        jump = re.match(r"j\w+ +([0-9a-f]+)\b", text)
        if jump and code[0][0] <= int(jump[1], 16) <= address:
            loops.add((int(jump[1], 16), address))
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [[text for address, text in code if first <= address <= last] for first, last in sorted(inner)]


def loops_of(disassembly: str) -> dict[str, Loops]:
    """The loops that count, by function, of what ``objdump --disassemble --demangle`` wrote."""
    found: dict[str, Loops] = {}
    for function in re.split(r"\n(?=[0-9a-f]+ <)", disassembly):
        head = re.match(r"[0-9a-f]+ <(.*)>:\n", function)
        code = [(int(address, 16), text) for address, text in re.findall(r"^ *([0-9a-f]+):\t(.*)$", function, re.M)]
        if not head or not code:
            continue
        name = short_name(head[1])
        for loop in innermost_loops(code):
            multiply_adds = sum(bool(re.match(r"vf\w+ps\b.*%zmm", text)) for text in loop)
            if multiply_adds >= LOOP_MULTIPLY_ADDS:
                found[name] = found.get(name, Loops(0, 0)) + Loops(multiply_adds, len(loop))
    return found


def avx512_loops(folder: Path) -> dict[str, Loops]:
    """The loops of the AVX-512 kernels, by function; one that the compiler copied counts with its copies."""
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(folder / "isa_avx512.o")]
    found = loops_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if not found:
        raise CountError(f"{' '.join(command)}: no loop with {LOOP_MULTIPLY_ADDS} multiply-adds")
    return found


# ---- Budgets --------------------------------------------------------------------------------------------------------

CALLS = "calls: instructions to a time-frequency point"
LOOPS = "loops of AVX-512: instructions to a multiply-add"


def compare(what: str, counted: float, budget: float, unit: str) -> str:
    """What is wrong with a count; empty if it is within the tolerance of its budget."""
    change = counted / budget - 1
    if abs(change) <= TOLERANCE:
        return ""
    limit = f"{100 * TOLERANCE:.0f} %"
    text = f"{what}: {counted:,.2f} {unit}, budget {budget:,.2f}: {100 * change:+.1f} %, more than {limit}. "
    if change > 0:
        return text + f"If a benchmark shows that it is worth it, record it: {RECORD}"
    return text + f"If a benchmark shows that it is faster, record it, so that it stays: {RECORD}"


def check_call(case: Case, counted: Count, budgets: dict[str, float]) -> str:
    """What is wrong with a counted call; empty if nothing is. ``budgets`` is the section ``CALLS``."""
    if str(case) not in budgets:
        return f"{case}: no budget. Record it: {RECORD}"
    problem = compare(str(case), counted.a_point, budgets[str(case)], "instructions to a point")
    return f"{problem}\nMost are in {counted.largest()}." if problem else ""


def check_loops(found: dict[str, Loops], budgets: dict[str, float]) -> list[str]:
    """What is wrong with the loops of the AVX-512 build. ``budgets`` is the section ``LOOPS``."""
    problems = [
        compare(f"loops of {name}", found[name].ratio, budgets[name], "instructions to a multiply-add")
        for name in sorted(found.keys() & budgets.keys())
    ]
    for name in sorted(found.keys() ^ budgets.keys()):
        which = "no budget" if name in found else "a budget, but no such loops"
        problems.append(f"loops of {name}: {which}. Renamed, or inlined elsewhere? Record what is: {RECORD}")
    return [p for p in problems if p]


def read_budgets() -> dict[str, dict[str, dict[str, float]]]:
    """The recorded budgets: compiler, section, what is counted, how many instructions."""
    budgets: dict[str, dict[str, dict[str, float]]] = json.loads(BUDGETS.read_text())
    return budgets


def recorded_cases() -> list[Case]:
    """The cases with a budget, of any compiler."""
    names = dict.fromkeys(name for sections in read_budgets().values() for name in sections[CALLS])
    return [Case(*name.split()) for name in names]


def compiler(folder: Path) -> str:
    """The compiler that built the program in ``folder``, with its version."""
    return subprocess.run([folder / "count_kernels"], capture_output=True, text=True, check=True).stdout.strip()


def missing(*tools: str) -> str:
    """Why nothing can be counted with these tools on this machine; empty if all is well."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"instructions are counted on x86-64 only, and this is {platform.machine()}"
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"counting instructions needs {' and '.join(absent)}" if absent else ""


def record(folder: Path) -> None:
    """Writes the counts of the program and the objects in ``folder`` into the section of their compiler."""
    calls = {}
    for case in countable(calls_of(folder)):
        counted = count(case, folder)
        calls[str(case)] = round(counted.a_point, 2)
        print(f"{case}: {counted.a_point:,.2f} instructions to a point, {counted.largest()}", flush=True)
    loops = {name: round(loop.ratio, 3) for name, loop in sorted(avx512_loops(folder).items())}
    for name, ratio in loops.items():
        print(f"loops of {name}: {ratio:.3f} instructions to a multiply-add")
    budgets = (read_budgets() if BUDGETS.exists() else {}) | {compiler(folder): {CALLS: calls, LOOPS: loops}}
    temporary = BUDGETS.with_suffix(".tmp")
    temporary.write_text(json.dumps(budgets, indent=2) + "\n")
    temporary.replace(BUDGETS)


def main() -> None:
    problem = missing("valgrind", "objdump")
    if problem or len(sys.argv) != 2:
        sys.exit(problem or "usage: python -m tests.native.budgets FOLDER (see the Makefile in tests/native)")
    try:
        record(Path(sys.argv[1]))
    except CountError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
