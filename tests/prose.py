"""The prose of README and docs, measured: ``python -m tests.prose`` names every file with long sentences.

A sentence has at most 40 words, and the median of a file is at most 14. Code, tables, headings, links' addresses and
generated pages do not count.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

MEDIAN_WORDS, MOST_WORDS = 14, 40
ROOT = Path(__file__).parent.parent

_EXPECTED = f" (expected at most {MEDIAN_WORDS} in the median, {MOST_WORDS} in all)"

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)
_INDENTED_CODE = re.compile(r"(?:^|(?<=\n\n))(?: {4,}[^\n]*\n?)+", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_`\w])")


def sentences(markdown: str) -> list[str]:
    """The sentences of a Markdown text. An item of a list is one, also without a full stop."""
    for pattern in (_FENCE, _COMMENT):
        markdown = pattern.sub("\n\n", markdown)
    markdown = _INDENTED_CODE.sub("\n", markdown)
    markdown = _CODE.sub("code", _LINK.sub(r"\1", markdown))
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.)\s)", markdown):
        lines = [line.strip() for line in block.splitlines() if not re.match(r"\s*(\||#|:::|!!!|\?\?\?|---)", line)]
        text = re.sub(r"^\s*(?:[-*+]|\d+\.)\s+", "", " ".join(lines)).strip()
        found += [sentence for sentence in _SENTENCE_END.split(text) if re.search(r"\w", sentence)]
    return found


def words(sentence: str) -> int:
    """Number of words; numbers and symbols between words do not count."""
    return len(re.findall(r"[^\W\d_][\w'’-]*", sentence))


def faults(markdown: str) -> list[str]:
    """What is wrong with a text, a line each."""
    lengths = [(words(sentence), sentence) for sentence in sentences(markdown)]
    if not lengths:
        return []
    median = statistics.median(length for length, _ in lengths)
    problems = [f"{length} words: {sentence}" for length, sentence in lengths if length > MOST_WORDS]
    return problems + ([f"the median sentence has {median:g} words"] if median > MEDIAN_WORDS else [])


def texts() -> list[Path]:
    """The files that are held to it."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/**/*.md"))]


def main() -> None:
    """Print all faults; exit with 1 where there are any."""
    failed = False
    for path in texts():
        for fault in faults(path.read_text(encoding="utf-8")):
            failed = True
            print(f"{path.relative_to(ROOT)}: {fault}{_EXPECTED}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
