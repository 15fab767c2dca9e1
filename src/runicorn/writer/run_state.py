"""What the writer knows of a run beside its files: counts, the highest step, the best metric, how it ended."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from runicorn.host import identity
from runicorn.queue.asset_records import Blob, Chore, LastScan, WatchOutputs
from runicorn.queue.records import CONSOLE_MODES, End, Hello, Primary, Printed, Text
from runicorn.writer.overhead import Overhead
from runicorn.writer.pending import Pending  # noqa: TC001 - msgspec reads the annotations
from runicorn.writer.terminal import Screen

_MOST_SCREENS = 64
_BESIDE = " beside "


class RunState(
    msgspec.Struct,
    rename={  # the names in the plans of live spools
        "owner_seen": "owned",
        "overhead": "effort",
        "consumed": "spent",
        "pending": "held",
        "dropped_records": "lost_records",
        "missing_values": "lost_values",
    },
):
    """Carried from batch to batch, and in each plan as it was before the batch.

    Attributes:
        records: records stored in this session of the run.
        dropped_records: records that were refused because the spool was full.
        damaged_bytes: bytes of segments in which no frame could be read, though one was begun.
        last_time: wall clock of the newest record, epoch seconds.
        last_step: highest step stored by the owner; None before the first.
        primary: the metric that counts.
        best_value: its best value so far; None before the first finite one.
        best_step: the step of that.
        end: the owner's last record.
        owner_seen: whether the owner has logged anything.
        left: last records of ranks that are not the owner, by rank.
        ranks: ranks that have logged anything, each once.
        screens: what the terminals of producers show that is not a line of ``logs.txt`` yet, by rank and producer.
        chores: what is to be done beside the batches, and is not yet in the run's files, by number.
        chores_so_far: how many there have been.
        watches: the outputs that are watched, by who has asked for it.
        consumed: blobs of batches that are stored: they go as soon as the next plan is in place.
        refused_values: values and calls that were refused for what they are.
        overhead: what it has cost.
        pending: partial metrics whose values are still on a device.
        missing_values: values of device scalars that were never stored.
        troubles: what is missing in the run's files, or came late, and why.
        remarks: what the user may have expected to be there, and was not asked for.
    """

    records: int = 0
    dropped_records: int = 0
    damaged_bytes: int = 0
    last_time: float = 0.0
    last_step: int | None = None
    primary: Primary | None = None
    best_value: float | int | None = None
    best_step: int | None = None
    end: End | None = None
    owner_seen: bool = False
    left: dict[int, End] = {}
    ranks: list[int] = []
    screens: dict[str, Screen] = {}
    chores: dict[int, Chore] = {}
    chores_so_far: int = 0
    watches: dict[str, WatchOutputs] = {}
    consumed: list[Blob] = []
    refused_values: int = 0
    overhead: Overhead = msgspec.field(default_factory=Overhead)
    pending: Pending = {}
    missing_values: int = 0
    troubles: list[dict[str, Any]] = []
    remarks: list[str] = []

    def see_hello(self, hello: Hello) -> None:
        """Note who takes part."""
        if hello.is_owner:
            self.owner_seen = True
        elif hello.rank is not None and hello.rank not in self.ranks:
            self.ranks.append(hello.rank)

    def see_end(self, end: End, hello: Hello) -> None:
        """Note how the owner ended, or another rank."""
        if hello.is_owner:
            self.end = end
        elif hello.rank is not None:
            self.left[hello.rank] = end

    def see_printed(self, printed: Printed, hello: Hello, beside: str = "") -> list[tuple[float, str]]:
        """The lines that are final by what a producer has printed, each with its time.

        Args:
            printed: that.
            hello: of the producer.
            beside: of a segment that is read out of its turn its name: it has a screen of its own.
        """
        key = f"{hello.rank or 0}/{hello.producer}" + (_BESIDE + beside if beside else "")
        screen = self.screens.get(key)
        if screen is None:
            screen = self.screens[key] = Screen(CONSOLE_MODES[printed.mode])
        try:
            return screen.feed(printed.stream, printed.text, printed.time, printed.thread)
        except Exception:  # noqa: BLE001 - a fault of ours: as it came is better than not, and than no writer at all
            self.screens[key] = Screen(screen.mode)
            return [(printed.time, line) for line in printed.text.splitlines()]

    def see_text(self, text: Text, hello: Hello) -> list[tuple[float, str]]:
        """The lines that are final because their process logs one beside them: bars that have ended stand before it."""
        screen = self.screens.get(f"{hello.rank or 0}/{hello.producer}")
        return [] if screen is None else screen.settle(text.time)

    @property
    def has_read_out_of_turn(self) -> bool:
        """Whether a segment out of its turn has begun a line whose end has not come yet."""
        return any(_BESIDE in key for key in self.screens)

    def trim_screens(self, *, last: bool) -> list[tuple[int, list[tuple[float, str]]]]:
        """At the end of a batch: lines that became too long to wait, by rank; at the end of the last one, all."""
        found = []
        # Of very many producers the oldest, which may have gone, are not waited for.
        surplus = len(self.screens) - _MOST_SCREENS
        waited: dict[str, set[tuple[float, str]]] = {}  # by the producer's own screen, which comes first
        for number, (key, screen) in enumerate(list(self.screens.items())):
            lines = screen.flush() if last or number < surplus else screen.trim()
            there = waited.setdefault(key.partition(_BESIDE)[0], set())
            found.append((int(key.partition("/")[0]), [line for line in lines if line not in there]))
            there.update(lines)
            if screen == Screen(screen.mode):
                del self.screens[key]
        return found

    def add_chore(self, chore: Chore) -> None:
        """Have something done beside the batches."""
        self.chores_so_far += 1
        self.chores[self.chores_so_far] = chore

    def set_watch(self, watch: WatchOutputs, hello: Hello) -> None:
        """Watch what a producer asks for, instead of what it had asked for before; or scan once more, and stop."""
        before = self.watches.pop(hello.producer, None)
        if watch.scanning is not None:
            self.watches[hello.producer] = watch
        elif before is not None and before.scanning is not None:
            self.add_chore(LastScan(before.scanning))

    def end_watches(self) -> None:
        """The run ends: scan once more for everything that is watched."""
        for watch in self.distinct_watches():
            if watch.scanning is not None:
                self.add_chore(LastScan(watch.scanning))
        self.watches.clear()

    def distinct_watches(self) -> list[WatchOutputs]:
        """Each once: all ranks of a job ask for the same."""
        found: list[WatchOutputs] = []
        for watch in self.watches.values():
            if all(each.scanning != watch.scanning for each in found):
                found.append(watch)
        return found

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

    def overhead_fields(self) -> dict[str, Any]:
        """What tracking has cost, for ``summary.json``."""
        return {
            "records_stored": self.records,
            "values_refused": self.refused_values,
            "records_dropped": self.dropped_records,
            "device_values_lost": self.missing_values,
            "largest_backlog_bytes": self.overhead.largest_backlog_bytes,
            "writer_cpu_s": round(self.overhead.cpu_s, 3),
            "writer_peak_rss_bytes": identity.peak_rss_bytes(),
        }

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
