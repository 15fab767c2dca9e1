"""Whether a run whose files say ``running`` still has somebody who will end it."""

from __future__ import annotations

import os
import re
import sys

import msgspec

from runicorn.host import identity, locks
from runicorn.queue import spool, spool_address
from runicorn.reading.info import LOST, RunInfo, read_info, with_duration_so_far
from runicorn.reading.plain_files import DamagedError, open_inside, read_object
from runicorn.settings import Settings
from runicorn.storage import run_files, statuses

_LONGEST_POINTER = 4096
_SPOOL_NAME = re.compile(r"runicorn-\d+-[0-9a-f]{16}")


def judged(info: RunInfo) -> RunInfo:
    """The same run; where its file says ``running``, with what this host can know of that.

    A run of another host, or of no named host, stays ``running``: nobody here can know.
    """
    if info.status != statuses.RUNNING:
        return info
    if info.hostname != identity.hostname() or has_somebody(info) or not is_of_this_host(info):
        return with_duration_so_far(info)
    # Its writer may have ended the run, and removed all that we searched for, since its status was read.
    again = read_info(info.run_dir, info.storage, info.path)
    if again.status != statuses.RUNNING:
        return again
    return msgspec.structs.replace(again, status=LOST)


def is_of_this_host(info: RunInfo) -> bool:
    """Whether this host can know if a process has the run open: not if another one of its name may have."""
    if info.hostname != identity.hostname():
        return False
    spool_path = _pointed_spool(info.run_dir)
    memory = os.path.dirname(spool_path) if spool_path else spool.usual_directory(Settings.from_environment())
    try:
        machine = read_object(info.run_dir, run_files.META).get("machine")
    except (OSError, DamagedError):
        machine = None
    return not identity.may_live(machine if isinstance(machine, str) else None, info.pid, memory)


def has_somebody(info: RunInfo) -> bool:
    """Whether a process of this host has the run open, or is about to store what is left of it."""
    spool_path = _pointed_spool(info.run_dir)
    if spool_path is None:  # one of 0.7.2, which has no spool; or one whose first rank has not come to make it
        return info.pid is None or _exists(info.pid)
    if not _SPOOL_NAME.fullmatch(os.path.basename(spool_path)):
        return False
    try:
        if spool_address.read_address(spool_path).run_id != info.id:
            return False
        names = [name for name in os.listdir(spool_path) if name.endswith(spool.LOCK_SUFFIX)]
        return any(locks.is_held(os.path.join(spool_path, name)) for name in names)
    except PermissionError:  # another user's: its locks cannot be asked
        return info.pid is None or _exists(info.pid)
    except (OSError, ValueError):
        return False


def _pointed_spool(run_dir: str) -> str | None:
    try:
        with open_inside(run_dir, run_files.spool_pointer(identity.label_of(identity.hostname()))) as file:
            return os.fsdecode(file.read(_LONGEST_POINTER))
    except FileNotFoundError:
        return None
    except (OSError, DamagedError):
        return ""


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    if sys.platform == "win32":
        import psutil

        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:  # it is another user's
        return True
    return True
