"""CSV: a line of names, then a line for each row.

A float has as many digits as bring it back, ``nan``, ``inf`` and ``-inf`` are such words, an integer has all of its
digits, and a cell without a value is empty.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

from runicorn.exporting.selection import pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.reading import Table


def require() -> None:
    """Nothing beside Python."""


def write(table: Table, file: BinaryIO, advance: Callable[[int], None]) -> list[str]:
    """Write the rows.

    Returns:
        What is not as it was logged: nothing.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.names)
        for rows in pieces(table):
            writer.writerows(rows)
            advance(len(rows))
        text.flush()
    finally:
        text.detach()  # else it closes the file
    return []
