"""The storage: where it is and why, whether it can be written, and what is in it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runicorn import reading
from runicorn.commands import render
from runicorn.doctor import probe
from runicorn.doctor.finding import BROKEN, NOTE, OK, Finding
from runicorn.managing import viewer_database
from runicorn.reading.info import LOST
from runicorn.reading.listing import inside_a_run
from runicorn.storage import paths
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "RUNICORN_DIR"
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 1024**3, 16 * 1024**2
_BUSY_S = 2.0


def root(given: str | None) -> str:
    """The absolute storage root."""
    return paths.storage_root(given)


def diagnose(given: str | None) -> Iterator[Finding]:
    """Where it is, and how it is."""
    top = root(given)
    configured, trouble = _configured()
    source = (
        "argument" if given else VARIABLE if os.environ.get(VARIABLE) else "configuration" if configured else "default"
    )
    why = {
        "argument": "it was given",
        VARIABLE: f"set by {VARIABLE}",
        "configuration": f"set by user_root_dir in {_configuration()}",
        "default": f"the default; neither {VARIABLE} nor {_configuration()} names another",
    }
    yield Finding("storage", OK, f"{top}: {why[source]}", None, {"root": top, "source": source})
    if trouble:
        yield Finding(
            "configuration",
            BROKEN if source == "default" else NOTE,
            f"{_configuration()} cannot be read ({trouble}) and is ignored",
            "Repair or remove it, or set RUNICORN_DIR.",
            {"path": _configuration()},
        )
    inside = inside_a_run(top)
    if inside:
        details = {"path": top, "writable": False}
        yield Finding("storage_writable", BROKEN, "no run can be made in it", inside.strip(), details)
        return
    if not os.path.isdir(top):
        yield _not_there(top)
        return
    yield _writable(top)
    yield from _space(top)
    yield from _runs(top)
    yield from _database(top)


def _configuration() -> str:
    return os.path.join(paths.config_directory(), "config.json")


def _configured() -> tuple[str | None, str | None]:
    """The root that the user's configuration names; and why it cannot be read."""
    try:
        named = paths.configuration().get("user_root_dir")
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or f"it is {error}"
    return (named, None) if isinstance(named, str) and named else (None, None)


def _not_there(top: str) -> Finding:
    parent = top
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    details = {"path": top, "writable": False}
    try:
        with probe.folder_in(parent):
            pass
    except probe.ProbeError as error:
        advice = "Set RUNICORN_DIR to another directory, or get permission for this one."
        return Finding("storage_writable", BROKEN, f"it does not exist and cannot be made: {error}", advice, details)
    return Finding(
        "storage_writable",
        NOTE,
        "it does not exist yet; the first init() makes it",
        None,
        {**details, "writable": True},
    )


def _writable(top: str) -> Finding:
    runs = os.path.join(top, paths.RUNS)
    if os.path.islink(runs):
        return Finding(
            "storage_writable",
            BROKEN,
            f"{runs} is a link, and no command follows it: no run is listed",
            f"Use the storage that the link leads to, the parent of {os.path.realpath(runs)}.",
            {"path": runs, "writable": False},
        )
    if os.path.lexists(runs) and not os.path.isdir(runs):
        details = {"path": runs, "writable": False}
        return Finding(
            "storage_writable",
            BROKEN,
            f"{runs} is not a directory",
            "Remove it, or set RUNICORN_DIR to another directory.",
            details,
        )
    where = runs if os.path.isdir(runs) else top
    try:
        took_s = probe.write_and_rename(where)
    except probe.ProbeError as error:
        advice = "Check its owner, a read-only mount and the quota; or set RUNICORN_DIR to another directory."
        return Finding("storage_writable", BROKEN, str(error), advice, {"path": where, "writable": False})
    return Finding(
        "storage_writable",
        OK,
        f"files can be written, renamed and made durable (fsync); fsync took {took_s * 1e3:.1f} ms",
        None,
        {"path": where, "writable": True, "fsync_s": took_s},
    )


def _space(top: str) -> Iterator[Finding]:
    free_bytes = shutil.disk_usage(top).free
    details: dict[str, Any] = {"free_bytes": free_bytes}
    files = os.statvfs(top) if hasattr(os, "statvfs") else None
    if files is not None and files.f_files:
        details["free_files"] = files.f_favail
    status = OK if free_bytes >= _LITTLE_BYTES else NOTE if free_bytes >= _TOO_LITTLE_BYTES else BROKEN
    if details.get("free_files") == 0:
        status = BROKEN
    text = f"{render.size(free_bytes)} are free in the storage"
    if details.get("free_files") == 0:
        text += ", but no more files can be made there (no inodes are left)"
    yield Finding(
        "storage_space",
        status,
        text,
        None if status == OK else "Free some space, or set RUNICORN_DIR to another directory.",
        details,
    )


def _runs(top: str) -> Iterator[Finding]:
    counts = Counter(info.status for info in reading.runs(top))
    said = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    lost = counts.get(LOST, 0)
    yield Finding(
        "runs",
        NOTE if lost else OK,
        f"{counted(counts.total(), 'run')}{f': {said}' if said else ''}",
        "List them with: runicorn ls --status lost. Save their records with: runicorn recover" if lost else None,
        {"total": counts.total(), **counts},
    )


def _database(top: str) -> Iterator[Finding]:
    path = os.path.join(top, viewer_database.NAME)
    if not os.path.lexists(path):
        return
    import sqlite3

    details: dict[str, Any] = {"path": path}
    connection = None
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", timeout=_BUSY_S, uri=True)
        details["rows"] = connection.execute("SELECT count(*) FROM experiments").fetchone()[0]
    except sqlite3.Error as error:
        yield Finding(
            "viewer_database",
            NOTE,
            f"{path} cannot be read: {error}. Runs are still stored; a 0.7.2 viewer then reads their files",
            "Close all viewers, move the file away and start a viewer: it makes a new file.",
            details,
        )
    else:
        yield Finding("viewer_database", OK, f"{path} has {counted(details['rows'], 'row')}", None, details)
    finally:
        if connection is not None:
            connection.close()
