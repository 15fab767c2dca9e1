"""Spools whose processes are gone: found, and handed to a writer that stores what is left in them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.errors import StillBusyError
from runicorn.host import locks
from runicorn.queue import opening_lock, rendezvous, spool, spool_address, spool_repair
from runicorn.queue.control_page import ControlPage
from runicorn.session import writer_process
from runicorn.storage import directory_kinds, removal, run_files

if TYPE_CHECKING:
    from runicorn.session.lone_overflows import Staying
    from runicorn.settings import Settings
    from runicorn.storage.run_directory import RunDir

_HALF_MADE_S = 60.0
_POLL_S = 0.01
_RELAUNCH_S = 1.5
_COMING_S = 3.0


def find_spool(run_dir: str, host: str) -> spool_address.Address | None:
    """The spool that a run has on this host, read from its pointer file; None if there is none.

    A pointer file is believed only in the directory that the spool was made for: ``cp -r`` copies it too.

    Args:
        run_dir: the run directory.
        host: the host's label in file names.
    """
    try:
        path = rendezvous.read(os.path.join(run_dir, run_files.spool_pointer(host)))
        address = spool_address.read_address(path) if path else None
    except (OSError, ValueError):
        return None
    return address if address is not None and address.is_of(run_dir) else None


def spools_of(run_dir: str, settings: Settings) -> list[spool_address.Address]:
    """Every spool that a run has on this host, whether its pointer file names it or not."""
    here = spool_address.directory_id(run_dir)
    return [each for each in _readable_spools(settings) if each.run_dir == run_dir or each.run_dir_id == here]


def spools_in(storage: str, settings: Settings) -> list[spool_address.Address]:
    """Every spool of a storage on this host, by whatever name the storage was reached."""
    return [address for address in _readable_spools(settings) if address.is_in(storage)]


def _readable_spools(settings: Settings) -> list[spool_address.Address]:
    found = []
    for path in spool.find(settings):
        try:
            address = spool_address.read_address(path)
        except (OSError, ValueError):  # half made, gone, or not ours
            continue
        found.append(address)
    return found


def orphans(settings: Settings, storage: str | None) -> list[spool_address.Address]:
    """The spools of a storage (None = of all) on this host whose owner and writer are both gone; changes nothing."""
    return _orphans_among(spool.find(settings), storage)


def _orphans_among(paths: list[str], storage: str | None) -> list[spool_address.Address]:
    found = []
    for path in paths:
        try:
            if any(locks.is_held(os.path.join(path, lock)) for lock in (spool.OWNER_LOCK, spool.WRITER_LOCK)):
                continue
            from runicorn.queue import live_spools  # for a spool that nobody holds alone

            address = spool_address.read_address(path)
            if live_spools.is_live(address) or _has_nameless_writer(path):
                continue  # by a producer: its owner may be yet to come
        except (OSError, ValueError):  # it has just gone, or is not ours
            continue
        if storage is None or address.is_in(storage):
            found.append(address)
    return found


def held_by_writers(settings: Settings, storage: str | None) -> list[spool_address.Address]:
    """The spools of a storage (None = of all) on this host whose producers are all gone, and whose writer lives."""
    found = _readable_spools(settings) if storage is None else spools_in(storage, settings)
    return [address for address in found if _is_held_by_its_writer_alone(address)]


def _is_held_by_its_writer_alone(address: spool_address.Address) -> bool:
    from runicorn.queue import live_spools

    try:
        if live_spools.is_live(address) or live_spools.has_living_producer(address.spool):
            return False
    except OSError:  # it has just gone
        return False
    return locks.is_held(os.path.join(address.spool, spool.WRITER_LOCK))


def _has_nameless_writer(path: str) -> bool:
    if os.path.lexists(os.path.join(path, spool.WRITER_LOCK)):
        return False
    from runicorn.session import nameless_writers  # for a spool that lacks names alone

    return nameless_writers.process_of(path) is not None


def unreadable(settings: Settings) -> list[str]:
    """Spools that nobody holds and whose address is damaged or gone: whose records they hold nobody knows."""
    from runicorn.session import lone_overflows  # for `recover` alone

    found = []
    for path in spool.find(settings):
        try:
            if not spool_repair.is_held(path):
                spool_address.read_address(path)
        except ValueError:
            found.append(path)
        except OSError:  # it has just gone, or is not ours, or somebody has removed its address
            if lone_overflows.has_lost_address(path):
                found.append(path)
    return found


def sweep(settings: Settings, patience_s: float = 0.0) -> list[Staying]:
    """Remove what processes of this user have left that were killed while they made, opened or removed a spool.

    Args:
        settings: where spools may be.
        patience_s: as for ``lone.bring_back()``.

    Returns:
        The overflow directories of which nobody makes a spool again.
    """
    opening_lock.sweep(settings)
    there, staying = _there(settings, patience_s)
    _sweep(there)
    return staying


def _there(settings: Settings, patience_s: float = 0.0) -> tuple[list[tuple[str, str]], list[Staying]]:
    """What is in both tiers, after spools of which only the overflow is left are brought back; and what stays."""
    there = spool.in_both_tiers(settings)
    overflows = [path for path, suffix in there if suffix == spool.OVERFLOW_SUFFIX]
    if not overflows:  # a temp directory may be long: it is listed once if that will do
        return there, []
    from runicorn.session import lone_overflows  # for a spool that has an overflow directory alone

    staying = lone_overflows.bring_back(overflows, settings, patience_s)
    return spool.in_both_tiers(settings), staying


def _sweep(there: list[tuple[str, str]]) -> None:
    for path, suffix in there:
        is_made = not suffix and os.path.lexists(os.path.join(path, spool_address.ADDRESS))
        if not is_made and suffix != spool.OVERFLOW_SUFFIX:
            _remove_rest(path)


def adopt_orphans(settings: Settings, storage: str) -> None:
    """Start a writer for each orphan of a storage; of two that are started for one, the lock lets one live."""
    opening_lock.sweep(settings)
    there, _ = _there(settings)
    _sweep(there)
    for address in _orphans_among([path for path, suffix in there if not suffix], storage):
        if _is_writer_coming(address):
            continue
        from runicorn.queue import moved_runs  # for an orphan alone

        try:
            moved_runs.note(address, storage)
            writer_process.launch(address.spool)
        except OSError:  # it stays for the next one
            continue


def _is_writer_coming(address: spool_address.Address) -> bool:
    """Whether the writer that the owner has started may be about to begin: it alone can ask how the owner ended."""
    if not 0 <= time.time() - address.opened_at < _COMING_S:
        return False
    try:
        page = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
    except OSError:
        return False
    return page.writer_pid == 0 and page.generation == 0  # a page that was made again counts the writers before it


def finish_earlier_session(address: spool_address.Address, settings: Settings, storage: str) -> None:
    """See to it that what an earlier session of a run left in its spool is stored before the run goes on.

    Args:
        address: of that spool.
        settings: how long to wait.
        storage: where the run's storage is now.

    Raises:
        TimeoutError: it was not within ``finish_timeout_s``.
    """
    try:
        control = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
    except OSError:  # it has just gone
        return
    control.close_run()
    from runicorn.queue import moved_runs  # for a resume alone

    with suppress(OSError):  # then its writer says so
        moved_runs.note(address, storage)
    limit_s = settings.finish_timeout_s or float("inf")
    began = launched = time.monotonic()
    launched -= _RELAUNCH_S
    while os.path.exists(os.path.join(address.spool, spool_address.ADDRESS)):
        now = time.monotonic()
        if now - began > limit_s:
            raise StillBusyError(
                f"init(): what an earlier session of run {address.run_id} left in {address.spool} was not stored "
                f"within {limit_s:.0f} s. It is still there; nothing was changed. Check that {address.run_dir} can be "
                "written."
            )
        if now - launched >= _RELAUNCH_S and not locks.is_held(os.path.join(address.spool, spool.WRITER_LOCK)):
            launched = now
            _store(address)
        time.sleep(_POLL_S)


def last_step_of(files: RunDir) -> int:
    """The highest step in a run's events file; 0 where there is none."""
    from runicorn.storage import last_lines  # for a resume alone

    fd = files.open_for_reading(run_files.EVENTS)
    if fd is None:
        return 0
    try:
        return last_lines.highest_step(last_lines.lines_of(fd, os.fstat(fd).st_size)) or 0
    finally:
        os.close(fd)


