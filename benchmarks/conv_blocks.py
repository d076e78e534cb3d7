"""Speed of the network's two Conv-Blocks, 1 → 32 → 32 channels: ``python -m benchmarks.conv_blocks``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import operators, show
from benchmarks.harness import parse, report


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    settings = parse(__doc__ or "", arguments)
    answer = report("conv_blocks", settings)
    operators.add(answer, settings, "conv_blocks")
    show.finish(answer, settings.results)


if __name__ == "__main__":
    main()
