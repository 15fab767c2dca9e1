"""Named moments at which a test can have processes die: ``RUNICORN_CRASH_AT=<moment>:<n-th time>:<who>``.

``who`` is ``owner``, ``writer`` or ``both``. The death is SIGKILL, so nothing is cleaned up. It comes once a spool:
the writer that follows passes. Without the variable a moment costs one comparison.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER, WRITER = "owner", "writer"

_moment, _count, _who = [*os.environ.get("RUNICORN_CRASH_AT", "").split(":"), "", ""][:3]
_left = int(_count or 1)
_role = OWNER
_spool = ""
_peer: Callable[[], int] | None = None


def arm(role: str, spool_path: str, peer: Callable[[], int]) -> None:
    """Say who this process is, for which spool, and how the other one's pid is found."""
    global _role, _spool, _peer
    _role, _spool, _peer = role, spool_path, peer


def crash_point(moment: str) -> None:
    """Die here, or have the other one die, if this is the moment."""
    global _left  # noqa: PLW0603 - counts down over the process's life
    if moment != _moment:
        return
    _left -= 1
    if _left == 0 and _first_for_this_spool():
        import signal

        kill = getattr(signal, "SIGKILL", signal.SIGTERM)
        if _who != _role and _peer is not None and (pid := _peer()):
            os.kill(pid, kill)
        if _who in {_role, "both"}:
            os.kill(os.getpid(), kill)


def _first_for_this_spool() -> bool:
    try:
        os.close(os.open(os.path.join(_spool, "crashed"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    except OSError:  # no spool yet, or no more
        return True
    return True
