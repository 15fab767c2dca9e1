"""``runicorn recover``: store what runs whose processes are gone have left in their spools, and say what it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runicorn import rundir
from runicorn.rundir import RunDir
from runicorn.wording import counted
from runicorn.writer import adopt, moved, spool, superseded
from runicorn.writer.writer import serve

if TYPE_CHECKING:
    from runicorn.settings import Settings
    from runicorn.writer.lone import Staying
    from runicorn.writer.spool import Address

_PATIENCE_S = 5.0
"""How long a writer is waited for that comes to its end."""


class Recovered(NamedTuple):
    """What became of one spool."""

    run_id: str
    run_dir: str
    spool: str
    stored: bool
    events: int
    status: str
    late: bool = False

    def text(self) -> str:
        """One line for a person."""
        if not self.stored:
            why = self.status or "another process is at it, or storing fails"
            return f"{self.run_id}: not stored: {why}. The records stay in {self.spool}"
        beside = ", in files beside those of the session that has resumed the run since" if self.late else ""
        records = counted(self.events, "record")
        return f"{self.run_id}: stored {records} in {self.run_dir}{beside}; its status is {self.status}"


def recover(settings: Settings, storage: str | None) -> list[Recovered]:
    """Be the writer of every orphaned spool of a storage (None = of all), one after the other."""
    staying = adopt.sweep(settings, _PATIENCE_S)
    stored = [_recover(address, storage) for address in adopt.orphans(settings, storage)]
    stored += [_unknown(path) for path in adopt.unreadable(settings)]
    return stored + [_lone(each) for each in staying if _concerns(each, storage)]


def _concerns(staying: Staying, storage: str | None) -> bool:
    return storage is None or staying.address is None or staying.address.is_in(storage)


def _lone(staying: Staying) -> Recovered:
    """The second place of a spool that is gone."""
    address, path = staying.address, staying.path
    run_id, run_dir = (address.run_id, address.run_dir) if address else (os.path.basename(path), "")
    why = f"only the second place of its spool is left, and {staying.why}"
    return Recovered(run_id, run_dir, path, stored=False, events=0, status=why)


def _unknown(path: str) -> Recovered:
    """A spool that does not say any more which run it belongs to."""
    what = "is damaged" if os.path.lexists(os.path.join(path, spool.ADDRESS)) else "has been removed by somebody"
    why = f"its {spool.ADDRESS} {what}, so nobody knows which run they belong to"
    return Recovered(os.path.basename(path), "", path, stored=False, events=0, status=why)


def _recover(address: Address, storage: str | None) -> Recovered:
    try:
        return _store(moved.note(address, storage))
    except Exception as error:  # noqa: BLE001 - the others wait for their turn
        return Recovered(address.run_id, address.run_dir, address.spool, stored=False, events=0, status=str(error))


def _store(address: Address) -> Recovered:
    before = _lines(address)
    serve(address.spool, handle_signals=False)
    stored = not os.path.isdir(address.spool)  # by us, or by another writer while we looked
    status, late = "", False
    if stored and os.path.isdir(address.run_dir):
        files = RunDir(address.run_dir)
        status = str(files.read(rundir.STATUS).get("status"))
        late = superseded.is_superseded(address, files.read(rundir.META))
        files.close()
    return Recovered(address.run_id, address.run_dir, address.spool, stored, _lines(address) - before, status, late)


def _lines(address: Address) -> int:
    """Lines in the run's events files."""
    total = 0
    if not os.path.isdir(address.run_dir):
        return 0
    for name in os.listdir(address.run_dir):
        if name.startswith("events.") and name.endswith(".jsonl"):
            with open(os.path.join(address.run_dir, name), "rb") as file:
                total += sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return total
