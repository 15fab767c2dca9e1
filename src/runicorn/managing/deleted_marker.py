"""The marker of a deleted run, ``.deleted``, as Runicorn 0.7.2 has it: when it was deleted, and from where."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.storage import paths, run_files
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from runicorn.reading import RunInfo

NAME = ".deleted"
_ROOT = "."
"""The root path in a marker: the viewer restores no run whose marker has an empty one."""


def of(info: RunInfo) -> dict[str, Any]:
    """The marker of a run that is deleted now."""
    return {
        "deleted_at": time.time(),
        "reason": "user_deleted",
        "original_status": info.stored_status or "unknown",
        "original_path": _location_of(info) or _ROOT,
    }


def write(run_dir: str, marker: dict[str, Any]) -> None:
    """Put it into a run's directory, atomically.

    Raises:
        OSError: it cannot be written.
    """
    files = RunDir(run_dir, sole=False)
    try:
        files.replace(NAME, marker)
    finally:
        files.close()


def remove(run_dir: str) -> None:
    """Take it away, where it is."""
    with suppress(FileNotFoundError):
        files = RunDir(run_dir, sole=False)
        files.remove(NAME)
        files.close()


def deleted_at(run_dir: str) -> float | None:
    """When the run was deleted, epoch seconds; None where nothing says it."""
    at = _read(run_dir, NAME).get("deleted_at")
    return float(at) if isinstance(at, (int, float)) else None


def path_in(run_dir: str) -> str | None:
    """The path that the marker names; None where it names none, or one that leads out of ``runs``."""
    return _safe(_read(run_dir, NAME).get("original_path"))


def path_to_restore(run_dir: str) -> str:
    """The path of the marker, else that of ``meta.json``; ``default`` where neither is one."""
    for path in (path_in(run_dir), _safe(_read(run_dir, run_files.META).get("path"))):
        if path is not None:
            return path
    return paths.DEFAULT_PATH


def _location_of(info: RunInfo) -> str:
    """Where a run is below ``runs``; of the layout before 0.6 the path that it is shown with."""
    relative = os.path.relpath(os.path.dirname(info.run_dir), os.path.join(info.storage, paths.RUNS))
    below = "" if relative == os.curdir else relative.replace(os.sep, "/")
    return info.path if below.split("/")[0] == os.pardir else below


def _read(run_dir: str, name: str) -> dict[str, Any]:
    try:
        return read_object(run_dir, name)
    except DamagedError:
        return {}


def _safe(given: Any) -> str | None:
    """A path that leads nowhere but below ``runs``; None where it would. The viewer allows more letters than we do."""
    if not isinstance(given, str):
        return None
    if given in {"", "/", _ROOT}:
        return ""
    segments = given.strip("/").split("/")
    if any(not each or each.startswith(".") or set(each) & set("\\:\0") for each in segments):
        return None
    return "/".join(segments)
