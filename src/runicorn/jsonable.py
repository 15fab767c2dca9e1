"""What a summary or a configuration may hold, as JSON and MessagePack can carry it."""

from __future__ import annotations

import datetime as dt
import enum
import math
import os
from typing import TYPE_CHECKING, Any

from runicorn.values import HIGHEST_INT, LOWEST_INT, escape, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def jsonable(value: Any, refuse: Callable[[str, Any], None], path: str = "") -> Any:
    """A value as JSON and MessagePack can carry it; what cannot is handed to ``refuse`` with its key path.

    numpy values become Python's, ``Path`` a string, dates ISO text, ``Enum`` its value, a set a sorted list, a
    dataclass a dict; a non-finite float becomes ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``.

    Returns:
        The value, or ``LEFT_OUT``.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return escape(value)
    if kind is int:
        return value if LOWEST_INT <= value <= HIGHEST_INT else float(value)
    if kind is float:
        if math.isfinite(value):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - NaN
    if path.count(".") > _DEEPEST:
        refuse(path, value)
        return LEFT_OUT
    if isinstance(value, dict):
        return _jsonable_items(value.items(), refuse, path)
    if isinstance(value, (list, tuple)):
        return _jsonable_list(value, refuse, path)
    try:
        plain = _plain(value)
    except Exception:  # noqa: BLE001 - whatever a value's own methods raise
        plain = LEFT_OUT
    if plain is LEFT_OUT:
        refuse(path, value)
        return LEFT_OUT
    return jsonable(plain, refuse, path)


class _LeftOut:
    """What ``jsonable`` returns for a value that was refused."""


LEFT_OUT = _LeftOut()
_DEEPEST = 100


def _jsonable_items(items: Iterable[tuple[Any, Any]], refuse: Callable[[str, Any], None], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in items:
        if isinstance(key, enum.Enum):
            name = str(key.value)
        elif isinstance(key, (str, int, float)) or key is None:
            name = escape(str(key))
        else:
            refuse(f"{path}.{shown(key)}".lstrip("."), key)
            continue
        cleaned = jsonable(value, refuse, f"{path}.{name}".lstrip("."))
        if cleaned is not LEFT_OUT:
            found[name] = cleaned
    return found


def _jsonable_list(values: Iterable[Any], refuse: Callable[[str, Any], None], path: str) -> list[Any]:
    cleaned = [jsonable(value, refuse, f"{path}.{index}".lstrip(".")) for index, value in enumerate(values)]
    return [value for value in cleaned if value is not LEFT_OUT]


def _plain(value: Any) -> Any:
    """A value one step nearer to JSON; ``LEFT_OUT`` where there is no such step."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return value.value
    for base in (bool, int, float):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:  # of several types
            return sorted(value, key=str)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if callable(getattr(kind, "tolist", None)):  # numpy, torch
        return value.tolist()
    if callable(getattr(kind, "numpy", None)):
        return value.numpy().tolist()
    if hasattr(kind, "__float__") and not isinstance(value, complex):
        return float(value)
    return LEFT_OUT


def _with_text_for_the_rest(values: Any) -> Any:
    """A configuration keeps what JSON cannot hold as text: an unknown object is told by its ``str()``."""
    if isinstance(values, dict):
        return {key: _with_text_for_the_rest(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_with_text_for_the_rest(value) for value in values]
    if isinstance(values, (bytes, bytearray)):
        return bytes(values).decode("utf-8", "backslashreplace")
    left_out: list[str] = []
    jsonable(values, lambda path, _: left_out.append(path))
    return str(values) if left_out else values


def config_dict(name: str, given: Any, refuse: Callable[[str, Any], None]) -> Any:
    """An argument of ``log_config()`` as a dict that JSON can hold.

    Raises:
        TypeError: neither a dict nor an object with attributes.
    """
    if not isinstance(given, dict):
        try:
            given = dict(vars(given)) if hasattr(given, "__dict__") else dict(given)
        except (TypeError, ValueError):
            raise TypeError(
                f"log_config(): {name} is a {type(given).__name__}. Write a dict, or an object with attributes "
                "such as an argparse.Namespace."
            ) from None
    return jsonable(_with_text_for_the_rest(given), refuse)
