"""The spool: a private directory in shared memory where a run's records wait for the writer.

::

    <shm>/runicorn-<uid>-<16 hex>/      0700, random: nobody else can read records, or forge them
        address.json                    what the spool belongs to; never changes
        control                         the control page
        plan                            the writer's write-ahead plan
        owner.lock  writer.lock         held by the owner and by the writer for as long as they live
        <producer>.lock                 held by a producing process
        <producer>-<n>.seg              its segments
        <producer>.spare                its next one, prepared by the writer where it fills them fast
        blob-<16 hex>                   bytes too many for a segment (pixels), named by a record
        sigterm                         where SIGTERM leaves its mark
        writer.log                      what the writer prints; empty
    <shm>/runicorn.<uid>.<16 hex>.opening   locked while a process opens a spool for an existing run
    <temp>/runicorn-<uid>-<16 hex>-overflow/
        address.json                    the same: where the spool has gone by name, it is found by this
        <producer>-<n>.seg, blob-...    what is beyond the budget, or came after the spool had gone by name
"""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from runicorn import memory_limit, rundir
from runicorn.locks import Lock, held_here
from runicorn.settings import GIB, KIB, MIB, Settings
from runicorn.writer.control import ControlPage

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = "address.json"
CONTROL = "control"
OWNER_LOCK = "owner.lock"
WRITER_LOCK = "writer.lock"
PLAN = "plan"
SIGTERM_MARK = "sigterm"
WRITER_LOG = "writer.log"
SEGMENT_SUFFIX = ".seg"
LOCK_SUFFIX = ".lock"
SPARE_SUFFIX = ".spare"
BLOB_PREFIX = "blob-"

PRIMARY, OVERFLOW = 0, 1

PLAN_BYTES = 128 * KIB
_REMOVE_TRIES = 3
_OPENING_SUFFIX = ".opening"
_ALONE_WITHIN_S, _POLL_S = 30.0, 0.002

_LEAST_BUDGET_BYTES = MIB
"""Shared memory that offers less than this is not worth starting in: a container's default is 64 MiB."""


class Address(msgspec.Struct, frozen=True):
    """What a spool belongs to: all that a process needs to join the run, or to end it.

    Attributes:
        run_id: id of the run.
        run_dir: absolute path of its directory.
        storage: absolute path of the storage root.
        path: the run's path, normalised.
        host: host name of the processes that use this spool.
        owner_pid: process id of the owner; for people.
        opened_at: when this session of the run began, epoch seconds.
        spool: path of the spool.
        overflow: path of its second place; made when needed.
        settings: the owner's settings.
        budget_bytes: of the spool.
        overflow_bytes: budget of the second place.
        floor_bytes: what the spool leaves free in shared memory for its neighbours.
        main: whether this host's writer owns the run's common files; others write files of their own beside them.
        ranked: whether processes come and go as ranks of a job, so that the owner need not be there yet.
        attempt: which start of the job's ranks it belongs to.
    """

    run_id: str
    run_dir: str
    storage: str
    path: str
    host: str
    owner_pid: int
    opened_at: float
    spool: str
    overflow: str
    settings: Settings
    budget_bytes: int
    overflow_bytes: int
    floor_bytes: int
    main: bool = True
    ranked: bool = False
    attempt: int = 0


def budget_bytes(base: str, settings: Settings, *, in_memory: bool) -> int:
    """What a run would get of a place if it were opened now: of shared memory, or of the temp directory.

    Raises:
        OSError: the place is not there.
    """
    given = settings.spool_max_bytes if in_memory else settings.overflow_max_bytes
    return given or _default_budget_bytes(base, in_memory=in_memory)


