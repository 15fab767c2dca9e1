"""Runs that say ``running`` though nobody is left to end them, and nothing is left of them to store."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn import reading
from runicorn.host import identity
from runicorn.managing import targets
from runicorn.queue import opening_lock
from runicorn.reading.info import LOST
from runicorn.session import nameless_writers
from runicorn.storage import run_files, statuses
from runicorn.storage.run_directory import RunDir
from runicorn.writer.end_status import PROCESS_GONE

if TYPE_CHECKING:
    from runicorn.reading import RunInfo
    from runicorn.settings import Settings


def end_lost(storage: str | None, settings: Settings) -> tuple[list[RunInfo], list[str]]:
    """Have lost runs say ``failed``: those of 0.7.2, and those whose spool has gone with the host's memory.

    A run that has a spool is not touched: what is in it is to be stored first. Nor is one of another host.

    Args:
        storage: the storage root; None = as ``init()`` finds it.
        settings: where spools may be.

    Returns:
        The runs that were ended, as they are now, and what kept others from it, in words.
    """
    ended: list[RunInfo] = []
    problems: list[str] = []
    for info in reading.runs(storage, status=LOST):
        try:
            now = end_one(info, settings)
        except OSError as error:
            problems.append(f"{info.id}: lost, and its status was not written: {error}")
            continue
        if now is not None:
            ended.append(now)
    return ended, problems


def end_one(info: RunInfo, settings: Settings) -> RunInfo | None:
    """Have a lost run say ``failed``, if it is lost still and nothing of it waits in a spool.

    Args:
        info: of the run.
        settings: where spools may be.

    Returns:
        The run as it is now; None if it was left as it is.

    Raises:
        OSError: its status cannot be written.
    """
    # Read anew: it may have been resumed, or stored, since the list was made; and no init() shall do so meanwhile.
    with suppress(LookupError, ValueError), opening_lock.hold(info.run_dir, settings):
        # First: a writer that ends meanwhile has written how the run has ended.
        has_records = _is_being_stored(info) or targets.spools_of(info, settings)
        info = targets.find(info.run_dir, info.storage)
        if info.status == LOST and not has_records:
            _end(info)
            return reading.find(info.run_dir)
    return None


def _is_being_stored(info: RunInfo) -> bool:
    """Whether a writer lives; its spool may have no name at this moment."""
    return nameless_writers.any_writer_of(info.run_dir, identity.label_of(identity.hostname())) is not None


def _end(info: RunInfo) -> None:
    files = RunDir(info.run_dir)
    try:
        status = files.read_or_empty(run_files.STATUS)
        status.update(status=statuses.FAILED, ended_at=_last_sign_of_life(info), exit_reason=PROCESS_GONE)
        files.replace(run_files.STATUS, status)
        _remove_pointer(files)
    finally:
        files.close()


def _remove_pointer(files: RunDir) -> None:
    """Remove the file that names the run's spool if that is gone; a spool without address is known by this file."""
    name = run_files.spool_pointer(identity.label_of(identity.hostname()))
    fd = files.open_for_reading(name)
    if fd is None:
        return
    with os.fdopen(fd, encoding="utf-8", errors="surrogateescape") as file:
        is_there = os.path.lexists(file.read())
    if not is_there:
        files.remove(name)


def _last_sign_of_life(info: RunInfo) -> float:
    """When one of its files was written last; epoch seconds."""
    found = [info.started_at or info.created_at or 0.0]
    for name in os.listdir(info.run_dir):
        if name.endswith((".jsonl", ".txt")) or name == run_files.SUMMARY:
            with suppress(OSError):
                found.append(os.stat(os.path.join(info.run_dir, name), follow_symlinks=False).st_mtime)
    return max(found)
