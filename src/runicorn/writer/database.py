"""The run's row in ``runicorn.db`` of Runicorn 0.7.2, where that file exists.

A viewer that is already open lists a run only once it has a row there. The row is kept current by a thread of
the writer process, best effort: short transactions, a rollback on any error, and nothing that stores records
ever waits for it. The database itself is never created.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

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
    OR (excluded.status = experiments.status AND excluded.pid = experiments.pid)
"""
# An earlier session that comes late must not win over a later one; the viewer, which notes the status that it has found
# in our files as its own update, is no later session.
_FIELDS = (
    *("id", "path", "alias", "created_at", "updated_at", "status", "pid", "python", "platform", "hostname"),
    *("run_dir", "workspace_root", "started_at", "ended_at", "exit_reason"),
    *("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode"),
)


_ASSET = """
INSERT INTO assets (asset_id, asset_type, name, source_uri, archive_uri, is_archived, fingerprint_kind, fingerprint,
    size_bytes, created_at, metadata_json)
VALUES (:asset_id, :asset_type, :name, :source_uri, :archive_uri, :is_archived, :fingerprint_kind, :fingerprint,
    :size_bytes, :created_at, :metadata_json)
ON CONFLICT (asset_id) DO UPDATE SET archive_uri = excluded.archive_uri, is_archived = excluded.is_archived,
    fingerprint = excluded.fingerprint, size_bytes = excluded.size_bytes, metadata_json = excluded.metadata_json
"""
_TYPES = {"datasets": "dataset", "pretrained": "pretrained", "outputs": "output"}


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

    def tell(self, row: dict[str, Any], assets: dict[str, Any]) -> None:
        """Have the row become this, some time soon; fields that are not given are NULL.

        Args:
            row: from field to value.
            assets: the content of ``assets.json``: the viewer counts the rows that are made of it.
        """
        with self._changed:
            self._row = {**dict.fromkeys(_FIELDS), **row, "updated_at": time.time(), "assets": _asset_rows(assets)}
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="runicorn-database", daemon=True)
            self._thread.start()

    def write_row_late(self, wait_s: float) -> None:
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
        import sqlite3  # here, as all that only a database needs, for most runs have none: 2 ms
        from urllib.parse import quote

        # Quoted: a path may hold '#', '?' or '%', which a URI would take for its own.
        uri = f"file:{quote(self._path)}?mode=rw"
        try:
            connection = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.execute(_UPSERT, {name: row[name] for name in _FIELDS})
                    _write_assets(connection, row["id"], row["assets"])
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


def _asset_rows(assets: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that Runicorn 0.7.2 would make of ``assets.json``."""
    rows = []
    snapshot = assets.get("code", {}).get("snapshot")
    if snapshot:
        rows.append(_asset_row("code_snapshot", "code", {"name": "code_snapshot.zip", **snapshot}))
    config = assets.get("config")
    if config:
        rows.append(_asset_row("config", "config", config))
    for section, kind in _TYPES.items():
        rows += [_asset_row(kind, kind, entry) for entry in assets.get(section, []) if isinstance(entry, dict)]
    return rows


def _asset_row(kind: str, role: str, entry: dict[str, Any]) -> dict[str, Any]:
    import json

    fingerprint = entry.get("fingerprint")
    if isinstance(fingerprint, dict):
        fingerprint = json.dumps(fingerprint, ensure_ascii=False, sort_keys=True)
    source = next((entry[each] for each in ("uri", "path_or_uri", "path", "workspace_root") if entry.get(each)), None)
    return {
        "asset_type": kind,
        "role": role,
        "name": entry.get("name") or entry.get("key"),
        "source_uri": source,
        "archive_uri": entry.get("archive_path"),
        "is_archived": bool(entry.get("saved")),
        "fingerprint_kind": entry.get("fingerprint_kind"),
        "fingerprint": fingerprint,
        "size_bytes": entry.get("size_bytes") or entry.get("total_size_bytes"),
        "created_at": entry.get("created_at") or entry.get("archived_at"),
        "metadata_json": json.dumps(entry, ensure_ascii=False),
    }


def _write_assets(connection: sqlite3.Connection, run_id: str, rows: list[dict[str, Any]]) -> None:
    """Make the run's assets these; rows that the viewer has made of the same entries are taken over."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"assets", "run_assets"} <= tables:
        return
    linked = []
    for number, row in enumerate(rows):
        query = "SELECT asset_id FROM assets WHERE asset_type = ? AND fingerprint = ?"
        known = connection.execute(query, (row["asset_type"], row["fingerprint"])).fetchone()
        row["asset_id"] = known[0] if known else f"{run_id}/{row['asset_type']}/{number}"
        connection.execute(_ASSET, row)
        linked.append((run_id, row["asset_id"], row["role"]))
    found = connection.execute("SELECT run_id, asset_id, role FROM run_assets WHERE run_id = ?", (run_id,)).fetchall()
    for gone in set(found) - set(linked):
        connection.execute("DELETE FROM run_assets WHERE run_id = ? AND asset_id = ? AND role = ?", gone)
        connection.execute(
            "DELETE FROM assets WHERE asset_id = ? AND asset_id NOT IN (SELECT asset_id FROM run_assets)", (gone[1],)
        )
    connection.executemany(
        "INSERT OR IGNORE INTO run_assets (run_id, asset_id, role, created_at) VALUES (?, ?, ?, strftime('%s', 'now'))",
        linked,
    )
