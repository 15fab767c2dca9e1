"""A few bytes that are written, made durable and renamed, to see whether that can be done."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runicorn.storage import directory_kinds, modes, removal

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE = b"a probe of `runicorn doctor`, which may be removed\n"


class ProbeError(Exception):
    """Something could not be done; the message says what, and why."""


@contextmanager
def folder_in(directory: str) -> Iterator[str]:
    """A folder of our own in a directory; gone when the block ends.

    Raises:
        ProbeError: none can be made.
    """
    try:
        folder = tempfile.mkdtemp(prefix=".runicorn-doctor-", dir=directory)
    except OSError as error:
        raise ProbeError(f"cannot make a directory in {directory}: {error.strerror or error}") from error
    modes.make_usable(folder)
    try:
        yield folder
    finally:
        removal.remove_tree(folder, directory_kinds.PROBE)


def write_and_rename(directory: str) -> float:
    """Write a file, make it durable, rename it; the seconds that the durable part took.

    Raises:
        ProbeError: one of these cannot be done.
    """
    with folder_in(directory) as folder:
        step = "written"
        fresh, final = os.path.join(folder, "fresh"), os.path.join(folder, "final")
        try:
            with open(fresh, "xb") as file:
                file.write(_PROBE)
                file.flush()
                step = "made durable (fsync)"
                begun = time.perf_counter()
                os.fsync(file.fileno())
                took_s = time.perf_counter() - begun
            modes.make_usable(fresh)
            step = "renamed"
            with removal.Directory(folder, directory_kinds.PROBE) as probed:
                probed.replace("fresh", "final")
            step = "read back"
            with open(final, "rb") as file:
                if file.read() != _PROBE:
                    raise ProbeError(f"a file in {directory} does not have the bytes that were written")
        except OSError as error:
            raise ProbeError(f"a file in {directory} cannot be {step}: {error.strerror or error}") from error
    return took_s
