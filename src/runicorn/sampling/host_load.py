"""What the whole host does: cores, memory, swap, disks, network, shared memory."""

from __future__ import annotations

import os
import time

from runicorn.sampling import kernel_files
from runicorn.sampling.kernel_files import percent

_BUSY_PERCENT = 90
_IDLE, _IOWAIT, _GUEST = 3, 4, 8  # guest time is in user time too
_SECTOR_BYTES = 512
_READ_SECTORS, _WRITTEN_SECTORS = 2, 6
_RECEIVED, _SENT = 0, 8


class HostLoad:
    """Reads it; rates are those since the last call, and missing at the first.

    Args:
        root: below which ``proc`` and ``sys`` are.
        directories: of which the free room and the disk are told, by the name that they get.
        shm: the directory in shared memory.
    """

    def __init__(self, root: str, directories: dict[str, str], shm: str) -> None:
        self._proc = os.path.join(root, "proc")
        self._sys = os.path.join(root, "sys")
        self._directories = directories
        self._shm = shm
        self._cores: list[tuple[int, int, int]] = []
        self._counters: dict[str, int] = {}
        self._read_at: float | None = None

    def sample(self) -> dict[str, float]:
        """What it does."""
        sample = {**self._cpu(), **self._memory(), **_room("shm", self._shm)}
        for name, directory in self._directories.items():
            sample.update(_room(name, directory))
        now, counters = time.monotonic(), self._counted()
        if self._read_at is not None:
            passed_s = max(1e-3, now - self._read_at)
            for name, count in counters.items():
                grown = count - self._counters.get(name, count)
                if grown >= 0:  # an interface that is gone, or counts anew
                    sample[f"{name}_per_s"] = round(grown / passed_s, 2)
        self._counters, self._read_at = counters, now
        return sample

    def _cpu(self) -> dict[str, float]:
        lines = [line.split() for line in kernel_files.read(f"{self._proc}/stat").splitlines() if line[:3] == b"cpu"]
        cores = [_core([int(word) for word in line[1:]]) for line in lines]
        before, self._cores = self._cores, cores
        sample: dict[str, float] = {"cores": max(0, len(cores) - 1)}
        for name, word in zip(("load_1m", "load_5m"), kernel_files.read(f"{self._proc}/loadavg").split(), strict=False):
            sample[name] = float(word)
        if len(before) == len(cores) > 1:
            grown = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in zip(before, cores, strict=True)]
            busy = [percent(used, whole) for used, _, whole in grown]
            sample["cpu_percent"] = busy[0]
            sample["iowait_percent"] = percent(grown[0][1], grown[0][2])
            sample["busiest_core_percent"] = max(busy[1:])
            sample["busy_cores"] = sum(each >= _BUSY_PERCENT for each in busy[1:])
        return sample

    def _memory(self) -> dict[str, float]:
        found = kernel_files.fields(kernel_files.read(f"{self._proc}/meminfo"))
        total, available = found.get(b"MemTotal"), found.get(b"MemAvailable")
        if total is None or available is None:
            return {}
        return {
            "memory_total_bytes": 1024 * total,
            "memory_available_bytes": 1024 * available,
            "memory_percent": percent(total - available, total),
            "swap_used_bytes": 1024 * (found.get(b"SwapTotal", 0) - found.get(b"SwapFree", 0)),
        }

    def _counted(self) -> dict[str, int]:
        counters: dict[str, int] = {}
        interfaces = kernel_files.read(f"{self._proc}/net/dev").splitlines()[2:]
        numbers = [line.partition(b":")[2].split() for line in interfaces if line.split(b":")[0].strip() != b"lo"]
        numbers = [each for each in numbers if len(each) > _SENT]
        if numbers:
            counters["network_received_bytes"] = sum(int(each[_RECEIVED]) for each in numbers)
            counters["network_sent_bytes"] = sum(int(each[_SENT]) for each in numbers)
        for name, directory in self._directories.items():
            sectors = self._disk(directory)
            if len(sectors) > _WRITTEN_SECTORS:
                counters[f"{name}_read_bytes"] = _SECTOR_BYTES * int(sectors[_READ_SECTORS])
                counters[f"{name}_written_bytes"] = _SECTOR_BYTES * int(sectors[_WRITTEN_SECTORS])
        return counters

    def _disk(self, directory: str) -> list[bytes]:
        """The counters of the disk that a directory is on; empty if it is on none: on the network, or in memory."""
        try:
            device = os.stat(directory).st_dev
        except OSError:
            return []
        return kernel_files.read(f"{self._sys}/dev/block/{os.major(device)}:{os.minor(device)}/stat").split()


def _core(ticks: list[int]) -> tuple[int, int, int]:
    """Busy, waiting for disks, and altogether."""
    whole = sum(ticks[:_GUEST])
    return whole - ticks[_IDLE] - ticks[_IOWAIT], ticks[_IOWAIT], whole


def _room(name: str, directory: str) -> dict[str, float]:
    try:
        found = os.statvfs(directory)
    except (OSError, AttributeError):
        return {}
    whole, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return {f"{name}_free_bytes": free, f"{name}_used_percent": percent(whole - free, whole)}
