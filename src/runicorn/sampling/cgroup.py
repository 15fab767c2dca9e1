"""What the cgroups of the training allow and count: memory, CPU time, kills because memory was full; v1 and v2."""

from __future__ import annotations

from runicorn.host.memory_limit import MemoryLimit
from runicorn.sampling import kernel_files
from runicorn.sampling.kernel_files import percent

_NO_LIMIT_BYTES = 1 << 60


class CgroupUse:
    """Reads it of every level from a process's cgroup up; what is counted is told since the last call.

    Args:
        root: below which ``proc`` and the file system of the cgroups are.
        process: whose cgroup; ``self`` = that of this process.
    """

    def __init__(self, root: str = "/", process: str = "self") -> None:
        levels = MemoryLimit(root, process)
        self._memory = levels.levels("memory")
        self._cpu = levels.levels("cpu")
        self.kills = self._kills()
        self._first_kills = self.kills
        self._throttled_s = self._throttled()

    @property
    def kills_so_far(self) -> int:
        """How many processes of the cgroup were killed because memory was full, since this object was made."""
        return max(0, (self._kills() or 0) - (self._first_kills or 0))

    def sample(self) -> dict[str, float]:
        """What it allows and counts; a number is missing if no level has it."""
        sample: dict[str, float] = {}
        used = self._most_used()
        if used is not None:
            sample["memory_bytes"], limit = used
            if limit is not None:
                sample["memory_limit_bytes"] = limit
                sample["memory_percent"] = percent(used[0], limit)
        cores = [each for level in self._cpu for each in [_cores(*level)] if each is not None]
        if cores:
            sample["cpu_limit_cores"] = round(min(cores), 3)
        before, self._throttled_s = self._throttled_s, self._throttled()
        if before is not None and self._throttled_s is not None:
            sample["throttled_s"] = round(max(0.0, self._throttled_s - before), 3)
        kills, self.kills = self.kills, self._kills()
        if kills is not None and self.kills is not None:
            sample["oom_kills"] = max(0, self.kills - kills)
        return sample

    def _most_used(self) -> tuple[int, int | None] | None:
        """Memory in use and its limit, of the level that has the least left; without a limit those of the lowest."""
        found = [(used, limit) for level in self._memory for used, limit in [_memory(*level)] if used is not None]
        limited = [each for each in found if each[1] is not None]
        if limited:
            return min(limited, key=lambda each: (each[1] or 0) - each[0])
        return found[0] if found else None

    def _throttled(self) -> float | None:
        """Seconds for which CPU time was withheld, at the level where that was most."""
        found = [each for level in self._cpu for each in [_throttled_s(*level)] if each is not None]
        return max(found, default=None)

    def _kills(self) -> int | None:
        """Of the lowest level that counts them: processes of it, whichever level was full."""
        for directory, is_v2 in self._memory:
            name = "memory.events" if is_v2 else "memory.oom_control"
            kills = kernel_files.fields(kernel_files.read(f"{directory}/{name}")).get(b"oom_kill")
            if kills is not None:
                return kills
        return None


def _memory(directory: str, is_v2: bool) -> tuple[int | None, int | None]:
    names = ("memory.current", "memory.max") if is_v2 else ("memory.usage_in_bytes", "memory.limit_in_bytes")
    used, limit = (kernel_files.number(kernel_files.read(f"{directory}/{name}")) for name in names)
    return used, limit if limit is not None and 0 < limit < _NO_LIMIT_BYTES else None


def _cores(directory: str, is_v2: bool) -> float | None:
    """How many cores' time a level may have; None if it has no limit."""
    if is_v2:
        words = kernel_files.read(f"{directory}/cpu.max").split()
    else:
        words = [kernel_files.read(f"{directory}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[1]):  # "max", or -1
        return None
    return int(words[0]) / int(words[1])


def _throttled_s(directory: str, is_v2: bool) -> float | None:
    found = kernel_files.fields(kernel_files.read(f"{directory}/cpu.stat"))
    ticks = found.get(b"throttled_usec" if is_v2 else b"throttled_time")
    return None if ticks is None else ticks / (1e6 if is_v2 else 1e9)
