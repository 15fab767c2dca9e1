"""Values for formats whose columns have one kind each: what is changed for that is told."""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any

from runicorn.values import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from collections.abc import Sequence


def of_one_kind(name: str, values: Sequence[Any]) -> tuple[Sequence[Any], list[str]]:
    """The values as floats, 64 bit integers, booleans or strings, and what was changed.

    Integers beside floats become floats, also where one of them is beyond 64 bit. What is mixed otherwise is text.
    """
    if isinstance(values, array):
        return values, []
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {int} and all(value is None or LOWEST_INT <= value <= HIGHEST_INT for value in values):
        return values, []
    if kinds <= {int, float} and int in kinds:
        floats = [None if value is None else as_float(value) for value in values]
        rounded = sum(1 for value, made in zip(values, floats, strict=True) if type(value) is int and made != value)
        return floats, [f"{name!r}: integers that are rounded to floats: {rounded:,}"] if rounded else []
    if len(kinds) <= 1:
        return values, []
    texts = [value if value is None or type(value) is str else json.dumps(value) for value in values]
    named = " and ".join(sorted(kind.__name__ for kind in kinds))
    return texts, [f"{name!r}: all values are text, for it has {named}"]


def as_float(value: float) -> float:
    """The nearest float; an infinity where there is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
