"""One thing that was checked."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

OK, NOTE, BROKEN = "ok", "note", "broken"


class Finding(NamedTuple):
    """One thing that was checked.

    Attributes:
        name: of the thing, as scripts know it.
        status: ``ok``; ``note`` = worth knowing; ``broken`` = runs are not stored, or not well.
        text: what was found.
        advice: what to do; None where there is nothing.
        details: the same for scripts, with units in the names.
    """

    name: str
    status: str
    text: str
    advice: str | None = None
    details: Mapping[str, Any] = MappingProxyType({})
