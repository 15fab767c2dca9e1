"""A run of the SDK together with a diary of what it was told.

The diary is kept in the form in which the viewer shows a run, and knows nothing of the SDK's files.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from support import holds_within

import runicorn as rn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Cell = float | str | None
    Row = dict[str, Cell]

STORE_TIMEOUT_S = 60


@contextmanager
def open_diary(storage: Path, path: str, alias: str | None = None) -> Iterator[Diary]:
    """Begin a run under `storage`, and see to it that it does not stay open for ever."""
    diary = Diary(storage, path, alias)
    try:
        yield diary
    finally:
        if diary.status == "running":
            diary.finish("interrupted")


class Diary:
    """A run, and all that it was told."""

    def __init__(self, storage: Path, path: str, alias: str | None = None) -> None:
        before = time.time()
        self.run = rn.init(path=path, storage=str(storage), alias=alias)
        self.begun_between = (before, time.time())
        self.id = self.run.id
        self.path = path.strip("/")
        self.alias = alias
        self.status = "running"
        self.rows: dict[int, Row] = {}
        self.logged_between: dict[int, tuple[float, float]] = {}
        self.lines: list[str] = []
        self.summary: dict[str, object] = {}
        self._calls = 0
        self._step = 0
        self._primary: tuple[str, str] | None = None

    def log(
        self,
        metrics: dict[str, Cell],
        step: int | None = None,
        stage: str | None = None,
    ) -> None:
        """Log to the run, and note the row that the viewer has to show; calls of a step merge."""
        before = time.time()
        self.run.log(metrics, step=step, stage=stage)
        after = time.time()
        self._calls += 1
        self._step = self._step + 1 if step is None else step
        row = self.rows.setdefault(self._step, {"global_step": self._step})
        row.update({name: _shown(value) for name, value in metrics.items()})
        if stage is not None:
            row["stage"] = stage
        self.logged_between[self._step] = (before, after)

    def log_text(self, text: str) -> None:
        """Log text, and note its lines; the logs tab leaves blank ones out."""
        self.run.log_text(text)
        self.lines += [line for line in text.split("\n") if line.strip()]

    def add_to_summary(self, update: dict[str, object]) -> None:
        """Add to the run's summary, and note it."""
        self.run.summary(update)
        self.summary |= update

    def set_primary_metric(self, name: str, mode: Literal["max", "min"]) -> None:
        """Choose the metric whose best value the viewer has to show."""
        self.run.set_primary_metric(name, mode)
        self._primary = (name, mode)

    def finish(self, status: str = "finished") -> None:
        """End the run with `status`."""
        self.run.finish(status)
        self.status = status

    @property
    def best(self) -> tuple[str, float, int, str] | None:
        """Name, value, step and mode of the best metric so far; the first of equals counts."""
        if self._primary is None:
            return None
        name, mode = self._primary
        values = {step: row.get(name) for step, row in self.rows.items()}
        numbers = {step: value for step, value in values.items() if isinstance(value, (int, float))}
        pick = max if mode == "max" else min
        step = pick(numbers, key=numbers.__getitem__)
        return name, numbers[step], step, mode

    @property
    def final_summary(self) -> dict[str, object]:
        """What the summary of the ended run has to hold."""
        if self.best is None:
            return self.summary
        fields = ("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode")
        return self.summary | dict(zip(fields, self.best, strict=True))

    @property
    def table(self) -> tuple[list[str], list[Row]]:
        """Columns and rows as the viewer has to answer them, but for the column `time`."""
        names = {name for row in self.rows.values() for name in row} - {"global_step"}
        columns = ["global_step", *sorted(names)]
        rows = [{name: self.rows[step].get(name) for name in columns} for step in sorted(self.rows)]
        return columns, rows

    def wait_until_stored(self) -> None:
        """Wait until all that the still open run was told is in its files, as whole lines."""
        folder = self.run.run_dir
        assert folder is not None
        stored = holds_within(
            lambda: (
                _count_lines(folder / "events.jsonl") >= self._calls
                and _count_lines(folder / "logs.txt") >= len(self.lines)
            ),
            STORE_TIMEOUT_S,
        )
        assert stored, f"{folder} does not hold all that was logged after {STORE_TIMEOUT_S} s"


def _shown(value: Cell) -> Cell:
    """Return what a chart shows of a logged value: a gap where it is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0
