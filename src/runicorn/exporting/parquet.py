"""Parquet, by pyarrow, or by polars where that is installed alone. NaN and the infinities are what they are."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

from runicorn.errors import MissingPackageError
from runicorn.exporting.kinds import of_one_kind
from runicorn.reading import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP_ROWS = 131_072


def require() -> None:
    """Find a library that writes it.

    Raises:
        ImportError: there is none.
    """
    if find_spec("pyarrow") is None and find_spec("polars") is None:
        raise MissingPackageError(
            "Parquet needs pyarrow or polars, and neither is installed. Nothing was written. "
            "Install one: pip install 'runicorn[export]'"
        )


def write(table: Table, file: BinaryIO, advance: Callable[[int], None]) -> list[str]:
    """Write the rows, in groups.

    Returns:
        What is not as it was logged.
    """
    columns: dict[str, Sequence[Any]] = {}
    notes: list[str] = []
    for name, values in table.columns.items():
        columns[name], changed = of_one_kind(name, values)
        notes += changed
    cleaned = Table(columns)
    if find_spec("pyarrow") is None:
        cleaned.to_polars().write_parquet(file, row_group_size=GROUP_ROWS)
        advance(len(table))
    else:
        _write_by_arrow(cleaned.to_arrow(), file, advance)
    return notes


def _write_by_arrow(table: Any, file: BinaryIO, advance: Callable[[int], None]) -> None:
    parquet = import_module("pyarrow.parquet")
    with parquet.ParquetWriter(file, table.schema) as writer:
        for first in range(0, table.num_rows, GROUP_ROWS):
            piece = table.slice(first, GROUP_ROWS)
            writer.write_table(piece)
            advance(piece.num_rows)
