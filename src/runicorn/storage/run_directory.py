"""The open directory of a run: appends, replaces, and keeps aside what cannot be read."""

from __future__ import annotations

import errno
import os
import stat
import time
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.host.identity import hostname
from runicorn.storage import appended_files, modes
from runicorn.storage.directory_kinds import RUN
from runicorn.storage.escaping import escape
from runicorn.storage.plain_json import LinkError, UnfitFileError, open_regular, read_object
from runicorn.storage.removal import Directory, NotOursError
from runicorn.storage.run_files import MEDIA

if TYPE_CHECKING:
    from collections.abc import Iterator

_ZIP = b"PK"
_BLOCK_BYTES = 1 << 20
_TRIES, _BEING_WRITTEN_S = 4, 0.003
_MOST_OF_NAME = 48


class RunDir:
    """An open run directory.

    This is the seam between "records in order" and "bytes on a disk": ``size_bytes``, ``append``, ``replace``,
    ``read``, ``remove`` and ``sync`` are all that the writer does to storage.

    Attributes:
        path: of the directory.
        kept_aside: what was in the way of the run's files, and is kept beside; in words.
    """

    def __init__(self, path: str, *, sole: bool = True) -> None:
        """Open the directory.

        Args:
            path: of the directory.
            sole: nobody else on this host replaces files in it, so what a predecessor that was killed has left half
                written can be told by its name.

        Raises:
            OSError: it is not there, or may not be entered, or is a link.
        """
        self.path = path
        self.kept_aside: list[str] = []
        self._host = f"{zlib.crc32(hostname().encode('utf-8', 'surrogatepass')):08x}"
        self._temporary = self._host if sole else f"{os.getpid():x}."
        self._directory = Directory(path, RUN)
        self._appending: dict[str, int] = {}
        self._unsynced: set[str] = set()
        self._kept: dict[str, dict[str, Any]] = {}
        self._sound: set[str] = set()

    def size_bytes(self, name: str) -> int:
        """Length of a file; 0 where it is not there."""
        if name in self._appending:
            return os.fstat(self._appending[name]).st_size
        status = self._directory.status(name)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0

    def changed_at(self, name: str) -> float:
        """When a file was last written to, epoch seconds; 0 where it is not there."""
        status = self._directory.status(name)
        return 0.0 if status is None else status.st_mtime

    def append(self, name: str, data: memoryview) -> int:
        """Append once, return how much was taken (a write may be short).

        Raises:
            OSError: nothing was taken.
        """
        fd = self._append_fd(name)
        self._unsynced.add(name)  # only now: what cannot be opened is not waited for by who makes all durable
        if os.fstat(fd).st_nlink == 0:
            self.revive()
            fd = self._append_fd(name)
        return os.write(fd, data)

    def revive(self) -> None:
        """Write the run's files again from what is held open, where somebody has removed them while it is live.

        A directory that was renamed or moved is followed; one that was removed is made again at its old path.

        Raises:
            OSError: it cannot be.
        """
        if self._is_removed():
            modes.make_directories(self.path)
            fresh = Directory(self.path, RUN)
            self._directory.close()
            self._directory = fresh
            fresh.child(MEDIA, make=True).close()
        for name, fd in list(self._appending.items()):
            if os.fstat(fd).st_nlink == 0:
                self._appending[name] = appended_files.copy(self._directory, name, self._new_name(name), fd)
        for name, content in list(self._kept.items()):
            if not self.has(name):
                self.replace(name, content)

    def keep(self, name: str, content: dict[str, Any]) -> None:
        """Remember a JSON file that others have written, to write it again where somebody removes it."""
        self._kept[name] = content

    def _is_removed(self) -> bool:
        return self._directory.fd is not None and os.fstat(self._directory.fd).st_nlink == 0

    def has(self, path: str) -> bool:
        """Whether there is a file of that relative path."""
        try:
            with self._location_of(path) as (directory, name):
                status = directory.status(name)
        except (FileNotFoundError, NotOursError):
            return False
        return status is not None and stat.S_ISREG(status.st_mode)

    def end_torn_line(self, name: str) -> None:
        """Close a last line that a power cut tore with a newline, so that the next one is whole."""
        size = self.size_bytes(name)
        fd = self.open_for_reading(name) if size else None
        if fd is not None:
            try:
                last = _read_at(fd, 1, size - 1)
            finally:
                os.close(fd)
            if last != b"\n":
                self.append(name, memoryview(b"\n"))

    def replace(self, name: str, content: dict[str, Any], *, sync: bool = True) -> None:
        """Replace a JSON file: write beside it, fsync, rename. One that cannot be read is kept beside first."""
        if name not in self._sound:
            self.read_or_keep_aside(name)
        self._kept[name] = content
        self._put(name, msgspec.json.format(_json(content), indent=2), sync=sync)

    def write_media(self, path: str, content: bytes) -> None:
        """Write a file below the directory, by its relative path: whole and durable, or not at all.

        Raises:
            OSError: it cannot be; nothing is there under its name.
        """
        self._put(path, content, sync=True)

    def make_media(self) -> None:
        """Make the directory for images; what is in its place, and is none, is kept beside.

        Raises:
            OSError: it cannot be made.
        """
        self._open_folder(MEDIA).close()

    def _put(self, path: str, content: bytes, *, sync: bool) -> None:
        if self._is_removed():
            self.revive()
        folder = os.path.dirname(path)
        if folder:
            self._open_folder(folder).close()
        with self._location_of(path) as (directory, name):
            temporary = self._new_name(name)
            try:
                fd = directory.new_file(temporary)
                try:
                    appended_files.write_all(fd, content)
                    if sync:
                        os.fsync(fd)
                finally:
                    os.close(fd)
                self._give_name(directory, temporary, name)
            except OSError:
                self._discard(directory, temporary)
                raise

    def _give_name(self, directory: Directory, temporary: str, name: str) -> None:
        found = directory.status(name)
        if found is not None and not stat.S_ISREG(found.st_mode):  # a rename onto a directory would fail for ever
            self._keep_aside(name, directory)
        directory.replace(temporary, name)

    def _begins_with(self, name: str, start: bytes) -> bool:
        fd = self.open_for_reading(name)
        if fd is None:
            return False
        with os.fdopen(fd, "rb") as file:
            return file.read(len(start)) == start

    def link(self, name: str, source: str) -> None:
        """Give a ZIP file in the archive a name here too; where links cannot be had, a copy.

        Raises:
            OSError: neither can be; nothing is there under its name.
        """
        temporary = self._new_name(name)
        try:
            try:
                self._directory.link(source, temporary)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOSPC}:
                    raise
                self._copy(source, temporary)
            if not self._begins_with(name, _ZIP):
                self._keep_aside(name)
            self._give_name(self._directory, temporary, name)
        finally:
            # Also if it was done: a rename to another name of the same file does nothing.
            self._discard(self._directory, temporary)

    def _copy(self, source: str, name: str) -> None:
        try:
            given = open_regular(source)
        except UnfitFileError as error:
            raise FileNotFoundError(errno.ENOENT, str(error), source) from error
        with os.fdopen(given, "rb") as file, os.fdopen(self._directory.new_file(name), "wb") as out:
            while block := file.read(_BLOCK_BYTES):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())

    def read(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; empty where it is not there.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no regular file, or no JSON object; one that says why.
        """
        try:
            content = read_object(self._directory.name(name), dir_fd=self._directory.fd)
        except FileNotFoundError:
            return {}
        self._sound.add(name)
        return content

    def read_or_empty(self, name: str) -> dict[str, Any]:
        """The same; empty also where it cannot be read. It stays, and is kept beside when the file is replaced."""
        for _ in range(_TRIES):
            try:
                return self.read(name)
            except LinkError:
                break
            except ValueError:  # Runicorn 0.7.2 truncates a file and writes it again: it may be whole in a moment
                time.sleep(_BEING_WRITTEN_S)
        return {}

    def read_or_keep_aside(self, name: str) -> dict[str, Any]:
        """The same; what cannot be read is kept beside at once.

        Raises:
            OSError: it cannot be read, or not be renamed.
        """
        content = self.read_or_empty(name)
        if name not in self._sound and self._directory.status(name) is not None:
            self._keep_aside(name)
        return content

    def open_for_reading(self, name: str) -> int | None:
        """A descriptor of a file, None where it is not there, or is none."""
        try:
            return open_regular(self._directory.name(name), dir_fd=self._directory.fd)
        except (FileNotFoundError, UnfitFileError):
            return None

    def names(self) -> list[str]:
        """The names of all files."""
        return self._directory.names()

    def remove(self, name: str) -> None:
        """Remove a file that may be gone already: the pointer to the spool, or the marker of a deleted run."""
        self._directory.remove(name)

    def sweep(self) -> None:
        """Remove what predecessors on this host that were killed have left half written; by the writer, when it begins.

        Raises:
            OSError: the directory cannot be read.
        """
        self._sweep(self._directory)
        with suppress(FileNotFoundError, NotOursError), self._directory.child(MEDIA) as media:
            self._sweep(media)

    def _sweep(self, directory: Directory) -> None:
        for name in directory.names():
            if name.startswith(".") and name.endswith(".new") and name[:-12].endswith(f".{self._host}"):
                self._discard(directory, name)

    def sync(self) -> None:
        """Make what was appended durable, and the directory's entries."""
        while self._unsynced:
            name = next(iter(self._unsynced))
            os.fsync(self._append_fd(name))
            self._unsynced.discard(name)
        if self._directory.fd is not None:
            os.fsync(self._directory.fd)

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._appending.values():
            os.close(fd)
        self._appending.clear()
        self._directory.close()

    def _append_fd(self, name: str) -> int:
        fd = self._appending.get(name)
        if fd is None:
            fd = appended_files.open_alone(self._directory, name, self._new_name(name), self._keep_aside)
            self._appending[name] = fd
        return fd

    def _keep_aside(self, name: str, directory: Directory | None = None) -> None:
        with suppress(FileNotFoundError):  # another process has just done it, or nothing is there
            kept = (directory or self._directory).keep_aside(name)
            self.kept_aside.append(f"{name} was damaged, and was renamed to {kept}")

    def _open_folder(self, folder: str) -> Directory:
        try:
            return self._directory.child(folder, make=True)
        except NotOursError:
            self._keep_aside(folder)
            return self._directory.child(folder, make=True)

    @contextmanager
    def _location_of(self, path: str) -> Iterator[tuple[Directory, str]]:
        """The open directory that a file is in, and its name there."""
        folder, name = os.path.split(path)
        if not folder:
            yield self._directory, name
            return
        with self._directory.child(folder) as directory:
            yield directory, name

    def _new_name(self, name: str) -> str:
        return f".{name[:_MOST_OF_NAME]}.{self._temporary}{os.urandom(4).hex()}.new"

    def _discard(self, directory: Directory, temporary: str) -> None:
        with suppress(OSError):
            directory.remove(temporary)


def _json(content: dict[str, Any]) -> bytes:
    """As JSON; names of files that are not UTF-8 are escaped in it."""
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:
        return msgspec.json.encode(_escaped(content))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {_escaped(name): _escaped(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(each) for each in value]
    return value


def _read_at(fd: int, size: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)
