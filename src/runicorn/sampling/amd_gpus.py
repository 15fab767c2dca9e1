"""AMD's GPUs, as the kernel's driver tells of them in ``/sys``."""

from __future__ import annotations

import glob
import os

from runicorn.sampling import kernel_files
from runicorn.sampling.gpu_drivers import amd_cards
from runicorn.sampling.visible_gpus import listed

_FILES = {
    "utilization_percent": ("gpu_busy_percent", 1.0),
    "memory_bytes": ("mem_info_vram_used", 1.0),
    "memory_total_bytes": ("mem_info_vram_total", 1.0),
    "temperature_c": ("hwmon/hwmon*/temp1_input", 1e-3),
    "power_w": ("hwmon/hwmon*/power1_average", 1e-6),
    "sm_clock_mhz": ("hwmon/hwmon*/freq1_input", 1e-6),
    "memory_clock_mhz": ("hwmon/hwmon*/freq2_input", 1e-6),
}


class AmdGpus:
    """Reads them.

    Args:
        root: below which ``sys`` is.
        visible: ``HIP_VISIBLE_DEVICES``; None if it is not set.
        first: the number that the first one gets.
    """

    def __init__(self, root: str, visible: str | None, first: int) -> None:
        wanted = listed(visible)
        self._gpus = {
            f"gpu{first + index}": directory
            for index, directory in enumerate(amd_cards(root))
            if wanted is None or str(index) in wanted
        }

    def sample(self, _pids: set[int]) -> dict[str, float]:
        """Their numbers; one that a GPU does not offer is missing."""
        numbers: dict[str, float] = {}
        for gpu, directory in self._gpus.items():
            for name, (file, factor) in _FILES.items():
                for path in sorted(glob.glob(os.path.join(glob.escape(directory), file)))[:1]:
                    value = kernel_files.number(kernel_files.read(path))
                    if value is not None:
                        numbers[f"{gpu}/{name}"] = value if factor == 1 else round(value * factor, 3)
        return numbers

    def take_told(self) -> list[str]:
        """What is to be told: nothing."""
        return []