def _default_budget_bytes(base: str, *, in_memory: bool) -> int:
    free_bytes = _free_bytes(base)
    budget = min(GIB, free_bytes // 4) if in_memory else free_bytes // 10
    share = memory_limit.share_of_left(base, 0)
    return budget if share is None else min(budget, share)


def create(
    *,
    run_id: str,
    run_dir: str,
    storage: str,
    path: str,
    host: str,
    opened_at: float,
    settings: Settings,
    main: bool = True,
    ranked: bool = False,
    attempt: int = 0,
) -> tuple[Address, Lock]:
    """Make a spool for a run, in shared memory or else in the temp directory, and take its owner lock.

    Raises:
        OSError: neither can be written; names the last one tried.
    """
    error: OSError | None = None
    temp = temp_dir()
    for base in (shm_dir(settings), temp):
        if base is None:
            continue
        try:
            free = _free_bytes(base)
            in_memory = base != temp
            budget = settings.spool_max_bytes or _default_budget_bytes(base, in_memory=in_memory)
            if in_memory and min(budget, free) < _LEAST_BUDGET_BYTES:
                continue
            name = f"runicorn-{_uid()}-{os.urandom(8).hex()}"
            address = Address(
                run_id=run_id,
                run_dir=run_dir,
                storage=storage,
                path=path,
                host=host,
                owner_pid=os.getpid(),
                opened_at=opened_at,
                spool=os.path.join(base, name),
                overflow=os.path.join(temp, f"{name}-overflow"),
                settings=settings,
                budget_bytes=budget,
                overflow_bytes=settings.overflow_max_bytes or _default_budget_bytes(temp, in_memory=False),
                floor_bytes=min(GIB, free // 4),
                main=main,
                ranked=ranked,
                attempt=attempt,
            )
            lock = _fill(address)
        except OSError as failure:
            error = failure if failure.filename else OSError(failure.errno, failure.strerror, base)
            continue
        return address, lock
    raise error or OSError(f"No directory for the spool: neither shared memory nor {temp} can be used")


def _fill(address: Address) -> Lock:
    os.mkdir(address.spool, 0o700)
    lock = None
    try:
        # First: a spool with an address and without a held owner lock is an orphan that others may adopt.
        lock = Lock.take(os.path.join(address.spool, OWNER_LOCK), ours=True)
        if lock is None:
            raise OSError(f"{address.spool}/{OWNER_LOCK}: the new lock is held by somebody")  # noqa: TRY301 - cleaned up below
        _write(os.path.join(address.spool, PLAN), bytes(PLAN_BYTES))
        ControlPage.create(os.path.join(address.spool, CONTROL))
        for empty in (WRITER_LOCK, SIGTERM_MARK, WRITER_LOG):
            _write(os.path.join(address.spool, empty), b"")
        # Last: a spool with an address is whole.
        _write(os.path.join(address.spool, ADDRESS), msgspec.json.encode(address))
    except OSError:
        if lock is not None:
            lock.release()
        remove(address.spool)
        raise
    return lock


def read_address(spool: str) -> Address:
    """Read where a spool belongs, after a look at who made it.

    Raises:
        OSError: it is not there, or not private to this user: records in it could be somebody else's.
        ValueError: its address is damaged.
    """
    check_private(spool)
    with open(os.path.join(spool, ADDRESS), "rb") as file:
        return msgspec.json.decode(file.read(), type=Address)


def check_private(directory: str) -> None:
    """Make sure that a directory is ours alone.

    Raises:
        PermissionError: it is a link, belongs to another user, or others may enter it.
        FileNotFoundError: it is not there.
    """
    status = os.lstat(directory)
    if sys.platform == "win32":  # the temp directory is the user's own; modes say nothing
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != _uid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{directory} is not a directory that only this user can enter. Nothing was read from it or "
            "written to it. Find out who made it, and remove it."
        )


def open_overflow(address: Address) -> None:
    """Make the second place, or find it made by another process of the run.

    Raises:
        OSError: it cannot be made, or is not ours.
    """
    try:
        os.mkdir(address.overflow, 0o700)
    except FileExistsError:
        check_private(address.overflow)
        return
    with suppress(OSError):  # by which it is found where the spool has gone by name, and its processes too
        _write(os.path.join(address.overflow, ADDRESS), msgspec.json.encode(address))


def room_for(address: Address, control: ControlPage, place: int, size_bytes: int) -> bool:
    """Whether a place's budget has room for another segment, and its neighbours keep theirs."""
    budget = address.budget_bytes if place == PRIMARY else address.overflow_bytes
    directory = os.path.dirname(address.spool if place == PRIMARY else address.overflow)
    used = control.used_bytes(place)
    if used + size_bytes > budget:
        return False
    given = address.settings.spool_max_bytes if place == PRIMARY else address.settings.overflow_max_bytes
    share = None if given else memory_limit.share_of_left(directory, control.spooled_bytes)
    if share is not None and control.spooled_bytes + size_bytes > share:
        return False
    return _free_bytes(directory) - size_bytes >= (address.floor_bytes if place == PRIMARY else 0)


def bytes_in(directory: str) -> int:
    """What counts in a place's budget: segments, spares, blobs."""
    total = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(BLOB_PREFIX) or entry.name.endswith((SEGMENT_SUFFIX, SPARE_SUFFIX)):
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def largest_segment_bytes(address: Address) -> int:
    """How large a segment may become: the setting, or an eighth of the budget, but never less than the first one."""
    settings = address.settings
    return max(settings.segment_bytes, min(settings.segment_max_bytes, address.budget_bytes // 8))


def find(settings: Settings) -> list[str]:
    """The spools of this user on this host, whole or not."""
    found = []
    prefix = f"runicorn-{_uid()}-"
    for base in (shm_dir(settings), temp_dir()):
        if base is None:
            continue
        try:
            names = os.listdir(base)
        except OSError:
            continue
        found += [
            os.path.join(base, name) for name in names if name.startswith(prefix) and not name.endswith("-overflow")
        ]
    return sorted(set(found))


@contextmanager
def alone_with(run_dir: str, settings: Settings) -> Iterator[None]:
    """Only one process, and one thread, of this host at a time makes the spool of a run, or replaces it by another.

    Raises:
        TimeoutError: another one has been at it for half a minute.
    """
    import hashlib  # as in rendezvous

    name = hashlib.sha256(os.fsencode(os.path.realpath(run_dir))).hexdigest()[:16]
    path = os.path.join(shm_dir(settings) or temp_dir(), f"{_opening_prefix()}{name}{_OPENING_SUFFIX}")
    deadline = time.monotonic() + _ALONE_WITHIN_S
    lock = _take_named(path)
    while lock is None:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"Another process of this host has been opening, or changing, the run in {run_dir} for "
                f"{_ALONE_WITHIN_S:.0f} s. Nothing was changed. Look who holds {path}, and try again."
            )
        time.sleep(_POLL_S)
        lock = _take_named(path)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        lock.release()


def sweep(settings: Settings) -> None:
    """Remove what processes that were killed in ``alone_with`` have left."""
    base = shm_dir(settings) or temp_dir()
    try:
        names = os.listdir(base)
    except OSError:
        return
    for name in names:
        if name.startswith(_opening_prefix()) and name.endswith(_OPENING_SUFFIX):
            path = os.path.join(base, name)
            lock = _take_named(path)
            if lock is not None:
                with suppress(OSError):
                    os.unlink(path)
                lock.release()


def _take_named(path: str) -> Lock | None:
    """Take a lock whose file others unlink while they hold it: it counts only while the file has its name."""
    try:
        lock = Lock.take(path)
    except RuntimeError:  # another thread of this process
        return None
    if lock is not None and held_here(path) is not lock:
        lock.release()
        return None
    return lock


def _opening_prefix() -> str:
    return f"runicorn.{_uid()}."


def dissolve(address: Address) -> None:
    """Remove all that a spool consists of, the word in the run directory first; its run has ended."""
    pointer = os.path.join(address.run_dir, rundir.spool_pointer(address.host))
    try:
        fd = os.open(pointer, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))  # open() may be gone at an interpreter's end
        try:
            word = os.read(fd, 4096)
        finally:
            os.close(fd)
        if word == os.fsencode(address.spool):  # a session that has resumed the run leaves word of its own
            os.unlink(pointer)
    except OSError:  # gone, or the run directory was moved
        pass
    with suppress(OSError):  # first: what is stored and still there must not be found and stored again
        os.unlink(os.path.join(address.overflow, ADDRESS))
    remove(address.overflow)
    remove(address.spool)


def remove(directory: str) -> None:
    """Remove a place and the files in it; what is gone already is gone."""
    for _ in range(_REMOVE_TRIES):
        try:
            names = os.listdir(directory)
        except OSError:
            return
        # The address goes last: a spool without one is a rest that anybody may remove. The page that says that the run
        # is done goes before it.
        for name in sorted(names, key=lambda name: (name in {CONTROL, ADDRESS}, name == ADDRESS)):
            with suppress(OSError):
                os.unlink(os.path.join(directory, name))
        # A process that has looked before the run was closed may make one more segment meanwhile.
        with suppress(OSError):
            os.rmdir(directory)


def shm_dir(settings: Settings) -> str | None:
    """Where shared memory is a file system; None where it is not (macOS, Windows)."""
    directory = settings.shm_dir or "/dev/shm"  # noqa: S108 - a random 0700 directory is made in it
    return directory if os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK) else None


def temp_dir() -> str:
    """The temp directory, without importing ``tempfile`` (4 ms) where its rule is simple."""
    if sys.platform == "win32":
        import tempfile

        return tempfile.gettempdir()
    return os.path.abspath(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - as above


def _free_bytes(directory: str) -> int:
    if sys.platform == "win32":
        import shutil

        return shutil.disk_usage(directory).free
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def _uid() -> int:
    return os.geteuid() if sys.platform != "win32" else 0


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
    finally:
        os.close(fd)
