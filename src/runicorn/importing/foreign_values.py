"""Names and values of other trackers as ``events.jsonl`` can hold them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runicorn.storage.escaping import escape
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from runicorn.importing.source_runs import Told

_RESERVED = frozenset({"time", "step", "global_step", "stage", ""})
_SCALARS = (bool, int, float, str, type(None))
_DEEPEST = 32
FLOATS = {
    "NaN": math.nan,
    "nan": math.nan,
    "Infinity": math.inf,
    "inf": math.inf,
    "-Infinity": -math.inf,
    "-inf": -math.inf,
}


class MetricNames:
    """The names of one run's metrics: two of the source never become one.

    Attributes:
        used: those that ``events.jsonl`` has.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        self._plain: set[str] = set()
        self._new: dict[str, str] = {}

    def are_plain(self, data: dict[str, Any]) -> bool:
        """Whether all names may be written as they are."""
        if self._plain.issuperset(data):
            return True
        return all(self.of(name) == name for name in data)

    def renamed(self, data: dict[str, Any]) -> dict[str, Any]:
        """The same values by the names that are written."""
        return {self.of(name): value for name, value in data.items()}

    def of(self, name: str) -> str:
        """The name that is written for one of the source."""
        found = self._new.get(name)
        if found is None:
            found = escape(name)
            while found in _RESERVED or found in self.used:  # another name of the source may have become this one
                found += "_"
            self.used.add(found)
            self._new[name] = found
            if found == name:
                self._plain.add(name)
        return found


def clean_data(data: dict[str, Any], told: Told) -> dict[str, Any]:
    """What of some values can be stored; the rest is counted."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, str):
            found[name] = escape(value)
        elif type(value) is int and not LOWEST_INT <= value <= HIGHEST_INT:
            found[name] = as_float(value)
            told.leave_out("digits of integers beyond 64 bit", 1)
        elif isinstance(value, _SCALARS):
            found[name] = value
        else:
            told.leave_out("values that are neither numbers nor text")
    return found


def as_float(number: int) -> float:
    """The nearest float; an infinity where there is none."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def flattened(content: dict[str, Any], told: Told, *, names: bool = False) -> dict[str, Any]:
    """Nested values of JSON by names with slashes; lists are counted and left out.

    Args:
        content: by name.
        told: where they are counted.
        names: the texts ``NaN``, ``Infinity`` and ``-Infinity`` mean these numbers.
    """
    found: dict[str, Any] = {}
    _flatten(content, "", 0, found, told)
    if names:
        found = {key: FLOATS.get(value, value) if type(value) is str else value for key, value in found.items()}
    return found


def _flatten(content: dict[str, Any], above: str, depth: int, found: dict[str, Any], told: Told) -> None:
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            if depth < _DEEPEST:
                _flatten(value, f"{name}/", depth + 1, found, told)
            else:
                told.leave_out("values nested too deeply")
        elif isinstance(value, list):
            told.leave_out("lists among the values")
        elif type(value) is int and not LOWEST_INT <= value <= HIGHEST_INT:
            found[name] = as_float(value)
            told.leave_out("digits of integers beyond 64 bit")
        else:
            found[name] = value


def as_step(value: Any) -> int | None:
    """A step of 64 bit; None if it is none. A whole number in a float or a text counts."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, float):
        if not math.isfinite(value) or value != math.floor(value):
            return None
        value = int(value)
    return value if type(value) is int and LOWEST_INT <= value <= HIGHEST_INT else None
