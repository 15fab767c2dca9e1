"""What somebody has removed of a spool by name is made again, while a process of the run lives or when one is adopted.

Cleaners take files by age, ``RemoveIPC`` takes all of shared memory at logout. Who has a file open keeps its content,
but the next process finds it by name alone. Locks are an exception: a new file has a lock of its own, so its holder
takes that as well and keeps the old one.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from runicorn.host import locks
from runicorn.queue import spool, spool_address
from runicorn.queue.control_page import ControlPage
from runicorn.storage import modes

EVERY_S = 5.0
FRESH_FOR_S = 3600.0
_BEING_REMOVED_S = 0.1


def repair(address: spool_address.Address, control: ControlPage | None) -> None:
    """Make again what a spool lacks.

    Args:
        address: of the spool.
        control: the page that this process has mapped; None = a fresh one, where there is none.

    Raises:
        OSError: it cannot be made, or something that is not ours is in its place.
    """
    if control is not None and control.done:
        return
    names = _names(address)
    for name in (spool.WRITER_LOCK, spool.SIGTERM_MARK, spool.WRITER_LOG):
        if name not in names:
            _make(address, name, b"")
    path = os.path.join(address.spool, spool.CONTROL)
    if control is not None:
        control.follow_name(path, make=True)
    elif spool.CONTROL not in names:
        _make_control(path)
    if spool.PLAN not in names:
        _make(address, spool.PLAN, bytes(spool.PLAN_BYTES))
    if spool_address.ADDRESS not in names:
        _make(address, spool_address.ADDRESS, spool_address.encode_address(address))
    if control is not None and control.done:  # the writer has removed it meanwhile: it must not come back
        spool.remove_spool(address)


def renew_lock(address: spool_address.Address, name: str) -> locks.Lock | None:
    """Take the lock of a name that this process had before its file was removed; None where it has it still.

    Raises:
        OSError: the file cannot be made.
        BlockingIOError: another process has taken it.
    """
    path = os.path.join(address.spool, name)
    held = locks.held_here(path)
    if held is not None:
        if not held.renew(path):
            raise BlockingIOError(f"{path} is held by another process")
        return None
    _names(address)
    lock = locks.Lock.take(path, ours=True)
    if lock is None:
        raise BlockingIOError(f"{path} is held by another process")
    return lock


def repair_before_serving(path: str) -> None:
    """Make again what a writer needs, in a spool that has an address.

    Raises:
        OSError: the spool is gone, or cannot be repaired.
    """
    needed = (spool.WRITER_LOCK, spool.CONTROL, spool.PLAN)
    if all(os.path.lexists(os.path.join(path, name)) for name in needed):
        return
    spool_address.read_address(path)
    time.sleep(_BEING_REMOVED_S)  # one that is being removed has its address for a moment longer than the rest
    address = spool_address.read_address(path)
    if os.path.lexists(os.path.join(path, spool.CONTROL)) and ControlPage.open(os.path.join(path, spool.CONTROL)).done:
        return
    repair(address, None)


def freshen(address: spool_address.Address) -> None:
    """Make every file new: cleaners go by age."""
    for directory in (address.spool, address.overflow):
        with suppress(OSError):
            for name in os.listdir(directory):
                with suppress(OSError):
                    os.utime(os.path.join(directory, name), follow_symlinks=False)
            os.utime(directory)


def is_held(directory: str) -> bool:
    """Whether a process holds one of the locks in a directory of a spool."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(spool.LOCK_SUFFIX)]
    except FileNotFoundError:
        return False
    return any(locks.is_held(os.path.join(directory, name)) for name in names)


def has_dropped_lock(probe: locks.Probe, pid: int, spool_path: str) -> bool:
    """Whether a lock is free because its holder, which goes on, has closed the file, as all that it has open.

    Such a process has the spool's files mapped still: one that has ended, or has become another program, has not.

    Args:
        probe: that has found the lock free.
        pid: of the process that had it.
        spool_path: of the spool.
    """
    if probe.is_given_up() or sys.platform != "linux":
        return False
    name = os.fsencode(os.path.basename(spool_path))
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            return any(name in line for line in maps)
    except OSError:
        return False


def has_unlinked_writer(spool_path: str) -> bool:
    """Whether a writer lives whose lock file has no name any more: the file that has it now is another one.

    It stores by what it has open, and a second writer would store the same again. Such a writer takes the new file's
    lock too, but not while it waits for a storage that fails.

    Args:
        spool_path: of the spool.
    """
    if sys.platform != "linux":
        return False
    link = os.path.join(os.path.basename(spool_path), f"{spool.WRITER_LOCK} (deleted)")
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid() and _holds_lock(int(name), link):
            return True
    return False


def _holds_lock(pid: int, link: str) -> bool:
    """Whether a process has the lock of a file: who probes it has the file open, too."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended, or is another user's
        return False
    for name in names:
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{name}").endswith(link):
                with open(f"/proc/{pid}/fdinfo/{name}", "rb") as info:
                    if b"lock:" in info.read():
                        return True
    return False


def lives(address: spool_address.Address) -> bool:
    """Whether the owner's process lives, by its id and start: where its lock file has gone by name.

    One that has ended is there until its parent asks for its exit status, which some never do.
    """
    try:
        import psutil

        process = psutil.Process(address.owner_pid)
        started_at: float = process.create_time()
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return False
    except ImportError:  # then it is not taken for dead
        return True
    except psutil.Error:
        return False
    return started_at <= address.opened_at + 1.0


class ProcessProbe:
    """A probe of the owner whose lock file was gone before we came.

    Args:
        address: of the spool.
    """

    def __init__(self, address: spool_address.Address) -> None:
        self._address = address

    def is_held(self) -> bool:
        """Whether it lives."""
        return lives(self._address)

    def holder_pid(self) -> int:
        """Its process id."""
        return self._address.owner_pid

    def close(self) -> None:
        """There is nothing to give back."""


def probe_owner(address: spool_address.Address) -> locks.Probe | ProcessProbe:
    """A probe of the owner: by its lock, or by its process if the lock file's name is gone.

    Raises:
        OSError: the lock is there, and cannot be opened.
    """
    try:
        return locks.Probe(os.path.join(address.spool, spool.OWNER_LOCK))
    except FileNotFoundError:
        return ProcessProbe(address)


def _names(address: spool_address.Address) -> set[str]:
    """What is in the spool, which is made where it is not there."""
    try:
        modes.make_directory(address.spool, 0o700)
    except FileExistsError:
        spool_address.check_private(address.spool)
    return set(os.listdir(address.spool))


def _make(address: spool_address.Address, name: str, content: bytes) -> None:
    with suppress(FileExistsError):  # by another process of the run
        spool._write(os.path.join(address.spool, name), content)  # noqa: SLF001 - its own package


def _make_control(path: str) -> None:
    with suppress(FileExistsError):
        ControlPage.create(path)
        page = ControlPage.open(path)
        page.begin_generation()  # there was a writer before: what it has stored nobody knows
        page.set_renewed()
        page.close()
