"""CSV: a line of names, then a line for each row.

A float has as many digits as bring it back, ``nan``, ``inf`` and ``-inf`` are such words, an integer has all of its
digits, and a cell without a value is empty.
"""

from __future__ import annotations

import csv
import io
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from runicorn.exporting.selection import pieces
from runicorn.reading import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
_SIGNS = "= + - @ or a tab"


def require() -> None:
    """Nothing beside Python."""


def write(table: Table, file: BinaryIO, advance: Callable[[int], None], *, quote_formulas: bool = False) -> list[str]:
    """Write the rows.

    Args:
        table: of the rows.
        file: is left open.
        advance: is called with the number of rows that were written.
        quote_formulas: put a ``'`` before names and text that a spreadsheet may take for a formula.

    Returns:
        What is not as it was logged, and what a spreadsheet may run.
    """
    names, columns, formulas = table.names, dict(table.columns), 0
    for name, values in table.columns.items():
        if not isinstance(values, array) and str in set(map(type, values)):
            found = sum(map(_is_formula, values))
            formulas += found
            if found and quote_formulas:
                columns[name] = [f"'{value}" if _is_formula(value) else value for value in values]
    formulas += sum(map(_is_formula, names))
    if quote_formulas:
        names = [f"'{name}" if _is_formula(name) else name for name in names]
    _write(names, Table(columns), file, advance)
    if not formulas:
        return []
    which = f"names and cells that begin with {_SIGNS}: {formulas:,}"
    if quote_formulas:
        return [f"{which}; each has a ' before it now"]
    return [f"{which}. A spreadsheet may run them as formulas: --quote-formulas puts a ' before each"]


def _write(names: list[str], table: Table, file: BinaryIO, advance: Callable[[int], None]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        # Python before 3.13 quotes a carriage return only if line ends have one.
        has_returns = any(map(_has_return, [names, *table.columns.values()]))
        writer = (
            csv.writer(_Newlines(text), lineterminator="\r\n") if has_returns else csv.writer(text, lineterminator="\n")
        )
        writer.writerow(names)
        for rows in pieces(table):
            writer.writerows(rows)
            advance(len(rows))
        text.flush()
    finally:
        text.detach()  # else it closes the file


class _Newlines:
    """Takes rows that end with a carriage return and a newline, and writes a newline alone."""

    def __init__(self, text: TextIO) -> None:
        self._text = text

    def write(self, row: str) -> int:
        """Write a row."""
        return self._text.write(row[:-2] + "\n")


def _has_return(values: Sequence[Any]) -> bool:
    return not isinstance(values, array) and any("\r" in value for value in values if type(value) is str)


def _is_formula(value: Any) -> bool:
    """Whether a spreadsheet may run it: text that begins as a formula does, and is no number."""
    if type(value) is not str or not value.lstrip(" ").startswith(_BEGINNINGS):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return "\t" in value or "\r" in value
