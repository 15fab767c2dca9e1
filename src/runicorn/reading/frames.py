"""A table for pandas, polars or Arrow; each is imported where it is asked for, and never required."""

from __future__ import annotations

import json
import math
from array import array
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from runicorn.errors import MissingPackageError
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from collections.abc import Sequence

_NULLABLE: dict[type | None, str] = {int: "Int64", bool: "boolean"}


def to_pandas(columns: dict[str, Sequence[Any]]) -> Any:
    """A ``pandas.DataFrame``; a column of several kinds that are not all numbers is one of objects.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = _imported("pandas")
    numpy = import_module("numpy")

    def series(values: Sequence[Any]) -> Any:
        if isinstance(values, array):
            return numpy.array(values)
        kind, cells = of_one_kind(values)
        if kind is float:
            return numpy.array([numpy.nan if value is None else value for value in cells], dtype=numpy.float64)
        if kind in _NULLABLE:
            return pandas.array(cells, dtype=_NULLABLE[kind])
        return pandas.Series(list(values), dtype=object)

    return pandas.DataFrame({name: series(values) for name, values in columns.items()})


def to_polars(columns: dict[str, Sequence[Any]]) -> Any:
    """A ``polars.DataFrame``.

    Raises:
        ImportError: polars is not installed.
    """
    polars = _imported("polars")
    types = {float: polars.Float64, int: polars.Int64, bool: polars.Boolean, str: polars.String}
    cleaned = {name: of_one_kind(values) for name, values in columns.items()}
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
        kind, cells = of_one_kind(values)
        if isinstance(cells, array):
            return arrow.Array.from_buffers(types[kind or float], len(cells), [None, arrow.py_buffer(cells)])
        return arrow.array(cells, type=types[kind] if kind else arrow.null())

    return arrow.table({name: arrow_array(values) for name, values in columns.items()})


def of_one_kind(values: Sequence[Any]) -> tuple[type | None, Sequence[Any]]:
    """The values as one of float, int, bool and str; None if there are none.

    Integers beside floats become floats, and so do all if one is beyond 64 bit. What is mixed otherwise is text, and so
    are numbers of which one is beyond all floats.
    """
    if isinstance(values, array):
        return (int if values.typecode == "q" else float), values
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {int} and all(value is None or LOWEST_INT <= value <= HIGHEST_INT for value in values):
        return int, values
    if int in kinds and kinds <= {int, float}:
        with suppress(OverflowError):
            return float, [None if value is None else float(value) for value in values]
    if len(kinds) <= 1:
        return (kinds.pop() if kinds else None), values
    return str, [value if value is None or type(value) is str else json.dumps(value) for value in values]


def as_float(value: float) -> float:
    """The nearest float; an infinity if there is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _imported(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingPackageError(
            f"to_{library.removeprefix('py')}() needs {library}, which is not installed: pip install {library}"
        ) from error
