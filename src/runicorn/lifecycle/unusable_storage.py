"""What ``init()`` says if the operating system refuses a directory or file; loaded for such an error alone."""

from __future__ import annotations

import os

from runicorn.errors import StorageError, storage_error


def error(refusal: OSError, storage: str) -> OSError:
    """The error to raise: a sentence that says what to write instead, of the same built-in kind.

    Args:
        refusal: the operating system's.
        storage: the storage root.
    """
    if isinstance(refusal, StorageError):
        return refusal
    path = os.fsdecode(refusal.filename or storage)
    cause = refusal.strerror or str(refusal)
    if path == storage or path.startswith(os.path.join(storage, "")) or storage.startswith(os.path.join(path, "")):
        message = (
            f"init(): no run can be made in the storage {storage}: {cause}: {path}. Nothing was made. Write a "
            'directory that you may write to, for example init(storage="~/runicorn"), or set RUNICORN_DIR to one.'
        )
    else:
        message = (
            f"init(): a file that the run needs while it is live cannot be made: {cause}: {path}. Nothing was made. "
            "Free some space there, or set RUNICORN_SHM_DIR or TMPDIR to a directory that you may write to."
        )
    return storage_error(refusal, message, path)
