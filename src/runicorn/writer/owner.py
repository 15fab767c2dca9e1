"""How the owner's process has ended, as the operating system tells it: by a pidfd, which stands for no other process.

The owner hands one of itself to the writer that it starts; a later writer opens one of the process that holds the
owner's lock. From Linux 6.15 on a pidfd gives the exit code also after the process was reaped; before that it is
read from ``/proc``, as long as the parent has not reaped the process. Elsewhere nothing is known.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.storage import plain_json, run_files

if TYPE_CHECKING:
    from runicorn.queue.spool_address import Address

_INFO = struct.Struct("<QQ11Ii")  # struct pidfd_info up to exit_code
_ASK_EXIT = 1 << 3  # PIDFD_INFO_EXIT
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11  # PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info)
_ENDED_STATES = ("Z", "X")

handed: list[int] = []
"""The pidfd that this writer process was started with, until it is taken."""


def last_owner_pid(address: Address, followed_pid: int) -> int:
    """Process id of the owner whose lock is free.

    In a job that is rank 0, which notes itself in the run. Whoever has made the spool is known here before it, and may
    be another rank: that waits for the run's end, and must not be taken for an owner that goes on.

    Args:
        address: of the spool.
        followed_pid: of the process that was seen to hold the lock; 0 = none was.
    """
    if address.distributed:
        with suppress(OSError, ValueError):  # the run was moved, or its storage fails
            noted = plain_json.read_object(os.path.join(address.run_dir, run_files.META)).get("pid")
            if isinstance(noted, int):
                return noted
    return followed_pid or address.owner_pid


class OwnerProcess:
    """The owner's process; unknown until ``follow()`` has found it."""

    def __init__(self, owner_pid: int) -> None:
        """Take what this writer was started with.

        Args:
            owner_pid: of the process that has handed it over.
        """
        self._fd = handed.pop() if handed else -1
        self.pid = owner_pid if self._fd >= 0 else 0
        self._status: int | None = None

    def follow(self, pid: int) -> None:
        """Follow a process, in the place of another one that was followed before.

        Args:
            pid: of the process that holds the owner's lock at this moment; 0 = it cannot be known.
        """
        if pid in {0, self.pid, os.getpid()} or not hasattr(os, "pidfd_open"):
            return
        self.close()
        with suppress(OSError):  # gone meanwhile, or no descriptor is left
            self._fd, self.pid = os.pidfd_open(pid), pid

    def exit_code(self, wait_s: float) -> int | None:
        """Exit code of the process, or minus the number of the signal that killed it; None if nobody can tell.

        Args:
            wait_s: how long to wait for its end.
        """
        if self._status is None and self._fd >= 0 and self._has_ended(wait_s):
            # By the pidfd once it is reaped, by /proc before; which may be between the first two questions.
            for ask in (_status_by_pidfd, _status_by_proc, _status_by_pidfd):
                if self._status is None:
                    self._status = ask(self._fd)
        return None if self._status is None else os.waitstatus_to_exitcode(self._status & 0xFF7F)

    def _has_ended(self, wait_s: float) -> bool:
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def close(self) -> None:
        """Give the descriptor back."""
        fd, self._fd, self.pid = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)


def _status_by_pidfd(fd: int) -> int | None:
    """The status that ``wait()`` would give; None if the kernel is too old, or has not noted it."""
    import fcntl

    asked = bytearray(_INFO.size)
    struct.pack_into("<Q", asked, 0, _ASK_EXIT)
    try:
        fcntl.ioctl(fd, _GET_INFO, asked)
    except OSError:
        return None
    told = _INFO.unpack(asked)
    return int(told[-1]) if told[0] & _ASK_EXIT else None


def _status_by_proc(fd: int) -> int | None:
    """The same of a process that was not reaped yet."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            pids = [line.split()[1] for line in file if line.startswith("Pid:")]
        with open(f"/proc/{int(pids[0])}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[-1]) if fields[0] in _ENDED_STATES else None
    except (OSError, ValueError, IndexError):  # reaped
        return None