def _store(address: spool_address.Address) -> None:
    if writer_process.can_launch():
        with suppress(FileNotFoundError):  # stored and removed by another writer meanwhile: there is no log to write to
            writer_process.launch(address.spool)
        return
    from runicorn.writer.serve import serve

    serve(address.spool, handle_signals=False)


def _remove_rest(path: str) -> None:
    """Remove what a process that was killed while it made, or removed, a spool has left; not what one is making now.

    A directory that holds anything else than a rest may hold stays: a file of the user's, or records.
    """
    with suppress(OSError, RuntimeError), removal.Directory(path, directory_kinds.SPOOL) as directory:
        names = directory.names()
        if not all(directory.has_shape(name) and not spool.holds_records(name) for name in names):
            return
        if spool.OWNER_LOCK not in names:
            # Nothing is made before the lock, and nothing is left behind it.
            age_s = time.time() - os.stat(path, follow_symlinks=False).st_mtime
            if path.endswith(spool.MAKING_SUFFIX) and not names and age_s > _HALF_MADE_S:
                spool.remove(path)
            return
        lock = locks.Lock.take(os.path.join(path, spool.OWNER_LOCK), create=False)
        if lock is not None:  # its maker is dead, and no other process that checks comes in between
            spool.remove(path)
            lock.release()
