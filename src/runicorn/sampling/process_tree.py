"""The processes of a training: those that log, their children, and theirs; what all of them use together."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runicorn.sampling import kernel_files
from runicorn.sampling.process_figures import (
    COUNTERS,
    ProcessFigures,
    figures,
    parent_of,
    proportional_bytes,
    rss_bytes_of,
    seconds_of,
    start_of,
    stat_fields,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    _Begin = tuple[tuple[float, ...], tuple[float, ...]]

_FORGET_EVERY = 6
"""Samples between two looks at all processes of the host: an id may have been given to a process of ours."""
_MOST_WALKED_BYTES = 8 << 30
_WALKING_S = 0.004
"""Average CPU time that counting pages may take per sample: after a longer count, some samples have none."""
_MOST_CHANGE = 0.05
_CPU = COUNTERS.index("cpu_s")


class ProcessTree:
    """Finds the processes, and reads them.

    Args:
        proc: the directory ``/proc``.
        leave_out: a process that does not count, nor do its children: the one that reads.

    Attributes:
        pids: the processes that were found last.
    """

    def __init__(self, proc: str = "/proc", leave_out: int = 0) -> None:
        self._proc = proc
        self._leave_out = leave_out
        self._others: set[int] = set()
        self._samples = 0
        self._before: dict[tuple[int, int], ProcessFigures] = {}
        self._read_at: float | None = None
        self._uptime_s = 0.0
        self._samples_without_walk = 0
        self.pids: list[int] = []

    def sample(self, roots: Collection[int]) -> dict[str, float]:
        """What they use; rates are those since the last call, and missing at the first.

        Args:
            roots: the processes that log.
        """
        now = time.monotonic()
        found = [figures(self._proc, pid, stat) for pid, stat in self._members(roots).items()]
        self.pids = [each.pid for each in found]
        sample = self._amounts(found, roots)
        if self._read_at is not None and found:
            sample.update(self._rates(found, now - self._read_at, roots))
        self._before = {(each.pid, each.start): each for each in found}
        self._read_at = now
        self._uptime_s = float((kernel_files.read(f"{self._proc}/uptime").split() or [b"0"])[0])
        return sample

    def _members(self, roots: Collection[int]) -> dict[int, list[bytes]]:
        """Each process of the tree that lives, with its line in the kernel's table."""
        if self._samples % _FORGET_EVERY == 0:
            self._others.clear()
        self._samples += 1
        listed = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        self._others &= listed
        stats = {pid: stat for pid in listed - self._others for stat in [stat_fields(self._proc, pid)] if stat}
        children: dict[int, list[int]] = {}
        for pid, stat in stats.items():
            children.setdefault(parent_of(stat), []).append(pid)
        members: dict[int, list[bytes]] = {}
        left = [pid for pid in roots if pid in stats or pid in self._others]
        while left:
            pid = left.pop()
            if pid in members or pid == self._leave_out:
                continue
            stat = stats.get(pid) or stat_fields(self._proc, pid)  # one that logs now, and did not before
            if stat:
                members[pid] = stat
                left += children.get(pid, ())
        self._others.update(stats.keys() - members.keys())
        return members

    def _amounts(self, found: list[ProcessFigures], roots: Collection[int]) -> dict[str, float]:
        if not found:
            return {"processes": 0}
        sample: dict[str, float] = {
            "processes": len(found),
            "threads": sum(each.threads for each in found),
            "rss_bytes": sum(each.rss_bytes for each in found),
            "shared_bytes": sum(each.shared_bytes for each in found),
            "open_files": sum(each.open_files for each in found),
        }
        pss_bytes = self._pss_bytes(found, roots)
        if pss_bytes is not None:
            sample["pss_bytes"] = pss_bytes
        return sample

    def _pss_bytes(self, found: list[ProcessFigures], roots: Collection[int]) -> int | None:
        """The memory of all processes, each page once; None if it would cost too much, or if they changed meanwhile.

        The kernel walks all pages of a process for it. If a process ends, the pages that it shared count more in the
        others. So all are counted one after the other, and the sum is used only if the same processes are there
        afterwards, with nearly the same memory.
        """
        if self._samples_without_walk:
            self._samples_without_walk -= 1
            return None
        if sum(each.rss_bytes for each in found) > _MOST_WALKED_BYTES:
            return None
        begun = time.thread_time()
        pss_bytes = self._walked_bytes(found)
        has_changed = self._has_changed(found, roots)
        self._samples_without_walk = int((time.thread_time() - begun) / _WALKING_S)
        return None if has_changed else pss_bytes

    def _walked_bytes(self, found: list[ProcessFigures]) -> int | None:
        together = 0
        for each in found:
            pss_bytes = proportional_bytes(self._proc, each.pid)
            if pss_bytes is None:
                return None
            together += pss_bytes
        return together

    def _has_changed(self, found: list[ProcessFigures], roots: Collection[int]) -> bool:
        """Whether there are other processes now, or their memory has changed by more than ``_MOST_CHANGE``."""
        rss_bytes = {(pid, start_of(stat)): rss_bytes_of(stat) for pid, stat in self._members(roots).items()}
        if rss_bytes.keys() != {(each.pid, each.start) for each in found}:
            return True
        before = sum(each.rss_bytes for each in found)
        return abs(sum(rss_bytes.values()) - before) > _MOST_CHANGE * before

    def _rates(self, found: list[ProcessFigures], passed_s: float, roots: Collection[int]) -> dict[str, float]:
        passed_s = max(passed_s, 1e-3)
        begun = [self._at_begin(each) for each in found]
        used = [self._used(found, begun, at) for at in range(len(COUNTERS))]
        pairs = zip(found, begun, strict=True)
        own_s = sum(each.own[_CPU] - before[0][_CPU] for each, before in pairs if each.pid in roots)
        sample = {f"{name}_per_s": round(used[at] / passed_s, 2) for at, name in enumerate(COUNTERS) if at != _CPU}
        sample["cpu_percent"] = kernel_files.percent(used[_CPU], passed_s)
        sample["children_cpu_percent"] = kernel_files.percent(max(0.0, used[_CPU] - own_s), passed_s)
        return sample

    def _at_begin(self, each: ProcessFigures) -> _Begin:
        """What it had at the last sample: nothing if it began later, all of it if it came to log meanwhile."""
        before = self._before.get((each.pid, each.start))
        if before is not None:
            return before.own, before.with_children
        if seconds_of(each.start) < self._uptime_s - 0.05:
            return each.own, each.with_children
        return _NOTHING, _NOTHING

    def _used(self, found: list[ProcessFigures], begun: list[_Begin], at: int) -> float:
        """How much a counter of all of them has grown.

        What a process had that has ended is in those of who waited for its end. If nobody did, nobody knows it.
        """
        living = {(each.pid, each.start) for each in found}
        gone = sum(before.with_children[at] for key, before in self._before.items() if key not in living)
        together = sum(each.with_children[at] for each in found) - sum(before[1][at] for before in begun) - gone
        own = sum(max(0.0, each.own[at] - before[0][at]) for each, before in zip(found, begun, strict=True))
        return max(together, own)


_NOTHING = (0.0,) * len(COUNTERS)
