"""The run directory: the names of its files, and how each is written.

JSON files are replaced atomically; ``events.jsonl`` and ``logs.txt`` only grow, by whole lines. Everything goes
through a descriptor of the directory where the system allows it, so a run that is renamed or moved while it is
live (the 0.7.2 viewer does that) keeps its files together.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

import msgspec

from runicorn.values import escape

META = "meta.json"
STATUS = "status.json"
SUMMARY = "summary.json"
ASSETS = "assets.json"
EVENTS = "events.jsonl"
LOGS = "logs.txt"
MEDIA = "media"
ENVIRONMENT = "environment.json"
CODE = "code_snapshot.zip"
OUTPUTS_STATE = ".outputs_state.json"
EMPTY_ASSETS: dict[str, Any] = {"code": {}, "config": {}, "datasets": [], "pretrained": [], "outputs": []}

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


class Names(msgspec.Struct, frozen=True):
    """The files that one host's writer owns; on hosts but the main one they have the host in their name.

    So no file ever has two writers, also on a storage that several hosts share.
    """

    host: str
    logs: str
    summary: str
    assets: str
    events: str
    outputs_state: str
    late: bool = False

    @classmethod
    def of(cls, host: str, *, main: bool, late: bool = False) -> Names:
        """The names on a host.

        Args:
            host: its label.
            main: whether they are the run's common files.
            late: whether a newer session has the files of the ranks.
        """
        if main:
            return cls(host, LOGS, SUMMARY, ASSETS, EVENTS, OUTPUTS_STATE)
        return cls(
            host,
            f"logs.{host}.txt",
            f"summary.{host}.json",
            f"assets.{host}.json",
            f"events.{host}.jsonl",
            f".outputs_state.{host}.json",
            late,
        )

    def events_of(self, rank: int | None) -> str:
        """The events file of a rank; rank 0 and processes without a rank share the plain one, late ones all do."""
        return events_of_rank(rank) if rank and not self.late else self.events


def events_of_rank(rank: int) -> str:
    """The events file of a rank above 0."""
    return f"events.rank{rank}.jsonl"


def is_events_of_rank(name: str) -> bool:
    """Whether a file is the events file of a rank above 0, of whichever host."""
    prefix, _, rank = name.removesuffix(".jsonl").partition("rank")
    return prefix == "events." and rank.isdecimal() and name.endswith(".jsonl")


def spool_pointer(host: str) -> str:
    """Name of the file that tells processes of a host where the run's spool is, while it is live."""
    return f".spool-{host}"


