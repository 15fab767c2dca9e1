"""What this host and interpreter call themselves, without the imports that usually ask."""

from __future__ import annotations

import os
import sys

_MOST_ANCESTORS = 8


def hostname() -> str:
    """``RUNICORN_HOSTNAME``, else as ``socket.gethostname()``, which would cost 3 ms to import."""
    given = os.environ.get("RUNICORN_HOSTNAME")
    if given:
        return given
    if sys.platform == "win32":
        import socket

        return socket.gethostname()
    return os.uname().nodename


def platform_text() -> str:
    """``system release (machine)``, as Runicorn 0.7.2 stores it."""
    if sys.platform == "win32":
        import platform

        return f"{platform.system()} {platform.release()} ({platform.machine()})"
    system = os.uname()
    return f"{system.sysname} {system.release} ({system.machine})"


def python_text() -> str:
    """Version of the interpreter, such as ``3.11.7``."""
    return ".".join(map(str, sys.version_info[:3]))


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def ancestors() -> list[int]:
    """Process ids of the parent, its parent, and so on; a few of them."""
    found = [os.getppid()]
    while found[-1] > 1 and len(found) < _MOST_ANCESTORS:
        found.append(_parent_of(found[-1]))
    return [pid for pid in found if pid > 1]


def _parent_of(pid: int) -> int:
    if sys.platform == "linux":
        return int(_stat_line(pid)[1])
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def process_start(pid: int) -> str:
    """When a process was started, as text that differs between two processes that had the same id."""
    if sys.platform == "linux":
        return _stat_line(pid)[19]
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def _stat_line(pid: int) -> list[str]:
    """A process's line in the kernel's table, from its third field on; zeros where it is gone.

    Behind the name, which may hold anything but is in parentheses: state, parent, and, as the twentieth, the start in
    ticks since boot. psutil would say the same, and is not imported in a training process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return ["0"] * 50
