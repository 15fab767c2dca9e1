"""The code that runs have kept: archives are listed and read member by member, with caps, and never extracted."""

from __future__ import annotations

import os
import struct
import threading
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading.plain_files import DamagedError, open_inside
from runicorn.storage import run_files

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER_BYTES = 1024 * 1024
"""So much of a member is read."""
MOST_MEMBERS = 20_000
_DIRECTORY_BYTES = 16 * 1024 * 1024
_KEPT = 64
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_FAULTS = (
    *(OSError, ValueError, RuntimeError, NotImplementedError, EOFError, IndexError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


class ArchiveError(Exception):
    """An archive or a member cannot be shown; the message says why."""


class CodeMember(NamedTuple):
    """What an archive says of a member: two of equal check sum and size are taken as equal."""

    check_sum: int
    size_bytes: int


class CodeArchives:
    """The lists of archives, remembered; runs that share one archive read it once. May be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], dict[str, CodeMember]] = {}
        self._lock = threading.Lock()

    def members(self, run_dir: str) -> dict[str, CodeMember] | None:
        """The files in a run's archive; None if it has none.

        Raises:
            ArchiveError: it cannot be read.
        """
        try:
            file = open_inside(run_dir, run_files.CODE)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            raise ArchiveError(str(error)) from error
        with file:
            found = os.fstat(file.fileno())
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            with self._lock:
                known = self._known.pop(stamp, None)
            if known is None:
                known = _listed(file)
            with self._lock:
                self._known[stamp] = known
                while len(self._known) > _KEPT:
                    del self._known[next(iter(self._known))]
        return known


def member_text(run_dir: str, name: str) -> str:
    """The text of a member of a run's archive.

    Raises:
        ArchiveError: it has none of that name, or it is no text, too large, encrypted, or packed in another way.
    """
    try:
        with open_inside(run_dir, run_files.CODE) as file, _opened(file) as archive:
            content = _content(archive, name)
    except (FileNotFoundError, KeyError) as error:
        raise ArchiveError("it is not in the archive") from error
    except DamagedError as error:
        raise ArchiveError(str(error)) from error
    except _FAULTS as error:
        raise ArchiveError(f"it cannot be read: {type(error).__name__}") from error
    if len(content) > MEMBER_BYTES:
        raise ArchiveError(f"it has more than {MEMBER_BYTES:,} bytes")
    if b"\0" in content:
        raise ArchiveError("it is no text")
    return content.decode("utf-8", "replace")


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError("it is encrypted")
    if entry.compress_type not in _KINDS:
        raise ArchiveError("it is packed in a way that is not read here")
    with archive.open(entry) as member:
        return member.read(MEMBER_BYTES + 1)


def _listed(file: Any) -> dict[str, CodeMember]:
    try:
        with _opened(file) as archive:
            return dict(_entries(archive))
    except _FAULTS as error:
        raise ArchiveError(f"the archive cannot be read: {type(error).__name__}") from error


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, CodeMember]]:
    for entry in archive.infolist()[:MOST_MEMBERS]:
        if not entry.is_dir():
            yield entry.filename, CodeMember(entry.CRC, entry.file_size)


def _opened(file: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(_Bounded(file))


class _Bounded:
    """A file of which no piece is read that is larger than the list of an archive may be."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """So many bytes, or the rest.

        Raises:
            ValueError: that is too much.
        """
        content: bytes = self._file.read(min(count, _DIRECTORY_BYTES + 1) if count >= 0 else _DIRECTORY_BYTES + 1)
        if len(content) > _DIRECTORY_BYTES:
            raise ValueError(count)
        return content

    def close(self) -> None:
        """Nothing: who has opened it closes it."""
