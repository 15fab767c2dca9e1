"""Values for formats whose columns have one kind each: what is changed for that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.reading import frames

if TYPE_CHECKING:
    from collections.abc import Sequence


def of_one_kind(name: str, values: Sequence[Any]) -> tuple[Sequence[Any], list[str]]:
    """The values as floats, 64 bit integers, booleans or strings, and what was changed in words."""
    kind, made = frames.of_one_kind(values)
    if made is values:
        return values, []
    if kind is str:
        named = " and ".join(sorted({type(value).__name__ for value in values} - {"NoneType"}))
        return made, [f"{name!r}: all values are written as text, because it has {named}"]
    rounded = sum(1 for value, number in zip(values, made, strict=True) if type(value) is int and number != value)
    return made, [f"{name!r}: integers rounded to floats: {rounded:,}"] if rounded else []
