"""Whether a run goes on by its spool: by the locks of its processes."""

from __future__ import annotations

import os

from runicorn.host import locks
from runicorn.queue import spool, spool_address, spool_repair


def is_live(address: spool_address.Address) -> bool:
    """Whether a run goes on by this spool: its owner lives; where that may be elsewhere or yet to come, a producer."""
    return has_owner(address) or (address.distributed and has_living_producer(address.spool))


def has_owner(address: spool_address.Address, *, beside: int = 0) -> bool:
    """Whether the run's owner lives, this process included.

    Args:
        address: of the spool.
        beside: id of a process that is not the owner, though it may have made the spool as a rank of a job.
    """
    path = os.path.join(address.spool, spool.OWNER_LOCK)
    if locks.is_held(path):
        return True
    return address.owner_pid != beside and not os.path.lexists(path) and spool_repair.lives(address)


def has_living_producer(path: str) -> bool:
    """Whether a process other than the owner and the writer holds a lock in a spool."""
    others = {spool.OWNER_LOCK, spool.WRITER_LOCK}
    names = [name for name in os.listdir(path) if name.endswith(spool.LOCK_SUFFIX) and name not in others]
    return any(locks.is_held(os.path.join(path, name)) for name in names)
