"""What ``meta.json`` notes when a run is resumed, so that readers know which of its lines were logged before."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runicorn.storage.run_directory import RunDir

_TAIL_BYTES = 64 * 1024
EVENTS, CONTINUED, AFTER = "events", "continued", "after"


def noted(files: RunDir, *, continued: bool, after: object = None) -> dict[str, Any]:
    """The size that each events file has now, bytes; and whether the process that resumes the run had it before.

    A last line that was not written to its end counts as written later: it belongs to nobody.

    Args:
        files: of the run.
        continued: whether it had.
        after: the session before; what that has left on a host that was down may come later, in a file of its own.
    """
    names = [name for name in files.names() if name.startswith("events.") and name.endswith(".jsonl")]
    sizes = {name: size for name in sorted(names) if (size := _whole_bytes(files, name)) is not None}
    before = {AFTER: after} if isinstance(after, str) and after else {}
    return {EVENTS: sizes, **before, **({CONTINUED: True} if continued else {})}


def _whole_bytes(files: RunDir, name: str) -> int | None:
    fd = files.open_for_reading(name)
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(size - begin)
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn.strip() or _is_whole(torn) or (len(torn) == len(tail) and begin):
        return size
    return size - len(torn)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
