"""Loops in machine code, and what share of the instructions that a warp issues in one turn are of some kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .machine_code import Instruction, Kernel

BYTES = 16  # of an instruction
TARGET = re.compile(r"(?:^|,)(0x[0-9a-f]+)$")


def _target(instruction: Instruction) -> int | None:
    """The number of the instruction that a branch goes to."""
    if instruction.name != "BRA":
        return None
    found = TARGET.search(instruction.operands)
    return int(found[1], 16) // BYTES if found else None


def _falls_through(instruction: Instruction) -> bool:
    """Whether the next instruction may follow. A branch has its conditions as predicate or as operands."""
    conditional = bool(instruction.predicate) or (instruction.name == "BRA" and "," in instruction.operands)
    return conditional or instruction.name not in ("BRA", "EXIT", "RET")


@dataclass(frozen=True)
class Loop:
    """A natural loop: its header, and all basic blocks that lead back to it, by number."""

    header: int
    blocks: frozenset[int]


class ControlFlow:
    """Basic blocks of a kernel: ``block[i]`` are the numbers of block i's instructions, ``next[i]`` its successors.

    Jumps within a warp that reconverges (BSSY, BSYNC, WARPSYNC) are none: the warp goes on with the next instruction.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.code = kernel.instructions
        targets = {i: target for i, ins in enumerate(self.code) if (target := _target(ins)) is not None}
        ends = {i + 1 for i, ins in enumerate(self.code) if ins.name in ("BRA", "EXIT", "RET")}
        begins = sorted(b for b in {0, *targets.values(), *ends} if b < len(self.code))
        self.block = [range(b, e) for b, e in zip(begins, [*begins[1:], len(self.code)], strict=True)]
        number = {block.start: i for i, block in enumerate(self.block)}
        self.next: list[list[int]] = []
        for block in self.block:
            last = block[-1]
            after = [number[targets[last]]] if last in targets else []
            if _falls_through(self.code[last]) and block.stop in number:
                after.append(number[block.stop])
            self.next.append(after)

    @cached_property
    def order(self) -> list[int]:
        """Blocks that can be reached, each before those after it but for loops."""
        seen, order = {0}, []
        stack = [(0, iter(self.next[0]))]
        while stack:
            block, after = stack[-1]
            for successor in after:
                if successor not in seen:
                    seen.add(successor)
                    stack.append((successor, iter(self.next[successor])))
                    break
            else:
                order.append(block)
                stack.pop()
        return order[::-1]

    @cached_property
    def before(self) -> dict[int, list[int]]:
        """Predecessors of the blocks that can be reached."""
        found: dict[int, list[int]] = {block: [] for block in self.order}
        for block in self.order:
            for successor in self.next[block]:
                found[successor].append(block)
        return found

    @cached_property
    def dominators(self) -> dict[int, set[int]]:
        """Of each block those that every way to it passes, itself included."""
        everything = set(self.order)
        found = dict.fromkeys(self.order, everything) | {0: {0}}
        changed = True
        while changed:
            changed = False
            for block in self.order[1:]:
                mine = set.intersection(*(found[b] for b in self.before[block])) | {block}
                changed |= mine != found[block]
                found[block] = mine
        return found

    @cached_property
    def loops(self) -> list[Loop]:
        """Natural loops; those with one header are one."""
        bodies: dict[int, set[int]] = {}
        for block in self.order:
            for header in self.next[block]:
                if header not in self.dominators[block]:
                    continue
                body = bodies.setdefault(header, {header})
                waiting = [block]
                while waiting:
                    inside = waiting.pop()
                    if inside not in body:
                        body.add(inside)
                        waiting += self.before[inside]
        return [Loop(header, frozenset(body)) for header, body in bodies.items()]

    def count(self, blocks: Sequence[int] | frozenset[int], kind: Callable[[Instruction], bool]) -> int:
        """Instructions of a kind."""
        return sum(kind(self.code[i]) for block in blocks for i in self.block[block])

    def inner_loop(self, kind: Callable[[Instruction], bool]) -> Loop | None:
        """The smallest of the loops that hold the most instructions of a kind, or None where none does."""
        counts = [(self.count(loop.blocks, kind), -self.count(loop.blocks, lambda _: True)) for loop in self.loops]
        best = max(counts, default=(0, 0))
        return self.loops[counts.index(best)] if best[0] else None

    def seldom(self, loop: Loop, marks: Callable[[Instruction], bool]) -> frozenset[int]:
        """What a turn of the loop leaves out unless it takes one branch: the least part of it that no way enters
        elsewhere and that holds all marked instructions. Empty where every turn passes them, or there are none."""
        marked = [block for block in loop.blocks if self.count([block], marks)]
        if not marked:
            return frozenset()
        common = set.intersection(*(self.dominators[block] for block in marked)) & loop.blocks
        entry = max(common, key=lambda block: len(self.dominators[block]))
        if entry == loop.header:
            return frozenset()
        return frozenset(block for block in loop.blocks if entry in self.dominators[block])

    def shares(
        self,
        loop: Loop,
        kind: Callable[[Instruction], bool],
        least: float = 0.1,
        weight: Callable[[int], float] = lambda block: 1.0,
    ) -> list[float]:
        """The share of a kind among the instructions issued in one turn, for each block that holds many of them.

        Warps of a kernel may go different ways through a loop. Taken is, of all ways through such a block, the one with
        the most other instructions, each inner loop once around. Many: ``least`` of the loop's. Instructions of block b
        count ``weight(b)`` times.
        """
        inside = [block for block in self.order if block in loop.blocks]
        wanted = {b: weight(b) * self.count([b], kind) for b in inside}
        other = {b: weight(b) * len(self.block[b]) - wanted[b] for b in inside}
        ahead = {b: [n for n in self.next[b] if n in loop.blocks and inside.index(n) > inside.index(b)] for b in inside}
        ways_in = {b: [p for p in inside if b in ahead[p]] for b in inside}
        total = self.count(loop.blocks, kind)

        def longest(blocks: list[int], towards: dict[int, list[int]]) -> dict[int, tuple[float, float]]:
            """To and with each block: the most other instructions, and with them the wanted ones."""
            found: dict[int, tuple[float, float]] = {}
            for b in blocks:
                o, w = max((found[p] for p in towards[b]), default=(0.0, 0.0), key=lambda way: (way[0], -way[1]))
                found[b] = (o + other[b], w + wanted[b])
            return found

        into, out = longest(inside, ways_in), longest(inside[::-1], ahead)
        shares = []
        for b in inside:
            if self.count([b], kind) < least * total:
                continue
            issued_other = into[b][0] + out[b][0] - other[b]
            issued_wanted = into[b][1] + out[b][1] - wanted[b]
            shares.append(issued_wanted / (issued_wanted + issued_other))
        return shares
