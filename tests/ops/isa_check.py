"""Runs every operator, in every dtype, on the instruction set that LITE_RTSE_ISA names.

    LITE_RTSE_ISA=avx2 python -m tests.ops.isa_check

The instruction set is chosen once a process, so the tests start this script once for each. It prints the instruction
set in use and the number of checks and failures, and exits with 1 where there is a failure.
"""

from __future__ import annotations

import os
import sys

import torch

from lite_rtse_ext import ops

from .operators import HALF_TYPES, OF_EVERY_TYPE, check_against_reference, check_no_worse_than_eager

# Elements of a signal, as the script runs once for each instruction set; fewer in half types, where eager mode is slow.
LARGEST, LARGEST_HALF = 60_000, 6_000


def main() -> int:
    wanted = os.environ.get("LITE_RTSE_ISA")
    if wanted and ops.isa() != wanted:
        print(f"LITE_RTSE_ISA is {wanted}, but {ops.isa()} is in use", file=sys.stderr)
        return 1
    failures = checks = 0
    for operator in OF_EVERY_TYPE:
        for shape in operator.shapes:
            size = shape.batch * shape.frames * shape.bins * shape.channels
            for dtype in (torch.float32, torch.float64, *HALF_TYPES):
                half = dtype in HALF_TYPES
                if size > (LARGEST_HALF if half else LARGEST) or (half and shape.is_complex):
                    continue
                check = check_no_worse_than_eager if half else check_against_reference
                checks += 1
                try:
                    check(operator, shape, dtype, "cpu")
                except AssertionError as error:
                    failures += 1
                    print(f"{operator} {shape} {dtype}: {error}", file=sys.stderr)
    print(f"{ops.isa()}: {checks} checks, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
