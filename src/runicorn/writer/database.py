"""The run's row in ``runicorn.db`` of Runicorn 0.7.2, where that file exists.

A viewer that is already open lists a run only once it has a row there. The row is kept current by a thread of
the writer process, best effort: short transactions, a rollback on any error, and nothing that stores records
ever waits for it. The database itself is never created.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any
from urllib.parse import quote

_BUSY_S = 10.0
_RETRY_S = 1.0
_UPSERT = """
INSERT INTO experiments
    (id, path, alias, created_at, updated_at, status, pid, python_version, platform, hostname, run_dir,
     workspace_root, started_at, ended_at, exit_reason,
     best_metric_name, best_metric_value, best_metric_step, best_metric_mode)
VALUES
    (:id, :path, :alias, :created_at, :updated_at, :status, :pid, :python, :platform, :hostname, :run_dir,
     :workspace_root, :started_at, :ended_at, :exit_reason,
     :best_metric_name, :best_metric_value, :best_metric_step, :best_metric_mode)
ON CONFLICT (id) DO UPDATE SET
    updated_at = excluded.updated_at, status = excluded.status, pid = excluded.pid,
    ended_at = excluded.ended_at, exit_reason = excluded.exit_reason,
    best_metric_name = excluded.best_metric_name, best_metric_value = excluded.best_metric_value,
    best_metric_step = excluded.best_metric_step, best_metric_mode = excluded.best_metric_mode
WHERE excluded.updated_at >= experiments.updated_at
"""
_FIELDS = (
    *("id", "path", "alias", "created_at", "updated_at", "status", "pid", "python", "platform", "hostname"),
    *("run_dir", "workspace_root", "started_at", "ended_at", "exit_reason"),
    *("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode"),
)


class DatabaseRow:
    """Keeps one row as it was last told; ``tell()`` never waits."""

    def __init__(self, storage: str) -> None:
        self._path = os.path.join(storage, "runicorn.db")
        self._row: dict[str, Any] | None = None  # guarded by _changed
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def exists(self) -> bool:
        """Whether there is a database to keep a row in."""
        return os.path.exists(self._path)

    def tell(self, row: dict[str, Any]) -> None:
        """Have the row become this, some time soon; fields that are not given are NULL."""
        with self._changed:
            self._row = {**dict.fromkeys(_FIELDS), **row, "updated_at": time.time()}
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="runicorn-database", daemon=True)
            self._thread.start()

    def settle(self, wait_s: float) -> None:
        """Give the thread time to write what it was last told, before the process ends; nobody waits for that."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while self._row is not None and self._thread is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _keep(self) -> None:
        while True:
            with self._changed:
                while self._row is None:
                    self._changed.wait()
                row = self._row
            if not self._write(row):
                time.sleep(_RETRY_S)  # locked, or damaged; the newest row is tried again
                continue
            with self._changed:
                if self._row is row:
                    self._row = None
                    self._changed.notify_all()

    def _write(self, row: dict[str, Any]) -> bool:
        import sqlite3  # here, for most runs have no database: 2 ms

        # Quoted: a path may hold '#', '?' or '%', which a URI would take for its own.
        uri = f"file:{quote(self._path)}?mode=rw"
        try:
            connection = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.execute(_UPSERT, row)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            finally:
                connection.close()
        except sqlite3.Error as error:
            print(f"runicorn.db: the run's row was not written: {error}", flush=True)  # noqa: T201 - to writer.log
            return False
        return True
