"""What ``init()`` has recorded beside the run: the code, and the environment. The slow part is the writer's.

Only the run's owner does that: a process that joins, or another rank, has the same code.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from runicorn.errors import MissingPathError
from runicorn.host import ranks
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from pathlib import Path

    from runicorn.capture.workspace import Listing
    from runicorn.lifecycle.opening import Opening
    from runicorn.session.session import Session

_MOST_TOLD = 20


def list_code(opening: Opening, *, force: bool) -> Listing | None:
    """The files of the workspace that are to be archived; None in a rank above 0.

    Raises:
        ValueError: there are too many, or too large ones, and ``force`` is false.
        FileNotFoundError: the working directory has been removed, and no workspace is given.
    """
    rank_info = ranks.rank_info()
    if rank_info is not None and rank_info.rank:
        return None
    from runicorn.capture import workspace

    if not opening.workspace_root:
        raise MissingPathError(
            errno.ENOENT,
            "init(): the working directory has been removed, so there is no code to archive. Nothing was made. "
            "Pass workspace_root=, or leave snapshot_code out",
        )
    storage = opening.storage
    # By its parts as well: the storage may be the workspace itself.
    ours = (storage, *(os.path.join(storage, name) for name in ("runs", "archive", "index", "runicorn.db")))
    return workspace.list_files(opening.workspace_root, force=force, leave_out=ours)


def hand_over_code(session: Session, workspace_root: Path, listing: Listing) -> None:
    """Have the files archived."""
    from runicorn.queue.asset_records import Code
    from runicorn.queue.records import encode

    if not session.is_owner:
        return
    try:
        blob = session.put_blob(encode(listing.files))
    except (ClosedError, SpoolFullError) as error:
        session.refusals.warn("code", f"init(): the code was not archived: {error or 'the run has ended'}.")
        return
    left_out = [*listing.skipped_secrets, *listing.skipped_names, *listing.unreadable]
    told = [escape(name) for name in left_out[:_MOST_TOLD]]
    record = Code(time.time(), os.fsencode(workspace_root), blob, told, len(left_out))
    if not session.send(record, "init()"):
        session.drop_blob(blob)


def hand_over_environment(session: Session, workspace_root: Path) -> None:
    """Have the environment recorded."""
    from runicorn.capture import environment
    from runicorn.queue.asset_records import Environment

    if not session.is_owner:
        return
    facts = environment.here(str(workspace_root))
    session.send(Environment(time.time(), os.fsencode(workspace_root), facts), "init()")
