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
