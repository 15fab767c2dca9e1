"""The images of a run: which there are, by key and step, and their bytes after a look at the first of them."""

from __future__ import annotations

import math
import os
import re
import threading
import zlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import StreamingResponse

from runicorn.reading.plain_files import DamagedError
from runicorn.storage import run_files
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, query_int
from runicorn.viewer.below import open_below, pieces
from runicorn.viewer.image_heads import HEAD_BYTES, ImageKind, kind_of
from runicorn.viewer.state import viewer_of

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
_MOST_STEPS = 10_000
_MOST_INDICES = 16
_MOST_FACTS = 20_000
_FARTHEST = 2**62
_OF_FILE = 24
_NUMBER = re.compile(r"[0-9]{1,16}")
_BEFORE_ALL = -(2**63)


class Listed(NamedTuple):
    """An image as the events tell of it, in the order of steps; one without a step is before all of them."""

    at: int
    place: int
    number: int
    step: int | None
    key: str
    caption: str | None
    path: str
    time: float
    rank: int | None


class ImageIndex:
    """The images of a run.

    Args:
        opened: the run; its lock is held.

    Attributes:
        by_key: the images of each key, by step.
        by_number: each.
        version: of the events that they were read from.
    """

    def __init__(self, opened: OpenRun) -> None:
        self.version = opened.version
        self.by_key: dict[str, list[Listed]] = {}
        self.by_number: dict[int, Listed] = {}
        place = 0
        for name, file in opened.files.items():
            first = 0 if name == run_files.EVENTS else (1 + zlib.crc32(name.encode()) % 2**28) << _OF_FILE
            for number, image in enumerate(file.images, first):
                step, key, caption, path, time, rank = image
                at = _BEFORE_ALL if step is None else step
                listed = Listed(at, place, number, step, key, caption, path, time, rank)
                place += 1
                self.by_number[number] = listed
                self.by_key.setdefault(key, []).append(listed)
        for images_of_key in self.by_key.values():
            images_of_key.sort()

    def keys(self) -> list[dict[str, Any]]:
        """Each key, how many images it has, and the first and last step of them."""
        return [
            {"key": key, "count": len(found), "first_step": found[0].step, "last_step": found[-1].step}
            for key, found in sorted(self.by_key.items())
        ]

    def steps(self) -> list[int]:
        """The steps at which there are images; of very many, evenly taken ones with the last."""
        found = sorted({each.step for listed in self.by_key.values() for each in listed if each.step is not None})
        if len(found) <= _MOST_STEPS:
            return found
        return [*found[:: math.ceil(len(found) / (_MOST_STEPS - 1))], found[-1]]

    def of_key(self, key: str, first: int, last: int) -> list[Listed]:
        """The images of a key from a step to another one, both included."""
        found = self.by_key.get(key, [])
        begin = bisect_left(found, first, key=lambda each: each.at)
        return found[begin : bisect_right(found, last, key=lambda each: each.at)]

    def around(self, step: int) -> list[Listed]:
        """Of each key those of the nearest step at or below one; what begins later is left out."""
        nearest: list[Listed] = []
        for _, found in sorted(self.by_key.items()):
            end = bisect_right(found, step, key=lambda each: each.at)
            if end:
                nearest += found[bisect_left(found, found[end - 1].at, key=lambda each: each.at) : end]
        return nearest


_indices: dict[str, ImageIndex] = {}
_facts: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
_lock = threading.Lock()


def images(request: Request) -> Response:
    """``GET runs/{key}/images``."""
    row, opened, index = _index_of(request)
    key, query = request.query_params.get("key"), request.query_params
    content: dict[str, Any] = {"version": index.version, "count": len(index.by_number)}
    if key is None and "at" not in query:
        return answer(request, {"keys": index.keys(), "steps": index.steps(), **content})
    if key is None:
        found = index.around(query_int(request, "at", _FARTHEST, -_FARTHEST, _FARTHEST))
    else:
        first = query_int(request, "from", _BEFORE_ALL, -_FARTHEST, _FARTHEST)
        found = index.of_key(key, first, query_int(request, "to", _FARTHEST, -_FARTHEST, _FARTHEST))
    limit = query_int(request, "limit", _LISTED, 1, _MOST_LISTED)
    offset = query_int(request, "offset", 0, 0, _FARTHEST)
    with opened.reading():
        stages = opened.stages()
    begins = [stage["from"] for stage in stages]
    listed = [_document(row, each, _stage_at(stages, begins, each.step)) for each in found[offset : offset + limit]]
    return answer(request, {"images": listed, **content, "count": len(found)})


def image(request: Request) -> Response:
    """``GET runs/{key}/images/{number}``."""
    row, listed = image_of(request, request.path_params["number"])
    try:
        file = open_below(row.info.run_dir, listed.path)
    except (FileNotFoundError, DamagedError) as error:
        raise ProblemError(404, f"The image cannot be shown: {_why(error)}.") from error
    try:
        size, media_type = _checked(file)
    except BaseException:
        file.close()
        raise
    headers = {"content-length": str(size), "content-security-policy": "default-src 'none'; sandbox"}
    return StreamingResponse(pieces(file, size), headers=headers, media_type=media_type)


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


def image_of(request: Request, number: str) -> tuple[RunRow, Listed]:
    """The image of a number.

    Raises:
        ProblemError: the run has none.
    """
    row, _, index = _index_of(request)
    found = index.by_number.get(int(number)) if _NUMBER.fullmatch(number) else None
    if found is None:
        raise ProblemError(404, f"The run has no image of the number {number[:20]!r}.", "Ask for the list again.")
    return row, found


def _index_of(request: Request) -> tuple[RunRow, OpenRun, ImageIndex]:
    row, opened = viewer_of(request).open(request.path_params["key"])
    with _lock:
        known = _indices.pop(row.info.run_dir, None)
    with opened.reading():
        index = known if known is not None and known.version == opened.version else ImageIndex(opened)
    with _lock:
        _indices[row.info.run_dir] = index
        while len(_indices) > _MOST_INDICES:
            del _indices[next(iter(_indices))]
    return row, opened, index


def _stage_at(stages: list[dict[str, Any]], begins: list[int], step: int | None) -> str | None:
    """The stage that a step belongs to."""
    at = 0 if step is None else bisect_right(begins, step)
    return stages[at - 1]["stage"] if at and step is not None and step <= stages[at - 1]["to"] else None


def _document(row: RunRow, each: Listed, stage: str | None) -> dict[str, Any]:
    time = each.time if math.isfinite(each.time) else None
    said = {"number": each.number, "key": each.key, "step": each.step, "time": time, "caption": each.caption}
    return {**said, "stage": stage, "rank": each.rank, **_facts_of(row.info.run_dir, each.path)}


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
        return f"it is a {kind.name}, which browsers do not show"
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
