"""The word that whoever asks this viewer has to know: drawn at each start, and never in a log, a cookie or a query."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTES = 32


class Token:
    """A token; printed it does not show what it is.

    Args:
        text: of it; None = a new one is drawn.
    """

    def __init__(self, text: str | None = None) -> None:
        self._text = secrets.token_urlsafe(_BYTES) if text is None else text

    def __repr__(self) -> str:
        return "Token(...)"

    @property
    def text(self) -> str:
        """The token itself, for a link."""
        return self._text

    def is_it(self, given: Sequence[bytes]) -> bool:
        """Whether one was given, and is this; compared in the same time whatever it is."""
        return len(given) == 1 and hmac.compare_digest(given[0], self._text.encode("ascii"))
