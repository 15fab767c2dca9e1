"""Kernel locks that say whether a process of ours is alive.

A process holds a POSIX record lock (``fcntl.lockf``) on a file of its own for as long as it lives. The
kernel drops it with the process, whatever killed it, also while the zombie is not reaped and while a forked
child (which never inherits the lock) lives on. ``flock`` would not do: forks inherit it.

Three traps of POSIX locks shape this module:

* they belong to the *process*: closing any descriptor of the file drops the lock. So a lock file is opened
  once by its holder, for nothing else, and stays open until the lock shall go;
* a program may close all descriptors, as one does that becomes a daemon. So its holder marks a lock that it gives up,
  by the file's mode: one that is free without the mark may be wanted again (``Lock.renew()``);
* a holder that probes its own lock finds it free, and by closing the probe's descriptor it would drop it.
  So every process keeps a registry of the locks that it holds and asks that first. A lock is in it before the
  kernel has it, and between the question and the probe no other thread takes one: ``_alone()`` is held for both,
  by nobody who waits for longer than another process's probe.

On Windows the same is had from ``msvcrt.locking``; that half has not been run.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from contextlib import suppress

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int, *, shared: bool = False) -> bool:  # noqa: ARG001 - there is no shared lock here
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int, *, shared: bool = False) -> bool:
        try:
            fcntl.lockf(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: POSIX allows either
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_UN)


_flock = struct.Struct("hhqqi")  # struct flock of Linux

_MODE, _MODE_GIVEN_UP = 0o600, 0o700
"""Of a lock file that is held, and of one that its holder has given up: a mode needs no room on a full disk."""

_LOOK_S, _LOOKS_WAITED_OUT = 0.0002, 1000

_OPEN_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

_held: dict[tuple[int, int], tuple[int, Lock]] = {}
"""Locks of this process, by (device, inode), with the pid that took them: a forked child's copy is void by that."""


class Lock:
    """A lock that this process holds, from construction to ``release()`` or the process's end."""

    def __init__(self, fd: int, key: tuple[int, int]) -> None:
        self._fd = fd
        self._key = key
        self._kept: list[int] = []

    @classmethod
    def take(cls, path: str, *, again: bool = False, create: bool = True, ours: bool = False) -> Lock | None:
        """Lock a file; None where another process holds it.

        Args:
            path: the lock file.
            again: return the lock that this process has on it, where it has one.
            create: make the file where it is missing.
            ours: nobody but this process ever takes it. Others probe it, for microseconds, and that is waited out.

        Raises:
            FileNotFoundError: it is missing, and ``create`` is false.
            RuntimeError: this process holds it already, and ``again`` is false.
        """
        fresh: list[Lock] = []
        try:
            with _alone():
                return cls._take(path, fresh, again=again, create=create, tries=_LOOKS_WAITED_OUT if ours else 1)
        except BaseException:  # nobody would have the lock that the registry says we hold
            for lock in fresh:
                lock._drop()  # noqa: SLF001 - its own class
            raise

    @classmethod
    def _take(cls, path: str, fresh: list[Lock], *, again: bool, create: bool, tries: int) -> Lock | None:
        held = held_here(path)
        if held is None:
            fd = os.open(path, _OPEN_FLAGS | (os.O_CREAT if create else 0), 0o600)
            key = _key(fd)
            # A signal handler may have taken it since: then ours stays open, for closing it would drop the lock.
            held = _held[key][1] if _is_ours(key) else None
        if held is not None and not again:
            raise RuntimeError(f"this process holds the lock {path} already")
        if held is None:
            fresh.append(cls(fd, key))
        # Also one that is ours already: this may be a signal handler inside the call that is about to lock it.
        lock = held or fresh[0]
        return lock if lock._lock(tries) else None  # noqa: SLF001 - its own class

    def _lock(self, tries: int) -> bool:
        """Be in the registry and have the kernel's lock; neither, where this fails or a signal handler raises."""
        locked = False
        try:
            _held[self._key] = (os.getpid(), self)
            while not (locked := _try_lock(self._fd)) and tries > 1:
                tries -= 1
                time.sleep(_LOOK_S)
        finally:
            if not locked:
                self._drop()
        if locked:
            _mark(self._fd, self._key, _MODE)
        return locked

    def renew(self, path: str) -> bool:
        """Lock the file again if the program has closed its descriptor; whether this process has it.

        Args:
            path: of the file, which its directory's maker may have renamed.

        Raises:
            OSError: the file is gone, or no descriptor is left.
        """
        with _alone():
            if self._fd < 0 or _is_still(self._fd, self._key):
                return self._fd >= 0
            fd = os.open(path, _OPEN_FLAGS)
            if _key(fd) != self._key:  # somebody has removed it, and made another
                os.close(fd)
                raise FileNotFoundError(errno.ENOENT, "the lock file is gone", path)
            self._fd = fd
            return self._lock(_LOOKS_WAITED_OUT)

    def release(self) -> None:
        """Give the lock up; in a forked child, forget the parent's."""
        with _alone():
            if self._fd >= 0 and _held.get(self._key) == (os.getpid(), self):
                _mark(self._fd, self._key, _MODE_GIVEN_UP)
            self._drop()

    def keep_open(self, fd: int) -> None:
        """Have another descriptor of the file closed with the lock: closed before, it would drop the lock."""
        self._kept.append(fd)

    def _drop(self) -> None:
        with _alone():
            # Taken out first: a signal handler may release as well.
            fd, self._fd = self._fd, -1
            kept, self._kept = self._kept, []
            if _held.get(self._key) == (os.getpid(), self):  # also if a first try was interrupted before this
                del _held[self._key]
            for each in (fd, *kept):
                if each >= 0:
                    _close(each, self._key)


