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
    <shm>/runicorn-<uid>-<16 hex>.making/   the same while it is made: what has its final name is whole
    <temp, or user's cache>/runicorn-<uid>-<16 hex>-overflow/
        address.json                    the same: where the spool has gone by name, it is found by this
        <producer>-<n>.seg, blob-...    what is beyond the budget, or came after the spool had gone by name
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from runicorn.errors import StorageError
from runicorn.host import memory_limit
from runicorn.host.identity import machine
from runicorn.host.locks import Lock
from runicorn.queue.control_page import ControlPage
from runicorn.queue.spool_address import ADDRESS, Address, check_private, directory_id, encode_address
from runicorn.settings import GIB, KIB, MIB, Settings
from runicorn.storage import directory_kinds, modes, removal, run_files
from runicorn.storage.plain_json import open_regular

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
MAKING_SUFFIX = ".making"
OVERFLOW_SUFFIX = "-overflow"

PRIMARY, OVERFLOW = 0, 1


PLAN_BYTES = 128 * KIB
_REMOVE_TRIES = 3
_MAKE_TRIES = 5
_RANDOM_DIGITS = 16

_USUAL_TEMP_DIRS = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108 - a random 0700 directory is made in it

_LEAST_BUDGET_BYTES = MIB
"""Shared memory that offers less than this is not worth starting in: a container's default is 64 MiB."""


def budget_bytes(base: str, settings: Settings, *, in_memory: bool) -> int:
    """What a run would get of a tier if it were opened now: of shared memory, or of the temp directory.

    Raises:
        OSError: the directory is not there.
    """
    given = settings.spool_max_bytes if in_memory else settings.overflow_max_bytes
    return given or _default_budget_bytes(base, in_memory=in_memory)


