"""Tickets for downloads: a link carries no header, so it has a secret in it that is good for one file, once."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Sent = tuple["Generator[bytes, None, None]", "int | None"]
"""Bytes, and how many those are."""
LIFE_S = 60.0
_MOST_TICKETS = 256


class Offer(NamedTuple):
    """Something that is sent for a ticket.

    Attributes:
        name: of the file that it becomes.
        begin: its bytes, and how many those are, None if that is not known; raises ``ProblemError`` if the file is
            another one now.
    """

    name: str
    begin: Callable[[], Sent]


class Tickets:
    """Those that were given and not used. May be used by several threads."""

    def __init__(self) -> None:
        self._offers: dict[str, tuple[float, Offer]] = {}
        self._lock = threading.Lock()

    def add(self, offer: Offer) -> str:
        """A new one; of very many the oldest goes."""
        ticket = secrets.token_urlsafe(32)
        with self._lock:
            self._offers[ticket] = time.monotonic() + LIFE_S, offer
            while len(self._offers) > _MOST_TICKETS:
                del self._offers[next(iter(self._offers))]
        return ticket

    def take(self, ticket: str, *, keep: bool = False) -> Offer | None:
        """What a ticket is good for; None if it was used, is too old, or never was one.

        Args:
            ticket: as it was given.
            keep: it can be used afterwards.
        """
        with self._lock:
            until, offer = self._offers.get(ticket, (0.0, None))
            if not keep:
                self._offers.pop(ticket, None)
        return offer if time.monotonic() < until else None
