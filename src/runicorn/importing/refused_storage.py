"""What an import says if the operating system refuses something in the storage."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runicorn.errors import ForbiddenPathError, StorageError, storage_error
from runicorn.storage.removal import NotOursError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE = "Make room or change its permissions, or name another storage with --storage."


@contextmanager
def worded(what: str, became: str, path: str) -> Iterator[None]:
    """Say of an error of the system what it kept from being done.

    Args:
        what: what cannot be done.
        became: what there is now.
        path: named if the error names no path.

    Raises:
        OSError: of the same kind, with a sentence.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        named = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        # A name without a path is that of a file in the run, or in the directory where it is made.
        at = named if os.path.isabs(named) else os.path.join(path, named) if named else path
        at = at if os.path.isabs(named) or os.path.lexists(at) else path
        message = f"{what}: {error.strerror or error}: {at}. {became} {_ADVICE}"
        if isinstance(error, NotOursError):
            raise ForbiddenPathError(error.errno, message, at) from error
        raise storage_error(error, message, at) from error
