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
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from runicorn.values import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 20
_LEFT_OVER_S = 24 * 3600.0
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
    """

    def __init__(self, storage: str, told: Callable[[int], None]) -> None:
        self.root = os.path.join(storage, "archive")
        self._told = told
        self._swept: set[str] = set()

    def store_file(self, path: str) -> Stored:
        """Store a file's content, where it is not there yet.

        Raises:
            SourceError: it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; nothing is left under a final name.
        """
        with self._new_file(os.path.join(self.root, "blobs")) as (temporary, out):
            sha256, size_bytes = self._copy(path, out)
            return self._adopt(temporary, out, sha256, size_bytes)

    def store_made(self, make: Callable[[BinaryIO], Any]) -> Stored:
        """Store what a function writes.

        Raises:
            OSError: the archive cannot be written.
        """
        with self._new_file(os.path.join(self.root, "blobs")) as (temporary, out):
            make(out)
            out.flush()
            size_bytes = out.seek(0, os.SEEK_END)
            out.seek(0)
            digest = hashlib.sha256()
            while block := out.read(BLOCK_BYTES):
                digest.update(block)
            return self._adopt(temporary, out, digest.hexdigest(), size_bytes)

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
        directory = os.path.join(self.root, "manifests", category, fingerprint[:2])
        target = os.path.join(directory, f"{fingerprint}.json")
        if not os.path.exists(target):
            with self._new_file(directory) as (temporary, out):
                out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
                _make_durable(out)
                os.replace(temporary, target)
        named = {name: content["sha256"] for name, content in contents.items()}
        return Tree(fingerprint, total_bytes, len(contents), target, named)

    def own_file(self, run_id: str, key: str, name: str, stored: Stored) -> str:
        """Give a stored file a name of a run's own; its path.

        Raises:
            OSError: the archive cannot be written.
        """
        directory, target = self._rolling(run_id, f"{key}/{stored.sha256}", name)
        os.makedirs(directory, exist_ok=True)
        self._link(stored.path, target)
        return target

    def own_tree(self, run_id: str, key: str, name: str, tree: Tree) -> str:
        """The same with all files of a stored directory.

        Raises:
            OSError: the archive cannot be written.
        """
        directory, target = self._rolling(run_id, f"{key}/{tree.fingerprint}", name)
        if os.path.isdir(target):
            return target
        os.makedirs(directory, exist_ok=True)
        fresh = os.path.join(directory, f".{os.urandom(6).hex()}.new")
        try:
            os.mkdir(fresh)
            for relative, sha256 in tree.contents.items():
                own = os.path.join(fresh, *relative.split("/"))
                os.makedirs(os.path.dirname(own), exist_ok=True)
                self._link(os.path.join(self.root, "blobs", sha256[:2], sha256), own)
            os.rename(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return target

    def _link(self, source: str, target: str) -> None:
        if os.path.exists(target):
            return
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOSPC, errno.EDQUOT}:
                raise
            with self._new_file(os.path.dirname(target)) as (temporary, out), open(source, "rb") as file:
                shutil.copyfileobj(file, out, BLOCK_BYTES)
                _make_durable(out)
                os.replace(temporary, target)

    def roll_file(self, run_id: str, key: str, path: str, *, growing: bool = False) -> Stored:
        """Keep the newest of an output in the place of the one before; a ``growing`` log need not hold still.

        Raises:
            SourceError: it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; the one before stays.
        """
        directory, target = self._rolling(run_id, key, path)
        with self._new_file(directory) as (temporary, out):
            sha256, size_bytes = self._copy(path, out, growing=growing)
            _make_durable(out)
            os.replace(temporary, target)
        return Stored(sha256, size_bytes, target)

    def roll_tree(self, run_id: str, key: str, source: str, files: list[str]) -> Tree:
        """The same with a directory: it is made beside the one before, and takes its place.

        Two renames, and not one: where a crash comes between them the place is empty until it is done again.

        Raises:
            SourceError: a file in it cannot be read, or has changed while it was.
            OSError: the archive cannot be written; the one before stays.
        """
        directory, target = self._rolling(run_id, key, source)
        os.makedirs(directory, exist_ok=True)
        fresh = os.path.join(directory, f".{os.urandom(6).hex()}.new")
        digest, total_bytes = hashlib.sha256(), 0
        try:
            os.mkdir(fresh)
            for path in files:
                name = os.path.relpath(path, source)
                copy = os.path.join(fresh, name)
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                with open(copy, "xb") as out:
                    sha256, size_bytes = self._copy(path, out)
                    _make_durable(out)
                digest.update(f"{escape(name.replace(os.sep, '/'))}\0{sha256}\0".encode())
                total_bytes += size_bytes
            _exchange(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return Tree(digest.hexdigest(), total_bytes, len(files), target, {})

    def _rolling(self, run_id: str, key: str, path: str) -> tuple[str, str]:
        directory = os.path.join(self.root, "outputs", "rolling", run_id)
        sha1 = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        name = escape(os.path.basename(path)).encode()[-_MOST_NAME_BYTES:].decode("utf-8", "ignore")
        return directory, os.path.join(directory, f"{sha1}_{name}")

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

    def _adopt(self, temporary: str, out: BinaryIO, sha256: str, size_bytes: int) -> Stored:
        directory = os.path.join(self.root, "blobs", sha256[:2])
        target = os.path.join(directory, sha256)
        try:
            there = os.stat(target).st_size == size_bytes
        except FileNotFoundError:
            there = False
        if not there:
            os.makedirs(directory, exist_ok=True)
            _make_durable(out)
            if hasattr(os, "fchmod"):  # runs share it, one by a name in its own directory
                os.fchmod(out.fileno(), os.fstat(out.fileno()).st_mode & 0o444)
            os.replace(temporary, target)
        return Stored(sha256, size_bytes, target)

    @contextmanager
    def _new_file(self, directory: str) -> Iterator[tuple[str, BinaryIO]]:
        """A file to write into, gone at the end unless it was renamed."""
        os.makedirs(directory, exist_ok=True)
        if directory not in self._swept:
            self._swept.add(directory)
            _sweep(directory)
        temporary = os.path.join(directory, f".{os.urandom(6).hex()}.new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(fd, "w+b") as out:
                yield temporary, out
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


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


def _exchange(fresh: str, target: str) -> None:
    """Put a directory into the place of another one, which goes."""
    old = f"{fresh}.old"
    try:
        os.rename(target, old)
    except FileNotFoundError:
        os.rename(fresh, target)
        return
    try:
        os.rename(fresh, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(directory: str) -> None:
    """Remove what writers that were killed have left half written; those that live are done within a day."""
    with suppress(OSError):
        for entry in os.scandir(directory):
            if not entry.name.startswith(".") or not entry.name.endswith((".new", ".old")):
                continue
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime < _LEFT_OVER_S:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
