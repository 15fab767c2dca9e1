"""What a viewer has while it runs, in one place that every request finds."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError
from runicorn.viewer.changes import RunRow, RunTable
from runicorn.viewer.checker import Checker
from runicorn.viewer.content_users import ContentUsers
from runicorn.viewer.open_runs import OpenRun, OpenRuns
from runicorn.viewer.tickets import Tickets
from runicorn.viewer.token import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request


class Viewer:
    """A viewer of some storages.

    Args:
        storages: their roots.
        token: that requests carry; None = a new one.
        read_only: nothing is written: no run is ended.
        allowed: names of hosts beside those of this machine that requests may name.
        pace: pauses between two checks; None = as the environment says.
        table: of the runs; None = all of these storages.
        open_runs: what opens them; None = reads them on in the background.

    Attributes:
        table: of the runs.
        open_runs: those that a page shows.
        checker: ends lost runs.
        tickets: for downloads.
        content_users: which runs have the same content.
        stop: ends the server; set by who runs it.
        closing: is set when the viewer ends, so that streams do.
        asked_at: when the last request came, by a clock that only rises.
    """

    def __init__(
        self,
        storages: Iterable[str],
        *,
        token: Token | None = None,
        read_only: bool = False,
        allowed: Iterable[str] = (),
        pace: limits.Pace | None = None,
        table: RunTable | None = None,
        open_runs: OpenRuns | None = None,
    ) -> None:
        self.storages = list(storages)
        self.token = token or Token()
        self.read_only = read_only
        self.allowed = list(allowed)
        self.pace = pace or limits.Pace.from_environment()
        self.table = table or RunTable(self.storages)
        self.open_runs = open_runs or OpenRuns()
        self.checker = Checker(self.table, self.pace, ends=not read_only)
        self.tickets = Tickets()
        self.content_users = ContentUsers()
        self.started_at = time.time()
        self.asked_at = time.monotonic()
        self.streams = 0
        self.stop: Callable[[], None] = _nothing
        self.closing = asyncio.Event()

    def row(self, key: str) -> RunRow:
        """The run of a key.

        Raises:
            ProblemError: there is none.
        """
        found = self.table.find(key)
        if found is None:
            raise ProblemError(404, f"No run has the key {key[:160]!r}.", "It may have been removed. Go to the list.")
        return found

    def open(self, key: str) -> tuple[RunRow, OpenRun]:
        """The run of a key, with as much of its events as is read at once.

        Raises:
            ProblemError: there is none.
        """
        row = self.row(key)
        return row, self.open_runs.read(row.info)

    def about(self) -> dict[str, Any]:
        """What ``GET server`` tells."""
        from runicorn import __version__
        from runicorn.host import identity

        return {
            "name": "runicorn",
            "version": __version__,
            "api": 1,
            "read_only": self.read_only,
            "now": time.time(),
            "started_at": self.started_at,
            "hostname": identity.hostname(),
            "pid": os.getpid(),
            "storages": [
                {
                    "number": number,
                    "root": root,
                    "name": os.path.basename(root) or root,
                    "writable": not self.read_only and os.access(root, os.W_OK),
                }
                for number, root in enumerate(self.storages)
            ],
            "limits": limits.in_server(),
            "checker": {
                "on": not self.read_only,
                "every_s": self.pace.check_s,
                "watched_every_s": self.pace.check_watched_s,
                "ends_after_s": self.pace.end_after_s,
            },
        }

    def close(self) -> None:
        """End its threads."""
        self.checker.close()
        self.open_runs.close()


def viewer_of(request: Request) -> Viewer:
    """The viewer that a request has come to."""
    found: Viewer = request.app.state.viewer
    found.asked_at = time.monotonic()
    return found


def _nothing() -> None:
    """Nobody runs a server."""
