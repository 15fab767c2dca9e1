"""How tests wait for what another process does, always with a deadline."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")

PAUSE = threading.Event()  # never set: waiting on it is how a poll pauses
PAUSE_S = 0.01


def holds_within(condition: Callable[[], Any], timeout_s: float) -> bool:
    """Poll `condition` until it holds, and say whether it came to hold within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        PAUSE.wait(PAUSE_S)
    return True


def wait_until(condition: Callable[[], Any], timeout_s: float = 60.0, what: str = "") -> None:
    """Return once `condition` holds; fail if it does not come to hold in time."""
    assert holds_within(condition, timeout_s), f"not within {timeout_s} s: {what or condition}"


def settled(read: Callable[[], _Value], expected: _Value, timeout_s: float = 60) -> _Value:
    """Return what `read()` gives once it is `expected`, or what it gave last within `timeout_s`.

    To be compared with `expected` by the caller, so that a failure shows the difference.
    """
    seen: list[_Value] = []

    def is_expected() -> bool:
        seen[:] = [read()]
        return seen[0] == expected

    holds_within(is_expected, timeout_s)
    return seen[0]
