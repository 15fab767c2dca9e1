"""A session of a run that a newer one has replaced: what it has left is stored beside the run's files.

A host goes down with records in its spool, the run is resumed on another host, and later the first host comes back.
The newer session owns the run's files and its status; it may be live. So the older one's records go into files that
have the session in their names, and the status is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.storage import run_files

if TYPE_CHECKING:
    from runicorn.queue.spool_address import Address

_SESSION_LETTERS = 8


def is_superseded(address: Address, meta: dict[str, Any]) -> bool:
    """Whether ``meta.json`` names a newer session of the run than that of this spool.

    Args:
        address: of the spool.
        meta: content of ``meta.json``. An entry without a session tells nothing: Runicorn 0.7.2 writes such ones, and
            so do the ranks of a job, which have a spool on each host and count the starts of their job instead.
    """
    resumed = [entry for entry in meta.get("resumed") or [] if isinstance(entry, dict)]
    newest = (resumed or [meta])[-1]
    if newest.get("session") is not None:
        return newest["session"] not in {address.session, address.joined_session}
    attempts = [entry["attempt"] for entry in resumed if isinstance(entry.get("attempt"), int)]
    return address.distributed and max(attempts, default=0) > address.attempt


def names(address: Address) -> run_files.Names:
    """The files that its records go into; no other writer has them."""
    return run_files.Names.of(f"{address.host}-{address.session[:_SESSION_LETTERS]}", on_main_host=False, late=True)
