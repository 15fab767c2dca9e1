"""What the samples of a run come to: means, peaks, and the sentences that follow from them, each with its numbers."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import msgspec

from runicorn.sampling.machine_sampler import INTERVAL, TIME

UTILIZATION, MEMORY, MEMORY_TOTAL = "utilization_percent", "memory_bytes", "memory_total_bytes"
_IDLE_PERCENT = 5.0
_MOST_READ_BYTES = 64 << 20
_MOST_POINTS = 512
_PLAIN_S = 30.0
"""Of a shorter run no sentence is said: its numbers are those of its start."""
_GROWING_S = 600.0
_LEAST_GROWTH_BYTES = 100 << 20
_LEAST_STEP = 0.02
_BEYOND = 1e300
_MOST = 1e15
"""What a line of the file may say that anybody may have changed: sums of such numbers can still be written."""
_JUST_NOW_S = 30.0
"""Within this time after a kill, the writer finds that the process is gone, and takes one more sample."""
_MUCH_PERCENT = {"idle": 20.0, "busy": 90.0, "throttled": 5.0}


class _Mean(msgspec.Struct):
    """Of numbers, each with the seconds that it stands for."""

    total: float = 0.0
    seconds: float = 0.0
    peak: float = 0.0

    def add(self, value: float, seconds: float) -> None:
        self.total += value * seconds
        self.seconds += seconds
        self.peak = max(self.peak, value)

    @property
    def mean(self) -> float:
        return round(self.total / self.seconds, 2) if self.seconds else 0.0


class _Memory:
    """Memory over the time of a run; if the run is long, some points are left out."""

    def __init__(self) -> None:
        self.peak_bytes = 0.0
        self._points: list[tuple[float, float]] = []
        self._added = 0
        self._every = 1

    def add(self, time_s: float, size_bytes: float) -> None:
        self.peak_bytes = max(self.peak_bytes, size_bytes)
        self._added += 1
        if self._added % self._every == 0:
            self._points.append((time_s, size_bytes))
        if len(self._points) > _MOST_POINTS:
            del self._points[::2]
            self._every *= 2

    @property
    def is_long(self) -> bool:
        """Whether there are enough points to say whether memory grows."""
        return len(self._points) >= 8 and self._points[-1][0] - self._points[0][0] >= _GROWING_S

    def growth_per_h(self) -> int | None:
        """Growth in bytes an hour; None if memory does not clearly grow in each of the last three quarters."""
        if not self.is_long:
            return None
        first, last = self._points[0][0], self._points[-1][0]
        quarters: list[list[float]] = [[], [], [], []]
        for time_s, size_bytes in self._points:
            quarter = int(4 * (time_s - first) / (last - first))
            quarters[max(0, min(3, quarter))].append(size_bytes)  # a clock may be set
        if not all(quarters):
            return None
        _, second, third, fourth = (sum(each) / len(each) for each in quarters)
        step = _LEAST_STEP * fourth
        if third - second < step or fourth - third < step or fourth - second < _LEAST_GROWTH_BYTES:
            return None
        return int((fourth - second) / ((last - first) / 2) * 3600)


class MachineInsight:
    """Takes the samples of a run one by one."""

    def __init__(self) -> None:
        self._samples = 0
        self._sampled_s = 0.0
        self._means: dict[str, _Mean] = {}
        self._last: dict[str, float] = {}
        self._totals = {"cgroup/throttled_s": 0.0, "cgroup/oom_kills": 0.0}
        self._kills: list[tuple[float, float]] = []
        self._rss, self._pss = _Memory(), _Memory()

    @classmethod
    def of_file(cls, fd: int | None) -> MachineInsight:
        """What an earlier session, or an earlier writer, has sampled.

        Args:
            fd: of its file, which is closed; None = there is none.
        """
        if fd is None:
            return cls()
        with os.fdopen(fd, "rb") as file:
            return cls.of_lines(file)

    @classmethod
    def of_lines(cls, file: BinaryIO) -> MachineInsight:
        """The same of an open file; of a very long one its last lines."""
        found = cls()
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_READ_BYTES))
        for line in file:
            found._add_line(line)
        return found

    def _add_line(self, line: bytes) -> None:
        try:
            sample = _decode(line)
        except (msgspec.DecodeError, RecursionError):  # torn, or not ours
            return
        self.add({name: value for name, value in sample.items() if type(value) in {int, float} and abs(value) < _MOST})

    def add(self, sample: dict[str, float]) -> None:
        """Count a sample in."""
        seconds = sample.get(INTERVAL, 0.0)
        self._samples += 1
        self._sampled_s += seconds
        for name in self._totals:
            self._totals[name] = min(self._totals[name] + sample.get(name, 0), _MOST)
        now = sample.get(TIME, 0.0)
        kills = [*self._kills, (now, sample.get("cgroup/oom_kills", 0))]
        self._kills = [(at, count) for at, count in kills if count and now - at <= _JUST_NOW_S]
        for name, value in sample.items():
            if name in _AVERAGED or (name.startswith("gpu") and name.partition("/")[2] in {UTILIZATION, MEMORY}):
                self._means.setdefault(name, _Mean()).add(value, seconds)
                if name.endswith(UTILIZATION):
                    idle = name.removesuffix(UTILIZATION) + "idle"
                    self._means.setdefault(idle, _Mean()).add(100.0 * (value < _IDLE_PERCENT), seconds)
        for memory, name in ((self._rss, "tree/rss_bytes"), (self._pss, "tree/pss_bytes")):
            if name in sample and TIME in sample:
                memory.add(sample[TIME], sample[name])
        self._last.update(sample)

    def fields(self) -> dict[str, Any]:
        """The numbers for ``summary.json``; empty without a sample."""
        if not self._samples:
            return {}
        found: dict[str, Any] = {"samples": self._samples, "sampled_s": round(self._sampled_s, 3)}
        for name, mean in self._means.items():
            if name in _AVERAGED:
                found[f"{_AVERAGED[name]}_mean_percent"] = mean.mean
                found[f"{_AVERAGED[name]}_peak_percent"] = mean.peak
        peaks = (("memory_peak_bytes", self._rss), ("memory_shared_once_peak_bytes", self._pss))
        found.update({name: int(memory.peak_bytes) for name, memory in peaks if memory.peak_bytes})
        growth = (self._pss if self._pss.is_long else self._rss).growth_per_h()
        if growth is not None:
            found["memory_growth_bytes_per_h"] = growth
        cores = self._last.get("cgroup/cpu_limit_cores", self._last.get("host/cores"))
        if cores:
            found["cores"] = cores
        if "cgroup/memory_limit_bytes" in self._last:
            found["cgroup_memory_limit_bytes"] = int(self._last["cgroup/memory_limit_bytes"])
        if "cgroup/throttled_s" in self._last:
            found["throttled_s"] = round(self._totals["cgroup/throttled_s"], 3)
        if "cgroup/oom_kills" in self._last:
            found["oom_kills"] = int(self._totals["cgroup/oom_kills"])
        gpus = {name.partition("/")[0] for name in self._means if name.startswith("gpu")}
        if gpus:
            found["gpus"] = {gpu: self._gpu(gpu) for gpu in sorted(gpus)}
        return found

    def _gpu(self, gpu: str) -> dict[str, float]:
        found: dict[str, float] = {}
        use, idle, memory = (self._means.get(f"{gpu}/{name}") for name in (UTILIZATION, "idle", MEMORY))
        if use is not None and idle is not None:
            found["utilization_mean_percent"], found["utilization_peak_percent"] = use.mean, use.peak
            found["idle_percent"] = idle.mean
        if memory is not None:
            found["memory_mean_bytes"], found["memory_peak_bytes"] = int(memory.mean), int(memory.peak)
        if f"{gpu}/{MEMORY_TOTAL}" in self._last:
            found["memory_total_bytes"] = int(self._last[f"{gpu}/{MEMORY_TOTAL}"])
        return found

    def why_killed(self) -> str:
        """What the cgroup says about a kill that has just been; empty if it has counted none."""
        kills = int(sum(count for _, count in self._kills))
        if not kills:
            return ""
        used, limit = self._means.get("cgroup/memory_percent"), self._last.get("cgroup/memory_limit_bytes")
        share = ""
        if used is not None and limit:
            share = f"; at most {used.peak:.0f} % of its {_size(limit)} were seen in use"
        return f"out of memory: the cgroup counted {kills} kill{'s' * (kills > 1)}{share}"


_AVERAGED = {
    "tree/cpu_percent": "cpu",
    "tree/children_cpu_percent": "children_cpu",
    "host/cpu_percent": "host_cpu",
    "host/memory_percent": "host_memory",
    "cgroup/memory_percent": "cgroup_memory",
}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def sentences(fields: dict[str, Any]) -> list[str]:
    """What is clear from the numbers of a run, in sentences.

    Args:
        fields: as ``MachineInsight.fields()`` has them, read from a file that anybody may have changed.
    """
    sampled_s = _number(fields, "sampled_s")
    found = []
    if sampled_s >= _PLAIN_S:
        found += _of_work(fields)
        throttled_s = _number(fields, "throttled_s")
        if 100 * throttled_s >= _MUCH_PERCENT["throttled"] * sampled_s:
            found.append(f"The cgroup withheld CPU time for {throttled_s:,.0f} s of {sampled_s:,.0f} s.")
    growth = _number(fields, "memory_growth_bytes_per_h")
    if growth > 0:
        found.append(f"Memory grew by {_size(growth)} an hour.")
    kills = int(_number(fields, "oom_kills"))
    if kills > 0:
        limit, most = _number(fields, "cgroup_memory_limit_bytes"), _number(fields, "cgroup_memory_peak_percent")
        share = f"; at most {most:.0f} % of its {_size(limit)} were seen in use" if limit else ""
        found.append(f"The cgroup counted {kills} kill{'s' * (kills > 1)} because memory was full{share}.")
    return found


def _of_work(fields: dict[str, Any]) -> list[str]:
    """Which GPU waited, and what the child processes did meanwhile."""
    gpus = fields.get("gpus")
    waited = []
    for name, gpu in gpus.items() if isinstance(gpus, dict) else ():
        idle = _number(gpu, "idle_percent") if isinstance(gpu, dict) else 0.0
        if idle >= _MUCH_PERCENT["idle"]:
            waited.append(f"GPU {str(name).removeprefix('gpu')} was idle {idle:.0f} % of the time")
    cores = _number(fields, "cores")
    busy = _number(fields, "children_cpu_mean_percent") / cores if cores else 0.0
    children = ""
    if busy >= _MUCH_PERCENT["busy"]:
        children = f"the training's child processes used {busy:.0f} % of {cores:g} core{'s' * (cores != 1)}"
    parts = ["; ".join(waited[:8]), children]
    text = "; ".join(part for part in parts if part)
    return [f"{text[0].upper()}{text[1:]}."] if text else []


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    return float(value) if isinstance(value, (int, float)) and abs(value) < _BEYOND else 0.0


def _size(size_bytes: float) -> str:
    """As ``3.2 GB``."""
    for unit_bytes, name in ((1e12, "TB"), (1e9, "GB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {name}"
    return f"{size_bytes / 1e6:.0f} MB"
