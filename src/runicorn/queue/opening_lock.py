"""The lock under which one process of this host at a time opens a run that exists, or changes it.

::

    <shm>, <temp> or <user's cache>/runicorn-<uid>-locks/    0700; there only while a lock is
        <16 hex>.opening                                     locked while a process is at the run of that name

Nobody else can hold such a lock, for nobody else can enter the directory. A name that somebody else has taken is
passed over, by all processes of the user alike; if none can be had it goes without a lock, for the word that names a
run's spool is published exclusively.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runicorn.errors import StillBusyError
from runicorn.host.locks import Lock, held_here
from runicorn.queue.spool import shm_dir, temp_dir
from runicorn.storage import directory_kinds, modes, removal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.settings import Settings

_SUFFIX = ".opening"
_WITHIN_S, _POLL_S = 30.0, 0.002
_TRIES = 100


@contextmanager
def hold(run_dir: str, settings: Settings) -> Iterator[None]:
    """Only one process, and one thread, of this host at a time makes the spool of a run, or replaces it by another.

    Raises:
        TimeoutError: another one of this user has been at it for half a minute.
    """
    import hashlib  # as in rendezvous

    name = hashlib.sha256(os.fsencode(os.path.realpath(run_dir))).hexdigest()[:16] + _SUFFIX
    held = _take_within(name, settings, run_dir)
    try:
        yield
    finally:
        if held is not None:
            path, lock = held
            _remove(path)
            lock.release()
            _remove_directory(os.path.dirname(path))


def sweep(settings: Settings) -> None:
    """Remove what processes that were killed in ``hold`` have left."""
    for folder in filter(os.path.lexists, _directories(settings)):
        try:
            with removal.Directory(folder, directory_kinds.LOCKS) as directory:
                names = [name for name in directory.names() if directory.has_shape(name)]
        except OSError:  # there is none, or it is somebody else's
            continue
        for name in names:
            path = os.path.join(folder, name)
            with suppress(OSError):
                lock = _take(path)
                if lock is not None:
                    _remove(path)
                    lock.release()
        _remove_directory(folder)


def _take_within(name: str, settings: Settings, run_dir: str) -> tuple[str, Lock] | None:
    """The lock and its path, waited for; None if no directory for it can be had."""
    deadline = time.monotonic() + _WITHIN_S
    tries_left = _TRIES
    while True:
        folder = _make_directory(settings)
        if folder is None:
            return None
        path = os.path.join(folder, name)
        try:
            lock = _take(path)
            tries_left = _TRIES
        except FileNotFoundError:  # who has just ended has removed the directory
            lock = None
        except OSError:  # it cannot be written, as on a full disk
            tries_left -= 1
            if not tries_left:
                return None
            continue
        if lock is not None:
            return path, lock
        if time.monotonic() > deadline:
            raise StillBusyError(
                f"Another process of this user has been opening, or changing, the run in {run_dir} for "
                f"{_WITHIN_S:.0f} s. Nothing was changed. Find the process that holds {path}, and try again."
            )
        time.sleep(_POLL_S)


def _take(path: str) -> Lock | None:
    """Take a lock whose file others unlink while they hold it: it counts only while the file has its name."""
    try:
        lock = Lock.take(path)
    except RuntimeError:  # another thread of this process
        return None
    if lock is not None and held_here(path) is not lock:
        lock.release()
        return None
    return lock


def _make_directory(settings: Settings) -> str | None:
    """The first directory that is this user's alone, made if nothing is there."""
    for folder in _directories(settings):
        try:
            _make_own(folder)
        except OSError:  # it cannot be made there, or somebody else has
            continue
        return folder
    return None


def _make_own(folder: str) -> None:
    """Make a directory for this user alone, or see that it is that; again if somebody removes it meanwhile.

    Who went on to another place then would have a lock that nobody else asks for.

    Raises:
        OSError: it cannot be.
    """
    for tries_left in range(_TRIES, -1, -1):
        try:
            with suppress(FileExistsError):
                modes.make_directory(folder, 0o700)
            removal.check(folder, directory_kinds.LOCKS, os.lstat(folder))
        except FileNotFoundError:
            if not tries_left or not os.path.isdir(os.path.dirname(folder)):
                raise
            time.sleep(_POLL_S)
            continue
        return


def _directories(settings: Settings) -> list[str]:
    """Where it may be, in the order in which every process tries."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    bases = [shm_dir(settings), temp_dir(), os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")]
    return [os.path.join(base, f"runicorn-{user}-locks") for base in dict.fromkeys(bases) if base is not None]


def _remove(path: str) -> None:
    with suppress(OSError), removal.parent_of(path, directory_kinds.LOCKS) as (directory, name):
        directory.remove(name)


def _remove_directory(folder: str) -> None:
    """Remove it if nobody else has a lock there: whoever needs it makes it again."""
    with suppress(OSError), removal.parent_of(folder, directory_kinds.SPOOLS) as (base, name):
        base.remove_empty(name)
