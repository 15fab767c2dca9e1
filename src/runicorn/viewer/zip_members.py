"""What is in a ZIP archive, member by member; nothing is extracted, and no member is unpacked beyond what is shown."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading.plain_files import DamagedError
from runicorn.viewer import limits

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import IO, BinaryIO

MOST_MEMBERS = 20_000
MOST_SHOWN_BYTES = limits.MIB
MOST_UNPACKED_BYTES = 256 * limits.MIB
_MOST_CONTENTS_BYTES = 4 * limits.MIB
_MOST_RATIO, _SMALL_BYTES = 200, limits.MIB
_SNIFFED_BYTES = 8192
_PIECE_BYTES = 64 * 1024
_ARCHIVES = (b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_FAULTS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


class ZipMember(NamedTuple):
    """A member of an archive.

    Attributes:
        number: of it in the archive.
        name: as it stands there.
        size: bytes, unpacked, as the archive says.
        packed: bytes.
        reason: why it is not unpacked; None if it is.
        remark: what is odd about it; None if nothing is.
        check_sum: of its content, as the archive says.
    """

    number: int
    name: str
    size: int
    packed: int
    reason: str | None
    remark: str | None
    check_sum: int

    def document(self) -> dict[str, Any]:
        """What a page is told of it."""
        told = {"number": self.number, "name": self.name, "bytes": self.size, "packed": self.packed}
        return {**told, "reason": self.reason, "remark": self.remark}


class _BoundedFile(io.BufferedReader):
    """A file of which never more is read at once than a table of contents may have."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = _MOST_CONTENTS_BYTES
        if size > _MOST_CONTENTS_BYTES:
            raise zipfile.BadZipFile(f"its table of contents has more than {_MOST_CONTENTS_BYTES // limits.MIB} MiB")
        return super().read(size)


class ZipReader:
    """An archive, opened for reading its members. Use it in a ``with`` block.

    Args:
        file: the archive; closed in the end.

    Raises:
        DamagedError: it is no archive that can be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = _BoundedFile(file)  # type: ignore[arg-type]
        try:
            self._zip = zipfile.ZipFile(self._file)
        except _FAULTS as error:
            self._file.close()
            raise DamagedError(f"it cannot be read as a ZIP archive: {error}") from error

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    @property
    def count(self) -> int:
        """How many members it has."""
        return len(self._zip.filelist)

    def members(self) -> Iterator[ZipMember]:
        """Its members in their order, folders left out; 20,000 at most."""
        seen: set[str] = set()
        for number, info in enumerate(self._zip.filelist[:MOST_MEMBERS]):
            if not info.is_dir():
                sizes = info.file_size, info.compress_size
                yield ZipMember(number, info.filename, *sizes, _reason(info), _remark(info, seen), info.CRC)
                seen.add(info.filename)

    def shown(self, number: int) -> dict[str, Any]:
        """A member as text: its first 1 MiB; None and the reason if it is none.

        Raises:
            DamagedError: there is none of that number.
        """
        info = self._info(number)
        told = {
            "number": number,
            "name": info.filename,
            "bytes": info.file_size,
            "cut": False,
            "text": None,
            "reason": None,
        }
        reason = _reason(info)
        if reason is not None:
            return {**told, "reason": reason}
        try:
            with self._zip.open(info) as member:
                content = member.read(MOST_SHOWN_BYTES + 1)
        except _FAULTS as error:
            return {**told, "reason": f"it cannot be unpacked: {error}"}
        if content.startswith(_ARCHIVES):
            return {**told, "reason": "it is itself an archive, and archives in archives are not opened"}
        if b"\0" in content[:_SNIFFED_BYTES]:
            return {**told, "reason": "it is not text"}
        text = content[:MOST_SHOWN_BYTES].decode("utf-8-sig", "replace")
        return {**told, "text": text, "cut": len(content) > MOST_SHOWN_BYTES}

    def unpacked(self, number: int) -> tuple[Generator[bytes, None, None], int]:
        """A member's bytes, a piece at a time, and how many it says those are; the archive is closed in the end.

        Fewer come if it is damaged further back.

        Raises:
            DamagedError: there is none of that number, or it is not unpacked, or damaged at its begin.
        """
        self.check(number)
        info = self._info(number)
        member = self._opened(info)
        try:
            first = member.read(_PIECE_BYTES)
        except _FAULTS as error:
            member.close()
            raise DamagedError(f"it cannot be unpacked: {error}") from error
        return self._pieces(member, first), info.file_size

    def check(self, number: int) -> None:
        """Make sure that a member can be unpacked.

        Raises:
            DamagedError: there is none of that number, or it is not unpacked.
        """
        info = self._info(number)
        reason = _reason(info)
        if reason is None and info.file_size > MOST_UNPACKED_BYTES:
            reason = f"it has more than {MOST_UNPACKED_BYTES // limits.MIB} MiB"
        if reason is not None:
            raise DamagedError(reason)
        self._opened(info).close()

    def _opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        try:
            return self._zip.open(info)
        except _FAULTS as error:
            raise DamagedError(f"it cannot be unpacked: {error}") from error

    def _pieces(self, member: IO[bytes], piece: bytes) -> Generator[bytes, None, None]:
        with self, member:
            while piece:
                yield piece
                try:
                    piece = member.read(_PIECE_BYTES)
                except _FAULTS:  # who sends it sees that it is less than was told
                    return

    def _info(self, number: int) -> zipfile.ZipInfo:
        if not 0 <= number < min(MOST_MEMBERS, self.count):
            raise DamagedError(f"it has no member with the number {number}")
        return self._zip.filelist[number]


def _reason(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 0x1:
        return "it is encrypted"
    if info.compress_type not in _METHODS:
        return "it is packed by a method that is not supported here"
    if _is_bomb(info):
        return f"it says that it is {info.file_size // max(1, info.compress_size):,} times as large as it is packed"
    return None


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    return info.file_size > _SMALL_BYTES and info.file_size > _MOST_RATIO * info.compress_size


def _remark(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or ":" in name[:2] or ".." in name.split("/"):
        return "its name leads out of the folder that it would be unpacked in"
    if info.filename in seen:
        return "a member before it has the same name"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a link"
    return None
