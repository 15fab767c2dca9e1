"""How a viewer is told to go by a signal, before it serves and while it does: what it has made goes with it."""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM, and a terminal that is closed, do what Ctrl-C does: leave the block, by way of its clean-up."""
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in _numbers("SIGTERM", "SIGHUP")]
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def on_hang_up(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call this when the terminal is closed, or the connection to it."""
    for number in _numbers("SIGHUP"):
        signal.signal(number, handler)


def _numbers(*names: str) -> list[signal.Signals]:
    """Those that this system has, and that are not ignored, as they are under nohup."""
    found: list[signal.Signals] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]
