"""Ends a child of this process if this process is killed: nothing of Python's own runs then."""

from __future__ import annotations

import subprocess
from contextlib import suppress

_SCRIPT = 'read -r _ || kill -TERM "$1"'


class KillGuard:
    """A shell that waits for a line from this process, and ends the child if there is none: the pipe ends with us.

    It is in a session of its own, so that a Ctrl-C, which this process handles, does not end it. Where there is no
    ``/bin/sh`` nothing is guarded.

    Args:
        pid: of the child.
    """

    def __init__(self, pid: int) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", str(pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """Guard no longer. Call it before the child is waited for: its pid may be another's after that."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.communicate(b"\n")
