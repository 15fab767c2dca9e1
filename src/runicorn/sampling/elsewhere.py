"""The same of systems without ``/proc``, by psutil: fewer numbers, under the same names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection


class PortableTree:
    """The processes of a training.

    Args:
        leave_out: a process that does not count.

    Attributes:
        pids: the processes that were found last.
    """

    def __init__(self, leave_out: int = 0) -> None:
        self._leave_out = leave_out
        self._cpu_s: dict[int, float] = {}
        self._read_at: float | None = None
        self.pids: list[int] = []

    def sample(self, roots: Collection[int]) -> dict[str, float]:
        """What they use; rates are those since the last call."""
        found: dict[int, psutil.Process] = {}
        for root in roots:
            try:
                process = psutil.Process(root)
                found.update({each.pid: each for each in (process, *process.children(recursive=True))})
            except psutil.Error:
                continue
        found.pop(self._leave_out, None)
        sample: dict[str, float] = {"processes": 0, "threads": 0, "rss_bytes": 0}
        cpu_s: dict[int, float] = {}
        for pid, process in found.items():
            try:
                times, rss_bytes, threads = process.cpu_times(), process.memory_info().rss, process.num_threads()
            except psutil.Error:
                continue
            cpu_s[pid] = times.user + times.system
            sample["processes"] += 1
            sample["threads"] += threads
            sample["rss_bytes"] += rss_bytes
        now = time.monotonic()
        if self._read_at is not None:
            passed_s = max(1e-3, now - self._read_at)
            grown = {pid: max(0.0, seconds - self._cpu_s.get(pid, 0.0)) for pid, seconds in cpu_s.items()}
            sample["cpu_percent"] = round(100 * sum(grown.values()) / passed_s, 2)
            sample["children_cpu_percent"] = round(
                100 * sum(seconds for pid, seconds in grown.items() if pid not in roots) / passed_s, 2
            )
        self._cpu_s, self._read_at, self.pids = cpu_s, now, list(cpu_s)
        return sample


class PortableHost:
    """The host.

    Args:
        directories: of which the free room is told, by the name that they get.
    """

    def __init__(self, directories: dict[str, str]) -> None:
        self._directories = directories
        self._counters: dict[str, int] = {}
        self._read_at: float | None = None
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """What it does."""
        memory, network = psutil.virtual_memory(), psutil.net_io_counters()
        sample: dict[str, float] = {
            "cores": psutil.cpu_count() or 0,
            "cpu_percent": psutil.cpu_percent(),
            "load_1m": round(psutil.getloadavg()[0], 2),
            "memory_total_bytes": memory.total,
            "memory_available_bytes": memory.available,
            "memory_percent": memory.percent,
            "swap_used_bytes": psutil.swap_memory().used,
        }
        for name, directory in self._directories.items():
            try:
                room = psutil.disk_usage(directory)
            except OSError:
                continue
            sample[f"{name}_free_bytes"], sample[f"{name}_used_percent"] = room.free, room.percent
        now = time.monotonic()
        counters = {} if network is None else {
            "network_received_bytes": network.bytes_recv, "network_sent_bytes": network.bytes_sent
        }  # fmt: skip
        if self._read_at is not None:
            for name, count in counters.items():
                grown = max(0, count - self._counters.get(name, count))
                sample[f"{name}_per_s"] = round(grown / max(1e-3, now - self._read_at), 2)
        self._counters, self._read_at = counters, now
        return sample
