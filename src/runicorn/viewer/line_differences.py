"""Two texts as one unified difference, in bounded time: what is changed in too many lines is shown as replaced."""

from __future__ import annotations

import difflib
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_LINES = 5000
"""So many lines of a difference are told."""
_MOST_COMPARED = 2000
_AROUND = 3
_LONGEST = 2000

Block = tuple[str, int, int, int, int]


def unified(one: str | Exception | None, other: str | Exception | None) -> dict[str, Any]:
    """The lines of a unified difference.

    Args:
        one: the text before; None = there is none; an error says why it is not known.
        other: the text behind.

    Returns:
        ``lines``, how many were ``added`` and ``removed``, whether ``lines`` was ``cut``, and ``reason`` if there is
        nothing to compare.
    """
    reasons = [str(each) for each in (one, other) if isinstance(each, Exception)]
    if reasons:
        return {"lines": [], "added": 0, "removed": 0, "cut": False, "reason": reasons[0]}
    before, behind = (_lines(each if isinstance(each, str) else "") for each in (one, other))
    blocks = list(_blocks(before, behind))
    lines: list[str] = []
    for hunk in _hunks(blocks):
        lines += _shown(hunk, before, behind)
    changed = [block for block in blocks if block[0] != "equal"]
    return {
        "lines": lines[:MOST_LINES],
        "added": sum(block[4] - block[3] for block in changed),
        "removed": sum(block[2] - block[1] for block in changed),
        "cut": len(lines) > MOST_LINES,
        "reason": None,
    }


def _lines(text: str) -> list[str]:
    """The lines; the last one tells it if it has no end."""
    if not text:
        return []
    lines = text.split("\n")
    if lines[-1]:
        lines[-1] += "\n\\ No newline at end of file"
    else:
        lines.pop()
    return lines


def _blocks(one: Sequence[str], other: Sequence[str]) -> Iterator[Block]:
    """What is equal, and what replaces what, in order."""
    first = 0
    shorter = min(len(one), len(other))
    while first < shorter and one[first] == other[first]:
        first += 1
    last = 0
    while last < shorter - first and one[-1 - last] == other[-1 - last]:
        last += 1
    if first:
        yield "equal", 0, first, 0, first
    ends = len(one) - last, len(other) - last
    if max(ends) - first > _MOST_COMPARED:
        yield "replace", first, ends[0], first, ends[1]
    else:
        matcher = difflib.SequenceMatcher(None, one[first : ends[0]], other[first : ends[1]])
        yield from ((tag, first + a, first + b, first + c, first + d) for tag, a, b, c, d in matcher.get_opcodes())
    if last:
        yield "equal", ends[0], len(one), ends[1], len(other)


def _hunks(blocks: list[Block]) -> Iterator[list[Block]]:
    """What is changed, with some lines around; far from each other apart."""
    cut: list[Block | None] = []
    for place, (tag, a, b, c, d) in enumerate(blocks):
        if tag != "equal":
            cut.append((tag, a, b, c, d))
            continue
        behind = 0 if place == 0 else min(_AROUND, b - a)
        before = 0 if place == len(blocks) - 1 else min(_AROUND, b - a - behind)
        if b - a == behind + before:
            cut.append((tag, a, b, c, d))
        else:
            cut += [(tag, a, a + behind, c, c + behind)] if behind else []
            cut.append(None)
            cut += [(tag, b - before, b, d - before, d)] if before else []
    for is_apart, hunk in groupby(cut, key=lambda block: block is None):
        if not is_apart:
            yield [block for block in hunk if block is not None]


def _shown(hunk: list[Block], one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    yield f"@@ -{_range(hunk[0][1], hunk[-1][2])} +{_range(hunk[0][3], hunk[-1][4])} @@"
    for tag, a, b, c, d in hunk:
        if tag == "equal":
            yield from (f" {_cut(line)}" for line in one[a:b])
        else:
            yield from (f"-{_cut(line)}" for line in one[a:b])
            yield from (f"+{_cut(line)}" for line in other[c:d])


def _range(start: int, stop: int) -> str:
    return f"{start + 1 if stop > start else start},{stop - start}"


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
