"""Whether somebody has a run open, as the viewer shows it; more careful than a listing, for it may end a lost run.

A run is shown as ``lost`` if its processes are gone: its locks are free, or it names no spool and its pid
is gone. Where its spool cannot be asked, since it is gone by name or unreadable, and the process that opened it is
still there, or may be, it is ``unknown``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

import msgspec

from runicorn.host import identity
from runicorn.queue import spool, spool_address
from runicorn.reading.info import LOST, UNKNOWN, RunInfo, read_info
from runicorn.reading.liveness import is_of_this_host, judged
from runicorn.reading.plain_files import DamagedError, open_inside, read_object
from runicorn.session import nameless_writers
from runicorn.settings import Settings
from runicorn.storage import run_files, statuses

_LONGEST_WORD = 4096


class Asked(NamedTuple):
    """What can be known of who has a run open.

    Attributes:
        has_pointer: it has left word of a spool on this host.
        spool: that can be asked; None if there is none.
    """

    has_pointer: bool
    spool: str | None


def seen(info: RunInfo, *, read_again: bool = False) -> RunInfo | None:
    """A run with the status that the viewer shows; None if it is not there any more.

    Args:
        info: as its files say, or said.
        read_again: read them first.
    """
    if read_again:
        info = read_info(info.run_dir, info.storage, info.path)
        if info.stored_status is None and not os.path.isdir(info.run_dir):
            return None
    if info.status not in {statuses.RUNNING, LOST}:
        return info
    info = judged(info if read_again else msgspec.structs.replace(info, status=statuses.RUNNING))
    if info.status != LOST:
        return info
    asked = ask(info)
    if asked.has_pointer and asked.spool is None and (opener_may_live(info) or _has_writer(info)):
        return msgspec.structs.replace(info, status=UNKNOWN)
    return info


def ask(info: RunInfo) -> Asked:
    """Whether a run has left word of a spool, and whether that can be asked."""
    name = run_files.spool_pointer(identity.label_of(identity.hostname()))
    try:
        with open_inside(info.run_dir, name) as file:
            word = os.fsdecode(file.read(_LONGEST_WORD))
    except FileNotFoundError:
        return Asked(has_pointer=False, spool=None)
    except (OSError, DamagedError):
        return Asked(has_pointer=True, spool=None)
    try:
        address = spool_address.read_address(word)
        is_its = address.run_id == info.id and address.is_of(info.run_dir)  # `cp -r` copies the word too
    except (OSError, ValueError):
        return Asked(has_pointer=True, spool=None)
    return Asked(has_pointer=True, spool=word if is_its else None)


def opener_may_live(info: RunInfo) -> bool:
    """Whether the process that has opened a run last may be there: by its pid and its start time."""
    machine = _machine_of(info)
    if info.pid is None:
        return True
    if machine is None:
        return os.path.exists(f"/proc/{info.pid}") or not os.path.isdir("/proc/self")
    words = machine.split("/")
    here = identity.machine(spool.usual_directory(Settings.from_environment())).text().split("/")
    if len(words) != len(here):
        return True
    (boot, pids, _, _, start), (boot_here, pids_here, *_) = words, here
    if boot != boot_here:
        return False
    if pids != pids_here:
        return True
    return start == identity.process_start(info.pid) and not identity.has_ended(info.pid)


def is_here(info: RunInfo) -> bool:
    """Whether this host can know if somebody has a run open."""
    return is_of_this_host(info)


def last_data_at(info: RunInfo) -> float | None:
    """When one of its files was written last that grow; epoch seconds."""
    found = []
    with suppress(OSError), os.scandir(info.run_dir) as entries:
        for entry in entries:
            if entry.name.endswith((".jsonl", ".txt")):
                with suppress(OSError):
                    found.append(entry.stat(follow_symlinks=False).st_mtime)
    return max(found, default=info.started_at)


def sizes(info: RunInfo) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of each of its files: what tells whether one has grown."""
    found = []
    with suppress(OSError), os.scandir(info.run_dir) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                found.append((entry.name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def _has_writer(info: RunInfo) -> bool:
    return nameless_writers.any_writer_of(info.run_dir, identity.label_of(identity.hostname())) is not None


def _machine_of(info: RunInfo) -> str | None:
    try:
        found = read_object(info.run_dir, run_files.META).get("machine")
    except (OSError, DamagedError):
        return None
    return found if isinstance(found, str) else None
