"""``GET live``: what changes in the runs that a page shows; what no page shows is not read."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, encoded, query_flag
from runicorn.viewer.runs_api import sources_of, table_since
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

Event = tuple[str, dict[str, Any]]


async def live(request: Request) -> Response:
    """``GET live``."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    viewer = viewer_of(request)
    keys = _keys(request, "runs")
    logs = _keys(request, "logs")
    if len({*keys, *logs}) > limits.RUNS:
        raise ProblemError(400, f"More than {limits.RUNS} runs are watched.", "Watch fewer.")
    watch = WatchedRuns(viewer, keys, logs, with_list=query_flag(request, "list"))
    return StreamingResponse(_stream(viewer, watch), media_type="text/event-stream")


def _keys(request: Request, name: str) -> list[str]:
    given = ",".join(request.query_params.getlist(name))
    return list(dict.fromkeys(key for key in given.split(",") if key))


async def _stream(viewer: Viewer, watch: WatchedRuns) -> AsyncIterator[bytes]:
    viewer.streams += 1
    try:
        yield _event("hello", {"now": time.time(), "version": viewer.table.version})
        told_at = time.monotonic()
        while not viewer.closing.is_set():
            viewer.asked_at = time.monotonic()
            for name, content in await run_in_threadpool(watch.look):
                yield _event(name, content)
                told_at = time.monotonic()
            if time.monotonic() - told_at >= viewer.pace.ping_s:
                yield b":\n\n"
                told_at = time.monotonic()
            try:
                await asyncio.wait_for(viewer.closing.wait(), watch.pause_s)
            except asyncio.TimeoutError:
                continue
        yield _event("bye", {})
    finally:
        viewer.streams -= 1


def _event(name: str, content: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encoded(content))


class WatchedRuns:
    """What one page shows.

    Args:
        viewer: that it is shown by.
        keys: of the runs.
        logs: of the runs whose log files are shown.
        with_list: whether the table is.
    """

    def __init__(self, viewer: Viewer, keys: list[str], logs: list[str], *, with_list: bool) -> None:
        self._viewer = viewer
        self._keys = keys
        self._logs = logs
        self._with_list = with_list
        self._version = viewer.table.version
        self._listed_at = time.monotonic()
        self._known: dict[str, Any] = {}
        self._sizes: dict[tuple[str, int], int] = {}

    @property
    def pause_s(self) -> float:
        """How long until the next reading."""
        return self._viewer.pace.run_s if self._keys or self._logs else self._viewer.pace.list_s

    def look(self) -> list[Event]:
        """What has changed since the last call."""
        events = [event for key in self._keys for event in self._of_run(key)]
        events += [event for key in self._logs for event in self._of_logs(key)]
        if self._with_list and time.monotonic() - self._listed_at >= self._viewer.pace.list_s - 0.01:
            self._listed_at = time.monotonic()
            events += self._of_list()
        return events

    def _of_run(self, key: str) -> Iterator[Event]:
        viewer = self._viewer
        row = viewer.table.find(key)
        if row is None:
            yield from self._gone(key)
            return
        viewer.checker.watch(key)
        opened = viewer.open_runs.read(row.info)
        row = viewer.table.look_again(key)
        if row is None:
            yield from self._gone(key)
            return
        with opened.reading():
            known = (row.version, opened.version, opened.indexed)
            content = {
                "key": key,
                "row": row.document(time.time()),
                "version": opened.version,
                "indexed": opened.indexed,
                "bytes": opened.read_bytes,
            }
        if self._known.get(key) != known:
            self._known[key] = known
            yield "run", content

    def _gone(self, key: str) -> Iterator[Event]:
        if self._known.get(key) != "gone":
            self._known[key] = "gone"
            yield "gone", {"key": key}

    def _of_logs(self, key: str) -> Iterator[Event]:
        row = self._viewer.table.find(key)
        for source in sources_of(row) if row is not None else ():
            place = (key, source["source"])
            if self._sizes.get(place) != source["size"]:
                self._sizes[place] = source["size"]
                yield "log", {"key": key, "source": source["source"], "size": source["size"]}

    def _of_list(self) -> Iterator[Event]:
        self._viewer.table.refresh(self._viewer.pace.list_s / 2)
        content = table_since(self._viewer, self._version)
        self._version = content["version"]
        if content["full"] or content["removed"] or content["columns"]["key"]:
            yield "runs", content
