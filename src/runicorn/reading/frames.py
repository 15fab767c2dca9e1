"""A table for pandas, polars or Arrow; each is imported where it is asked for, and never required."""

from __future__ import annotations

import json
from array import array
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Columns = "dict[str, Sequence[Any]]"


def to_pandas(columns: dict[str, Sequence[Any]]) -> Any:
    """A ``pandas.DataFrame``.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = _imported("pandas")
    numpy = import_module("numpy")

    def series(values: Sequence[Any]) -> Any:
        if isinstance(values, array):
            return numpy.array(values)
        kinds = set(map(type, values)) - {type(None)}
        if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
            return pandas.array(values, dtype="Int64")
        if kinds == {float}:
            return numpy.array([numpy.nan if value is None else value for value in values])
        if kinds == {bool}:
            return pandas.array(values, dtype="boolean")
        return pandas.Series(list(values), dtype=object)

    return pandas.DataFrame({name: series(values) for name, values in columns.items()})


def to_polars(columns: dict[str, Sequence[Any]]) -> Any:
    """A ``polars.DataFrame``.

    Raises:
        ImportError: polars is not installed.
    """
    polars = _imported("polars")
    types = {float: polars.Float64, int: polars.Int64, bool: polars.Boolean, str: polars.String}
    cleaned = {name: _of_one_kind(values) for name, values in columns.items()}
    return polars.DataFrame(
        [
            polars.Series(name, values, dtype=types.get(kind, polars.Null) if kind else polars.Null)
            for name, (kind, values) in cleaned.items()
        ]
    )


def to_arrow(columns: dict[str, Sequence[Any]]) -> Any:
    """A ``pyarrow.Table``.

    Raises:
        ImportError: pyarrow is not installed.
    """
    arrow = _imported("pyarrow")
    types = {float: arrow.float64(), int: arrow.int64(), bool: arrow.bool_(), str: arrow.string()}

    def arrow_array(values: Sequence[Any]) -> Any:
        kind, cells = _of_one_kind(values)
        if isinstance(cells, array):
            return arrow.Array.from_buffers(types[kind or float], len(cells), [None, arrow.py_buffer(cells)])
        return arrow.array(cells, type=types[kind] if kind else arrow.null())

    return arrow.table({name: arrow_array(values) for name, values in columns.items()})


def _of_one_kind(values: Sequence[Any]) -> tuple[type | None, Sequence[Any]]:
    """The values as one of float, int, bool and str; None where there are none. What is mixed is text."""
    if isinstance(values, array):
        return (int if values.typecode == "q" else float), values
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) <= 1 and not (kinds == {int} and not _fits(values)):
        return (kinds.pop() if kinds else None), values
    if kinds <= {int, float}:
        with suppress(OverflowError):  # an integer of more than 308 digits
            return float, [None if value is None else float(value) for value in values]
    return str, [value if value is None or type(value) is str else json.dumps(value) for value in values]


def _fits(values: Sequence[Any]) -> bool:
    return all(value is None or -(2**63) <= value < 2**63 for value in values)


def _imported(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError as error:
        raise ImportError(
            f"to_{library.removeprefix('py')}() needs {library}, which is not installed: pip install {library}"
        ) from error
