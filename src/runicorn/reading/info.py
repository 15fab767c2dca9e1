"""What is known of a run without its numbers: its JSON files in one frozen value."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import msgspec

from runicorn.reading.plain_files import DamagedError, open_inside, read_object
from runicorn.storage import last_lines, paths, run_files, statuses

LOST, UNKNOWN = "lost", "unknown"
STATUSES = (statuses.RUNNING, LOST, *statuses.FINAL, UNKNOWN)
RECYCLE = ".recycle"


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as its files describe it; returned by ``runs()``. A field is None if its value is not known.

    Attributes:
        id: id of the run, the name of its directory.
        path: path of the run, such as ``cv/resnet50``; empty at the root.
        alias: name that the user gave it.
        run_dir: absolute path of its directory.
        storage: storage root of the run.
        status: ``running``, ``lost``, ``finished``, ``failed``, ``interrupted`` or ``unknown``. A run is lost if its
            file says ``running`` and the processes that would end it are gone; only its own host can know that.
        stored_status: the word in ``status.json``.
        exit_reason: why it ended.
        created_at: time of creation, epoch seconds.
        started_at: time of the start, epoch seconds.
        ended_at: time of the end, epoch seconds; None while it runs.
        duration_s: seconds from start to end, or to now while it runs.
        hostname: host of the process that opened the run last.
        pid: id of that process.
        best_metric_name: name of the primary metric.
        best_metric_value: its best value.
        best_metric_step: step of the best value.
        best_metric_mode: ``max`` or ``min``.
        last_step: highest step of the owner; while the run is live, the step of the last line of ``events.jsonl``.
        summary: content of ``summary.json``.
        tags: tags in ``meta.json``.
        notes: free text of the user.
        group: what the run belongs to, such as a sweep.
        parent: id of the run that has started this one.
        resumed: how often it was resumed.
        damaged: names of its JSON files that exist and cannot be read.
    """

    id: str
    path: str
    alias: str | None
    run_dir: str
    storage: str
    status: str
    stored_status: str | None
    exit_reason: str | None
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    hostname: str | None
    pid: int | None
    best_metric_name: str | None
    best_metric_value: float | int | None
    best_metric_step: int | None
    best_metric_mode: str | None
    last_step: int | None
    summary: dict[str, Any]
    tags: list[str]
    notes: str | None
    group: str | None
    parent: str | None
    resumed: int
    damaged: list[str]


def read_info(run_dir: str, storage: str, folder_path: str) -> RunInfo:
    """Read a run's JSON files; what is missing or damaged leaves its fields empty.

    The status is that of the file: whether a run that says ``running`` is lost, ``liveness`` finds out.

    Args:
        run_dir: absolute path of the run's directory.
        storage: the storage root.
        folder_path: the run's path by its location in the storage, for a ``meta.json`` that says none.
    """
    damaged: list[str] = []
    meta, status, summary = (
        _read(run_dir, name, damaged) for name in (run_files.META, run_files.STATUS, run_files.SUMMARY)
    )
    stored = status.get("status")
    started_at, ended_at = _number(status.get("started_at")), _number(status.get("ended_at"))
    resumed = meta.get("resumed")
    tags = meta.get("tags")
    return RunInfo(
        id=os.path.basename(run_dir),
        path=_path(meta.get("path"), folder_path),
        alias=_text(meta.get("alias")),
        run_dir=run_dir,
        storage=storage,
        status=_normal(stored),
        stored_status=None if stored is None else str(stored),
        exit_reason=_text(status.get("exit_reason")),
        created_at=_first(_number(meta.get("created_at")), started_at, _changed_at(run_dir)),
        started_at=started_at,
        ended_at=ended_at,
        duration_s=None if started_at is None or ended_at is None else max(0.0, ended_at - started_at),
        hostname=_text(meta.get("hostname")),
        pid=_int(meta.get("pid")),
        best_metric_name=_text(summary.get("best_metric_name")),
        best_metric_value=_value(summary.get("best_metric_value")),
        best_metric_step=_int(summary.get("best_metric_step")),
        best_metric_mode=_text(summary.get("best_metric_mode")),
        last_step=_last_step(run_dir, status, _normal(stored)),
        summary=summary,
        tags=[tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        notes=_text(meta.get("notes")),
        group=_text(meta.get("group")),
        parent=_text(meta.get("parent")),
        resumed=len(resumed) if isinstance(resumed, list) else 0,
        damaged=damaged,
    )


def newest_step(run_dir: str) -> int | None:
    """The step of the last line of the main events file; None where it has none."""
    try:
        with open_inside(run_dir, run_files.EVENTS) as file:
            return last_lines.newest_step(file.fileno())
    except (OSError, DamagedError):
        return None


def with_duration_so_far(info: RunInfo) -> RunInfo:
    """The same for a run that goes on: with the time that it has run."""
    if info.started_at is None:
        return info
    return msgspec.structs.replace(info, duration_s=max(0.0, time.time() - info.started_at))


def _read(run_dir: str, name: str, damaged: list[str]) -> dict[str, Any]:
    try:
        return read_object(run_dir, name)
    except DamagedError:
        damaged.append(name)
        return {}


def _normal(stored: Any) -> str:
    if stored == statuses.RUNNING:
        return statuses.RUNNING
    try:
        return statuses.normalise_status(stored)
    except (TypeError, ValueError):
        return UNKNOWN


def _last_step(run_dir: str, status: dict[str, Any], normal: str) -> int | None:
    stored = _int(status.get("last_step"))
    # While a run is live its status has the step at which it was resumed.
    if stored is not None and normal != statuses.RUNNING:
        return stored
    newest = newest_step(run_dir)
    return stored if newest is None else newest


def _path(given: Any, folder_path: str) -> str:
    """The stored path, where it is one; a name in a file leads nowhere by itself, but is shown and compared."""
    if not isinstance(given, str):
        return folder_path
    try:
        return paths.normalise_path(given)
    except ValueError:
        return folder_path


def _changed_at(run_dir: str) -> float | None:
    try:
        return os.stat(run_dir).st_mtime
    except OSError:
        return None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    return value if type(value) is int else None


def _value(value: Any) -> float | int | None:
    return value if type(value) in {int, float} else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if type(value) in {int, float} and math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None
