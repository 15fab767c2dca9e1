"""What ``init()`` says if the operating system refuses a directory or file; loaded for such an error alone."""

from __future__ import annotations

import errno
import os

from runicorn.errors import ForbiddenPathError, StorageError, storage_error
from runicorn.storage import paths


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


def inside_a_run(storage: str, run_dir: str) -> ForbiddenPathError:
    """The error for a storage that is a run's directory, or is inside one.

    Args:
        storage: the storage root that was chosen.
        run_dir: that directory.
    """
    place = "is" if os.path.realpath(storage) == run_dir else "is inside"
    above = paths.storage_of_run(run_dir)
    message = (
        f"init(): the storage {storage} {place} the directory of run {os.path.basename(run_dir)}. Nothing was made: "
        f"runs inside a run are not found. Write the storage of that run, init(storage={above!r}), or another "
        "directory. To resume that run, write its storage and its run_id."
    )
    return ForbiddenPathError(errno.EACCES, message, storage)
