"""How the ranks of a job find their run: a file under the storage root, made by whoever comes first.

No waiting and no network call: the file is published whole, by a link that fails where it exists already, and says
which run it is. Who makes the run's directory is then decided by ``mkdir``, so a first comer that dies holds nobody up.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress

from runicorn.errors import MissingPathError
from runicorn.storage import directory_kinds, modes, paths, removal
from runicorn.storage.plain_json import UnfitFileError, open_regular

FOLDER = ".rendezvous"
_KEPT_S = 30 * 24 * 3600.0
_BEING_WRITTEN_S, _POLL_S = 1.0, 0.002
_TRIES = 10
_MOST_BYTES, _MOST_OF_NAME = 8192, 48

_inits: dict[tuple[int, str], int] = {}
"""How often this process has called ``init()`` for a path; by process, for a forked child counts anew."""


def count_init(path: str) -> int:
    """Count one more ``init()`` of a path in this process; how many that makes."""
    key = (os.getpid(), path)
    _inits[key] = nth = _inits.get(key, 0) + 1
    return nth


def run_id_of(storage: str, path: str, job: str, nth: int) -> str:
    """The id of the run that the ranks of a job share: that of the n-th ``init()`` of this path in each rank.

    Raises:
        OSError: the storage cannot be written.
    """
    meeting_point = _meeting_point(storage, path, job, nth)
    folder = os.path.dirname(meeting_point)
    modes.make_directories(folder)
    for _ in range(_TRIES):
        found = read(meeting_point)
        if found:
            return found
        if found == "":  # its maker died before it could write, on a file system without links
            withdraw(meeting_point, "")
        _forget_old(folder)
        publish(meeting_point, paths.new_run_id())
    raise MissingPathError(
        f"{meeting_point} is removed again and again while the ranks of a job meet there. Nothing was made. Find out "
        "who else writes there, or set RUNICORN_RANK_MODE=separate."
    )


def known_run_id(storage: str, path: str, job: str, nth: int) -> str | None:
    """The same, where a rank has been there already; None where none has."""
    return read(_meeting_point(storage, path, job, nth)) or None


def _meeting_point(storage: str, path: str, job: str, nth: int) -> str:
    import hashlib  # 2 ms, which a run of one process need not pay

    digest = hashlib.sha256(f"{job}\n{path}\n{nth}".encode()).hexdigest()[:32]
    return os.path.join(storage, FOLDER, digest)


def publish(path: str, text: str, kind: directory_kinds.Kind = directory_kinds.RENDEZVOUS) -> bool:
    """Make a file with its content at once; False where it exists already, which it then keeps.

    Args:
        path: of the file.
        text: its content.
        kind: of the directory that it is in.

    Raises:
        OSError: it cannot be made; nothing is left.
    """
    with removal.parent_of(path, kind) as (directory, name):
        temporary = _temporary(name)
        try:
            _write(directory, temporary, text)
            try:
                directory.link(temporary, name, at=directory)
            except FileExistsError:
                return False
            except OSError:  # a file system without links: then not at once, but still exclusively
                return _write_exclusively(directory, name, text)
        finally:
            with suppress(OSError):
                directory.remove(temporary)
    return True


def withdraw(path: str, seen: str, kind: directory_kinds.Kind = directory_kinds.RENDEZVOUS) -> None:
    """Remove a file in which we have seen a text; what another process has published there since is put back.

    What is no file is none of ours: it is kept beside.

    Raises:
        OSError: it cannot be.
    """
    with removal.parent_of(path, kind) as (directory, name):
        aside = _temporary(name)
        try:
            status = directory.status(name)
            if status is not None and not stat.S_ISREG(status.st_mode):
                directory.keep_aside(name)
                return
            directory.put_aside(name, aside)
        except FileNotFoundError:
            return
        text = _text_of(directory.name(aside), directory.fd)
        directory.remove(aside)
    if text and text != seen:
        publish(path, text, kind)


def _temporary(name: str) -> str:
    return f".{name[:_MOST_OF_NAME]}.{os.getpid():x}.{os.urandom(4).hex()}.new"


def _write(directory: removal.Directory, name: str, text: str) -> None:
    fd = directory.new_file(name)
    try:
        left = memoryview(os.fsencode(text))
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


def _write_exclusively(directory: removal.Directory, name: str, text: str) -> bool:
    try:
        _write(directory, name, text)
    except FileExistsError:
        return False
    return True


def write_first(path: str, text: str, kind: directory_kinds.Kind) -> None:
    """Make a file in a directory that this process has just made: nobody reads it yet.

    Raises:
        OSError: it cannot be made, or is there.
    """
    with removal.parent_of(path, kind) as (directory, name):
        _write(directory, name, text)


def read(path: str) -> str | None:
    """What was published; None where nothing was. Waits while a file is still empty, and gives that up in a second."""
    deadline = time.monotonic() + _BEING_WRITTEN_S
    while True:
        try:
            text = _text_of(path)
        except (FileNotFoundError, UnfitFileError):
            return None
        if text or time.monotonic() > deadline:
            return text
        time.sleep(_POLL_S)


def _text_of(path: str, dir_fd: int | None = None) -> str:
    fd = open_regular(path, dir_fd=dir_fd)
    try:
        return os.fsdecode(os.read(fd, _MOST_BYTES))
    finally:
        os.close(fd)


def _forget_old(folder: str) -> None:
    limit = time.time() - _KEPT_S
    with removal.Directory(folder, directory_kinds.RENDEZVOUS) as directory:
        for name in filter(directory.has_shape, directory.names()):
            status = directory.status(name)
            if status is not None and status.st_mtime < limit:
                with suppress(OSError):  # another job's first comer was faster
                    directory.remove(name)
