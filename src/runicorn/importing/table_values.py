"""From the cells of a row to numbers: which column is the step, which the time, and what a blank means."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runicorn.importing.foreign_values import FLOATS, as_step, flattened
from runicorn.importing.source_runs import Numbers, Sample, UnreadableSourceError
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from runicorn.importing.source_runs import Told

_STEPS = ("step", "global_step", "_step", "epoch", "iteration")
_TIMES = ("timestamp", "_timestamp", "wall_time", "time")
SYSTEM = "__system__"
"""The column of the machine's samples in the files that ``docs/from_aim.py`` writes."""
_MILLISECONDS_FROM, _FIRST_S = 1e11, 1e8
_BLANK = frozenset({"", "-", "null", "None", "NULL"})
_TRUTH = {"True": True, "true": True, "False": False, "false": False}


def missing_column(path: str, column: str) -> UnreadableSourceError:
    """The error for a table without a column that it needs."""
    return UnreadableSourceError(f"{path} has no column {column!r}. Nothing of it was imported. Name one that it has")


class RowReader:
    """Reads the rows of one run.

    Args:
        options: ``step``, ``time``: columns; ``names``: metrics by column; ``config``: columns of settings.
        told: what is left out.
        changed_at: time of the file, for rows without one.
        step_column: column of steps if the options name none; None = the first usual name that a row has.

    Attributes:
        config: the settings of the last row that has them.
    """

    def __init__(
        self, options: dict[str, Any], told: Told, *, changed_at: float, step_column: str | None = None
    ) -> None:
        self.config: dict[str, Any] = {}
        named = options.get("step"), options.get("time")
        self._step_column: str | None = named[0] or step_column
        self._time_column: str | None = options.get("time")
        self._names: dict[str, str] = options.get("names") or {}
        self._config_columns = frozenset(options.get("config") or ())
        self._told = told
        self._changed_at = changed_at
        self._last_step = -1
        self._without_time = False
        self._rows = 0
        # Who calls a column a metric does not mean it as the step or the time.
        self._steps = tuple(each for each in _STEPS if each not in self._names)
        self._times = tuple(each for each in _TIMES if each not in self._names)
        self._needed = {column for column in named if column is not None}
        self._unseen = {*self._needed, *self._names, *self._config_columns}

    def numbers(self, row: dict[str, Any]) -> Numbers | None:
        """What a row holds; None if that is nothing."""
        self._rows += 1
        if self._unseen:
            self._unseen.difference_update(row)
        for name in self._config_columns.intersection(row):
            value = row.pop(name)
            if not _is_blank(value):
                self.config[name] = _value(value)
        step = self._step(row)
        time_s = self._time(row)
        data = flattened({name: _value(value) for name, value in row.items() if not _is_blank(value)}, self._told)
        if self._names:
            data = self._renamed(data)
        return Numbers(step, time_s, data) if data else None

    def _renamed(self, data: dict[str, Any]) -> dict[str, Any]:
        self._unseen.difference_update(data)  # the row itself does not have the names of nested members
        found = {self._names.get(name, name): value for name, value in data.items()}
        if len(found) < len(data):
            self._told.leave_out("values of columns whose names were given to other columns", len(data) - len(found))
            found.update((new, data[name]) for name, new in self._names.items() if name in data)
        return found

    def finish(self, path: str) -> None:
        """Report each column that an option names and no row has.

        Raises:
            UnreadableSourceError: no row has the column of steps or of times, so all rows would get wrong ones.
        """
        if not self._rows:
            return
        for name in sorted(self._unseen):
            if name in self._needed:
                raise missing_column(path, name)
            self._told.problem(f"{path}: no row has the column {name!r}, which an option names")

    def sample(self, row: dict[str, Any]) -> Sample:
        """The sample of the machine that a row holds; other values of the row are left out."""
        found = flattened(row.pop(SYSTEM), self._told)
        time_s = self._time(row)
        if row:
            self._told.leave_out("values in rows of the machine's samples", len(row))
        return Sample(time_s, found)

    def other(self) -> dict[str, Any]:
        """What people may want to know of the run's rows."""
        return {"times": "that of the file: its rows have none"} if self._without_time else {}

    def _step(self, row: dict[str, Any]) -> int:
        names = self._steps if self._step_column is None else (self._step_column,)
        for name in names:
            given = row.get(name)
            if given is None or _is_blank(given):
                continue
            step = as_step(float(given) if isinstance(given, Decimal) else _stripped(given))
            if step is None:  # a fraction of a step stays a metric
                row.setdefault("step_original", row.pop(name))
                step = _floor(row["step_original"])
            elif name != "epoch":
                del row[name]
            if step is not None:
                self._last_step = step
                return step
        self._last_step += 1
        return self._last_step

    def _time(self, row: dict[str, Any]) -> float:
        for name in self._times if self._time_column is None else (self._time_column,):
            time_s = as_time(row.get(name))
            if time_s is not None and (self._time_column is not None or abs(time_s) >= _FIRST_S):
                del row[name]
                return time_s
        self._without_time = True
        if self._time_column is not None:
            of = f"cells of the column {self._time_column!r}"
            self._told.leave_out(f"{of} without a time: their rows have the time of the file")
        return self._changed_at


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in _BLANK)


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _floor(value: Any) -> int | None:
    try:
        number = math.floor(float(value))
    except (ValueError, OverflowError, TypeError):
        return None
    return number if LOWEST_INT <= number <= HIGHEST_INT else None


def _value(value: Any) -> Any:
    """A cell as a number if it is one; else as it is."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.is_finite() else float(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if not isinstance(value, str):
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    text = value.strip()
    if text in FLOATS or text in _TRUTH:
        return FLOATS.get(text, _TRUTH.get(text))
    if "_" in text:
        return value
    try:
        number = int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return value
    return number if LOWEST_INT <= number <= HIGHEST_INT else float(number)


def as_time(value: Any) -> float | None:
    """Epoch seconds of a number, of milliseconds if it is large, or of ISO 8601, which without a zone is UTC."""
    if isinstance(value, dt.datetime):
        return _epoch(value)
    value = _value(value)
    if isinstance(value, str):
        try:
            return _epoch(dt.datetime.fromisoformat(value.strip().replace("Z", "+00:00")))
        except ValueError:
            return None
    if isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value):
        return value / 1000 if abs(value) >= _MILLISECONDS_FROM else float(value)
    return None


def _epoch(value: dt.datetime) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)).timestamp()