class Probe:
    """Probes somebody's lock file by a descriptor that stays open, whatever happens to the name."""

    def __init__(self, path: str) -> None:
        """Open the lock file.

        Raises:
            OSError: it is not there.
        """
        with _alone():
            self._fd = os.open(path, _OPEN_FLAGS)
            self._key = _key(self._fd)
            if _is_ours(self._key):
                _held[self._key][1].keep_open(self._fd)
                self._fd = -1

    def is_held(self) -> bool:
        """Whether a living process holds the lock."""
        with _alone():
            if _is_ours(self._key):
                return True
            # The lock was ours and has been released since: closed files hold nothing. Or the program has closed it.
            if self._fd < 0 or not _is_still(self._fd, self._key):
                return False
            # Shared, so that two who ask at the same moment do not take each other for the holder.
            if not _try_lock(self._fd, shared=True):
                return True
            _unlock(self._fd)
            return False

    def is_given_up(self) -> bool:
        """Whether the last holder has released the lock, and has neither died nor closed the file."""
        try:
            return os.fstat(self._fd).st_mode & 0o777 == _MODE_GIVEN_UP
        except OSError:
            return False

    def holder_pid(self) -> int:
        """Process id of the holder, as this process sees it; 0 if there is none, it is us, or it cannot be known."""
        if self._fd < 0 or sys.platform != "linux":
            return 0
        asked = _flock.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            kind, _, _, _, pid = _flock.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))
        except OSError:
            return 0
        return 0 if kind == fcntl.F_UNLCK else max(0, int(pid))

    def close(self) -> None:
        """Give the descriptor back."""
        with _alone():
            fd, self._fd = self._fd, -1
            if fd >= 0 and not _is_ours(self._key):
                _close(fd, self._key)


def held_here(path: str) -> Lock | None:
    """The lock that this process holds on a file; None where it holds none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    pid, lock = _held.get((status.st_dev, status.st_ino), (0, None))
    return lock if pid == os.getpid() else None


def is_held(path: str) -> bool:
    """Whether a living process (this one included) holds the lock file at ``path``; False where it is gone."""
    with _alone():
        try:
            status = os.stat(path)
            if _is_ours((status.st_dev, status.st_ino)):
                return True
            probe = Probe(path)
        except FileNotFoundError:
            return False
        try:
            return probe.is_held()
        finally:
            probe.close()


_exclusion = (os.getpid(), threading.RLock())


def _alone() -> threading.RLock:
    """No other thread of this process touches a lock meanwhile; re-entrant for signal handlers, new in each child."""
    global _exclusion  # noqa: PLW0603 - one per process; a forked child has one thread, which comes here first
    if _exclusion[0] != os.getpid():
        _exclusion = (os.getpid(), threading.RLock())
    return _exclusion[1]


def _is_ours(key: tuple[int, int]) -> bool:
    return _held.get(key, (0, None))[0] == os.getpid()


def _close(fd: int, key: tuple[int, int]) -> None:
    if _is_still(fd, key):
        os.close(fd)


def _mark(fd: int, key: tuple[int, int], mode: int) -> None:
    if sys.platform != "win32" and _is_still(fd, key):
        with suppress(OSError):
            os.fchmod(fd, mode)


def _is_still(fd: int, key: tuple[int, int]) -> bool:
    """Whether a descriptor is still that of our file: a program may close all, and have a file of its own there."""
    try:
        return _key(fd) == key
    except OSError:
        return False


def _key(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
