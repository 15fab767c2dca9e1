"""Switching tracking off: for the process, by ``RUNICORN_ON``, or for a block."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ON = {"", "1", "true", "yes", "y", "on"}
_OFF = {"0", "false", "no", "n", "off", "disabled", "none"}

_override: bool | None = None
_warned = False


def is_enabled() -> bool:
    """Tell whether ``init()`` opens real runs: by ``set_enabled()``, else by ``RUNICORN_ON``, else yes."""
    if _override is not None:
        return _override
    text = os.environ.get("RUNICORN_ON", "").strip().lower()
    if text in _OFF:
        return False
    if text not in _ON:
        _warn(text)
    return True


def set_enabled(enabled: bool) -> None:
    """Switch tracking on or off for this process, whatever ``RUNICORN_ON`` says; open runs go on."""
    global _override  # noqa: PLW0603 - the switch is the process's
    _override = bool(enabled)


def reset_enabled() -> None:
    """Let ``RUNICORN_ON`` decide again."""
    global _override  # noqa: PLW0603 - the switch is the process's
    _override = None


@contextmanager
def enabled(enabled: bool) -> Iterator[None]:
    """Switch tracking on or off for a block; nests, and restores what was before."""
    global _override  # noqa: PLW0603 - the switch is the process's
    before, _override = _override, bool(enabled)
    try:
        yield
    finally:
        _override = before


def _warn(text: str) -> None:
    global _warned  # noqa: PLW0603 - once per process
    if _warned:
        return
    _warned = True
    import logging

    logging.getLogger("runicorn").warning(
        "RUNICORN_ON=%r is neither on nor off: tracking stays on. Write 1 or 0.", text
    )
