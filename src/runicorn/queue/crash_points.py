"""Named moments of a run: tests put a hook here, by which processes die at one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

hook: Callable[[str], None] | None = None


def crash_point(moment: str) -> None:
    """Call the hook, if there is one."""
    if hook is not None:
        hook(moment)
