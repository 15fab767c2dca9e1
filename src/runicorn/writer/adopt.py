"""Spools whose processes are gone: found, and handed to a writer that stores what is left in them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn import locks, rendezvous, rundir
from runicorn.writer import launch, mending, scan, spool
from runicorn.writer.control import ControlPage

if TYPE_CHECKING:
    from runicorn.rundir import RunDir
    from runicorn.settings import Settings

_HALF_MADE_S = 60.0
_POLL_S = 0.01
_RELAUNCH_S = 1.5


def find_spool(run_dir: str, host: str) -> spool.Address | None:
    """The spool that a run has on this host, by the word left in its directory; None where there is none."""
    try:
        path = rendezvous.read(os.path.join(run_dir, rundir.spool_pointer(host)))
        return spool.read_address(path) if path else None
    except (OSError, ValueError):
        return None


def spools_of(run_id: str, storage: str, host: str, settings: Settings) -> list[spool.Address]:
    """Every spool that a run has on a host, whether the word in its directory names it or not."""
    return [address for address in spools_in(storage, host, settings) if address.run_id == run_id]


def spools_in(storage: str, host: str, settings: Settings) -> list[spool.Address]:
    """Every spool of a storage on a host."""
    found = []
    for path in spool.find(settings):
        try:
            address = spool.read_address(path)
        except (OSError, ValueError):  # half made, gone, or not ours
            continue
        if (address.storage, address.host) == (storage, host):
            found.append(address)
    return found


def orphans(settings: Settings, storage: str | None) -> list[spool.Address]:
    """The spools of a storage (None = of all) on this host whose owner and writer are both gone."""
    spool.sweep(settings)
    mending.bring_back_lone(settings)
    found = []
    for path in spool.find(settings):
        try:
            if any(locks.is_held(os.path.join(path, lock)) for lock in (spool.OWNER_LOCK, spool.WRITER_LOCK)):
                continue
            if not os.path.exists(os.path.join(path, spool.ADDRESS)):
                _remove_half_made(path)
                continue
            address = spool.read_address(path)
            if is_live(address):
                continue  # by a producer: its owner may be yet to come
        except (OSError, ValueError):  # it has just gone, or is not ours
            continue
        if storage is None or address.storage == storage:
            found.append(address)
    return found


def adopt_orphans(settings: Settings, storage: str) -> None:
    """Start a writer for each orphan of a storage; of two that are started for one, the lock lets one live."""
    for address in orphans(settings, storage):
        try:
            launch.launch(address.spool)
        except OSError:  # it stays for the next one
            continue


def finish_earlier_session(address: spool.Address, settings: Settings) -> None:
    """See to it that what an earlier session of a run left in its spool is stored before the run goes on.

    Raises:
        TimeoutError: it was not within ``finish_timeout_s``.
    """
    try:
        control = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
    except OSError:  # it has just gone
        return
    control.close_run()
    limit_s = settings.finish_timeout_s or float("inf")
    began = launched = time.monotonic()
    launched -= _RELAUNCH_S
    while os.path.exists(os.path.join(address.spool, spool.ADDRESS)):
        now = time.monotonic()
        if now - began > limit_s:
            raise TimeoutError(
                f"init(): what an earlier session of run {address.run_id} left in {address.spool} was not stored "
                f"within {limit_s:.0f} s. It is still there; nothing was changed. See whether {address.run_dir} can be "
                "written."
            )
        if now - launched >= _RELAUNCH_S and not locks.is_held(os.path.join(address.spool, spool.WRITER_LOCK)):
            launched = now
            _store(address)
        time.sleep(_POLL_S)


def last_step_of(files: RunDir) -> int:
    """The highest step in a run's events file; 0 where there is none."""
    fd = files.open_for_reading(rundir.EVENTS)
    if fd is None:
        return 0
    try:
        return scan.highest_step(scan.lines_of(fd, os.fstat(fd).st_size)) or 0
    finally:
        os.close(fd)


def is_stillborn(address: spool.Address) -> bool:
    """Whether a spool was made for a run that then used another one: nobody has ever known of it, or written to it."""
    if not os.path.exists(os.path.join(address.run_dir, rundir.STATUS)):
        return False  # its run was being made as well
    named = rendezvous.read(os.path.join(address.run_dir, rundir.spool_pointer(address.host)))
    if named == address.spool:
        return False
    from runicorn.writer.plan import PlanFile  # for a writer alone: init() does without it

    plan_file = PlanFile(os.path.join(address.spool, spool.PLAN))
    planned = plan_file.read() is not None
    plan_file.close()
    return not planned and not any(name.endswith(spool.SEGMENT_SUFFIX) for name in os.listdir(address.spool))


def is_live(address: spool.Address) -> bool:
    """Whether a run goes on by this spool: its owner lives; where that may be elsewhere or yet to come, a producer."""
    path = os.path.join(address.spool, spool.OWNER_LOCK)
    if locks.is_held(path) or (not os.path.lexists(path) and mending.lives(address)):
        return True
    return address.ranked and _has_living_producer(address.spool)


def _has_living_producer(path: str) -> bool:
    others = {spool.OWNER_LOCK, spool.WRITER_LOCK}
    names = [name for name in os.listdir(path) if name.endswith(spool.LOCK_SUFFIX) and name not in others]
    return any(locks.is_held(os.path.join(path, name)) for name in names)


def _store(address: spool.Address) -> None:
    if launch.can_launch():
        with suppress(FileNotFoundError):  # stored and removed by another writer meanwhile: there is no log to write to
            launch.launch(address.spool)
        return
    from runicorn.writer.writer import serve

    serve(address.spool, handle_signals=False)


def _remove_half_made(path: str) -> None:
    """Remove what a process that was killed while it made a spool has left; not what one is making now."""
    # Its maker takes the owner lock first, and that is free: so it is dead, unless it has come no further than mkdir.
    begun = os.path.exists(os.path.join(path, spool.OWNER_LOCK))
    if begun or time.time() - os.stat(path).st_mtime > _HALF_MADE_S:
        spool.remove(path)
