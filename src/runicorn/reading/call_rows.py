"""The lines of an events file as rows: one for each call of ``log()``."""

from __future__ import annotations

from array import array
from itertools import compress
from typing import TYPE_CHECKING, Any

from runicorn.reading import sessions
from runicorn.reading import table as tables
from runicorn.reading.part import FLOATS, INTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading.events import EventsFile
    from runicorn.reading.part import Part


def lines_table(file: EventsFile, names: list[str], *, all_lines: bool, superseded: bool = False) -> tables.Table:
    """One row for each line of numbers, in their order.

    Args:
        file: the events file, as far as it was read.
        names: of the metrics.
        all_lines: also those that have none of them.
        superseded: also values that a later session has superseded; else lines that have no other are left out.
    """
    limits = {name: sessions.limits_of(file, name) for name in names} if file.has_sessions and not superseded else {}
    steps: array[int] = array(INTS)
    times: array[float] = array(FLOATS)
    stages: list[str | None] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    wanted = set(names)
    for part in file.all_parts():
        rows = _rows_of(part, wanted, all_lines=all_lines)
        row_of = {line: row for row, line in enumerate(rows)}
        count = len(rows)
        part_steps, part_times = array(INTS, [0]) * count, array(FLOATS, [0.0]) * count
        part_stages: list[str | None] = [None] * count
        cells: dict[str, list[Any]] = {name: [None] * count for name in names}
        session = file.session_of(part.header)
        emptied, filled = set[int](), set[int]()
        for group in part.groups.values():
            if not all_lines and wanted.isdisjoint(group.names):
                continue
            positions = [row_of[line] for line in group.line_numbers()]
            for position, step, time_s, origin in zip(
                positions, group.steps, group.times, group.origin_numbers(), strict=True
            ):
                part_steps[position], part_times[position] = step, time_s
                part_stages[position] = part.header.origins[origin][0]
            for name, column in zip(group.names, group.columns, strict=True):
                if name in cells:
                    limit = limits[name].get(session) if limits else None
                    for position, step, value in zip(positions, group.steps, column, strict=True):
                        if limit is not None and step >= limit:
                            emptied.add(position)
                            continue
                        cells[name][position] = value
                        if limits:
                            filled.add(position)
        gone = emptied - filled
        kept = [position not in gone for position in range(count)]
        steps.extend(compress(part_steps, kept) if gone else part_steps)
        times.extend(compress(part_times, kept) if gone else part_times)
        stages.extend(compress(part_stages, kept) if gone else part_stages)
        for name, more in cells.items():
            values[name].extend(compress(more, kept) if gone else more)
    columns: dict[str, Sequence[Any]] = {tables.STEP: steps, tables.TIME: times}
    if any(stage is not None for stage in stages):
        columns[tables.STAGE] = stages
    return tables.Table({**columns, **{name: _compact(cells) for name, cells in values.items()}})


def _rows_of(part: Part, names: set[str], *, all_lines: bool) -> Sequence[int]:
    if all_lines:
        return range(part.header.lines)
    return sorted(
        line for group in part.groups.values() if not names.isdisjoint(group.names) for line in group.line_numbers()
    )


def _compact(cells: list[Any]) -> Sequence[Any]:
    kinds = set(map(type, cells))
    if kinds == {float}:
        return array(FLOATS, cells)
    if kinds == {int} and all(-(2**63) <= cell < 2**63 for cell in cells):
        return array(INTS, cells)
    return cells
