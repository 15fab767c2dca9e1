"""Overflow directories of spools whose own directory has gone: the spool is made again, or it is said why not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn.queue import spool, spool_address, spool_repair

if TYPE_CHECKING:
    from runicorn.queue.spool_address import Address
    from runicorn.settings import Settings

_POLL_S = 0.05
_IF_NOT_WANTED = "Remove the directory if you do not need them"
_AGAIN = "Then run `runicorn recover` again"


class Staying(NamedTuple):
    """An overflow directory of which nobody makes a spool again, and why.

    Attributes:
        path: of it.
        address: what it belongs to; None if that is not known.
        why: and what to do, in words.
    """

    path: str
    address: Address | None
    why: str


def bring_back(overflows: list[str], settings: Settings, patience_s: float = 0.0) -> list[Staying]:
    """Make the spool, or its address, again by that of its overflow directory, if no process of its run is left.

    Args:
        overflows: the overflow directories.
        settings: where spools may be.
        patience_s: how long to wait, all in all, for writers that end, or make their spools again themselves.

    Returns:
        The directories that stay as they are though no run lives by them.
    """
    deadline = time.monotonic() + patience_s
    staying = (_bring_back(each, settings, deadline) for each in overflows)
    return [each for each in staying if each is not None]


def _bring_back(overflow: str, settings: Settings, deadline: float) -> Staying | None:
    if not _is_lone(overflow, settings):
        return None
    address = None
    try:
        if spool_repair.is_held(overflow):
            return None
        address = spool_address.read_address(overflow)
        why = _why_not(address, overflow, settings, deadline)
        if why is None and _is_lone(overflow, settings):
            spool_repair.repair(address, None)
    except ValueError:
        why = f"its {spool_address.ADDRESS} is damaged, so nobody knows which run they belong to. {_IF_NOT_WANTED}"
    except OSError as error:
        if not os.path.lexists(os.path.join(overflow, spool_address.ADDRESS)):
            return _without_address(overflow)
        why = f"the spool cannot be made again from it: {error}. Fix that. {_AGAIN}"
    return Staying(overflow, address, why) if why else None


def _without_address(overflow: str) -> Staying | None:
    if not has_lost_address(overflow):  # it has just gone, or is being made
        return None
    why = f"its {spool_address.ADDRESS} has been removed by another program, so nobody knows which run they belong to"
    return Staying(overflow, None, f"{why}. {_IF_NOT_WANTED}")


def has_lost_address(directory: str) -> bool:
    """Whether there are records in a directory, and no process that lives has made its address again."""
    try:
        names = os.listdir(directory)
        age_s = time.time() - os.stat(directory, follow_symlinks=False).st_mtime
    except OSError:
        return False
    return spool_address.ADDRESS not in names and any(map(spool.holds_records, names)) and age_s > spool_repair.EVERY_S


def _is_lone(overflow: str, settings: Settings) -> bool:
    name = os.path.basename(overflow).removesuffix(spool.OVERFLOW_SUFFIX)
    return not any(os.path.lexists(os.path.join(base, name, spool_address.ADDRESS)) for base in spool.bases(settings))


def _why_not(address: Address, overflow: str, settings: Settings, deadline: float) -> str | None:
    """Why the spool is not made again; None if it is to be, the empty string if its run lives."""
    if address.overflow != overflow:
        return f"it was made as {address.overflow}, and moved or copied. Move it back. {_AGAIN}"
    base = os.path.dirname(address.spool)
    if os.path.lexists(os.path.join(address.spool, spool_address.ADDRESS)):
        return ""
    if base not in spool.bases(settings):
        return f"its spool was in {base}, which is not where spools are now. Set RUNICORN_SHM_DIR={base}. {_AGAIN}"
    if spool_repair.is_held(address.spool) or spool_repair.lives(address):
        return ""
    pid = _writer_after(address, deadline)
    if pid is None:
        return None
    return f"process {pid}, a writer of it, has not ended. Wait until it has, or end it. {_AGAIN}"


def _writer_after(address: Address, deadline: float) -> int | None:
    """Process id of a writer that is there still when the wait is over; None if there is none."""
    from runicorn.session import nameless_writers  # for a spool that lacks names alone

    while (pid := nameless_writers.process_of(address.spool)) is not None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return pid
