"""``<storage>/archive``: the content of files, each once, as Runicorn 0.7.2 lays it out.

::

    blobs/<sha[:2]>/<sha256>                       content, addressed by itself
    manifests/<category>/<fp[:2]>/<fp>.json        directories: from relative path to content
    outputs/rolling/<run id>/<sha1(key)>_<name>    a run's own: the newest of an output; other names of content above

What a run's ``assets.json`` names is its own: the viewer of 0.7.2 removes that with the run, and must not remove what
other runs have. It is a second name of the content (a hard link), and where there are no links a copy.

Everything is written under another name in the same directory, made durable, and renamed: what has its final name is
whole. Content is hashed while it is copied, in blocks, so that a file of any size costs a block of memory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from runicorn.capture.archive_files import ArchiveFiles, below, exchange, is_file
from runicorn.storage.escaping import escape
from runicorn.storage.plain_json import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.storage.removal import Directory

BLOCK_BYTES = 1 << 20
_MOST_NAME_BYTES = 180
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


class SourceError(Exception):
    """A file that was to be archived cannot be read, or does not hold still; the archive is not to blame."""


class Stored(NamedTuple):
    """A file in the archive."""

    sha256: str
    size_bytes: int
    path: str


class Tree(NamedTuple):
    """A directory in the archive, by its manifest; ``contents`` from relative path to SHA-256."""

    fingerprint: str
    size_bytes: int
    files: int
    path: str
    contents: dict[str, str]


class Archive:
    """The archive of one storage.

    Args:
        storage: the storage root.
        told: called with the bytes read since the last call.
        run_id: of the run whose writer stores files; what an earlier writer of it has left half written goes.
    """

    def __init__(self, storage: str, told: Callable[[int], None], run_id: str = "") -> None:
        self.root = os.path.join(storage, "archive")
        self._told = told
        self._files = ArchiveFiles(self.root, run_id)

    def store_file(self, path: str) -> Stored:
        """Store a file's content, where it is not there yet.

        Raises:
            SourceError: it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; nothing is left under a final name.
        """
        with self._files.new_file("blobs") as (directory, temporary, out):
            sha256, size_bytes = self._copy(path, out)
            return self._adopt(directory, temporary, out, sha256, size_bytes)

    def store_made(self, make: Callable[[BinaryIO], Any]) -> Stored:
        """Store what a function writes.

        Raises:
            OSError: the archive cannot be written.
        """
        with self._files.new_file("blobs") as (directory, temporary, out):
            make(out)
            out.flush()
            size_bytes = out.seek(0, os.SEEK_END)
            out.seek(0)
            digest = hashlib.sha256()
            while block := out.read(BLOCK_BYTES):
                digest.update(block)
            return self._adopt(directory, temporary, out, digest.hexdigest(), size_bytes)

    def store_tree(self, category: str, source: str, files: list[str]) -> Tree:
        """Store the files of a directory, and a manifest that names them.

        Raises:
            SourceError: one cannot be read.
            OSError: the archive cannot be written.
        """
        contents: dict[str, dict[str, Any]] = {}
        for path in files:
            stored = self.store_file(path)
            name = escape(os.path.relpath(path, source).replace(os.sep, "/"))
            contents[name] = {"sha256": stored.sha256, "size_bytes": stored.size_bytes}
        digest = hashlib.sha256()
        for name, content in sorted(contents.items()):
            digest.update(f"{name}\0{content['sha256']}\0".encode())
        fingerprint = digest.hexdigest()
        total_bytes = sum(content["size_bytes"] for content in contents.values())
        manifest = {
            "created_at": time.time(),
            "source_path": escape(source),
            "fingerprint": fingerprint,
            "total_size_bytes": total_bytes,
            "file_count": len(contents),
            "files": contents,
        }
        folders, name = ("manifests", category, fingerprint[:2]), f"{fingerprint}.json"
        target = os.path.join(self.root, *folders, name)
        with self._files.open(*folders) as directory:
            there = is_file(directory, name)
        if not there:
            with self._files.new_file(*folders) as (directory, temporary, out):
                out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
                _make_durable(out)
                directory.replace(temporary, name)
        named = {name: content["sha256"] for name, content in contents.items()}
        return Tree(fingerprint, total_bytes, len(contents), target, named)

    def own_file(self, run_id: str, key: str, name: str, stored: Stored) -> str:
        """Give a stored file a name of a run's own; its path.

        Raises:
            OSError: the archive cannot be written.
        """
        own = self._rolling_name(f"{key}/{stored.sha256}", name)
        with self._files.open(*_rolling(run_id)) as directory:
            self._link(stored.sha256, directory, own)
        return os.path.join(self.root, *_rolling(run_id), own)

    def own_tree(self, run_id: str, key: str, name: str, tree: Tree) -> str:
        """The same with all files of a stored directory.

        Raises:
            OSError: the archive cannot be written.
        """
        own = self._rolling_name(f"{key}/{tree.fingerprint}", name)
        target = os.path.join(self.root, *_rolling(run_id), own)
        with self._files.open(*_rolling(run_id)) as directory:
            status = directory.status(own)
        if status is not None and stat.S_ISDIR(status.st_mode):
            return target
        with self._files.new_directory(*_rolling(run_id)) as (directory, temporary, fresh):
            for relative, sha256 in tree.contents.items():
                *folders, last = relative.split("/")
                with below(fresh, folders) as folder:
                    self._link(sha256, folder, last)
            directory.rename(temporary, own)
        return target

    def _link(self, sha256: str, directory: Directory, name: str) -> None:
        """Give stored content a second name; where there are no links, a copy."""
        if is_file(directory, name):
            return
        with self._files.open("blobs", sha256[:2]) as contents:
            try:
                directory.link(sha256, name, at=contents)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOSPC, errno.EDQUOT}:
                    raise
                self._copy_content(contents, sha256, directory, name)

    def _copy_content(self, contents: Directory, sha256: str, directory: Directory, name: str) -> None:
        temporary = self._files.temporary()
        try:
            given = open_regular(contents.name(sha256), dir_fd=contents.fd)
            with os.fdopen(given, "rb") as file, os.fdopen(directory.new_file(temporary), "w+b") as out:
                shutil.copyfileobj(file, out, BLOCK_BYTES)
                _make_durable(out)
            directory.replace(temporary, name)
        finally:
            with suppress(OSError):
                directory.remove(temporary)

    def roll_file(self, run_id: str, key: str, path: str, *, growing: bool = False) -> Stored:
        """Keep the newest of an output in the place of the one before; a ``growing`` log need not hold still.

        Raises:
            SourceError: it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; the one before stays.
        """
        own = self._rolling_name(key, path)
        with self._files.new_file(*_rolling(run_id)) as (directory, temporary, out):
            sha256, size_bytes = self._copy(path, out, growing=growing)
            _make_durable(out)
            directory.replace(temporary, own)
        return Stored(sha256, size_bytes, os.path.join(self.root, *_rolling(run_id), own))

    def roll_tree(self, run_id: str, key: str, source: str, files: list[str]) -> Tree:
        """The same with a directory: it is made beside the one before, and takes its place.

        Two renames, and not one: where a crash comes between them the place is empty until it is done again.

        Raises:
            SourceError: a file in it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; the one before stays.
        """
        own = self._rolling_name(key, source)
        digest, total_bytes = hashlib.sha256(), 0
        with self._files.new_directory(*_rolling(run_id)) as (directory, temporary, fresh):
            for path in files:
                name = os.path.relpath(path, source)
                *folders, last = name.split(os.sep)
                with below(fresh, folders) as folder, os.fdopen(folder.new_file(last), "w+b") as out:
                    sha256, size_bytes = self._copy(path, out)
                    _make_durable(out)
                digest.update(f"{escape(name.replace(os.sep, '/'))}\0{sha256}\0".encode())
                total_bytes += size_bytes
            exchange(directory, temporary, own)
        return Tree(digest.hexdigest(), total_bytes, len(files), os.path.join(self.root, *_rolling(run_id), own), {})

    def _rolling_name(self, key: str, path: str) -> str:
        sha1 = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        name = escape(os.path.basename(path)).encode()[-_MOST_NAME_BYTES:].decode("utf-8", "ignore")
        return f"{sha1}_{name}"

    def _copy(self, path: str, out: BinaryIO, *, growing: bool = False) -> tuple[str, int]:
        """Copy a file that does not change meanwhile, or may grow; its SHA-256 and size."""
        with _open(path) as source:
            before = os.fstat(source.fileno())
            digest, size_bytes = hashlib.sha256(), 0
            while block := _read(source, path):
                digest.update(block)
                out.write(block)
                size_bytes += len(block)
                self._told(len(block))
            out.flush()
            after = os.fstat(source.fileno())
        held_still = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not growing and not (held_still and size_bytes == after.st_size):
            raise SourceError(f"{path}: it has changed while it was read")
        return digest.hexdigest(), size_bytes

    def _adopt(self, directory: Directory, temporary: str, out: BinaryIO, sha256: str, size_bytes: int) -> Stored:
        folders = ("blobs", sha256[:2])
        with self._files.open(*folders) as goal:
            if not is_file(goal, sha256, size_bytes):
                _make_durable(out)
                if hasattr(os, "fchmod"):  # runs share it, one by a name in its own directory
                    os.fchmod(out.fileno(), os.fstat(out.fileno()).st_mode & 0o444)
                directory.replace(temporary, sha256, goal)
        return Stored(sha256, size_bytes, os.path.join(self.root, *folders, sha256))


def _rolling(run_id: str) -> tuple[str, str, str]:
    return "outputs", "rolling", run_id


def _open(path: str) -> BinaryIO:
    # Not waited for: nobody may ever write into a FIFO.
    try:
        fd = os.open(path, os.O_RDONLY | _CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceError(f"{path}: it is not a regular file")
    return os.fdopen(fd, "rb")


def _read(source: BinaryIO, path: str) -> bytes:
    try:
        return source.read(BLOCK_BYTES)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error


def _make_durable(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())
