"""Connections: so many at most, and none that waits without end for a request, or for a client that reads nothing.

Who has no token can connect too, and may open connections until there is no descriptor left to read a run with. So
the ones that go first are those on which no request with the token is being answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from runicorn.viewer import limits
from runicorn.viewer.guard import TRUSTED

if TYPE_CHECKING:
    import asyncio


class BoundedConnection(H11Protocol):
    """One connection; makes room when it comes, and ends itself when nothing comes.

    Attributes:
        began_at: when it came, by a clock that only rises.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the one that has waited the longest ends if there are too many."""
        super().connection_made(transport)
        self.began_at = time.monotonic()
        self._seen: Any = None
        if len(self.connections) > limits.SOCKETS:
            others = [each for each in self.connections if isinstance(each, BoundedConnection) and each.may_end]
            min(others, key=lambda each: each.began_at, default=self).end()
        self.loop.call_later(limits.REQUEST_S, self._look)

    @property
    def may_end(self) -> bool:
        """Whether no request with the token is being answered on it."""
        return not (self.is_answering and TRUSTED in self.scope)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being sent on it."""
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        if self not in self.connections:
            return
        if self.may_end and self._seen is self.cycle:  # it was so at the last look, and no other request has come
            self.end()
            return
        self._seen = self.cycle if self.may_end else self
        self.loop.call_later(limits.REQUEST_S, self._look)

    def end(self) -> None:
        """Cut it."""
        self.connections.discard(self)
        self.transport.abort()
