"""The rows of runs in ``runicorn.db`` of Runicorn 0.7.2, changed by commands, where that file exists.

One short transaction around what is done to the files: it begins before, so that a database which somebody has locked
is known of while nothing has been changed. A database that cannot be used otherwise is left alone, as the viewer does.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runicorn.errors import StillBusyError
from runicorn.storage import statuses

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from runicorn.reading import RunInfo

NAME = "runicorn.db"
_BUSY_S = 10.0
_FIELDS = ("id", "path", "alias", "created_at", "started_at", "ended_at", "status", "exit_reason", "pid", "hostname")
_BEST = ("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode")
_LOCATION = """
INSERT INTO experiments
    (id, path, alias, created_at, started_at, ended_at, status, exit_reason, pid, hostname, best_metric_name,
     best_metric_value, best_metric_step, best_metric_mode, run_dir, updated_at, deleted_at, delete_reason)
VALUES
    (:id, :path, :alias, :created_at, :started_at, :ended_at, :status, :exit_reason, :pid, :hostname,
     :best_metric_name, :best_metric_value, :best_metric_step, :best_metric_mode, :run_dir, :updated_at, :deleted_at,
     :delete_reason)
ON CONFLICT (id) DO UPDATE SET path = excluded.path, run_dir = excluded.run_dir, updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at, delete_reason = excluded.delete_reason
"""


class DatabaseRows:
    """The rows, within a transaction; without a database every change is none.

    Args:
        connection: in a transaction; None = there is no database that can be used.

    Attributes:
        trouble: why a row was not changed; None where all went well.
    """

    def __init__(self, connection: sqlite3.Connection | None, trouble: str | None = None) -> None:
        self._connection = connection
        self.trouble = trouble

    def set_alias(self, run_id: str, alias: str | None) -> None:
        """The name that the list shows."""
        self._change("UPDATE experiments SET alias = ?, updated_at = ? WHERE id = ?", alias, time.time(), run_id)

    def set_tags(self, run_id: str, tags: list[str]) -> None:
        """All tags of a run that has a row."""
        self._change("DELETE FROM experiment_tags WHERE experiment_id = ?", run_id)
        for tag in tags:
            self._change(
                "INSERT OR IGNORE INTO experiment_tags (experiment_id, tag, created_at) "
                "SELECT id, ?, ? FROM experiments WHERE id = ?",
                *(tag, time.time(), run_id),
            )

    def set_location(self, info: RunInfo, run_dir: str, path: str, deleted: dict[str, Any] | None) -> None:
        """Where a run is now; a run that has no row gets one, for an open viewer knows rows alone.

        Args:
            info: of the run.
            run_dir: where it is from now on.
            path: its path there, or where it was deleted.
            deleted: its marker, where it is in the recycle folder.
        """
        marker = deleted or {}
        self._change(
            _LOCATION,
            {
                **{name: getattr(info, name) for name in (*_FIELDS, *_BEST)},
                "status": info.stored_status if info.stored_status in _ALLOWED else statuses.FINAL[0],
                "created_at": info.created_at or time.time(),
                "path": path,
                "run_dir": run_dir,
                "updated_at": time.time(),
                "deleted_at": marker.get("deleted_at"),
                "delete_reason": marker.get("reason"),
            },
        )

    def _change(self, statement: str, *values: Any) -> None:
        import sqlite3

        if self._connection is None or self.trouble is not None:
            return
        try:
            self._connection.execute(statement, values[0] if isinstance(values[0], dict) else values)
        except (sqlite3.Error, OverflowError) as error:  # not the tables of 0.7.2, or an integer beyond 64 bit
            self.trouble = str(error)


@contextmanager
def changing(storage: str) -> Iterator[DatabaseRows]:
    """Change rows while the block changes files; undone where that raises.

    Args:
        storage: the storage root.

    Raises:
        TimeoutError: another process has had the database locked for ten seconds; the block was not begun.
    """
    path = os.path.join(storage, NAME)
    if not os.path.lexists(path):
        yield DatabaseRows(None)
        return
    if os.path.islink(path):
        yield DatabaseRows(None, f"{path} is a link, and links are not followed")
        return
    connection, trouble = _begun(path)
    rows = DatabaseRows(connection, trouble)
    try:
        yield rows
        _end(connection, rows)
    finally:
        if connection is not None:
            connection.close()  # rolls back what was not committed


def _begun(path: str) -> tuple[sqlite3.Connection | None, str | None]:
    import sqlite3

    connection = None
    try:
        uri = f"file:{quote(path)}?mode=rw"  # quoted: a path may hold '#', '?' or '%'
        connection = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        if "locked" in str(error):
            raise StillBusyError(
                f"{path} has been locked by another process for {_BUSY_S:.0f} s, maybe by a viewer. Nothing was "
                "changed. Try again, or close the viewer first."
            ) from error
        return None, str(error)
    return connection, None


def _end(connection: sqlite3.Connection | None, rows: DatabaseRows) -> None:
    import sqlite3

    if connection is None:
        return
    try:
        connection.execute("COMMIT" if rows.trouble is None else "ROLLBACK")
    except sqlite3.Error as error:
        rows.trouble = str(error)


_ALLOWED = (statuses.RUNNING, *statuses.FINAL)