def sync_files(run_dir: str) -> None:
    """Make the files of a run durable that another process has written.

    Raises:
        OSError: one cannot be.
    """
    names = [entry.name for entry in os.scandir(run_dir) if entry.is_file(follow_symlinks=False)]
    for path in (*(os.path.join(run_dir, name) for name in names), run_dir):
        try:
            fd = os.open(path, os.O_RDONLY | _CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:  # replaced meanwhile, or gone with the session
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class RunDir:
    """An open run directory.

    This is the seam between "records in order" and "bytes on a disk": ``size_bytes``, ``append``, ``replace``,
    ``read``, ``remove`` and ``sync`` are all that the writer does to storage.
    """

    def __init__(self, path: str, *, sole: bool = True) -> None:
        """Open the directory.

        Args:
            path: of the directory.
            sole: nobody else replaces the files that this process does. What a predecessor that was killed has left
                half written then has a name that is used again; else each process has names of its own.

        Raises:
            OSError: it is not there, or may not be entered.
        """
        self.path = path
        self._temporary = "new" if sole else f"{os.getpid():x}.{os.urandom(4).hex()}.new"
        self._fd: int | None = None
        if os.open in os.supports_dir_fd:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        self._appending: dict[str, int] = {}
        self._unsynced: set[str] = set()
        self._kept: dict[str, dict[str, Any]] = {}

    def size_bytes(self, name: str) -> int:
        """Length of a file; 0 where it is not there."""
        if name in self._appending:
            return os.fstat(self._appending[name]).st_size
        try:
            return os.stat(self._name(name), dir_fd=self._fd).st_size
        except FileNotFoundError:
            return 0

    def changed_at(self, name: str) -> float:
        """When a file was last written to, epoch seconds; 0 where it is not there."""
        try:
            return os.stat(self._name(name), dir_fd=self._fd).st_mtime
        except FileNotFoundError:
            return 0.0

    def append(self, name: str, data: memoryview) -> int:
        """Append once, return how much was taken (a write may be short).

        Raises:
            OSError: nothing was taken.
        """
        self._unsynced.add(name)
        fd = self._append_fd(name)
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
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            os.makedirs(os.path.join(self.path, MEDIA), exist_ok=True)
            fresh = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
            os.close(self._fd)
            self._fd = fresh
        for name, fd in list(self._appending.items()):
            if os.fstat(fd).st_nlink == 0:
                self._copy_back(name, fd)
        for name, content in list(self._kept.items()):
            if not self._exists(name):
                self.replace(name, content)

    def keep(self, name: str, content: dict[str, Any]) -> None:
        """Remember a JSON file that others have written, to write it again where somebody removes it."""
        self._kept[name] = content

    def _copy_back(self, name: str, fd: int) -> None:
        temporary = f".{name}.{self._temporary}"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | _CLOEXEC
        fresh = os.open(self._name(temporary), flags, 0o666, dir_fd=self._fd)
        os.lseek(fd, 0, os.SEEK_SET)
        while block := memoryview(os.read(fd, 1 << 20)):
            while block:
                block = block[os.write(fresh, block) :]
        os.replace(self._name(temporary), self._name(name), src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.close(fd)
        self._appending[name] = fresh

    def _exists(self, name: str) -> bool:
        try:
            os.stat(self._name(name), dir_fd=self._fd)
        except FileNotFoundError:
            return False
        return True

    def end_torn_line(self, name: str) -> None:
        """Close a last line that a power cut tore with a newline, so that the next one is whole."""
        size = self.size_bytes(name)
        if size:
            fd = os.open(self._name(name), os.O_RDONLY | _CLOEXEC, dir_fd=self._fd)
            try:
                last = _read_at(fd, 1, size - 1)
            finally:
                os.close(fd)
            if last != b"\n":
                self.append(name, memoryview(b"\n"))

    def replace(self, name: str, content: dict[str, Any], *, sync: bool = True) -> None:
        """Replace a JSON file: write beside it, fsync, rename."""
        self._kept[name] = content
        self._put(name, msgspec.json.format(_json(content), indent=2), sync=sync)

    def write_media(self, path: str, content: bytes) -> None:
        """Write a file below the directory, by its relative path: whole and durable, or not at all.

        Raises:
            OSError: it cannot be; nothing is there under its name.
        """
        try:
            self._put(path, content, sync=True)
        except FileNotFoundError:  # somebody has removed the directory that it goes into
            os.mkdir(self._name(os.path.dirname(path)), dir_fd=self._fd)
            self._put(path, content, sync=True)

    def _put(self, path: str, content: bytes, *, sync: bool) -> None:
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            self.revive()
        directory, name = os.path.split(path)
        temporary = self._name(os.path.join(directory, f".{name}.{self._temporary}"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CLOEXEC | getattr(os, "O_BINARY", 0)
        fd = os.open(temporary, flags, 0o666, dir_fd=self._fd)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, self._name(path), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def link(self, name: str, source: str) -> None:
        """Give a file in the archive a name here too; where links cannot be had, a copy.

        Raises:
            OSError: neither can be; nothing is there under its name.
        """
        temporary = self._name(f".{name}.{self._temporary}")
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self._fd)
        try:
            os.link(source, temporary, dst_dir_fd=self._fd)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOSPC}:
                raise
            self._copy(source, temporary)
        os.replace(temporary, self._name(name), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def _copy(self, source: str, name: str) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o666, dir_fd=self._fd)
        with open(source, "rb") as file, os.fdopen(fd, "wb") as out:
            while block := file.read(1 << 20):
                out.write(block)
            out.flush()
            os.fsync(fd)

    def has(self, path: str) -> bool:
        """Whether there is a file of that relative path."""
        return self._exists(path)

    def read(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; empty where it is not there.

        Raises:
            ValueError: it is not a JSON object.
        """
        try:
            fd = os.open(self._name(name), os.O_RDONLY | _CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return {}
        with os.fdopen(fd, "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, Any])

    def open_for_reading(self, name: str) -> int | None:
        """A descriptor of a file, None where it is not there."""
        try:
            return os.open(self._name(name), os.O_RDONLY | _CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """The names of all files."""
        return os.listdir(self.path if self._fd is None else self._fd)

    def remove(self, name: str) -> None:
        """Remove a file that may be gone already."""
        try:
            os.unlink(self._name(name), dir_fd=self._fd)
        except FileNotFoundError:
            return

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name in the same directory."""
        os.replace(self._name(name), self._name(new_name), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def sync(self) -> None:
        """Make what was appended durable, and the directory's entries."""
        while self._unsynced:
            name = next(iter(self._unsynced))
            os.fsync(self._append_fd(name))
            self._unsynced.discard(name)
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._appending.values():
            os.close(fd)
        self._appending.clear()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append_fd(self, name: str) -> int:
        fd = self._appending.get(name)
        if fd is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            fd = self._appending[name] = os.open(self._name(name), flags, 0o666, dir_fd=self._fd)
        return fd

    def _name(self, name: str) -> str:
        return name if self._fd is not None else os.path.join(self.path, name)


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
