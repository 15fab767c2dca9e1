"""What other trackers have sampled of a machine, by our names: the lines of ``system.jsonl``.

A number gets our name if it is the same figure; else it keeps its own, with its unit. Sizes become bytes.
"""

from __future__ import annotations

import heapq
import math
import re
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.importing.foreign_values import as_float
from runicorn.importing.source_runs import Sample
from runicorn.sampling.machine_sampler import INTERVAL, TIME
from runicorn.storage.escaping import escape
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Told

_MIB, _GIB = 1 << 20, 1 << 30
_WANDB = {
    r"memory_percent": ("host/memory_percent", 1),
    r"gpu\.(\d+)\.gpu": (r"gpu\1/utilization_percent", 1),
    r"gpu\.(\d+)\.memory": (r"gpu\1/memory_utilization_percent", 1),
    r"gpu\.(\d+)\.memoryAllocatedBytes": (r"gpu\1/memory_bytes", 1),
    r"gpu\.(\d+)\.temp": (r"gpu\1/temperature_c", 1),
    r"gpu\.(\d+)\.powerWatts": (r"gpu\1/power_w", 1),
    r"gpu\.(\d+)\.enforcedPowerLimitWatts": (r"gpu\1/power_limit_w", 1),
    r"gpu\.(\d+)\.smClock": (r"gpu\1/sm_clock_mhz", 1),
    r"gpu\.(\d+)\.memoryClock": (r"gpu\1/memory_clock_mhz", 1),
    r"gpu\.(\d+)\.uncorrectedMemoryErrors": (r"gpu\1/ecc_errors", 1),
}
_SWANLAB = {
    r"cpu\.pct": ("host/cpu_percent", 1),
    r"mem\.pct": ("host/memory_percent", 1),
    r"gpu\.(\d+)\.pct": (r"gpu\1/utilization_percent", 1),
    r"gpu\.(\d+)\.mem\.time": (r"gpu\1/memory_utilization_percent", 1),
    r"gpu\.(\d+)\.mem\.value": (r"gpu\1/memory_bytes", _MIB),
    r"gpu\.(\d+)\.temp": (r"gpu\1/temperature_c", 1),
    r"gpu\.(\d+)\.power": (r"gpu\1/power_w", 1),
}
_MLFLOW = {
    r"((?:.+/)?)cpu_utilization_percentage": (r"\1host/cpu_percent", 1),
    r"((?:.+/)?)gpu_(\d+)_utilization_percentage": (r"\1gpu\2/utilization_percent", 1),
    r"((?:.+/)?)gpu_(\d+)_memory_usage_megabytes": (r"\1gpu\2/memory_bytes", 10**6),
    r"((?:.+/)?)gpu_(\d+)_memory_usage_gigabytes": (r"\1gpu\2/memory_bytes", 10**9),
    r"((?:.+/)?)gpu_(\d+)_power_usage_watts": (r"\1gpu\2/power_w", 1),
}
_TRACKIO = {
    r"cpu/utilization": ("host/cpu_percent", 1),
    r"cpu/count_logical": ("host/cores", 1),
    r"memory/percent": ("host/memory_percent", 1),
    r"memory/total": ("host/memory_total_bytes", _GIB),
    r"memory/available": ("host/memory_available_bytes", _GIB),
    r"swap/used": ("host/swap_used_bytes", _GIB),
    r"gpu/(\d+)/utilization": (r"gpu\1/utilization_percent", 1),
    r"gpu/(\d+)/memory_utilization": (r"gpu\1/memory_utilization_percent", 1),
    r"gpu/(\d+)/allocated_memory": (r"gpu\1/memory_bytes", _GIB),
    r"gpu/(\d+)/total_memory": (r"gpu\1/memory_total_bytes", _GIB),
    r"gpu/(\d+)/temp": (r"gpu\1/temperature_c", 1),
    r"gpu/(\d+)/power": (r"gpu\1/power_w", 1),
    r"gpu/(\d+)/power_limit": (r"gpu\1/power_limit_w", 1),
    r"gpu/(\d+)/sm_clock": (r"gpu\1/sm_clock_mhz", 1),
    r"gpu/(\d+)/memory_clock": (r"gpu\1/memory_clock_mhz", 1),
    r"gpu/(\d+)/uncorrected_memory_errors": (r"gpu\1/ecc_errors", 1),
}
_NEPTUNE = {  # without cpu and memory: they may be those of a container, or those of the host
    r"((?:.+/)?)gpu": (r"\1gpu0/utilization_percent", 1),
    r"((?:.+/)?)gpu_(\d+)": (r"\1gpu\2/utilization_percent", 1),
    r"((?:.+/)?)gpu_memory": (r"\1gpu0/memory_bytes", _GIB),
    r"((?:.+/)?)gpu_memory_(\d+)": (r"\1gpu\2/memory_bytes", _GIB),
}
_AIM = {
    r"memory_percent": ("host/memory_percent", 1),
    r"gpu/(\d+)/gpu": (r"gpu\1/utilization_percent", 1),
    r"gpu/(\d+)/gpu_temp": (r"gpu\1/temperature_c", 1),
    r"gpu/(\d+)/gpu_power_watts": (r"gpu\1/power_w", 1),
}
_NAMES = {
    "wandb": _WANDB,
    "swanlab": _SWANLAB,
    "mlflow": _MLFLOW,
    "trackio": _TRACKIO,
    "neptune": _NEPTUNE,
    "jsonl": _AIM,
}
"""By format, then by the whole name there: ours, and what a number is multiplied with."""
_OWN = frozenset({TIME, INTERVAL, ""})
_encode = msgspec.json.Encoder().encode


