"""The code that runs have kept: which files, and the text of one of them; archives are never extracted."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from runicorn.reading.plain_files import DamagedError, open_inside
from runicorn.storage import run_files
from runicorn.viewer.zip_members import ZipReader

_KEPT = 64


class ArchiveError(Exception):
    """An archive or a member cannot be shown; the message says why."""


class CodeMember(NamedTuple):
    """A file in an archive.

    Attributes:
        number: of it in the archive.
        content: check sum and size; two that have the same are taken as equal.
    """

    number: int
    content: tuple[int, int]


class CodeArchives:
    """The lists of archives, remembered; runs that share one archive read it once. May be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], dict[str, CodeMember]] = {}
        self._lock = threading.Lock()

    def members(self, run_dir: str) -> dict[str, CodeMember] | None:
        """The files in a run's archive by name; None if it has none.

        Raises:
            ArchiveError: it cannot be read.
        """
        try:
            file = open_inside(run_dir, run_files.CODE)
            found = os.fstat(file.fileno())
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            with file, self._lock:
                known = self._known.pop(stamp, None)
                if known is None:
                    with ZipReader(file) as archive:
                        members = list(archive.members())
                    known = {each.name: CodeMember(each.number, (each.check_sum, each.size)) for each in members}
                self._known[stamp] = known
                while len(self._known) > _KEPT:
                    del self._known[next(iter(self._known))]
        except FileNotFoundError:
            return None
        except (DamagedError, OSError) as error:
            raise ArchiveError(str(error)) from error
        return known


def member_text(run_dir: str, number: int) -> str:
    """The text of a member of a run's archive.

    Raises:
        ArchiveError: it has none of that number, or it is no text, too large, encrypted, or packed in another way.
    """
    try:
        with ZipReader(open_inside(run_dir, run_files.CODE)) as archive:
            shown = archive.shown(number)
    except (DamagedError, OSError) as error:
        raise ArchiveError(str(error)) from error
    if shown["cut"]:
        raise ArchiveError("it has more than 1 MiB")
    text: str | None = shown["text"]
    if text is None:
        raise ArchiveError(str(shown["reason"]))
    return text
