"""JSON lines: an object for each row, with every column.

As in ``events.jsonl``, NaN and the infinities are ``null``, and which one it was stands under ``nonfinite``.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from runicorn.errors import WrongValueError
from runicorn.exporting.selection import pieces
from runicorn.writer.lines import nonfinite_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runicorn.reading import Table

NONFINITE = "nonfinite"


def require() -> None:
    """Nothing beside what the reader needs."""


def write(table: Table, file: BinaryIO, advance: Callable[[int], None]) -> list[str]:
    """Write the rows.

    Returns:
        What is not as it was logged: nothing.

    Raises:
        ValueError: a metric is called ``nonfinite``.
    """
    names = table.names
    if NONFINITE in names:
        raise WrongValueError(
            f"there is a metric {NONFINITE!r}, and JSON lines have a field of that name. Nothing was written. "
            "Choose others with --metrics, or another --format."
        )
    suspects = [number for number, values in enumerate(table.columns.values()) if _has_nonfinite(values)]
    for rows in pieces(table):
        objects: list[dict[str, Any]] = []
        for row in rows:
            made = dict(zip(names, row, strict=True))
            marks = {names[number]: nonfinite_name(row[number]) for number in suspects if _is_nonfinite(row[number])}
            if marks:
                made |= {**dict.fromkeys(marks), NONFINITE: marks}
            objects.append(made)
        file.write(_encoder.encode_lines(objects))
        advance(len(rows))
    return []


def _has_nonfinite(values: Sequence[Any]) -> bool:
    if isinstance(values, array):
        return values.typecode == "d" and not all(map(math.isfinite, values))
    return any(map(_is_nonfinite, values))


def _is_nonfinite(value: Any) -> bool:
    return type(value) is float and not math.isfinite(value)


_encoder = msgspec.json.Encoder()
