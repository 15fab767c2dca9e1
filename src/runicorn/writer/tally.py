"""What the writer knows of a run beside its files: counts, the highest step, the best metric, how it ended."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from runicorn.writer.records import End, Hello, Primary  # noqa: TC001 - msgspec reads the annotations


class Tally(msgspec.Struct):
    """Carried from batch to batch, and in each plan as it was before the batch.

    Attributes:
        records: records stored in this session of the run.
        lost_records: records that were refused because the spool was full.
        damaged_bytes: bytes of segments in which no frame could be read, though one was begun.
        last_time: wall clock of the newest record, epoch seconds.
        last_step: highest step stored by the owner; None before the first.
        primary: the metric that counts.
        best_value: its best value so far; None before the first finite one.
        best_step: the step of that.
        end: the owner's last record.
        owned: whether the owner has logged anything.
        left: last records of ranks that are not the owner, by rank.
        ranks: ranks that have logged anything, each once.
    """

    records: int = 0
    lost_records: int = 0
    damaged_bytes: int = 0
    last_time: float = 0.0
    last_step: int | None = None
    primary: Primary | None = None
    best_value: float | int | None = None
    best_step: int | None = None
    end: End | None = None
    owned: bool = False
    left: dict[int, End] = {}
    ranks: list[int] = []

    def see_hello(self, hello: Hello) -> None:
        """Note who takes part."""
        if not hello.joined:
            self.owned = True
        elif hello.rank is not None and hello.rank not in self.ranks:
            self.ranks.append(hello.rank)

    def see_end(self, end: End, hello: Hello) -> None:
        """Note the owner's goodbye, or that of another rank."""
        if not hello.joined:
            self.end = end
        elif hello.rank is not None:
            self.left[hello.rank] = end

    def see_value(self, value: Any, step: int) -> None:
        """Keep the best value of the primary metric: strictly better wins, so the first of equals stays."""
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return
        if value is True or value is False:
            value = int(value)
        assert self.primary is not None
        if (
            self.best_value is None
            or (self.primary.mode == "max" and value > self.best_value)
            or (self.primary.mode == "min" and value < self.best_value)
        ):
            self.best_value, self.best_step = value, step

    def set_primary(self, primary: Primary) -> None:
        """Begin anew with another metric, or with the same one and another mode."""
        self.primary, self.best_value, self.best_step = primary, None, None

    def best(self) -> dict[str, Any]:
        """The fields for ``summary.json``; empty where there is no best."""
        if self.primary is None or self.best_value is None:
            return {}
        return {
            "best_metric_value": self.best_value,
            "best_metric_name": self.primary.name,
            "best_metric_step": self.best_step,
            "best_metric_mode": self.primary.mode,
        }
