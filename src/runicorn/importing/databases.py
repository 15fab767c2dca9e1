"""SQLite databases of other trackers: only read, and never changed by that."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runicorn.importing import source_files
from runicorn.importing.source_runs import UnreadableSourceError
from runicorn.storage import directory_kinds, removal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_MAGIC = b"SQLite format 3\0"
_LOG = "-wal"
_BLOCK_BYTES = 1 << 20


def is_database(path: str) -> bool:
    """Whether a file begins as a database does."""
    try:
        with source_files.open_source(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except UnreadableSourceError:
        return False


def tables(path: str) -> set[str]:
    """The names of its tables; none if it is no database."""
    if not is_database(path):
        return set()
    try:
        with opened(path) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {str(name) for (name,) in rows}
    except UnreadableSourceError:
        return set()


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A database for reading. One whose newest changes are in a log beside it is copied first.

    Raises:
        UnreadableSourceError: it cannot be read, here or in the block.
    """
    import sqlite3

    copied = os.path.exists(path + _LOG) and os.path.getsize(path + _LOG) > 0
    folder = tempfile.mkdtemp(prefix="runicorn-import-") if copied else ""
    try:
        at = _copied(path, folder) if copied else path
        # "immutable": no lock file and no log are made beside it.
        uri = f"file:{quote(at)}?mode={'rw' if copied else 'ro&immutable=1'}"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda given: given.decode("utf-8", "backslashreplace")
            connection.execute("PRAGMA trusted_schema=OFF")
            yield connection
    except (sqlite3.Error, OverflowError, UnicodeError) as error:  # the last: in the library's own message
        raise UnreadableSourceError(f"{path} cannot be read: {error}") from error
    finally:
        if folder:
            removal.remove_tree(folder, directory_kinds.IMPORT_COPIES)


def _copied(path: str, folder: str) -> str:
    target = os.path.join(folder, "copy.db")
    for ending in ("", _LOG):
        with source_files.open_source(path + ending) as file, open(target + ending, "xb") as out:
            while block := file.read(_BLOCK_BYTES):
                out.write(block)
    return target


def rows(connection: sqlite3.Connection, table: str, where: str = "", *values: Any) -> Iterator[dict[str, Any]]:
    """The rows of a table as dicts, in the order in which they were inserted; none if there is no such table.

    A view of that name, which could compute for ever, is no table.
    """
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    if found is not None:
        for row in connection.execute(f'SELECT * FROM "{table}" {where} ORDER BY rowid', values):  # noqa: S608 - ours
            yield dict(zip(row.keys(), row, strict=True))
