"""Files and directories that have their names only once they are whole."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from runicorn.errors import ForbiddenPathError, IsDirectoryError, MissingPathError, NoDirectoryError, PathExistsError
from runicorn.reading.directories import location_of
from runicorn.reading.info import RECYCLE
from runicorn.storage import directory_kinds, paths, removal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STORAGE_FOLDERS = {paths.RUNS, RECYCLE, "archive", "index", "views", "webui", ".importing"}
_STORAGE_FILES = "runicorn."
_MOST_OF_NAME = 48


def named(target: str) -> str:
    """The path of a directory with a name at its end: no slash, and no ``.`` or ``..``."""
    path = target.rstrip(f"/{os.sep}") or target
    return os.path.realpath(path) if os.path.basename(path) in {os.curdir, os.pardir} else path


def check(target: str, *, is_directory: bool, force: bool, storage: str) -> None:
    """Find out early whether something could be put there.

    Args:
        target: path of the file or directory to be made.
        is_directory: a directory is to be made.
        force: what is there may be replaced.
        storage: storage root of the run that is written.

    Raises:
        FileExistsError: something is there, and may not be replaced.
        FileNotFoundError: the directory that it would be in is not there.
        IsADirectoryError: a directory is in the place of a file.
        NotADirectoryError: a file is in the place of a directory.
        PermissionError: it would be in a run's directory, or among the files of the storage.
    """
    parent = os.path.dirname(os.path.abspath(target))
    if not target or not os.path.isdir(parent):
        raise MissingPathError(f"{parent} is not a directory. Nothing was written. Make the directory first.")
    _refuse_inside_runs(os.path.join(os.path.realpath(parent), os.path.basename(os.path.abspath(target))), storage)
    _refuse_kind(target, is_directory=is_directory)
    if not is_directory and target.endswith(("/", os.sep)):
        raise MissingPathError(f"{target} is the name of a directory. Nothing was written. Name a file.")
    if os.path.lexists(target) and not force:
        raise _there(target)


def _refuse_inside_runs(target: str, storage: str) -> None:
    """Refuse what would be in a run, at any depth, or is a file or folder of the storage."""
    above = target
    while True:
        if location_of(above, "") is not None:
            raise ForbiddenPathError(
                f"{above} is the directory of a run. Nothing was written. Choose a path outside it."
            )
        if os.path.dirname(above) == above:
            break
        above = os.path.dirname(above)
    root = os.path.realpath(storage)
    if not target.startswith(os.path.join(root, "")):
        return
    first = os.path.relpath(target, root).split(os.sep)[0]
    if first in _STORAGE_FOLDERS or first.startswith(_STORAGE_FILES):
        raise ForbiddenPathError(
            f"{os.path.join(root, first)} belongs to the storage. Nothing was written. Choose a path outside it."
        )


def _refuse_kind(target: str, *, is_directory: bool) -> None:
    """Refuse what is there, if it is not of the kind that is to be made: it is never replaced."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        raise PathExistsError(
            f"{target} is a link to {os.path.realpath(target)}. Both were left alone, and nothing was written. "
            "Name the file itself, or write -o - to write to standard output."
        )
    if stat.S_ISDIR(mode):
        if not is_directory:
            raise IsDirectoryError(f"{target} is a directory. Nothing was written. Name a file.")
    elif not stat.S_ISREG(mode):
        raise PathExistsError(
            f"{target} is a device, a FIFO or a socket. It was left alone, and nothing was written. "
            "Write -o - to write to standard output."
        )
    elif is_directory:
        raise NoDirectoryError(f"{target} is a file. Nothing was written. Name a directory that does not exist yet.")


@contextmanager
def new_file(target: str, *, force: bool) -> Iterator[BinaryIO]:
    """A file to be written, which has its name when the block ends well, and is gone when it does not.

    Args:
        target: its path.
        force: replace a file that is there.

    Raises:
        FileExistsError: there is one, maybe only since the block began.
        OSError: it cannot be written.
    """
    name, temporary = os.path.basename(target), _temporary(target)
    with removal.Directory(os.path.dirname(os.path.abspath(target)), directory_kinds.EXPORT) as directory:
        try:
            with os.fdopen(directory.new_file(temporary), "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if force:
                _refuse_kind(target, is_directory=False)  # it may have come meanwhile
                directory.replace(temporary, name)
            else:
                _name_exclusively(directory, temporary, target)
            _sync(directory)
        finally:
            with suppress(OSError):
                directory.remove(temporary)


@contextmanager
def new_directory(target: str, *, force: bool, may_go: Callable[[str], bool], what: str) -> Iterator[str]:
    """A directory to be filled, which has its name when the block ends well, and is gone when it does not.

    Args:
        target: its path, with a name at its end.
        force: replace a directory that is there.
        may_go: whether that one may be replaced.
        what: one that may not holds, in words.

    Raises:
        FileExistsError: there is one, maybe only since the block began; or it may not be replaced.
        OSError: it cannot be written.
    """
    if force and os.path.lexists(target) and not may_go(target):
        raise PathExistsError(f"{target} holds {what}. Nothing was written. Name another directory.")
    name, temporary = os.path.basename(target), _temporary(target)
    with removal.Directory(os.path.dirname(os.path.abspath(target)), directory_kinds.EXPORT) as directory:
        try:
            directory.make_child(temporary).close()
            yield os.path.join(directory.path, temporary)
            _sync_tree(os.path.join(directory.path, temporary))
            _refuse_kind(target, is_directory=True)  # it may have come meanwhile
            before = _put_aside(directory, target) if force else None
            if directory.status(name) is not None:
                raise _there(target)
            try:
                directory.rename(temporary, name)
            except OSError:
                if before is not None:
                    directory.rename(before, name)
                raise
            _sync(directory)
            if before is not None:
                _remove_before(directory, before, may_go)
        finally:
            directory.remove_tree(temporary)


def _put_aside(directory: removal.Directory, target: str) -> str | None:
    aside = _temporary(target, "old")
    try:
        directory.put_aside(os.path.basename(target), aside)
    except FileNotFoundError:
        return None
    return aside


def _remove_before(directory: removal.Directory, before: str, may_go: Callable[[str], bool]) -> None:
    """Remove what was replaced, if still nothing else is in it: somebody may have put a file there meanwhile."""
    if may_go(os.path.join(directory.path, before)):
        directory.remove_tree(before)


def _name_exclusively(directory: removal.Directory, temporary: str, target: str) -> None:
    name = os.path.basename(target)
    try:
        directory.link(temporary, name, at=directory)
    except FileExistsError:
        raise _there(target) from None
    except OSError:  # a file system without links
        if directory.status(name) is not None:
            raise _there(target) from None
        directory.replace(temporary, name)


def _there(target: str) -> FileExistsError:
    return PathExistsError(
        f"{target} exists already. Nothing was written. Name another file, or add --force to replace it."
    )


def _temporary(target: str, what: str = "new") -> str:
    # Not longer than a name may be, whatever the target is called.
    return f".{os.path.basename(target)[:_MOST_OF_NAME]}.{os.getpid():x}.{os.urandom(4).hex()}.{what}"


def _sync_tree(top: str) -> None:
    for directory, _, _ in os.walk(top):
        with removal.Directory(directory, directory_kinds.EXPORT) as opened:
            _sync(opened)


def _sync(directory: removal.Directory) -> None:
    if directory.fd is not None:  # elsewhere a directory cannot be opened
        os.fsync(directory.fd)
