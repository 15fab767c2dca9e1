"""The logs of a run: windows of whole lines of files of any size, and a search that goes on where it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from runicorn.reading.plain_files import DamagedError, open_inside
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, query_flag, query_int
from runicorn.viewer.open_runs import is_live
from runicorn.viewer.runs_api import sources_of
from runicorn.viewer.state import viewer_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.viewer.changes import RunRow

_WINDOW_BYTES = 65_536
_BLOCK_BYTES = 1024 * 1024
_LONGEST_HIT = 500
_FARTHEST = 2**62


def logs(request: Request) -> Response:
    """``GET runs/{key}/logs``."""
    row, number, name = _source(request)
    most = query_int(request, "bytes", _WINDOW_BYTES, 1, limits.LOG_BYTES)
    offset = query_int(request, "offset", -most, -_FARTHEST, _FARTHEST)
    before = query_int(request, "before", -1, 0, _FARTHEST)
    after = query_int(request, "after", -1, 0, _FARTHEST)
    try:
        with open_inside(row.info.run_dir, name) as file:
            size = os.fstat(file.fileno()).st_size
            if before >= 0:
                window = _window_before(file, min(before, size), most, size)
            else:
                start = min(after, size) if after >= 0 else _start_of(file, offset, most, size)
                window = _window(file, start, most, size, live=is_live(row.info))
    except FileNotFoundError:
        window = {
            "size": 0,
            "offset": 0,
            "next": 0,
            "text": "",
            "offsets": [],
            "at_start": True,
            "at_end": True,
            "cut": False,
        }
    except (OSError, DamagedError) as error:
        raise ProblemError(404, f"{name} cannot be read: {error}") from error
    return answer(request, {"source": number, "name": name, "live": is_live(row.info), **window})


def _source(request: Request) -> tuple[RunRow, int, str]:
    """The file that is meant: by its number in the run's own list, never by a name.

    Raises:
        ProblemError: there is none of that number.
    """
    row = viewer_of(request).row(request.path_params["key"])
    number = query_int(request, "source", 0, 0, 100_000)
    sources = sources_of(row)
    if number >= len(sources):
        raise ProblemError(404, f"The run has no log of the number {number}: it has {len(sources)}.")
    return row, number, sources[number]["name"]


def _window_before(file: BinaryIO, stop: int, most: int, size: int) -> dict[str, Any]:
    """What is before an offset where a line begins: as many whole lines as fit, or the end of one that does not."""
    start = max(0, stop - most)
    if start:
        start = _line_start(file, start, stop, most, forward=True)
    file.seek(start)
    content = file.read(stop - start) or b""
    return {
        "size": size,
        "offset": start,
        "next": start + len(content),
        "text": content.decode("utf-8", "replace"),
        "offsets": _line_offsets(content, start),
        "at_start": start == 0,
        "at_end": start + len(content) >= size,
        "cut": False,
    }


def _line_offsets(content: bytes, start: int) -> list[int]:
    """Where each line of a window begins in the file; what was replaced in its text has another length there."""
    found = [start] if content else []
    at = content.find(b"\n") + 1
    while 0 < at < len(content):
        found.append(start + at)
        at = content.find(b"\n", at) + 1
    return found


def _start_of(file: BinaryIO, offset: int, most: int, size: int) -> int:
    """The beginning of the line that an offset is in; a negative one counts from the end."""
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    return _line_start(file, start, size, most, forward=offset < 0) if start else 0


def _window(file: BinaryIO, start: int, most: int, size: int, *, live: bool) -> dict[str, Any]:
    file.seek(start)
    content = file.read(min(most, size - start)) or b""
    end, cut = len(content), False
    if start + len(content) < size or (live and not content.endswith(b"\n")):
        whole = content.rfind(b"\n") + 1
        if whole:
            end = whole
        elif len(content) >= most:
            cut, end = True, _whole_characters(content)
        elif live:
            end = 0
    return {
        "size": size,
        "offset": start,
        "next": start + end,
        "text": content[:end].decode("utf-8", "replace"),
        "offsets": _line_offsets(content[:end], start),
        "at_start": start == 0,
        "at_end": start + len(content) >= size,
        "cut": cut,
    }


def _line_start(file: BinaryIO, at: int, size: int, most: int, *, forward: bool) -> int:
    """Where the line begins that an offset is in; going forward, the next one, so that no more bytes are shown."""
    begin = max(0, at - most)
    file.seek(begin)
    before = file.read(at - begin) or b""
    if before.endswith(b"\n"):
        return at
    if forward:
        file.seek(at)
        found = (file.read(min(most, size - at)) or b"").find(b"\n")
        return at + found + 1 if found >= 0 and at + found + 1 < size else at
    found = before.rfind(b"\n")
    return begin + found + 1 if found >= 0 or begin == 0 else at


def _whole_characters(content: bytes) -> int:
    """How many bytes of it do not end within a character."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0xC0 == 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(content) - back if needed > back else len(content)
        if byte & 0x80 == 0:
            break
    return len(content)


