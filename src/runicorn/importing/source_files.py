"""The files of a source: found without following links, opened for reading only."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from runicorn.importing.source_runs import UnreadableSourceError, unreadable
from runicorn.storage import plain_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK_BYTES = 1 << 20
MOST_TEXT_BYTES = 256 * 1024 * 1024
"""Size of a file above which it is not read whole into memory."""


def open_source(path: str) -> BinaryIO:
    """Open a regular file; a link is not followed.

    Raises:
        UnreadableSourceError: it cannot be opened.
    """
    try:
        return os.fdopen(plain_json.open_regular(path), "rb")
    except plain_json.UnfitFileError as error:
        raise UnreadableSourceError(f"{path} is not read: it is {error}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def read_whole(path: str, most_bytes: int = MOST_TEXT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        UnreadableSourceError: it cannot be read, or is too large.
    """
    with open_source(path) as file:
        try:
            content = file.read(most_bytes + 1)
        except OSError as error:
            raise unreadable(path, error) from error
    if len(content) > most_bytes:
        raise UnreadableSourceError(f"{path} is larger than {most_bytes:,} bytes, so it was not read")
    return content


def text_of(path: str) -> str:
    """The text in a file; what is no UTF-8 is escaped."""
    return read_whole(path).decode("utf-8-sig", "backslashreplace")


def json_of(path: str) -> Any:
    """The JSON in a file; bare ``NaN`` and ``Infinity`` are taken too.

    Raises:
        UnreadableSourceError: it cannot be read, or is no JSON.
    """
    return decode_json(read_whole(path), path)


def decode_json(content: bytes | str, what: str) -> Any:
    """Decode JSON; bare ``NaN`` and ``Infinity`` are taken too.

    Raises:
        UnreadableSourceError: it is none; ``what`` begins the message.
    """
    import json

    try:
        return json.loads(content)
    except RecursionError:
        raise UnreadableSourceError(f"{what} is nested too deeply to be read") from None
    except ValueError as error:
        raise UnreadableSourceError(f"{what} is not JSON: {error}") from None


def below(top: str) -> Iterator[tuple[str, list[str]]]:
    """Every directory from ``top`` down with the names of its regular files, both in the order of their names."""
    for directory, directories, names in os.walk(top):
        directories.sort()
        files = sorted(name for name in names if not os.path.islink(os.path.join(directory, name)))
        yield directory, files


def digest(paths: Iterable[str]) -> str:
    """The SHA-256 of the content of files, which are read once for it."""
    found = hashlib.sha256()
    for path in paths:
        try:
            file = open_source(path)
        except UnreadableSourceError:
            continue
        with file:
            while block := file.read(_BLOCK_BYTES):
                found.update(block)
        found.update(b"\0end\0")
    return found.hexdigest()


def changed_at(path: str) -> float:
    """When a file was written last, epoch seconds; 0 if it is not there."""
    try:
        return os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def media_file(top: str, name: object) -> str | None:
    """The path of a file that a source names, if it is a plain relative one below ``top``; else None."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or os.path.isabs(name):
        return None
    parts = name.split("/")
    if any(part in {"", ".", ".."} or ":" in part for part in parts):
        return None
    at = top
    for part in parts:
        at = os.path.join(at, part)
        if os.path.islink(at):
            return None
    return at if os.path.isfile(at) else None