class MachineSamples:
    """Makes lines of samples; those of one moment that follow one another are one.

    Args:
        form: the format's name.
        told: where what is no number is counted.

    Attributes:
        count: of the lines.
    """

    def __init__(self, form: str, told: Told) -> None:
        self.count = 0
        self._patterns = [(re.compile(name), *ours) for name, ours in _NAMES.get(form, {}).items()]
        self._told = told
        self._names: dict[str, tuple[str, int]] = {}
        self._time_s = 0.0
        self._waiting: dict[str, float] = {}
        self._last_s: float | None = None

    def add(self, sample: Sample) -> bytes:
        """Take a sample; the line that is whole with that, or nothing."""
        numbers = self._numbers(sample.data)
        if not numbers or not math.isfinite(sample.time):
            return b""
        line = b""
        if sample.time != self._time_s or not self._waiting.keys().isdisjoint(numbers):
            line = self.rest()
        self._time_s = sample.time
        self._waiting.update(numbers)
        return line

    def rest(self) -> bytes:
        """The line of what waits, or nothing."""
        if not self._waiting:
            return b""
        line: dict[str, float] = {TIME: self._time_s}
        if self._last_s is not None and self._time_s > self._last_s:
            line[INTERVAL] = round(self._time_s - self._last_s, 3)
        self._last_s = self._time_s
        line.update(self._waiting)
        self._waiting = {}
        self.count += 1
        return _encode(line) + b"\n"

    def _numbers(self, data: dict[str, Any]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, value in data.items():
            if type(value) not in {int, float} or not math.isfinite(number := _of_64_bit(value)):
                self._told.leave_out("values of the machine that are no finite numbers")
                continue
            ours, factor = self._names.get(name) or self._names.setdefault(name, self._ours(name))
            if ours in found or (ours != name and ours in data):  # the source has that name too
                ours, factor = name, 1
            found[ours] = number if factor == 1 else round(number * factor)
        return found

    def _ours(self, name: str) -> tuple[str, int]:
        for pattern, ours, factor in self._patterns:
            match = pattern.fullmatch(name)
            if match is not None:
                return escape(match.expand(ours)), factor
        plain = escape(name)
        return f"{plain}_" if plain in _OWN else plain, 1


class SampleSeries:
    """Merges series of numbers, if a source gives one series after the other."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[array[float], array[float]]] = {}

    def add(self, name: str, time_s: float, value: float) -> None:
        """Take a number."""
        times, values = self._series.setdefault(name, (array("d"), array("d")))
        times.append(time_s)
        values.append(value)

    def samples(self) -> Iterator[Sample]:
        """A sample for each number, in the order of their times."""
        series = [_sorted(name, *each) for name, each in self._series.items()]
        for time_s, name, value in heapq.merge(*series):
            yield Sample(time_s, {name: value})


def _sorted(name: str, times: array[float], values: array[float]) -> Iterator[tuple[float, str, float]]:
    order = sorted(range(len(times)), key=times.__getitem__)
    return ((times[number], name, values[number]) for number in order)


def _of_64_bit(value: float) -> float:
    return as_float(value) if type(value) is int and not LOWEST_INT <= value <= HIGHEST_INT else value
