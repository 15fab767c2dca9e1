"""What of a run is written."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from runicorn.errors import WrongValueError
from runicorn.reading import table as tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.reading import LoadedRun, Table

PIECE_ROWS = 8192


class Selection(NamedTuple):
    """Which metrics, and how their values become rows.

    Attributes:
        names: of the metrics; empty = all. One with commas that the run has not got is several.
        by_step: one row for each step, of several values the last one; else one for each line of the events file.
        ranks: ``main`` = ``events.jsonl`` alone; ``all`` = those of ranks and other hosts too.
        superseded: also what a later session of the run has superseded.
        system: what the machine did, instead of metrics.
    """

    names: tuple[str, ...] = ()
    by_step: bool = True
    ranks: Literal["main", "all"] = "main"
    superseded: bool = False
    system: bool = False

    def checked_names(self, run: LoadedRun) -> list[str]:
        """The names of the metrics that a run's export has.

        Raises:
            KeyError: the run has no metric of a name.
            ValueError: a metric has the name of a column that the table has beside metrics.
        """
        if self.system:
            return [run.system[name].name for name in self._of_machine()] or run.system.names
        names = self._split(run) or run.metrics
        for name in names:
            if name not in run:
                run.metric(name)  # says what it has
        taken = sorted({tables.RANK, tables.FILE}.intersection(names)) if self.ranks == "all" else []
        if taken:
            raise WrongValueError(
                f"run {run.info.id} has a metric {taken[0]!r}, and with --ranks all a column has that name. Nothing "
                "was written. Choose others with --metrics, or leave --ranks out."
            )
        return names

    def table(self, run: LoadedRun) -> Table:
        """The metrics as a table."""
        if self.system:
            return run.system.table(self._of_machine() or None)
        return run.table(self._split(run) or None, by_step=self.by_step, ranks=self.ranks, superseded=self.superseded)

    def _of_machine(self) -> list[str]:
        return [name for given in self.names for name in given.split(",")]

    def _split(self, run: LoadedRun) -> list[str]:
        return [name for given in self.names for name in ([given] if given in run else given.split(","))]


def pieces(table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a table, some thousands at a time."""
    rows = zip(*table.columns.values(), strict=True)
    while piece := list(islice(rows, PIECE_ROWS)):
        yield piece
