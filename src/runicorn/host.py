"""What this host and interpreter call themselves, without the imports that usually ask."""

from __future__ import annotations

import os
import sys


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


def process_start(pid: int) -> str:
    """When a process was started, as text that differs between two processes that had the same id."""
    if sys.platform == "linux":
        # Field 22 of the process's stat line, behind a name that may hold anything but is in parentheses; in ticks
        # since boot. psutil would say the same, and is not imported in a training process.
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[19].decode()
        except OSError:
            return ""
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""
