"""The images of a run: which there are, by key and step, and their bytes after a look at the first of them."""

from __future__ import annotations

import math
import os
import re
import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from runicorn.reading.plain_files import DamagedError
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, query_flag, query_int
from runicorn.viewer.below import open_below, pieces
from runicorn.viewer.image_heads import HEAD_BYTES, ImageKind, kind_of
from runicorn.viewer.image_index import BEFORE_ALL, ImageIndex, Listed, around, of_key, stamp_of
from runicorn.viewer.sending import PieceAnswer
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from typing import BinaryIO

    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.viewer.changes import RunRow
    from runicorn.viewer.open_runs import OpenRun

MOST_SHOWN_BYTES = 64 * limits.MIB
MOST_SHOWN_PIXELS = 100_000_000
"""A browser takes four bytes a pixel for an image that it shows."""
_MOST_LISTED, _LISTED = 5000, 1000
_MOST_INDEXED = 200_000
_MOST_FACTS = 20_000
_FARTHEST = 2**62
_NUMBER = re.compile(r"[0-9]{1,16}")


_indices: dict[str, ImageIndex] = {}
_facts: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
_lock = threading.Lock()


def images(request: Request) -> Response:
    """``GET runs/{key}/images``."""
    row, opened, index = _index_of(viewer_of(request), request.path_params["key"])
    key, query = request.query_params.get("key"), request.query_params
    content: dict[str, Any] = {"version": opened.version, "count": len(index.by_number), "superseded": index.superseded}
    by_key = index.with_superseded if query_flag(request, "superseded") else index.by_key
    if key is None and "at" not in query:
        return answer(request, {"keys": index.keys(), "steps": index.steps(), **content})
    if key is None:
        found = around(by_key, query_int(request, "at", _FARTHEST, -_FARTHEST, _FARTHEST))
    else:
        first = query_int(request, "from", BEFORE_ALL, -_FARTHEST, _FARTHEST)
        found = of_key(by_key, key, first, query_int(request, "to", _FARTHEST, -_FARTHEST, _FARTHEST))
    limit = query_int(request, "limit", _LISTED, 1, _MOST_LISTED)
    offset = query_int(request, "offset", 0, 0, _FARTHEST)
    with opened.reading():
        stages = opened.stages()
    begins = [stage["from"] for stage in stages]
    listed = [_document(row, each, _stage_at(stages, begins, each.step)) for each in found[offset : offset + limit]]
    return answer(request, {"images": listed, **content, "count": len(found)})


def image(request: Request) -> Response:
    """``GET runs/{key}/images/{number}``."""
    viewer, key = viewer_of(request), request.path_params["key"]
    row, listed = viewer.row(key), image_of(viewer, key, request.path_params["number"])
    try:
        file = open_below(row.info.run_dir, listed.path)
    except (FileNotFoundError, DamagedError) as error:
        raise ProblemError(404, f"The image cannot be shown: {_why(error)}.") from error
    try:
        size, media_type = _checked(file)
    except BaseException:
        file.close()
        raise
    headers = {"content-security-policy": "default-src 'none'; sandbox"}
    return PieceAnswer(pieces(file, size), size, media_type, headers)


def _checked(file: BinaryIO) -> tuple[int, str]:
    """How long an image that is shown is, and of which type; the file is at its beginning."""
    try:
        size, kind = _looked_into(file)
        file.seek(0)
    except (OSError, DamagedError) as error:
        raise ProblemError(404, f"The image cannot be read: {error}.") from error
    reason = _reason(size, kind)
    if kind is None or kind.media_type is None or reason:
        raise ProblemError(404, f"The image cannot be shown: {reason}.")
    return size, kind.media_type


def image_of(viewer: Viewer, key: str, number: str) -> Listed:
    """The image of a number.

    Raises:
        ProblemError: the run has none.
    """
    _, _, index = _index_of(viewer, key)
    found = index.by_number.get(int(number)) if _NUMBER.fullmatch(number) else None
    if found is None:
        raise ProblemError(404, f"The run has no image with the number {number[:20]!r}.", "Ask for the list again.")
    return found


def _index_of(viewer: Viewer, key: str) -> tuple[RunRow, OpenRun, ImageIndex]:
    row, opened = viewer.open(key)
    with _lock:
        known = _indices.pop(row.info.run_dir, None)
    with opened.reading():
        index = known if known is not None and known.stamp == stamp_of(opened) else ImageIndex(opened)
    with _lock:
        _indices[row.info.run_dir] = index
        while len(_indices) > 1 and sum(len(each.by_number) for each in _indices.values()) > _MOST_INDEXED:
            del _indices[next(iter(_indices))]
    return row, opened, index


def _stage_at(stages: list[dict[str, Any]], begins: list[int], step: int | None) -> str | None:
    """The stage that a step belongs to."""
    at = 0 if step is None else bisect_right(begins, step)
    return stages[at - 1]["stage"] if at and step is not None and step <= stages[at - 1]["to"] else None


def _document(row: RunRow, each: Listed, stage: str | None) -> dict[str, Any]:
    time = each.time if math.isfinite(each.time) else None
    said = {"number": each.number, "key": each.key, "step": each.step, "time": time, "caption": each.caption}
    return {
        **said,
        "stage": stage,
        "rank": each.rank,
        "superseded": each.is_superseded,
        **_facts_of(row.info.run_dir, each.path),
    }


def _facts_of(run_dir: str, path: str) -> dict[str, Any]:
    """What is known of an image's file; looked into again only if it has changed."""
    stamp = _stamp_of(run_dir, path)
    known = _facts.get((run_dir, path))
    if stamp is not None and known is not None and known[0] == stamp:
        return known[1]
    facts = _read_facts(run_dir, path)
    with _lock:
        _facts[run_dir, path] = (stamp, facts)
        while len(_facts) > _MOST_FACTS:
            del _facts[next(iter(_facts))]
    return facts


def _read_facts(run_dir: str, path: str) -> dict[str, Any]:
    size, kind = None, None
    try:
        with open_below(run_dir, path) as file:
            size, kind = _looked_into(file)
        reason = _reason(size, kind)
    except (FileNotFoundError, DamagedError) as error:
        reason = _why(error)
    sides = (kind.width, kind.height) if kind else (None, None)
    name = kind.name if kind else None
    return {"width": sides[0], "height": sides[1], "bytes": size, "kind": name, "reason": reason}


def _looked_into(file: BinaryIO) -> tuple[int, ImageKind | None]:
    try:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES) or b""

        def more(most: int) -> bytes:
            file.seek(0)
            return file.read(most) or b""

        return size, kind_of(head, more)
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error


def _reason(size: int, kind: ImageKind | None) -> str | None:
    """Why an image is not shown; None if it is."""
    if not size:
        return "its file is empty"
    if kind is None:
        return "its file does not begin as an image does"
    if kind.media_type is None:
        return f"its format is {kind.name}, which browsers do not show"
    if size > MOST_SHOWN_BYTES:
        return f"its file has more than {MOST_SHOWN_BYTES // limits.MIB} MiB"
    if (kind.width or 0) * (kind.height or 0) > MOST_SHOWN_PIXELS:
        return f"it has {kind.width} x {kind.height} pixels, more than are shown"
    return None


def _why(error: Exception) -> str:
    return "its file is not there" if isinstance(error, FileNotFoundError) else str(error)


def _stamp_of(run_dir: str, path: str) -> Any:
    try:
        status = os.stat(os.path.join(run_dir, path), follow_symlinks=False)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
