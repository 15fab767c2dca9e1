"""Whether there is a driver of GPUs: most hosts have none, and what asks one is not imported there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.sampling.gpu_probe import GpuProbe

_NVIDIA = ("dev/nvidiactl", "proc/driver/nvidia/version", "dev/dxg")
_CARDS, _AMD = "sys/class/drm", "device/mem_info_vram_total"


def find(root: str, tell: Callable[[str], None]) -> GpuProbe | None:
    """A probe, if there is a driver of GPUs; None if there is none, or the system is not Linux.

    Args:
        root: below which the kernel's files are.
        tell: takes what is wrong, in words.
    """
    has_nvidia = any(os.path.exists(os.path.join(root, name)) for name in _NVIDIA)
    if sys.platform != "linux" or not (has_nvidia or amd_cards(root)):
        return None
    from runicorn.sampling.gpu_probe import GpuProbe

    return GpuProbe(root, tell)


def amd_cards(root: str) -> list[str]:
    """The directories of AMD's GPUs, in the order of their cards."""
    above = os.path.join(root, _CARDS)
    try:
        names = [name for name in os.listdir(above) if name.startswith("card") and name[4:].isdigit()]
    except OSError:
        return []
    found = [os.path.join(above, name) for name in sorted(names, key=lambda name: int(name[4:]))]
    return [os.path.join(card, "device") for card in found if os.path.exists(os.path.join(card, _AMD))]
