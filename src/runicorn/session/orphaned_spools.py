"""``runicorn recover``: store what runs whose processes are gone have left in their spools, and say what it was."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runicorn.host import locks
from runicorn.queue import moved_runs, spool, spool_address
from runicorn.queue.control_page import ControlPage
from runicorn.session import adopt
from runicorn.storage import plain_json, run_files
from runicorn.storage.run_directory import RunDir
from runicorn.storage.wording import counted
from runicorn.writer import superseded
from runicorn.writer.serve import serve

if TYPE_CHECKING:
    from runicorn.queue.spool_address import Address
    from runicorn.session.lone_overflows import Staying
    from runicorn.settings import Settings

_PATIENCE_S, _STILL_S = 5.0, 3.0
"""How long a writer is waited for that comes to its end; and how long one may stand still."""
_POLL_S = 0.02


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
            why = self.status or "another process stores them now, or storing fails"
            return f"{self.run_id}: not stored: {why}. The records stay in {self.spool}"
        beside = ", in separate files, because the run was resumed since" if self.late else ""
        records = counted(self.events, "record")
        return f"{self.run_id}: stored {records} in {self.run_dir}{beside}; its status is {self.status}"


def recover(settings: Settings, storage: str | None) -> list[Recovered]:
    """Be the writer of every orphaned spool of a storage (None = of all), one after the other."""
    staying = adopt.sweep(settings, _PATIENCE_S)
    stored = [_recover(address, storage) for address in adopt.orphans(settings, storage)]
    held = [_held(address, storage) for address in adopt.held_by_writers(settings, storage)]
    stored += [each for each in held if each]
    stored += [_unknown(path) for path in adopt.unreadable(settings)]
    return stored + [_lone(each) for each in staying if _concerns(each, storage)]


def _concerns(staying: Staying, storage: str | None) -> bool:
    return storage is None or staying.address is None or staying.address.is_in(storage)


def _lone(staying: Staying) -> Recovered:
    """The overflow directory of a spool that is gone."""
    address, path = staying.address, staying.path
    run_id, run_dir = (address.run_id, address.run_dir) if address else (os.path.basename(path), "")
    why = f"only the overflow directory of its spool is left, and {staying.why}"
    return Recovered(run_id, run_dir, path, stored=False, events=0, status=why)


def _held(address: Address, storage: str | None) -> Recovered | None:
    """What a writer that lives holds of dead processes; None if it stores that while it is waited for."""
    try:
        page = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
        why = _standstill(page, address)
    except OSError:  # it has just gone
        return None
    if why is None:
        return None
    if not locks.is_held(os.path.join(address.spool, spool.WRITER_LOCK)):  # it has died meanwhile
        return _recover(address, storage)
    return Recovered(address.run_id, address.run_dir, address.spool, stored=False, events=0, status=why)


def _standstill(page: ControlPage, address: Address) -> str | None:
    """Wait until the spool has gone; if its writer makes no progress for some seconds, what there is to say of that."""
    before, beat, since = None, 0, 0.0
    while os.path.isdir(address.spool):
        now = page.stored_records, page.spooled_bytes, page.task
        if now != before:
            before, beat, since = now, page.heartbeat, time.monotonic()
        elif time.monotonic() - since > _STILL_S:
            said = page.message or page.task
            what = f"makes no progress{f': {said}' if said else ''}"
            return f"its writer, {_writer_of(address)}, {'stands still' if page.heartbeat == beat else what}"
        time.sleep(_POLL_S)
    return None


def _writer_of(address: Address) -> str:
    try:
        probe = locks.Probe(os.path.join(address.spool, spool.WRITER_LOCK))
    except OSError:
        return "a process"
    pid = probe.holder_pid()
    probe.close()
    return f"process {pid}" if pid else "a process"


def _unknown(path: str) -> Recovered:
    """A spool that does not say any more which run it belongs to."""
    what = (
        "is damaged" if os.path.lexists(os.path.join(path, spool_address.ADDRESS)) else "was removed by another program"
    )
    why = f"its {spool_address.ADDRESS} {what}, so nobody knows which run they belong to"
    return Recovered(os.path.basename(path), "", path, stored=False, events=0, status=why)


def _recover(address: Address, storage: str | None) -> Recovered:
    try:
        return _store(moved_runs.note(address, storage))
    except Exception as error:  # noqa: BLE001 - the others wait for their turn
        return Recovered(address.run_id, address.run_dir, address.spool, stored=False, events=0, status=str(error))


def _store(address: Address) -> Recovered:
    before = _lines(address)
    serve(address.spool, handle_signals=False)
    stored = not os.path.isdir(address.spool)  # by us, or by another writer meanwhile
    status, late = "", False
    if stored and os.path.isdir(address.run_dir):
        files = RunDir(address.run_dir)
        status = str(files.read(run_files.STATUS).get("status"))
        late = superseded.is_superseded(address, files.read(run_files.META))
        files.close()
    return Recovered(address.run_id, address.run_dir, address.spool, stored, _lines(address) - before, status, late)


def _lines(address: Address) -> int:
    """Lines in the run's events files."""
    total = 0
    if not os.path.isdir(address.run_dir):
        return 0
    for name in os.listdir(address.run_dir):
        if name.startswith("events.") and name.endswith(".jsonl"):
            with (
                suppress(OSError, plain_json.UnfitFileError),
                os.fdopen(plain_json.open_regular(os.path.join(address.run_dir, name)), "rb") as file,
            ):
                total += sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return total
