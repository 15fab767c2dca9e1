"""A ZIP archive of files, made while it is sent: no temporary file, and a piece of memory at a time."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from runicorn.reading.plain_files import DamagedError
from runicorn.viewer.below import open_below, pieces

if TYPE_CHECKING:
    from collections.abc import Generator

MOST_FILES = 100_000
LEFT_OUT = "left-out-of-this-copy.txt"
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
_TEXTS = (".json", ".jsonl", ".txt", ".log", ".csv", ".py", ".md", ".yaml", ".yml", ".toml", ".svg")
_LARGE_BYTES = 2**31 - 2**20
_LEVEL = 1


class PlannedFile(NamedTuple):
    """A file that goes into an archive, as far as it reaches now.

    Attributes:
        name: in the archive.
        top: the directory that it lies below.
        path: of it there.
        size: bytes.
        identity: device and inode; if another file has taken its place, all of that one is taken.
    """

    name: str
    top: str
    path: str
    size: int | None = None
    identity: tuple[int, int] | None = None


def planned_folder(top: str, path: str = "") -> tuple[list[PlannedFile], list[str]]:
    """The files below a folder, and what is left out, each with why: links, and what is no file.

    Args:
        top: the directory.
        path: of the folder in it; empty = all of it.
    """
    files: list[PlannedFile] = []
    left_out: list[str] = []
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            with os.scandir(os.path.join(top, path, below)) as entries:
                listed = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            left_out.append(f"{below}: {error.strerror}")
            continue
        for entry in reversed(listed):
            _plan(entry, top, path, f"{below}/{entry.name}" if below else entry.name, files, left_out, folders)
        if len(files) > MOST_FILES:
            left_out.append(f"all files but the first {MOST_FILES:,}")
            return files[:MOST_FILES], left_out
    return files, left_out


def _plan(
    entry: os.DirEntry[str],
    top: str,
    path: str,
    name: str,
    files: list[PlannedFile],
    left_out: list[str],
    folders: list[str],
) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        left_out.append(f"{name}: {error.strerror}")
        return
    if stat.S_ISDIR(status.st_mode):
        folders.append(name)
    elif stat.S_ISREG(status.st_mode):
        place = f"{path}/{name}" if path else name
        files.append(PlannedFile(name, top, place, status.st_size, (status.st_dev, status.st_ino)))
    else:
        left_out.append(f"{name}: a link" if stat.S_ISLNK(status.st_mode) else f"{name}: no regular file")


def zipped(files: list[PlannedFile], left_out: list[str], folder: str) -> Generator[bytes, None, None]:
    """The bytes of an archive.

    Args:
        files: that go into it.
        left_out: what does not; stands in a file of the archive, if there is any.
        folder: that they lie in, in the archive.
    """
    out = _Pieces()
    with zipfile.ZipFile(out, "w", allowZip64=True) as archive:
        for each in files:
            yield from _one(archive, out, each, left_out, folder)
        if left_out:
            text = "Not in this copy:\n" + "".join(f"{line}\n" for line in left_out)
            archive.writestr(_info(f"{folder}/{LEFT_OUT}", time.time()), text.encode("utf-8", "backslashreplace"))
    yield out.taken()


def _one(
    archive: zipfile.ZipFile, out: _Pieces, each: PlannedFile, left_out: list[str], folder: str
) -> Generator[bytes, None, None]:
    try:
        file = open_below(each.top, each.path)
    except (FileNotFoundError, DamagedError) as error:
        left_out.append(f"{each.name}: {'gone' if isinstance(error, FileNotFoundError) else error}")
        return
    with file:
        status = os.fstat(file.fileno())
        is_same = each.identity in {None, (status.st_dev, status.st_ino)}
        size = min(status.st_size, each.size) if is_same and each.size is not None else status.st_size
        info = _info(f"{folder}/{safe_name(each.name)}", status.st_mtime)
        with archive.open(info, "w", force_zip64=size > _LARGE_BYTES) as member:
            try:
                for piece in pieces(file, size):
                    member.write(piece)
                    yield out.taken()
            except OSError as error:
                left_out.append(f"{each.name}: cut, {error.strerror}")
    yield out.taken()


def safe_name(name: str) -> str:
    """The name of a file in an archive: whoever unpacks it gets nothing outside of the folder."""
    parts = ["_" if part == ".." else part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    return "/".join(parts).replace(":", "_").encode("utf-8", "backslashreplace").decode().replace("\0", "_") or "_"


def _info(name: str, changed_at: float) -> zipfile.ZipInfo:
    try:
        when = time.localtime(changed_at)[:6]
    except (OverflowError, ValueError, OSError):
        when = time.localtime()[:6]
    if not _FIRST_YEAR <= when[0] <= _LAST_YEAR:
        when = (_FIRST_YEAR, 1, 1, 0, 0, 0)
    info = zipfile.ZipInfo(name, when)
    info.external_attr = 0o644 << 16
    if name.endswith(_TEXTS):
        info.compress_type = zipfile.ZIP_DEFLATED
        info._compresslevel = _LEVEL  # type: ignore[attr-defined] # noqa: SLF001 - public only from Python 3.13 on
    return info


class _Pieces(io.RawIOBase):
    """Takes what an archive writes, until it is sent; it cannot be wound back."""

    def __init__(self) -> None:
        super().__init__()
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self._content += content
        return len(content)

    def taken(self) -> bytes:
        """What was written since the last call."""
        content = bytes(self._content)
        self._content.clear()
        return content
