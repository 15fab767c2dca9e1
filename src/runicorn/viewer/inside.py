"""Answers of the interface without a server: the app is asked in this process, as a page would ask it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import NotFoundError
from runicorn.viewer.app import make_app
from runicorn.viewer.changes import RunTable
from runicorn.viewer.open_runs import OpenRuns
from runicorn.viewer.state import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from runicorn.reading import RunInfo
    from runicorn.viewer.open_runs import OpenRun

_API = "/api/v1/"
_MOST_ROUNDS = 100_000
"""Of 4 MiB each: a file that grows faster than it is read must not hold us for ever."""


class Answer(NamedTuple):
    """What is answered to one question."""

    status: int
    kind: str
    content: bytes

    @property
    def value(self) -> Any:
        """Of an answer in JSON."""
        return json.loads(self.content)


class GivenRuns(RunTable):
    """A table of some runs, whatever else is in their storages.

    Args:
        infos: of the runs.
    """

    def __init__(self, infos: Iterable[RunInfo]) -> None:
        self._given = list(infos)
        super().__init__(dict.fromkeys(info.storage for info in self._given))

    def key_of(self, info: RunInfo) -> str:
        """The key that a run has in it."""
        self.refresh()
        return self._keys[info.run_dir]

    def _refresh(self) -> None:
        for info in self._given:
            number = self.storages.index(info.storage)
            self._put(self._key_of(info, number), info, number)


class WholeRuns(OpenRuns):
    """Runs that are read to their end once, and not any further: what is told of them fits together."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: dict[str, OpenRun] = {}

    def read(self, info: RunInfo) -> OpenRun:
        """A run of which everything was read that was there at the first question."""
        found = self._whole.get(info.run_dir)
        if found is None:
            found = self._whole[info.run_dir] = self.get(info)
            for _ in range(_MOST_ROUNDS):
                if not found.read_on():
                    break
        return found

    def read_later(self, info: RunInfo) -> OpenRun:
        """The same: nothing is read in the background."""
        return self.read(info)


class Inside:
    """The interface over some runs, for this process alone. Nothing is written, and nobody else can ask.

    Args:
        infos: of the runs.

    Attributes:
        keys: of the runs, in their order.
    """

    def __init__(self, infos: Iterable[RunInfo]) -> None:
        table = GivenRuns(infos)
        self.keys = [table.key_of(info) for info in infos]
        self.viewer = Viewer(table.storages, read_only=True, table=table, open_runs=WholeRuns())
        self.made_at = time.time()
        self._app = make_app(self.viewer)
        self._loop = asyncio.new_event_loop()
        # The caller's thread may have a loop that runs already, as that of a notebook has.
        self._thread = threading.Thread(target=self._loop.run_forever, name="runicorn-inside", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End what it has begun."""
        self.viewer.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, place: str, body: Any = None) -> Answer:
        """What is answered.

        Args:
            place: below the interface, such as ``runs/abc``.
            body: is sent with it; None = nothing.

        Raises:
            LookupError: it is answered with an error.
        """
        question = self._ask(place, b"" if body is None else json.dumps(body).encode())
        future = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            answer = future.result()
        except BaseException:  # such as Ctrl-C, while it is answered
            future.cancel()
            raise
        if answer.status != 200:
            raise NotFoundError(answer.value["error"]["what"])
        return answer

    async def _ask(self, place: str, body: bytes) -> Answer:
        path, _, query = (_API + place).partition("?")
        headers = [(b"host", b"localhost"), (b"x-runicorn-token", self.viewer.token.text.encode())]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "server": None,
            "client": None, "root_path": "", "method": "POST" if body else "GET", "path": urllib.parse.unquote(path),
            "raw_path": path.encode(), "query_string": query.encode(), "headers": headers,
        }  # fmt: skip
        status, kind, content = 0, "", bytearray()

        async def receive() -> MutableMapping[str, Any]:
            if body and not sent:
                sent.append(True)
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError("nobody disconnects")

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
            else:
                content.extend(message.get("body", b""))

        sent: list[bool] = []
        await self._app(scope, receive, send)
        return Answer(status, kind, bytes(content))


def quoted(text: str) -> str:
    """A part of a place, as a page writes it; half characters, which no address has, are replaced."""
    return urllib.parse.quote(text, safe="", errors="replace")
