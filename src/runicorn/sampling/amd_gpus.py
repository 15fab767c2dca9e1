"""AMD's GPUs: the kernel's driver gives their numbers in ``/sys``, and the processes that use them in ``/proc``."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.sampling import kernel_files
from runicorn.sampling.gpu_drivers import amd_cards
from runicorn.sampling.visible_gpus import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES = {
    "utilization_percent": ("gpu_busy_percent", 1.0),
    "memory_bytes": ("mem_info_vram_used", 1.0),
    "memory_total_bytes": ("mem_info_vram_total", 1.0),
    "temperature_c": ("hwmon/hwmon*/temp1_input", 1e-3),
    "power_w": ("hwmon/hwmon*/power1_average", 1e-6),
    "sm_clock_mhz": ("hwmon/hwmon*/freq1_input", 1e-6),
    "memory_clock_mhz": ("hwmon/hwmon*/freq2_input", 1e-6),
}
_NODES = "/dev/dri/"
_UNITS = {b"KiB": 1 << 10, b"MiB": 1 << 20}
_USED_BYTES = 16 << 20
"""ROCm opens every card that it sees, which takes less memory than this. A process uses a card if it has more there."""


class AmdGpus:
    """The GPUs of the training: those that the variable names, and those that one of its processes uses.

    Args:
        root: below which ``sys`` and ``proc`` are.
        visible: ``HIP_VISIBLE_DEVICES``; None if it is not set.
        first: the number that the first one gets.
    """

    def __init__(self, root: str, visible: str | None, first: int) -> None:
        self._proc = os.path.join(root, "proc")
        self._all = {f"gpu{first + index}": directory for index, directory in enumerate(amd_cards(root))}
        wanted = listed(visible)
        if wanted is None:
            self._mine = set(self._all) if len(self._all) == 1 else set()
        else:
            self._mine = {name for index, name in enumerate(self._all) if str(index) in wanted}

    def sample(self, pids: set[int]) -> dict[str, float]:
        """Their numbers; one that a GPU does not offer is missing.

        Args:
            pids: the processes of the training.
        """
        numbers: dict[str, float] = {}
        used = self._memory_of(pids)
        for gpu, directory in self._all.items():
            if gpu not in self._mine and used.get(gpu, 0) < _USED_BYTES:
                continue
            for name, (file, factor) in _FILES.items():
                for path in sorted(glob.glob(os.path.join(glob.escape(directory), file)))[:1]:
                    value = kernel_files.number(kernel_files.read(path))
                    if value is not None:
                        numbers[f"{gpu}/{name}"] = value if factor == 1 else round(value * factor, 3)
            if gpu in used:
                numbers[f"{gpu}/tree_memory_bytes"] = used[gpu]
        return numbers

    def _memory_of(self, pids: set[int]) -> dict[str, int]:
        """The memory of these processes on each GPU that they have opened."""
        gpu_of = {os.path.basename(os.path.realpath(directory)): gpu for gpu, directory in self._all.items()}
        clients: dict[tuple[str, bytes], int] = {}  # a forked child has the clients of its parent
        for told in (told for pid in pids for told in _opened(f"{self._proc}/{pid}")):
            gpu = gpu_of.get(os.fsdecode(told.get(b"drm-pdev", b"")))
            used_bytes = _size_bytes(told.get(b"drm-memory-vram", b""))
            if gpu is not None and used_bytes is not None:
                clients[gpu, told.get(b"drm-client-id", b"")] = used_bytes
        found: dict[str, int] = {}
        for (gpu, _), used_bytes in clients.items():
            found[gpu] = found.get(gpu, 0) + used_bytes
        return found

    def take_told(self) -> list[str]:
        """What is to be told: nothing."""
        return []


def _opened(process: str) -> Iterator[dict[bytes, bytes]]:
    """The kernel's facts, by name, on each graphics device that a process has open."""
    with suppress(OSError):  # it has ended, or is somebody else's
        for number in os.listdir(f"{process}/fd"):
            with suppress(OSError):
                if os.readlink(f"{process}/fd/{number}").startswith(_NODES):
                    lines = kernel_files.read(f"{process}/fdinfo/{number}").splitlines()
                    yield {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def _size_bytes(text: bytes) -> int | None:
    number, _, unit = text.partition(b" ")
    return int(number) * _UNITS.get(unit, 1) if number.isdigit() else None
