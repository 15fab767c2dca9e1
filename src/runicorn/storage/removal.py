"""Remove, rename and replace files: every call of this package that takes a name away from a file is in this module.

A directory is opened once, without following a link, and checked: whose it is, who may enter it. What is done in it
then goes through its descriptor, so nothing that is put into its place meanwhile is reached. Only names of a shape
that this package makes go, and a name never has a slash: who means a directory below opens that first. So a file that
somebody else has put there stays, and so does the directory that it is in.

Where the system has no such descriptors (Windows) the same is done by path; that half has not been run.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from runicorn.storage import modes
from runicorn.storage.directory_kinds import NAMED_IN_SPOOL, SPOOL, STORAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOEXEC
_BY_DESCRIPTOR = os.open in os.supports_dir_fd
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}
_LINK_OR_FILE = {errno.ELOOP, errno.EMLINK, errno.ENOTDIR}
_PRIVATE_MODE = 0o700
_MOST_DAMAGED = 1000


class NotOursError(PermissionError):
    """A directory is a link, or belongs to somebody else, or others may enter it; or a name is none that we make."""


class Directory:
    """An open directory in which names may go.

    Args:
        path: of the directory.
        kind: of which it is.
        at: the directory that ``path`` is a name in; else a path of its own.

    Raises:
        FileNotFoundError: it is not there.
        NotOursError: it is a link or no directory, or its owner or mode is not what its kind has.
        OSError: it cannot be opened.
    """

    __slots__ = ("_made", "fd", "identity", "kind", "path")

    def __init__(self, path: str, kind: Kind, at: Directory | None = None) -> None:
        self.kind = kind
        self._made: set[str] = set()  # names that this object has made: ours, whatever their shape
        self.path: str = path if at is None else os.path.join(at.path, _plain(path))
        self.fd: int | None = None
        parent = None if at is None else at.fd
        if _BY_DESCRIPTOR:
            follow = at is None and kind.by_link
            try:
                self.fd = os.open(path, _DIRECTORY | (0 if follow else _NOFOLLOW), dir_fd=parent)
            except OSError as error:
                if error.errno in _LINK_OR_FILE and os.path.lexists(self.path):
                    raise _refused(self.path, kind) from error
                raise
            status = os.fstat(self.fd)
        else:
            status = os.stat(self.path, follow_symlinks=kind.by_link)
        self.identity = (status.st_dev, status.st_ino)
        try:
            check(self.path, kind, status)
        except OSError:
            self.close()
            raise

    def child(self, name: str, kind: Kind | None = None, *, make: bool = False) -> Directory:
        """Open a directory in this one, made if it is not there.

        Raises:
            NotOursError: there is a link or a file in its place.
            OSError: it cannot be made or opened.
        """
        if make:
            with suppress(FileExistsError):
                modes.make_directory(self.name(name), at=self.fd)
        return Directory(name, kind or self.kind, self)

    def make_child(self, name: str) -> Directory:
        """Make a directory in this one, and open it.

        Raises:
            OSError: it cannot be; it is there already.
        """
        modes.make_directory(self.name(name), at=self.fd)
        self._made.add(name)
        return Directory(name, self.kind, self)

    def make_private(self, name: str) -> None:
        """Make a directory in this one that nobody else may enter.

        Raises:
            OSError: it cannot be; it is there already.
        """
        modes.make_directory(self.name(name), 0o700, at=self.fd)
        self._made.add(name)

    def new_file(self, name: str, mode: int = 0o666) -> int:
        """Make a file to write and read; its descriptor.

        Raises:
            OSError: it cannot be made; it is there already, or a link is in its place.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW | getattr(os, "O_BINARY", 0)
        fd = modes.open_file(self.name(name), flags, mode, at=self.fd)
        self._made.add(name)
        return fd

    def status(self, name: str) -> os.stat_result | None:
        """What is under a name, a link as a link; None if nothing is."""
        try:
            return os.stat(self.name(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """All names in it.

        Raises:
            OSError: it cannot be read.
        """
        return os.listdir(self.path if self.fd is None else self.fd)

    def has_shape(self, name: str) -> bool:
        """Whether a name is one that we make in this kind of directory."""
        return self.kind.allows(name)

    def remove(self, name: str) -> bool:
        """Remove a file; False if it was gone already.

        Raises:
            NotOursError: we make no such name.
            OSError: it cannot be removed, or is a directory.
        """
        try:
            os.unlink(self._ours(name), dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return True

    def remove_all(self, last: tuple[str, ...] = ()) -> None:
        """Remove every file of a name that we make, as far as it can be done, ``last`` behind the others."""
        names = [name for name in self.names() if self.has_shape(name)]
        for name in sorted(names, key=lambda name: last.index(name) if name in last else -1):
            with suppress(OSError):
                self.remove(name)

    def remove_empty(self, name: str) -> None:
        """Remove an empty directory in this one.

        Raises:
            NotOursError: we make no such name.
            OSError: it is not there, is not empty, or is a file or a link.
        """
        os.rmdir(self._ours(name), dir_fd=self.fd)

    def remove_tree(self, name: str) -> None:
        """Remove a directory of this user's in this one with all that is in it, as far as it can be done.

        Links go and are not followed, and what is mounted there stays.

        Raises:
            NotOursError: we make no such name.
        """
        name = self._ours_by_name(name)
        with suppress(OSError), self.child(name) as made:
            if sys.platform == "win32" or os.stat(made.path if made.fd is None else made.fd).st_uid == os.geteuid():
                made._remove_what_is_in_it()  # noqa: SLF001 - its own class
                self.remove_empty(name)

    def _remove_what_is_in_it(self) -> None:
        for name in self.names():
            with suppress(OSError):
                found = self.status(name)
                if found is None:
                    continue
                if not stat.S_ISDIR(found.st_mode):
                    os.unlink(self.name(name), dir_fd=self.fd)
                elif found.st_dev == self.identity[0]:
                    with Directory(name, msgspec.structs.replace(self.kind, private=False, own=False), self) as below:
                        if below.identity == (found.st_dev, found.st_ino):
                            below._remove_what_is_in_it()
                    os.rmdir(self.name(name), dir_fd=self.fd)

    def replace(self, temporary: str, name: str, into: Directory | None = None) -> None:
        """Give a file that we have made its final name, in place of the one that has it.

        Args:
            temporary: its name in this directory, of a shape that we make.
            name: any.
            into: another directory of the same file system that it goes to.

        Raises:
            OSError: it cannot be done; the one before stays.
        """
        goal = into or self
        os.replace(self._ours(temporary), goal.name(name), src_dir_fd=self.fd, dst_dir_fd=goal.fd)

    def rename(self, name: str, new_name: str, into: Directory | None = None) -> None:
        """Give a file or a directory another name; an empty directory that has it goes.

        Raises:
            NotOursError: we make no such name.
            OSError: it cannot be done.
        """
        goal = into or self
        os.rename(self._ours(name), goal.name(new_name), src_dir_fd=self.fd, dst_dir_fd=goal.fd)

    def put_aside(self, name: str, new_name: str) -> None:
        """Give what is in the way of ours, whatever it is, a name of ours.

        Raises:
            NotOursError: we make no such name.
            OSError: it cannot be done.
        """
        os.rename(self.name(name), self._ours(new_name), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def keep_aside(self, name: str) -> str:
        """Keep what is under a name of ours, and is not what we have written, beside: ``<name>.damaged-<time>``.

        Raises:
            OSError: it cannot be done.
        """
        kept = f"{name.lstrip('.')}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        # Not over one that was kept in the same second.
        names = (kept, *(f"{kept}-{number}" for number in range(2, _MOST_DAMAGED)))
        free = next(each for each in names if self.status(each) is None)
        os.rename(self.name(name), self.name(free), src_dir_fd=self.fd, dst_dir_fd=self.fd)
        return free

    def link(self, source: str, name: str, at: Directory | None = None) -> None:
        """Give a file of a directory (None: of a path) a second name in this one; a link is not followed.

        Raises:
            OSError: it cannot be done; the name is there already.
        """
        given = source if at is None else at.name(source)
        os.link(
            given,
            self.name(name),
            src_dir_fd=None if at is None else at.fd,
            dst_dir_fd=self.fd,
            **({"follow_symlinks": False} if os.link in os.supports_follow_symlinks else {}),
        )
        self._made.add(name)

    def close(self) -> None:
        """Give the descriptor back."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the descriptor back."""
        self.close()

    def _ours(self, name: str) -> str:
        return self.name(self._ours_by_name(name))

    def _ours_by_name(self, name: str) -> str:
        if name not in self._made and not self.has_shape(name):
            raise NotOursError(errno.EPERM, "not removed or renamed: its name is not one that Runicorn gives", name)
        return name

    def name(self, name: str) -> str:
        """What to give the system for a file in it, beside ``dir_fd=directory.fd``.

        Raises:
            NotOursError: it is no plain name.
        """
        return _plain(name) if self.fd is not None else os.path.join(self.path, _plain(name))


_NOT_PRIVATE = (
    "It is not a directory that only this user can enter. Nothing was read from it or written to it. Find out who made "
    "it, and remove it"
)
_NO_DIRECTORY = (
    "It is a link, or not a directory. Nothing was read from it or written to it. Find out who made it, and remove it"
)


def _refused(path: str, kind: Kind) -> NotOursError:
    return NotOursError(errno.EPERM, _NOT_PRIVATE if kind.private or kind.own else _NO_DIRECTORY, path)


def check(path: str, kind: Kind, status: os.stat_result) -> None:
    """Make sure that a directory is what its kind has to be.

    Raises:
        NotOursError: it is not.
    """
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(path, kind)
    if sys.platform == "win32" or not (kind.private or kind.own):  # there modes say nothing
        return
    open_to_others = status.st_mode & 0o777 != _PRIVATE_MODE if kind.private else status.st_mode & 0o022
    if status.st_uid != os.geteuid() or open_to_others:
        raise _refused(path, kind)


@contextmanager
def parent_of(path: str, kind: Kind) -> Iterator[tuple[Directory, str]]:
    """The open directory that a path is in, and its name there.

    Raises:
        OSError: it cannot be opened.
    """
    parent, name = os.path.split(path)
    with Directory(parent or os.curdir, kind) as directory:
        yield directory, name


def remove_from_spool(path: str) -> bool:
    """Remove a file of a spool; False if it was not there, or could not be removed."""
    try:
        with parent_of(path, NAMED_IN_SPOOL) as (directory, name):
            return directory.remove(name)
    except OSError as error:
        # Who has no descriptor left must still be able to make room: then the directory is read by its name.
        return error.errno in _NO_DESCRIPTOR and _remove_by_path(path)


def _remove_by_path(path: str) -> bool:
    directory, name = os.path.split(path)
    try:
        check(directory, SPOOL, os.lstat(directory))
        if not NAMED_IN_SPOOL.allows(name):
            return False
        os.unlink(path)
    except OSError:
        return False
    return True


def rename_in_spool(path: str, new_path: str) -> None:
    """Give a file of a spool another name in it, in place of the one that has it.

    Raises:
        OSError: it cannot be done; neither name is changed.
    """
    with parent_of(path, NAMED_IN_SPOOL) as (directory, name):
        directory.replace(name, os.path.basename(new_path))


def remove_tree(path: str, kind: Kind) -> None:
    """Remove a directory of ours with all that is in it, as far as it can be done; ``kind`` is that of its parent."""
    with suppress(OSError), parent_of(path, kind) as (directory, name):
        directory.remove_tree(name)


def remove_empty(path: str) -> None:
    """Remove an empty directory of a storage.

    Raises:
        OSError: it is not there, is not empty, or is a file or a link.
    """
    with parent_of(path, STORAGE) as (directory, name):
        directory.remove_empty(name)


def move(path: str, new_path: str) -> None:
    """Move a directory of a storage by a rename; an empty directory that has the name goes.

    Raises:
        NotADirectoryError: it is a link or a file.
        OSError: it cannot be moved.
    """
    with parent_of(path, STORAGE) as (directory, name), parent_of(new_path, STORAGE) as (goal, new_name):
        status = directory.status(name)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        directory.rename(name, new_name, goal)


def _plain(name: str) -> str:
    if not name or name in {os.curdir, os.pardir} or "/" in name or os.sep in name:
        raise NotOursError(errno.EPERM, "a name with a slash is no name in a directory", name)
    return name
