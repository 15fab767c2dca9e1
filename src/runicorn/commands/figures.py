"""A metric of a run in a few figures: how often it was logged, its last value, and its bounds."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.commands import render
from runicorn.errors import MetricNotFoundError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from runicorn.reading import Column, LoadedRun

MOST_BYTES = 256 * 1024**2
"""Of the events files of a run, up to which its figures are worked out without being asked for: a second or two."""


def add_figures(parser: argparse.ArgumentParser, does: str) -> None:
    """``--figures``, of the commands that show them."""
    most = render.size(MOST_BYTES)
    parser.add_argument(
        "--figures", action="store_true", help=f"{does} even for a run with more than {most} of numbers"
    )


class Figures(msgspec.Struct, frozen=True):
    """Figures of a metric.

    Attributes:
        count: of values.
        nonfinite: how many of them are NaN or infinite.
        last_step: the step of the last value.
        last: the last value, as it was logged.
        min: the least finite number; None where there is none.
        max: the greatest.
    """

    count: int
    nonfinite: int
    last_step: int
    last: Any
    min: float | int | None
    max: float | int | None


def figures_of(run: LoadedRun, name: str) -> Figures:
    """The figures of a metric, of rank 0 where the run has ranks.

    Raises:
        KeyError: the run has no such metric.
    """
    column = main_column(run, name)
    if getattr(column.value, "typecode", ""):  # an array: numbers alone
        finite = sum(map(math.isfinite, column.value))  # type: ignore[arg-type]
        nonfinite = len(column) - finite
        low = min(filter(math.isfinite, column.value), default=None)  # type: ignore[arg-type]
        high = max(filter(math.isfinite, column.value), default=None)  # type: ignore[arg-type]
    else:
        kept = list(_finite(column))
        low, high = min(kept, default=None), max(kept, default=None)
        nonfinite = sum(isinstance(value, float) and not math.isfinite(value) for value in column.value)
    return Figures(len(column), nonfinite, column.step[-1], column.value[-1], low, high)


def main_column(run: LoadedRun, name: str, rank: int | None = None) -> Column:
    """The values of a metric that are one line: those of a rank, else of rank 0, else of the first that has some.

    Raises:
        KeyError: the run, or that rank of it, has no such metric.
    """
    if rank is not None:
        column = run.metric(name, rank=rank)
        if not len(column):
            raise MetricNotFoundError(f"run {run.info.id} has no values of {name!r} of rank {rank}.")
        return column
    whole = run.metric(name)
    if not run.ranks:
        return whole
    return next(column for each in (0, *run.ranks, None) if len(column := whole.of(rank=each)))


def number_of_ranks(column: Column) -> int:
    """How many ranks have values in a column; 1 where there are no ranks."""
    return len({rank or 0 for rank in column.rank})


def events_bytes(run: LoadedRun) -> int:
    """The size of a run's events files."""
    total = 0
    try:
        with os.scandir(run.info.run_dir) as entries:
            for entry in entries:
                if entry.name.startswith("events.") and entry.name.endswith(".jsonl"):
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return total
    return total


def as_number(value: object) -> float | int | None:
    """A value as a point of a curve; None where it is none: text, nothing, NaN, infinite, beyond what a float takes."""
    if isinstance(value, (int, float)):
        try:
            return value if math.isfinite(value) else None
        except OverflowError:
            return None
    return None


def _finite(column: Column) -> Iterator[float | int]:
    for value in column.value:
        number = as_number(value)
        if number is not None:
            yield number
