"""Changes of runs that exist: labels, and the recycle bin. All of them by the code of the command line."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool

from runicorn.errors import MissingPathError, StillBusyError, StorageError
from runicorn.managing import deleted_marker, labels, recycle_bin, targets
from runicorn.reading.info import RECYCLE
from runicorn.settings import Settings
from runicorn.storage import paths
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer
from runicorn.viewer.bodies import json_of
from runicorn.viewer.changes import plain_key
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.reading import RunInfo

    Change = Callable[[str], dict[str, Any]]

Done = TypeVar("Done")
_SHOWN = (
    *("id", "path", "alias", "status", "tags", "notes", "created_at", "started_at", "ended_at", "duration_s"),
    *("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode", "last_step"),
)


class TagChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Tags that come and go; those of others stay."""

    add: list[str] = []
    remove: list[str] = []


class WantedEdit(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PATCH runs/{key}``: a member that is not there stays as it is."""

    alias: str | msgspec.UnsetType | None = msgspec.UNSET
    notes: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: TagChanges = msgspec.field(default_factory=TagChanges)
    was: dict[str, str | None] = {}
    force_other_host: bool = False

    def texts(self) -> dict[str, str | None]:
        """Alias and notes, as far as they are given; a blank one is none."""
        given = {"alias": self.alias, "notes": self.notes}
        found = {name: text for name, text in given.items() if not isinstance(text, msgspec.UnsetType)}
        return {name: text if text and text.strip() else None for name, text in found.items()}


class NamedRuns(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a change of several runs."""

    runs: list[str]
    add: list[str] = []
    remove: list[str] = []
    force_other_host: bool = False


async def edit(request: Request) -> Response:
    """``PATCH runs/{key}``."""
    viewer = writing(request)
    wanted = await json_of(request, WantedEdit)
    texts = wanted.texts()
    _check_lengths([texts.get("alias") or "", *wanted.tags.add, *wanted.tags.remove])
    if not wanted.was.keys() <= {"alias", "notes"}:
        raise ProblemError(400, "`was` may only have alias and notes. Nothing was changed.")
    key = request.path_params["key"]

    def change() -> dict[str, Any]:
        if viewer.table.find(key) is None:
            viewer.table.refresh(0.0)  # it may have been made since the last look
        info = _found(viewer, key)
        try:
            done = labels.change(
                info,
                Settings.from_environment(),
                texts=texts,
                add=wanted.tags.add,
                remove=wanted.tags.remove,
                was=wanted.was,
                force=wanted.force_other_host,
            )
        finally:
            viewer.table.changed(key)  # also if somebody else has: the page shows what is there now
        told = {"alias": done.alias, "tags": done.tags, "notes": done.notes}
        return {"key": key, **told, "same_alias": _others_named(viewer, key, done.alias), "remark": done.trouble}

    return await run_in_threadpool(lambda: answer(request, tried(change)))


async def tag(request: Request) -> Response:
    """``POST runs/tags``."""
    viewer = writing(request)
    wanted = await _named(request)
    _check_lengths([*wanted.add, *wanted.remove])
    settings = Settings.from_environment()

    def change(key: str) -> dict[str, Any]:
        force = wanted.force_other_host
        done = labels.change_tags(_found(viewer, key), wanted.add, wanted.remove, settings, force=force)
        viewer.table.changed(key)
        return {"tags": done.tags, "remark": done.trouble}

    return await run_in_threadpool(_each, request, wanted, change)


async def delete(request: Request) -> Response:
    """``POST runs/delete``: into the recycle bin."""
    viewer = writing(request)
    wanted = await _named(request)
    settings = Settings.from_environment()

    def change(key: str) -> dict[str, Any]:
        info = _found(viewer, key)
        number = viewer.row(key).cells["storage"]
        moved = recycle_bin.remove(info, settings, force=wanted.force_other_host)
        viewer.table.changed(key)
        return {
            "deleted": _bin_key(msgspec.structs.replace(info, run_dir=moved.run_dir), number),
            "remark": moved.trouble,
        }

    return await run_in_threadpool(_each, request, wanted, change)


async def restore(request: Request) -> Response:
    """``POST runs/restore``: out of the recycle bin."""
    viewer = writing(request)
    wanted = await _named(request)
    settings = Settings.from_environment()

    def change_all() -> Response:
        there = {key: info for key, _, info in _in_bins(viewer)}

        def change(key: str) -> dict[str, Any]:
            if key not in there:
                raise ProblemError(404, f"No run in the recycle bin has the key {key[:160]!r}.", "Look at the list.")
            return {"remark": recycle_bin.restore(there.pop(key), settings).trouble}

        response = _each(request, wanted, change)
        viewer.table.refresh(0.0)
        return response

    return await run_in_threadpool(change_all)


def deleted(request: Request) -> Response:
    """``GET runs/deleted``."""
    viewer = viewer_of(request)
    found = [(deleted_marker.deleted_at(info.run_dir), key, number, info) for key, number, info in _in_bins(viewer)]
    found.sort(key=lambda each: (each[0] or 0.0, each[1]), reverse=True)
    rows = [
        {"key": key, "storage": number, "deleted_at": at, **{name: getattr(info, name) for name in _SHOWN}}
        for at, key, number, info in found[: limits.DELETED]
    ]
    return answer(request, {"count": len(found), "runs": rows, "folders": [_folder(each) for each in viewer.storages]})


def writing(request: Request) -> Viewer:
    """The viewer, for a request that writes.

    Raises:
        ProblemError: it may not write.
    """
    viewer = viewer_of(request)
    if viewer.read_only:
        raise ProblemError(403, "This viewer is read-only. Nothing was changed.", "Start it without --read-only.")
    return viewer


def tried(change: Callable[[], Done]) -> Done:
    """What a change gives; what kept it from being made becomes an answer.

    Raises:
        ProblemError: it was not made.
    """
    try:
        return change()
    except (LookupError, MissingPathError) as error:
        raise ProblemError(404, str(error), "It may have been removed. Go to the list.") from error
    except (ValueError, TypeError) as error:
        raise ProblemError(400, str(error)) from error
    except OSError as error:
        raise ProblemError(409, _words_of(error)) from error


def _words_of(error: OSError) -> str:
    if isinstance(error, StorageError) or error.errno is None:
        return str(error)
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    return f"{where}{error.strerror}. Nothing was changed."


async def _named(request: Request) -> NamedRuns:
    wanted = await json_of(request, NamedRuns)
    if not 1 <= len(wanted.runs) <= limits.RUNS:
        raise ProblemError(
            400, f"{len(wanted.runs):,} runs are named. Nothing was changed.", f"Name 1 to {limits.RUNS} runs."
        )
    return wanted


def _check_lengths(texts: list[str]) -> None:
    if len(texts) > limits.LABEL or any(len(text) > limits.LABEL for text in texts):
        raise ProblemError(400, f"An alias or a tag has {limits.LABEL} characters at most. Nothing was changed.")


def _each(request: Request, wanted: NamedRuns, change: Change) -> Response:
    """Change the runs one by one, and say of each what became of it."""
    results: list[dict[str, Any]] = []
    busy: ProblemError | None = None
    for key in dict.fromkeys(wanted.runs):
        try:
            if busy is not None:
                raise busy
            results.append({"key": key, "done": True, "problem": None, **tried(partial(change, key))})
        except ProblemError as problem:
            told = {"status": problem.status, "what": problem.what, "hint": problem.hint}
            results.append({"key": key, "done": False, "problem": told})
            if busy is None and isinstance(problem.__cause__, StillBusyError):  # the next one would wait as long
                busy = ProblemError(409, f"This run was not tried, because another run had to wait: {problem.what}")
    return answer(request, {"done": sum(each["done"] for each in results), "results": results})


def _found(viewer: Viewer, key: str) -> RunInfo:
    """The run of a key, read anew.

    Raises:
        LookupError: it is gone.
        ProblemError: there is none.
        RefusedChangeError: a link is on the way to its directory.
    """
    row = viewer.row(key)
    return targets.find(row.info, row.info.storage)


def _others_named(viewer: Viewer, key: str, alias: str | None) -> list[str]:
    """Other runs that have this alias, as they may."""
    rows = viewer.table.rows() if alias is not None else []
    return [row.key for row in rows if row.info.alias == alias and row.key != key][: limits.DELETED]


def _in_bins(viewer: Viewer) -> list[tuple[str, int, RunInfo]]:
    """Key, storage and run of all that was deleted.

    Raises:
        ProblemError: a recycle bin cannot be read.
    """
    return [
        (_bin_key(info, number), number, info)
        for number, storage in enumerate(viewer.storages)
        for info in tried(partial(recycle_bin.recycled, storage))
    ]


def _folder(storage: str) -> str:
    return os.path.join(storage, paths.RUNS, RECYCLE)


def _bin_key(info: RunInfo, storage: int) -> str:
    """The key of a run in the recycle bin: its folder has each id once, whatever runs there are elsewhere."""
    name = plain_key(info)
    return f"{name}~{storage}" if storage else name
