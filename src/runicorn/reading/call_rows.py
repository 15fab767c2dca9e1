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
    for part in file.all_parts():
        session = file.session_of(part.header)
        of_session = {name: limit.get(session) for name, limit in limits.items()}
        lines = _lines_of(part, names, of_session, all_lines=all_lines)
        steps.extend(lines.steps)
        times.extend(lines.times)
        stages.extend(lines.stages)
        for name, cells in lines.cells.items():
            values[name].extend(cells)
    columns: dict[str, Sequence[Any]] = {tables.STEP: steps, tables.TIME: times}
    if any(stage is not None for stage in stages):
        columns[tables.STAGE] = stages
    return tables.Table({**columns, **{name: _compact(cells) for name, cells in values.items()}})


class _Lines:
    """Lines of a part that is being read, by their position.

    Args:
        count: of lines.
        names: of the metrics.
    """

    def __init__(self, count: int, names: list[str]) -> None:
        self.steps, self.times = array(INTS, [0]) * count, array(FLOATS, [0.0]) * count
        self.stages: list[str | None] = [None] * count
        self.cells: dict[str, list[Any]] = {name: [None] * count for name in names}

    def without(self, gone: set[int]) -> _Lines:
        """Leave lines out."""
        if gone:
            kept = [position not in gone for position in range(len(self.steps))]
            self.steps = array(INTS, compress(self.steps, kept))
            self.times = array(FLOATS, compress(self.times, kept))
            self.stages = list(compress(self.stages, kept))
            self.cells = {name: list(compress(cells, kept)) for name, cells in self.cells.items()}
        return self


def _lines_of(part: Part, names: list[str], limits: dict[str, int | None], *, all_lines: bool) -> _Lines:
    """Lines of one part; without those whose values are all superseded: at the limit of their metric, or above."""
    rows = _rows_of(part, set(names), all_lines=all_lines)
    row_of = {line: row for row, line in enumerate(rows)}
    lines = _Lines(len(rows), names)
    steps, times, stages = lines.steps, lines.times, lines.stages
    emptied, filled = set[int](), set[int]()
    for group in part.groups.values():
        if not all_lines and lines.cells.keys().isdisjoint(group.names):
            continue
        positions = [row_of[line] for line in group.line_numbers()]
        for position, step, time_s, origin in zip(
            positions, group.steps, group.times, group.origin_numbers(), strict=True
        ):
            steps[position], times[position] = step, time_s
            stages[position] = part.header.origins[origin][0]
        for name, column in zip(group.names, group.columns, strict=True):
            if name not in lines.cells:
                continue
            cells, limit = lines.cells[name], limits.get(name)
            for position, step, value in zip(positions, group.steps, column, strict=True):
                if limit is not None and step >= limit:
                    emptied.add(position)
                    continue
                cells[position] = value
                if limits:
                    filled.add(position)
    return lines.without(emptied - filled)


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
