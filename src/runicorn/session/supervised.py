"""A script that ``runicorn run`` has started: its first ``init()`` gets the run that the command has opened.

The command owns the run, and ends it by the script's exit code. The first process that asks for the run speaks for the
owner: its records are those of the run, and not of one more process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.queue import live_spools, rendezvous, spool_address
from runicorn.session import adopt
from runicorn.storage import directory_kinds

if TYPE_CHECKING:
    from runicorn.session.session import Session

VARIABLE = "RUNICORN_RUN_DIR"
"""The directory of the run, for the processes of the script."""
SAID = "said_by_script"
"""Key of ``meta.json``: status and reason with which the script has called ``finish()``."""
_CLAIM = "script"


def address_of(run_dir: str, host: str) -> spool_address.Address | None:
    """The spool of the command's run; None if the run has ended, or lives on another host."""
    address = adopt.find_spool(run_dir, host)
    return address if address is not None and live_spools.is_live(address) else None


def join(session: Session) -> None:
    """Note that a session belongs to a script; the first such session of a run speaks for the owner."""
    session.is_supervised = True
    if session.queue.rank is not None:
        return
    with suppress(OSError):  # the file is there: another process came first
        claim = os.path.join(session.address.spool, _CLAIM)
        rendezvous.write_first(claim, str(os.getpid()), directory_kinds.SPOOL)
        session.queue.speak_for_owner()


def word_of(meta: dict[str, Any]) -> tuple[str, str | None] | None:
    """Status and reason that the script gave to ``finish()``; None if it did not call that."""
    said = meta.get(SAID)
    if not isinstance(said, list) or len(said) != 2 or not isinstance(said[0], str):
        return None
    return said[0], said[1] if isinstance(said[1], str) else None
