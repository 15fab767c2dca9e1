"""Which values a later session of a run has superseded.

A run that has reached step 5,000, is killed, and goes on from the checkpoint of step 4,000 has logged the steps between
twice. Of each metric a later session supersedes what earlier ones logged at steps from its own first one on. Sessions
are told apart by byte offsets that ``meta.json`` has of each events file, never by a clock. What the same process logs
after it has opened the run again supersedes nothing: a second ``fit`` that begins at step 0 belongs to the run.
"""

from __future__ import annotations

from array import array
from itertools import compress, groupby
from typing import TYPE_CHECKING, Any

from runicorn.reading.part import Group
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.storage import run_files
from runicorn.storage.resumption import AFTER, CONTINUED, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runicorn.reading.events import EventsFile
    from runicorn.reading.part import Header

Piece = tuple[int, "Header", "list[tuple[Group, int]]"]
"""What a part has of a metric: the number of its session, its header, and groups each with the number of a column."""


def entries(run_dir: str) -> list[dict[str, Any]]:
    """What ``meta.json`` says of each later session; empty if it cannot be read."""
    try:
        resumed = read_object(run_dir, run_files.META).get("resumed")
    except DamagedError:
        return []
    return [entry for entry in resumed if isinstance(entry, dict)] if isinstance(resumed, list) else []


_LETTERS = 8
"""Of a session, in the name of the file that has what it has left, stored after a newer one had begun."""


def late_session(resumed: Iterable[dict[str, Any]], name: str) -> int | None:
    """The number of the session that has left an events file of its own; None if it is no such file."""
    letters = name.removesuffix(".jsonl").rpartition("-")[2]
    number = 0
    for entry in resumed if len(letters) == _LETTERS else ():
        if str(entry.get(AFTER))[:_LETTERS] == letters:
            return number
        number += _counts(entry)
        if str(entry.get("session"))[:_LETTERS] == letters:
            return number
    return None


def _counts(entry: dict[str, Any]) -> bool:
    """Whether a session supersedes what is before."""
    return isinstance(entry.get(EVENTS), dict) and entry.get(CONTINUED) is not True


def tell(files: dict[str, EventsFile], resumed: list[dict[str, Any]]) -> None:
    """Tell each events file of a run where its sessions begin, before it is read on."""
    main = files.get(run_files.EVENTS)
    for name, file in files.items():
        file.edges = edges(resumed, name)
        number = late_session(resumed, name) if name.startswith("events.") and file is not main else None
        file.late = None if number is None or main is None else (main, number)
        if file.late is not None:
            file.edges = []


def edges(resumed: Iterable[dict[str, Any]], name: str) -> list[int]:
    """Where in an events file the sessions begin that supersede what is before; byte offsets."""
    found = []
    for entry in resumed:
        if _counts(entry):
            size = entry[EVENTS].get(name, 0)
            if type(size) is int and size >= 0:
                found.append(size)
    return found


def first_steps(pieces: Iterable[Piece]) -> dict[int, int]:
    """The first step of a metric in each session."""
    first: dict[int, int] = {}
    for session, _, of_name in pieces:
        if session not in first:
            group, _ = min(of_name, key=lambda place: place[0].numbers[0])
            first[session] = group.steps[0]
    return first


def limits(pieces: Iterable[Piece]) -> dict[int, int]:
    """For each session that has a later one: from which step on its values are superseded."""
    first = first_steps(pieces)
    found: dict[int, int] = {}
    least: int | None = None
    for session in sorted(first, reverse=True):
        if least is not None:
            found[session] = least
        least = first[session] if least is None else min(least, first[session])
    return found


def pieces_of(file: EventsFile, name: str) -> list[Piece]:
    """What each part of a file has of a metric."""
    return [(file.session_of(header), header, of_name) for header, of_name in file.of_metric(name)]


def limits_of(file: EventsFile, name: str, pieces: list[Piece] | None = None) -> dict[int, int]:
    """For each session of a file that has a later one: from which step on its values of a metric are superseded."""
    if not file.has_sessions:
        return {}
    if file.late is None:
        return limits(pieces_of(file, name) if pieces is None else pieces)
    main, number = file.late
    later = [step for session, step in first_steps(pieces_of(main, name)).items() if session > number]
    return {0: min(later)} if later else {}


def current(file: EventsFile, name: str) -> Iterator[tuple[Header, list[tuple[Group, int]]]]:
    """What each part has of a metric, without what a later session has superseded."""
    if not file.has_sessions:
        yield from file.of_metric(name)
        return
    pieces = pieces_of(file, name)
    bounds = limits_of(file, name, pieces)
    for session, header, of_name in pieces:
        limit = bounds.get(session)
        kept = of_name if limit is None else [each for place in of_name for each in _below(*place, limit)]
        if kept:
            yield header, kept


def superseded_count(file: EventsFile, name: str) -> int:
    """How many values of a metric a later session has superseded."""
    if not file.has_sessions:
        return 0
    pieces = pieces_of(file, name)
    bounds = limits_of(file, name, pieces)
    return sum(
        sum(1 for step in group.steps if step >= bounds[session])
        for session, _, of_name in pieces
        if session in bounds
        for group, _ in of_name
    )


def _below(group: Group, number: int, limit: int) -> list[tuple[Group, int]]:
    """The lines of a group whose step is below a limit, with one of its columns alone."""
    wanted = [step < limit for step in group.steps]
    if all(wanted):
        return [(group, number)]
    kept = Group((group.names[number],), group.kinds[number])
    for values, into in (
        (group.steps, kept.steps),
        (group.times, kept.times),
        (group.columns[number], kept.columns[0]),
    ):
        into.extend(compress(values, wanted))
    if not len(kept.steps):
        return []
    numbers = array("q", compress(group.line_numbers(), wanted))
    origins = groupby(compress(group.origin_numbers(), wanted))
    kept.add_runs(numbers, 0, [(origin, sum(1 for _ in those)) for origin, those in origins])
    return [(kept, 0)]