def search(request: Request) -> Response:
    """``GET runs/{key}/logs/search``."""
    row, number, name = _source(request)
    text = request.query_params.get("q", "")
    if not text or len(text) > 1000:
        raise ProblemError(400, "q is the text to search for: 1,000 characters at most.")
    limit = query_int(request, "limit", 200, 1, limits.HITS)
    back = query_flag(request, "back")
    try:
        with open_inside(row.info.run_dir, name) as file:
            size = os.fstat(file.fileno()).st_size
            after = query_int(request, "after", size if back else 0, 0, _FARTHEST)
            needle = _Needle(text, is_exact=query_flag(request, "case"))
            found = (
                _search_back(file, needle, min(after, size), limit)
                if back
                else _search(file, needle, after, size, limit)
            )
    except FileNotFoundError:
        size, found = 0, ([], None, 0)
    except (OSError, DamagedError) as error:
        raise ProblemError(404, f"{name} cannot be read: {error}") from error
    hits, following, scanned = found
    return answer(request, {"source": number, "hits": hits, "next": following, "scanned": scanned, "size": size})


class _Needle:
    def __init__(self, text: str, *, is_exact: bool) -> None:
        self.is_exact = is_exact
        self.text = text if is_exact else text.lower()
        self.content = self.text.encode("utf-8", "replace")

    def offsets(self, block: bytes) -> list[int]:
        """Where the lines begin that have it."""
        if not self.is_exact and self.text.isascii():
            block_seen = block.lower()  # of ASCII alone, byte by byte: offsets stay
        elif self.is_exact:
            block_seen = block
        else:
            return self._offsets_of_lines(block)
        found, at = [], 0
        while (hit := block_seen.find(self.content, at)) >= 0:
            found.append(block.rfind(b"\n", 0, hit) + 1)
            end = block.find(b"\n", hit)
            if end < 0:
                break
            at = end + 1
        return found

    def _offsets_of_lines(self, block: bytes) -> list[int]:
        found, at = [], 0
        for line in block.split(b"\n"):
            if self.text in line.decode("utf-8", "replace").lower():
                found.append(at)
            at += len(line) + 1
        return found


Hits = tuple[list[dict[str, Any]], "int | None", int]


def _search(file: BinaryIO, needle: _Needle, start: int, size: int, limit: int) -> Hits:
    hits: list[dict[str, Any]] = []
    at = start
    while at < size and at - start < limits.SEARCH_BYTES:
        file.seek(at)
        block = file.read(min(_BLOCK_BYTES, size - at)) or b""
        if not block:
            break
        end = block.rfind(b"\n") + 1 or len(block)
        for offset in needle.offsets(block[:end]):
            hits.append(_hit(block, at, offset))
            if len(hits) >= limit:
                line_end = block.find(b"\n", offset)
                following = at + (line_end + 1 if line_end >= 0 else end)
                return hits, following if following < size else None, following - start
        at += end
    return hits, at if at < size else None, at - start


def _search_back(file: BinaryIO, needle: _Needle, stop: int, limit: int) -> Hits:
    hits: list[dict[str, Any]] = []
    end = stop
    while end > 0 and stop - end < limits.SEARCH_BYTES:
        begin = max(0, end - _BLOCK_BYTES)
        file.seek(begin)
        block = file.read(end - begin) or b""
        if begin:
            first = block.find(b"\n") + 1
            if first and first < len(block):
                block, begin = block[first:], begin + first
        for offset in reversed(needle.offsets(block)):
            hits.append(_hit(block, begin, offset))
            if len(hits) >= limit:
                following = begin + offset
                return hits, following or None, stop - following
        end = begin
    return hits, end or None, stop - end


def _hit(block: bytes, at: int, offset: int) -> dict[str, Any]:
    line = block[offset : offset + 4 * _LONGEST_HIT].partition(b"\n")[0]
    return {"offset": at + offset, "text": line.decode("utf-8", "replace")[:_LONGEST_HIT]}
