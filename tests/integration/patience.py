"""Waiting for what another process does, always with a deadline."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")

PAUSE_BETWEEN_POLLS_S = 0.02


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it holds, and say whether it came to hold within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(PAUSE_BETWEEN_POLLS_S)
    return True


def settled(read: Callable[[], _Value], expected: _Value, timeout_s: float = 60) -> _Value:
    """Return what `read()` gives once it is `expected`, or what it gave last within `timeout_s`.

    To be compared with `expected` by the caller, so that a failure shows the difference.
    """
    seen: list[_Value] = []

    def is_expected() -> bool:
        seen[:] = [read()]
        return seen[0] == expected

    wait_until(is_expected, timeout_s)
    return seen[0]
