"""A folder of files that can be made again: written beside and renamed, bounded, and gone at any moment.

Nobody is told when a file goes: who has looked for one and not found it makes it again. So there are no locks, and
the folder may be removed while it is used.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY, MOST_BYTES = "RUNICORN_CACHE_DIR", "RUNICORN_CACHE_MAX_BYTES"
_MOST_BYTES = 2 * 1024**3
_LOOK_AFTER_BYTES = 64 * 1024**2
_TEMPORARY = ".new-"
_ABANDONED_S = 3600.0


class Cache:
    """The cache of this user.

    Args:
        directory: its folder; None = nothing is kept.
        most_bytes: how large it may become.
    """

    def __init__(self, directory: str | None, most_bytes: int = _MOST_BYTES) -> None:
        self.directory = directory
        self.most_bytes = most_bytes
        self._unlooked_bytes: int | None = None

    @classmethod
    def of_user(cls) -> Cache:
        """The folder and bound that the environment gives, else those of the platform."""
        given = os.environ.get(MOST_BYTES, "")
        return cls(_directory(), int(given) if given.isdecimal() else _MOST_BYTES)

    def path(self, *names: str) -> str | None:
        """Where a file of that name is, or would be; None where nothing is kept."""
        return None if self.directory is None else os.path.join(self.directory, *names)

    def read(self, *names: str) -> bytes | None:
        """A file's content; None where there is none. It counts as used."""
        path = self.path(*names)
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return None
        touch(path)
        return content

    def write(self, pieces: Sequence[bytes | memoryview], *names: str) -> bool:
        """Keep a file, whole or not at all; False where it cannot be kept, and nobody minds."""
        path = self.path(*names)
        size = sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)
        if path is None or size > self.most_bytes:
            return False
        self._make_room(size)
        temporary = f"{path}{_TEMPORARY}{os.getpid():x}-{os.urandom(4).hex()}"
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(temporary, "xb", buffering=0) as file:
                for piece in pieces:
                    left = memoryview(piece).cast("B")
                    while left:
                        left = left[file.write(left) :]
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            return False
        return True

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago; looked at when this process begins to write, and then now and again."""
        if self._unlooked_bytes is not None and self._unlooked_bytes + size < min(
            _LOOK_AFTER_BYTES, self.most_bytes // 8
        ):
            self._unlooked_bytes += size
            return
        self._unlooked_bytes = size
        found = sorted(self._files())
        left = sum(size for _, size, _ in found) + size
        for used_at, file_bytes, path in found:
            abandoned = _TEMPORARY in path and time.time() - used_at > _ABANDONED_S
            if left > self.most_bytes or abandoned:
                left -= file_bytes
                with suppress(OSError):
                    os.unlink(path)
                with suppress(OSError):  # the last of its folder
                    os.rmdir(os.path.dirname(path))

    def _files(self) -> Iterator[tuple[float, int, str]]:
        for folder, _, names in os.walk(self.directory or ""):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    status = os.stat(path, follow_symlinks=False)
                    yield status.st_mtime, status.st_size, path


def touch(path: str) -> None:
    """Note that a file was used: that is its modification time."""
    with suppress(OSError):
        os.utime(path)


def remove(path: str) -> None:
    """Remove a file that nobody will look for again."""
    with suppress(OSError):
        os.unlink(path)


def _directory() -> str | None:
    given = os.environ.get(DIRECTORY)
    if given is not None:
        return os.path.abspath(os.path.expanduser(given)) if given else None
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        return os.path.join(local, "Runicorn", "Cache")
    if os.environ.get("XDG_CACHE_HOME"):
        return os.path.join(os.environ["XDG_CACHE_HOME"], "runicorn")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/runicorn")
    return os.path.expanduser("~/.cache/runicorn")
