"""Named moments of a run. Tests set a hook here that kills processes at one of these moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

hook: Callable[[str], None] | None = None


def crash_point(moment: str) -> None:
    """Call the hook, if there is one."""
    if hook is not None:
        hook(moment)