def _default_budget_bytes(base: str, *, in_memory: bool) -> int:
    free_bytes = _free_bytes(base)
    budget = min(GIB, free_bytes // 4) if in_memory else free_bytes // 10
    share = memory_limit.share_of_left(base, 0)
    return budget if share is None else min(budget, share)


def _overflow_bytes(temp: str, settings: Settings) -> int:
    """Budget of the overflow directory; none if it cannot be had, which is no reason to refuse a run."""
    try:
        return budget_bytes(temp, settings, in_memory=False)
    except OSError:
        return 0


def create(
    *,
    run_id: str,
    run_dir: str,
    storage: str,
    path: str,
    host: str,
    opened_at: float,
    settings: Settings,
    on_main_host: bool = True,
    distributed: bool = False,
    attempt: int = 0,
    joined_session: str = "",
) -> tuple[Address, Lock]:
    """Make a spool for a run, in shared memory or else in the temp directory, and take its owner lock.

    If the temp directory is full or cannot be written, the spool is in the user's cache.

    Raises:
        OSError: none can be written; names one of them.
    """
    error: OSError | None = None
    temp, cache = _disk_with_room(), _cache_dir()
    for base in dict.fromkeys((shm_dir(settings), temp, cache)):
        if base is None:
            continue
        try:
            if base == cache:
                modes.make_directories(cache, 0o700)
            free = _free_bytes(base)
            in_memory = base not in {temp, cache}
            disk = temp if in_memory else base
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
                overflow=os.path.join(disk, f"{name}{OVERFLOW_SUFFIX}"),
                settings=settings,
                budget_bytes=budget,
                overflow_bytes=_overflow_bytes(disk, settings),
                floor_bytes=min(GIB, free // 4),
                on_main_host=on_main_host,
                distributed=distributed,
                attempt=attempt,
                run_dir_id=directory_id(run_dir),
                storage_id=directory_id(storage),
                machine=machine(base).text(),
                joined_session=joined_session,
            )
            lock = _fill(address)
        except OSError as failure:
            if error is None or base == temp:
                error = failure if failure.filename else OSError(failure.errno, failure.strerror, base)
            continue
        return address, lock
    raise error or StorageError(f"No directory for the spool: neither shared memory nor {temp} can be used")


def _fill(address: Address) -> Lock:
    """Make it under another name and rename it, so that one with its name is whole."""
    for _ in range(_MAKE_TRIES - 1):
        # Who comes between mkdir and the lock takes it for a dead process's rest, and removes it.
        with suppress(FileNotFoundError):
            return _make(address)
    return _make(address)


def _make(address: Address) -> Lock:
    with removal.parent_of(address.spool, directory_kinds.SPOOLS) as (base, name):
        return _make_in(base, name, address)


def _make_in(base: removal.Directory, name: str, address: Address) -> Lock:
    making = f"{address.spool}{MAKING_SUFFIX}"
    base.make_private(name + MAKING_SUFFIX)
    lock = None
    try:
        # First: while this lock is held nobody takes the directory for a dead process's rest.
        lock = Lock.take(os.path.join(making, OWNER_LOCK), ours=True)
        if lock is None:
            raise OSError(f"{making}/{OWNER_LOCK}: the new lock is held by somebody")  # noqa: TRY301 - cleaned up below
        _write(os.path.join(making, PLAN), bytes(PLAN_BYTES))
        ControlPage.create(os.path.join(making, CONTROL))
        for empty in (WRITER_LOCK, SIGTERM_MARK, WRITER_LOG):
            _write(os.path.join(making, empty), b"")
        _write(os.path.join(making, ADDRESS), encode_address(address))
        base.rename(name + MAKING_SUFFIX, name)
    except OSError:
        if lock is not None:
            lock.release()
        remove(making)
        raise
    return lock


def open_overflow(address: Address) -> None:
    """Make the overflow directory, or find it made by another process of the run.

    Raises:
        OSError: it cannot be made, or is not ours.
    """
    try:
        modes.make_directory(address.overflow, 0o700)
    except FileExistsError:
        check_private(address.overflow)
        return
    with suppress(OSError):  # by which it is found where the spool has gone by name, and its processes too
        _write(os.path.join(address.overflow, ADDRESS), encode_address(address))


def room_for(address: Address, control: ControlPage, tier: int, size_bytes: int) -> bool:
    """Whether a tier's budget has room for another segment, and its neighbours keep theirs."""
    budget = address.budget_bytes if tier == PRIMARY else address.overflow_bytes
    directory = os.path.dirname(address.spool if tier == PRIMARY else address.overflow)
    used = control.used_bytes(tier)
    if used + size_bytes > budget:
        return False
    given = address.settings.spool_max_bytes if tier == PRIMARY else address.settings.overflow_max_bytes
    share = None if given else memory_limit.share_of_left(directory, control.spooled_bytes)
    if share is not None and control.spooled_bytes + size_bytes > share:
        return False
    return _free_bytes(directory) - size_bytes >= (address.floor_bytes if tier == PRIMARY else 0)


def bytes_in(directory: str) -> int:
    """What counts in a tier's budget: segments, spares, blobs."""
    total = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(BLOB_PREFIX) or entry.name.endswith((SEGMENT_SUFFIX, SPARE_SUFFIX)):
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def holds_records(name: str) -> bool:
    """Whether a file of this name in a spool may hold records, or what one of them tells of."""
    return name.endswith(SEGMENT_SUFFIX) or name.startswith(BLOB_PREFIX)


def largest_segment_bytes(address: Address) -> int:
    """How large a segment may become: the setting, or an eighth of the budget, but never less than the first one."""
    settings = address.settings
    return max(settings.segment_bytes, min(settings.segment_max_bytes, address.budget_bytes // 8))


def find(settings: Settings) -> list[str]:
    """The spools of this user on this host: directories of ours of the exact name, nobody else's and no links."""
    return [path for path, suffix in in_both_tiers(settings) if not suffix]


def find_half_made(settings: Settings) -> list[str]:
    """Directories of this user in which spools are being made, or were when their makers died."""
    return [path for path, suffix in in_both_tiers(settings) if suffix == MAKING_SUFFIX]


def find_overflows(settings: Settings) -> list[str]:
    """The overflow directories of this user's spools."""
    return [path for path, suffix in in_both_tiers(settings) if suffix == OVERFLOW_SUFFIX]


def in_both_tiers(settings: Settings) -> list[tuple[str, str]]:
    """Directories of ours that may be of spools, and what is behind the random digits in their names."""
    found = set()
    prefix = f"runicorn-{_uid()}-"
    for base in bases(settings):
        try:
            names = [name for name in os.listdir(base) if name.startswith(prefix)]
            device = os.stat(base).st_dev if names else 0
        except OSError:
            continue
        for name in names:
            digits, suffix = name[len(prefix) :][:_RANDOM_DIGITS], name[len(prefix) + _RANDOM_DIGITS :]
            path = os.path.join(base, name)
            if _is_random(digits) and suffix in {"", MAKING_SUFFIX, OVERFLOW_SUFFIX} and _is_ours(path, device):
                found.add((path, suffix))
    return sorted(found)


def _is_random(digits: str) -> bool:
    return len(digits) == _RANDOM_DIGITS and not set(digits) - set("0123456789abcdef")


def _is_ours(path: str, device: int) -> bool:
    """Whether it is a directory that only this user can enter, and nothing that is mounted there."""
    try:
        status = os.lstat(path)
        removal.check(path, directory_kinds.SPOOL, status)
    except OSError:
        return False
    return status.st_dev == device or sys.platform == "win32"


def remove_spool(address: Address) -> None:
    """Remove all that a spool consists of, its pointer in the run directory first; its run has ended."""
    pointer = run_files.spool_pointer(address.host)
    try:
        with removal.Directory(address.run_dir, directory_kinds.RUN) as directory:
            # open() may be gone at an interpreter's end.
            fd = open_regular(directory.name(pointer), dir_fd=directory.fd)
            try:
                pointed = os.read(fd, 4096)
            finally:
                os.close(fd)
            if pointed == os.fsencode(address.spool):  # a session that has resumed the run has written its own
                directory.remove(pointer)
    except (OSError, ValueError):  # gone, or the run directory was moved
        pass
    # First: what is stored and still there must not be found and stored again.
    removal.remove_from_spool(os.path.join(address.overflow, ADDRESS))
    remove(address.overflow)
    remove(address.spool)


def remove(directory: str) -> None:
    """Remove a directory and what a spool has in it; what is gone already is gone, and what is not ours stays."""
    for _ in range(_REMOVE_TRIES):
        try:
            with removal.Directory(directory, directory_kinds.SPOOL) as folder:
                # The address goes late: a spool without one is a rest. The page that says that the run is done goes
                # before it. The lock goes last, for who removes a rest holds it, and a directory that has none is
                # nobody's spool.
                folder.remove_all(last=(CONTROL, ADDRESS, OWNER_LOCK))
        except OSError:
            return
        # A process that has checked before the run was closed may make one more segment meanwhile.
        with suppress(OSError), removal.parent_of(directory, directory_kinds.SPOOLS) as (base, name):
            base.remove_empty(name)


def bases(settings: Settings) -> list[str]:
    """Where spools and their overflow directories may be."""
    memory = shm_dir(settings)
    return [*([] if memory is None else [memory]), temp_dir(), _cache_dir()]


def _cache_dir() -> str:
    """Where they are if the temp directory cannot be used; nothing is there before that."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.abspath(cache), "runicorn", "spools")


def _disk_with_room() -> str:
    """The temp directory; the user's cache if that alone can be written and has room."""
    temp = temp_dir()
    for directory in (temp, _cache_dir()):
        with suppress(OSError):
            if directory != temp:
                modes.make_directories(directory, 0o700)
            if os.access(directory, os.W_OK | os.X_OK) and _free_bytes(directory) >= _LEAST_BUDGET_BYTES:
                return directory
    return temp


def usual_directory(settings: Settings) -> str:
    """The directory that a spool opened now would be in."""
    return shm_dir(settings) or temp_dir()


def shm_dir(settings: Settings) -> str | None:
    """Where shared memory is a file system; None where it is not (macOS, Windows)."""
    directory = settings.shm_dir or "/dev/shm"  # noqa: S108 - a random 0700 directory is made in it
    return directory if os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK) else None


def temp_dir() -> str:
    """The temp directory by the rule of ``tempfile``, without importing that (4 ms).

    A ``TMPDIR`` that is gone, as a scheduler leaves it behind, is passed over; the last choice is given unasked.
    """
    if sys.platform == "win32":
        import tempfile

        return tempfile.gettempdir()
    named = (os.environ.get(variable) for variable in ("TMPDIR", "TEMP", "TMP"))
    for directory in (*filter(None, named), *_USUAL_TEMP_DIRS):
        if os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK):
            return os.path.abspath(directory)
    return _USUAL_TEMP_DIRS[0]


def _free_bytes(directory: str) -> int:
    if sys.platform == "win32":
        import shutil

        return shutil.disk_usage(directory).free
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def _uid() -> int:
    return os.geteuid() if sys.platform != "win32" else 0


def _write(path: str, content: bytes) -> None:
    fd = modes.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
    finally:
        os.close(fd)
