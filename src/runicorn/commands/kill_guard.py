"""End a child of this process if this process is killed, because Python itself cannot run anything then."""

from __future__ import annotations

import subprocess
from contextlib import suppress

_SCRIPT = 'read -r _ || kill -TERM "$1"'


class KillGuard:
    """A shell that waits for a line from this process, and ends the child if the pipe ends without one.

    The shell has a session of its own, so Ctrl-C does not end it; this process handles Ctrl-C. If there is no
    ``/bin/sh``, nothing is guarded.

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
        """Stop guarding. Call it before you wait for the child: after that, another process may have its pid."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.communicate(b"\n")
