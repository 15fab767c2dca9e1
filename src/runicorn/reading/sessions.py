"""Which values a later session of a run has superseded.

A run that has reached step 5,000, is killed, and goes on from the checkpoint of step 4,000 has logged the steps between
twice. Of each metric a later session supersedes what earlier ones logged at steps from its own first one on. Sessions
are told apart by byte offsets that ``meta.json`` has of each events file, never by a clock. What the same process logs
after it has opened the run again supersedes nothing: a second ``fit`` that begins at step 0 belongs to the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn import rundir
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.resumption import CONTINUED, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.reading.part import Group, Header

Piece = tuple[int, "Header", "list[tuple[Group, int]]"]
"""What a part has of a metric: the number of its session, its header, and groups each with the number of a column."""


def entries(run_dir: str) -> list[dict[str, Any]]:
    """What ``meta.json`` says of each later session; empty if it cannot be read."""
    try:
        resumed = read_object(run_dir, rundir.META).get("resumed")
    except DamagedError:
        return []
    return [entry for entry in resumed if isinstance(entry, dict)] if isinstance(resumed, list) else []


def edges(resumed: Iterable[dict[str, Any]], name: str) -> list[int]:
    """Where in an events file the sessions begin that supersede what is before; byte offsets."""
    found = []
    for entry in resumed:
        sizes = entry.get(EVENTS)
        if isinstance(sizes, dict) and entry.get(CONTINUED) is not True:
            size = sizes.get(name, 0)
            if type(size) is int and size >= 0:
                found.append(size)
    return found


def limits(pieces: Iterable[Piece]) -> dict[int, int]:
    """For each session that has a later one: from which step on its values are superseded."""
    first: dict[int, int] = {}
    for session, _, of_name in pieces:
        if session not in first:
            group, _ = min(of_name, key=lambda place: place[0].numbers[0])
            first[session] = group.steps[0]
    found: dict[int, int] = {}
    least: int | None = None
    for session in sorted(first, reverse=True):
        if least is not None:
            found[session] = least
        least = first[session] if least is None else min(least, first[session])
    return found
