"""Several metrics side by side, on the steps that they share."""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongValueError
from runicorn.reading.part import FLOATS, INTS
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runicorn.reading.column import Column

STEP, TIME, STAGE, RANK, FILE = "step", "time", "stage", "rank", "file"


class Table:
    """Columns of equal length by name; a cell is None if the row has no value of that name.

    Attributes:
        columns: ``step`` and ``time`` first; then ``rank`` and ``file`` if there are several files, and ``stage``
            if there is one; then the metrics.
    """

    def __init__(self, columns: dict[str, Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[STEP])

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.columns[name]

    def __repr__(self) -> str:
        return f"Table({counted(len(self), 'row')}, {', '.join(self.columns)})"

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.columns)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict."""
        names = self.names
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, row, strict=True))

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``. Missing numbers are NaN; in a column of integers they are ``<NA>``.

        A column with integers and floats is float64, as in polars and Arrow. Integers above 2**53 are then rounded;
        ``table()`` itself has them exactly. The same holds for a column with an integer beyond 64 bit. A column that
        mixes text or booleans with other kinds is a column of objects.

        Raises:
            ImportError: pandas is not installed.
        """
        from runicorn.reading import frames

        return frames.to_pandas(self.columns)

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``. A column that has numbers and text is all text.

        Raises:
            ImportError: polars is not installed.
        """
        from runicorn.reading import frames

        return frames.to_polars(self.columns)

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table``. A column that has numbers and text is all text.

        Raises:
            ImportError: pyarrow is not installed.
        """
        from runicorn.reading import frames

        return frames.to_arrow(self.columns)


def joined(columns: list[Column]) -> Table:
    """One row for each step that any of the columns has, with the last value of each column.

    The time and the stage of a row are those of the value of it that was logged last.
    """
    if not columns:
        return Table({STEP: array(INTS), TIME: array(FLOATS)})
    first = columns[0]
    same = all(column.step == first.step and column.time == first.time for column in columns[1:])
    if same and first.by_step() is first:
        return _with_stages(first.step, first.time, first.stage, {each.name: each.value for each in columns})
    columns = [column.by_step() for column in columns]
    steps = sorted(set(chain.from_iterable(column.step for column in columns)))
    row_of = {step: row for row, step in enumerate(steps)}
    times: list[Any] = [None] * len(steps)
    stages: list[str | None] = [None] * len(steps)
    values: dict[str, Sequence[Any]] = {}
    for column in columns:
        cells: list[Any] = [None] * len(steps)
        for step, time_s, value, stage in zip(column.step, column.time, column.value, column.stage, strict=True):
            row = row_of[step]
            cells[row] = value
            before = times[row]
            if before is None or not before > time_s:
                times[row], stages[row] = time_s, stage
        values[column.name] = cells if len(column) < len(steps) else column.value
    return _with_stages(array(INTS, steps), array(FLOATS, times), stages, values)


def stacked(tables: list[tuple[int | None, str, Table]]) -> Table:
    """Tables of several files one below the other, sorted by step; each with its rank and its file's name.

    Raises:
        ValueError: a metric is called as one of these columns.
    """
    names = list(dict.fromkeys(name for _, _, table in tables for name in table.columns))
    ordered = sorted(
        ((step, number, row) for number, (_, _, table) in enumerate(tables) for row, step in enumerate(table[STEP])),
        key=lambda position: position[:2],
    )
    columns: dict[str, Sequence[Any]] = {
        STEP: array(INTS, [step for step, _, _ in ordered]),
        TIME: array(FLOATS, [tables[number][2][TIME][row] for _, number, row in ordered]),
        RANK: [tables[number][0] for _, number, _ in ordered],
        FILE: [tables[number][1] for _, number, _ in ordered],
    }
    for name in (RANK, FILE):
        if name in names:
            raise WrongValueError(
                f"a metric is called {name!r}, and so is a column of every table. Leave it out of the names."
            )
    for name in names:
        if name not in columns:
            of_table = [table.columns.get(name) for _, _, table in tables]
            cells = ((of_table[number], row) for _, number, row in ordered)
            columns[name] = [None if values is None else values[row] for values, row in cells]
    return Table(columns)


def _with_stages(
    step: Sequence[int], time: Sequence[float], stages: list[str | None], values: dict[str, Sequence[Any]]
) -> Table:
    columns: dict[str, Sequence[Any]] = {STEP: step, TIME: time}
    if any(stage is not None for stage in stages):
        columns[STAGE] = stages
    return Table({**columns, **values})
