"""What the machines of a run did, as columns over time."""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.errors import MetricNotFoundError
from runicorn.reading import table as tables
from runicorn.reading.column import Column, ColumnBuilder
from runicorn.reading.part import INTS
from runicorn.reading.plain_files import DamagedError, open_inside
from runicorn.reading.system_file import PREFIX, SystemFile, system_files
from runicorn.sampling.machine_insight import MachineInsight, sentences
from runicorn.storage.run_files import MACHINE, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.reading.cache import Cache


class SystemMetrics:
    """The samples of a run, as far as they were read: ``run.system["tree/cpu_percent"]``.

    Args:
        run_dir: the run's directory.
        cache: of columns.
        summary: of the run; while that is live, it says nothing of the machine.
    """

    def __init__(self, run_dir: str, cache: Cache, summary: dict[str, Any]) -> None:
        self._run_dir = run_dir
        ours = summary.get("runicorn")
        told = ours.get(MACHINE) if isinstance(ours, dict) else None
        self._told = told if isinstance(told, dict) else {}
        self.files = [SystemFile(run_dir, name, cache) for name in system_files(run_dir)]
        for file in self.files:
            file.read()

    def __repr__(self) -> str:
        return f"SystemMetrics({', '.join(self.names)})"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(_stored(name) in file.names for file in self.files)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """Names of what was sampled, sorted; those of other hosts begin with the host."""
        return sorted({name.removeprefix(PREFIX) for file in self.files for name in file.names})

    def __getitem__(self, name: str) -> Column:
        """The values of a name; their ``step`` is the time in milliseconds.

        Raises:
            KeyError: nothing of that name was sampled.
        """
        builder = ColumnBuilder(name)
        for file in self.files:
            file.add_to(builder, _stored(name))
        column = builder.column()
        if not len(column):
            some = ", ".join(self.names[:20]) or "nothing"
            raise MetricNotFoundError(f"{name!r} is not among the samples of the machine. These are: {some}.")
        return column

    def table(self, names: Iterable[str] | None = None) -> tables.Table:
        """One row for each sample, with its number as ``step``; a cell is None if the sample has no such number.

        Args:
            names: None = all.

        Raises:
            KeyError: nothing of one of the names was sampled.
        """
        found = tables.joined([self[name] for name in (self.names if names is None else names)])
        return tables.Table({**found.columns, tables.STEP: array(INTS, range(len(found)))})

    def insight(self) -> dict[str, Any]:
        """Means and peaks of the main host: from ``summary.json``, or from the samples while the run is live."""
        if self._told:
            return self._told
        with suppress(OSError, DamagedError), open_inside(self._run_dir, SYSTEM) as file:
            return MachineInsight.of_lines(file).fields()
        return {}

    def sentences(self) -> list[str]:
        """What is clear from those numbers, in sentences."""
        return sentences(self.insight())


def _stored(name: str) -> str:
    return name if name.startswith(PREFIX) else PREFIX + name
