"""What the kernel tells of one process: a line of numbers each in four files of ``/proc``."""

from __future__ import annotations

import os
from typing import NamedTuple

from runicorn.sampling import kernel_files

COUNTERS = (
    "cpu_s",
    "minor_faults",
    "major_faults",
    "read_chars",
    "written_chars",
    "read_bytes",
    "written_bytes",
    "context_switches",
)
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_PARENT, _FAULTS, _CPU, _THREADS, _START, _RSS = 1, 7, 11, 17, 19, 21
_NONE_MOVED = (0, 0, 0, 0)


class ProcessFigures(NamedTuple):
    """One process at one moment.

    Attributes:
        pid: its id.
        start: clock ticks since boot; with the id it names the process.
        threads: how many it has.
        rss_bytes: resident memory.
        shared_bytes: of that, what other processes may map too: files, and shared memory.
        open_files: descriptors.
        own: since its start, in the order of ``COUNTERS``; 0 if that is known only with its children.
        with_children: with what its children had when it waited for their end; 0 if that is known only without them.
    """

    pid: int
    start: int
    threads: int
    rss_bytes: int
    shared_bytes: int
    open_files: int
    own: tuple[float, ...]
    with_children: tuple[float, ...]


def stat_fields(proc: str, pid: int) -> list[bytes]:
    """A process's line in the kernel's table, from its state on; empty if it is gone."""
    return kernel_files.read(f"{proc}/{pid}/stat").rpartition(b")")[2].split()


def parent_of(stat: list[bytes]) -> int:
    """Who has started it, or who has it now."""
    return int(stat[_PARENT])


def start_of(stat: list[bytes]) -> int:
    """When the process was started, in clock ticks since boot."""
    return int(stat[_START])


def rss_bytes_of(stat: list[bytes]) -> int:
    """The resident memory of the process."""
    return int(stat[_RSS]) * _PAGE_BYTES


def seconds_of(start: int) -> float:
    """Clock ticks as seconds."""
    return start / _TICKS


def figures(proc: str, pid: int, stat: list[bytes]) -> ProcessFigures:
    """What else there is to know of a process.

    Args:
        proc: the directory ``/proc``.
        pid: of the process.
        stat: its line.
    """
    directory = f"{proc}/{pid}"
    minor, minor_children, major, major_children = map(int, stat[_FAULTS : _FAULTS + 4])
    user, system, user_children, system_children = map(int, stat[_CPU : _CPU + 4])
    statm = kernel_files.read(f"{directory}/statm").split()
    io = kernel_files.fields(kernel_files.read(f"{directory}/io"))
    status = kernel_files.read(f"{directory}/status")
    # What the kernel counts there has the children in it already.
    moved = (
        io.get(b"rchar", 0),
        io.get(b"wchar", 0),
        io.get(b"read_bytes", 0),
        max(0, io.get(b"write_bytes", 0) - io.get(b"cancelled_write_bytes", 0)),
    )
    own = ((user + system) / _TICKS, minor, major, *_NONE_MOVED, _switches(status))
    children = (user_children + system_children) / _TICKS, minor_children, major_children
    with_children = (*(a + b for a, b in zip(own[:3], children, strict=True)), *moved, 0)
    return ProcessFigures(
        pid,
        start_of(stat),
        int(stat[_THREADS]),
        rss_bytes_of(stat),
        int(statm[2]) * _PAGE_BYTES if len(statm) > 2 else 0,
        _open_files(f"{directory}/fd"),
        own,
        with_children,
    )


def proportional_bytes(proc: str, pid: int) -> int | None:
    """Its memory, in which a page that n processes share counts as an n-th; None if the kernel does not tell."""
    found = kernel_files.fields(kernel_files.read(f"{proc}/{pid}/smaps_rollup")).get(b"Pss")
    return None if found is None else 1024 * found


def _switches(status: bytes) -> int:
    """Of the main thread, which is all that this file has."""
    at = status.rfind(b"\nvoluntary_ctxt_switches:")
    return sum(kernel_files.fields(status[at:]).values()) if at >= 0 else 0


def _open_files(directory: str) -> int:
    try:
        return os.stat(directory).st_size or len(os.listdir(directory))  # Linux 6.2 and later tell it at once
    except OSError:
        return 0
