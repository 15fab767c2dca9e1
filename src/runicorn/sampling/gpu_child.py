"""The process that asks the drivers of GPUs: each line that it reads is answered by one, until there are no more."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

_SET_DEATH_SIGNAL = 1


def main(root: str) -> None:
    """Answer.

    Args:
        root: below which the kernel's files are.
    """
    parent = os.getppid()
    with suppress(OSError, AttributeError):  # a call that hangs does not read that there is no more to answer
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    told: list[str] = []
    readers: list[Any] = []
    first = _nvidia(readers, told)
    _amd(readers, root, first)
    for line in sys.stdin:
        pids, numbers = set(json.loads(line)), dict[str, float]()
        for reader in readers:
            numbers.update(reader.sample(pids))
            told += reader.take_told()
        sys.stdout.write(json.dumps({"numbers": numbers, "tell": told}) + "\n")
        sys.stdout.flush()
        told = []


def _nvidia(readers: list[Any], told: list[str]) -> int:
    """Begin to read NVIDIA's; how many there are."""
    try:
        from runicorn.sampling.nvidia_gpus import NvidiaGpus

        reader = NvidiaGpus(os.environ.get("CUDA_VISIBLE_DEVICES"), sees_processes=_sees_processes())
    except ImportError:
        told.append("NVIDIA's GPUs are not sampled: nvidia-ml-py is missing. Install it: pip install 'runicorn[gpu]'")
        return 0
    except Exception as error:  # noqa: BLE001 - there is no driver, or one that says no
        told.append(f"NVIDIA's GPUs are not sampled: {error}")
        return 0
    readers.append(reader)
    count: int = reader.count
    return count


def _amd(readers: list[Any], root: str, first: int) -> None:
    from runicorn.sampling.amd_gpus import AmdGpus
    from runicorn.sampling.gpu_drivers import amd_cards

    if amd_cards(root):
        visible = os.environ.get("HIP_VISIBLE_DEVICES", os.environ.get("ROCR_VISIBLE_DEVICES"))
        readers.append(AmdGpus(root, visible, first))


def _sees_processes() -> bool:
    """Whether process ids that a driver tells mean the same here: not in a container with ids of its own."""
    try:
        return os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"  # the kernel's first, always of this number
    except OSError:
        return False
