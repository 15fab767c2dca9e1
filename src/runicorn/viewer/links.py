"""How people and other viewers learn of a viewer: its link, said, left in a file, and opened in the browser."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runicorn.viewer import address

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENER_S = 20.0


@contextmanager
def published(entry: address.Entry) -> Iterator[None]:
    """Leave word of a viewer for as long as it runs.

    Raises:
        OSError: it cannot be written.
    """
    name = address.write(entry)
    try:
        yield
    finally:
        address.remove(name)


@contextmanager
def opened(link: str, *, opens: bool, lasts_s: float = 0.0) -> Iterator[None]:
    """Open a link in the user's browser, by a file that leads to it; it goes after a while, or at the end.

    Args:
        link: to open.
        opens: whether to; else nothing is done.
        lasts_s: how long the browser has at least to read that file.
    """
    if not opens:
        yield
        return
    path = address.write_opener(link)
    threading.Thread(target=_open_and_remove, args=(path,), daemon=True).start()
    begun = time.monotonic()
    try:
        yield
        time.sleep(max(0.0, begun + lasts_s - time.monotonic()))
    finally:
        address.remove(path)


def _open_and_remove(path: str) -> None:
    import webbrowser

    with suppress(Exception):
        webbrowser.open(f"file://{path}")
    time.sleep(_OPENER_S)
    address.remove(path)


def say_link(link: str) -> None:
    """The link alone on the first line of the standard output, at once."""
    print(link, flush=True)  # noqa: T201 - that is what the command is for


def has_display() -> bool:
    """Whether a browser that is opened here would be seen."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and "SSH_CONNECTION" not in os.environ
