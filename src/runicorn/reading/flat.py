"""Nested settings as one level of names with dots."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from runicorn.reading import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 20


def flat(content: dict[str, Any]) -> dict[str, Any]:
    """``{"args": {"lr": 0.1}}`` as ``{"args.lr": 0.1}``; a key that has a dot itself stands in quotes.

    What is no object, or an empty one, or nested too deeply, stays as it is.
    """
    return dict(_items(content, "", 0))


def text(value: Any) -> str:
    """A setting in one line: text and numbers as they are, anything else as JSON."""
    if isinstance(value, (list, dict)):
        try:
            return plain_text.plain(json.dumps(value, ensure_ascii=False))
        except (ValueError, RecursionError):  # a number of more digits than Python prints
            return f"({type(value).__name__})"
    if isinstance(value, str):
        return plain_text.plain(value)
    return (
        plain_text.number(value) if isinstance(value, (int, float)) and type(value) is not bool else json.dumps(value)
    )


def same(one: Any, other: Any) -> bool:
    """Whether two settings are equal: NaN is NaN, 1 is 1.0, and 1 is not true."""
    try:
        return _same(one, other)
    except RecursionError:  # nested too deeply to be known
        return False


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _items(content: dict[str, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = above + (json.dumps(key, ensure_ascii=False) if "." in key or not key else key)
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from _items(value, f"{name}.", depth + 1)
        else:
            yield name, value
