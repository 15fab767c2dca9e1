"""What a summary may hold, as JSON and MessagePack can carry it."""

from __future__ import annotations

import collections
import collections.abc
import datetime as dt
import enum
import math
import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from runicorn.storage.escaping import escape
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT, is_missing, nearest_float, plain_elements, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_DEEPEST = 100
_MOST_VALUES = 200_000


class _LeftOut:
    """What ``jsonable`` returns for a value that was refused."""


LEFT_OUT = _LeftOut()


def jsonable(value: Any, refuse: Callable[[str, Any], None]) -> Any:
    """A value as JSON and MessagePack can carry it; what cannot is handed to ``refuse`` with its key path.

    numpy values become Python's, ``Path`` a string, dates ISO text, ``Enum`` its value, a set a sorted list, a
    mapping or a dataclass a dict; a non-finite float becomes ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``.

    Returns:
        The value, or ``LEFT_OUT``.
    """
    return _Cleaning(refuse).of(value, "")


class _Cleaning:
    """One value that is being converted, and those that it is in."""

    def __init__(self, refuse: Callable[[str, Any], None]) -> None:
        self._refuse = refuse
        self._open: list[int] = []
        self._values_left = _MOST_VALUES

    def of(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return escape(value)
        if kind is float:
            if math.isfinite(value):
                return value
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - NaN
        if kind is int and LOWEST_INT <= value <= HIGHEST_INT:
            return value
        self._values_left -= 1
        if id(value) in self._open or len(self._open) >= _DEEPEST or self._values_left < 0:
            return self._left_out(path, value)
        self._open.append(id(value))
        try:
            return self._of_object(value, path)
        finally:
            self._open.pop()

    def _left_out(self, path: str, value: Any) -> _LeftOut:
        self._refuse(path, value)
        return LEFT_OUT

    def _of_object(self, value: Any, path: str) -> Any:
        # Only a value's own methods are tried: what refuse() raises in strict mode goes through.
        try:
            plain = _plain(value, self._values_left)
        except Exception:  # noqa: BLE001 - whatever a value's own methods raise
            plain = LEFT_OUT
        if plain is LEFT_OUT:
            return self._left_out(path, value)
        if type(plain) is _Items:
            return self._dict(plain, path)
        if type(plain) is list:
            cleaned = [self.of(each, f"{path}.{index}".lstrip(".")) for index, each in enumerate(plain)]
            return [each for each in cleaned if each is not LEFT_OUT]
        return self.of(plain, path)

    def _dict(self, items: _Items, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            name = _name(key)
            if name is None:
                self._refuse(f"{path}.{shown(key)}".lstrip("."), key)
                continue
            cleaned = self.of(value, f"{path}.{name}".lstrip("."))
            if cleaned is not LEFT_OUT:
                found[name] = cleaned
        return found


class _Items(list[tuple[Any, Any]]):
    """The items of what becomes a dict."""


class Unreadable:
    """In the place of an element that raises when it is read: that one is refused, not all beside it."""


def _element(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except Exception:  # noqa: BLE001 - whatever a mapping of the program's own raises
        return Unreadable()


def _name(key: Any) -> str | None:
    try:
        if isinstance(key, enum.Enum):
            return escape(str(key.value))
        if isinstance(key, str):
            return escape(str.__str__(key))
        return str(key) if isinstance(key, (int, float)) or key is None else None
    except Exception:  # noqa: BLE001 - as of a value
        return None


def text_of(value: Any) -> str | None:
    """The text of a string, or of a kind of one, as a plain string; None if the value is none."""
    if isinstance(value, str):
        return str.__str__(value)
    # The elements of a UserString are UserStrings too, without an end.
    return str(value.data) if isinstance(value, collections.UserString) else None


def _plain(value: Any, most: int) -> Any:
    """A value one step nearer to JSON, its elements as a list or ``_Items``; ``LEFT_OUT`` if there is no such step."""
    kind = type(value)
    if is_missing(kind):
        return None
    if isinstance(value, enum.Enum):
        return value.value
    if kind is int:
        return float(value)
    for base in (bool, int, float):
        if isinstance(value, base):
            return base(value)
    if (text := text_of(value)) is not None:
        return text
    if isinstance(value, dict):
        return _Items(islice(value.items(), most))
    if isinstance(value, (list, tuple)):
        return list(islice(value, most))
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:  # of several types
            return sorted(value, key=str)
    if isinstance(value, collections.abc.Mapping):
        return _Items((key, _element(value, key)) for key in islice(value, most))
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(islice(value, most))
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return _Items((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    if callable(getattr(kind, "tolist", None)):  # numpy, torch
        return plain_elements(value)
    if callable(getattr(kind, "numpy", None)):
        return value.numpy().tolist()
    if callable(getattr(kind, "keys", None)) and hasattr(kind, "__getitem__"):
        return _Items((key, _element(value, key)) for key in islice(iter(value.keys()), most))
    if hasattr(kind, "__float__") and not isinstance(value, complex):
        return nearest_float(value)
    return LEFT_OUT
