"""A process's connection to a run, as long as it goes on: records, devices, and the check of the writer."""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.queue import spool, spool_address, spool_repair
from runicorn.queue.control_page import ControlPage
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.queue.producer import Queue
from runicorn.queue.records import LateValues, PartialMetrics
from runicorn.session.writer_monitor import WriterMonitor

if TYPE_CHECKING:
    from runicorn.devices.pending_values import PendingValues
    from runicorn.host.locks import Lock
    from runicorn.queue.asset_records import Blob
    from runicorn.refusals import Refusals


class Connection:
    """What a record goes through; see ``Session``."""

    pending_values: PendingValues | None = None
    is_supervised = False
    """Whether ``runicorn run`` owns the run, and this process is of the script that it has started."""

    def __init__(
        self,
        address: spool_address.Address,
        owner_lock: Lock | None,
        refusals: Refusals,
        *,
        rank: int | None = None,
        is_rank: bool = False,
        control: ControlPage | None = None,
    ) -> None:
        if "torch" in sys.modules or "jax" in sys.modules:  # now, and not in the loop
            importlib.import_module("runicorn.devices.pending_values")
        self.address = address
        self.refusals = refusals
        self.control = control or ControlPage.open(os.path.join(address.spool, spool.CONTROL))
        self.queue = Queue(address, self.control, is_owner=owner_lock is not None, rank=rank)
        self._is_rank = is_rank
        self._owner_locks = [] if owner_lock is None else [owner_lock]
        self._repair_at = time.monotonic() + spool_repair.EVERY_S
        self._generation = 0
        self._has_let_go = False
        # Where the owner need not be on this host, or not be there yet, everybody has an eye on the writer.
        watched = control is None and (owner_lock is not None or address.distributed)
        self._monitor = WriterMonitor(address, self.control, refusals, self._offer_all) if watched else None

    @property
    def is_owner(self) -> bool:
        """Whether another process owns the run: it created or resumed it, and it alone can end it."""
        return self.queue.is_owner

    def start_writer(self) -> None:
        """Start the writer and do not wait for it."""
        if self._monitor is not None:
            self._monitor.start()

    def send(self, record: Any, call: str) -> bool:
        """Push a record off the hot path; whether it was taken. No exception but one of the program's gets out."""
        try:
            now = time.time()
            if not self.queue.checked_at <= now < self.queue.next_check_at:
                self.check(now)
            self.queue.put(record)
        except ClosedError:
            self.refuse_after_end(call)
        except SpoolFullError as error:
            self.refuse_full(error)
        except Exception as error:  # noqa: BLE001 - the boundary: tracking never harms training
            self.refusals.broken(call, error)
        else:
            return True
        return False

    def push_slowly(self, frame: bytes, call: str) -> bool:
        """Push a frame that did not fit into the current segment; whether it was taken."""
        try:
            self.queue.push_slowly(frame)
        except ClosedError:
            self.refuse_after_end(call)
        except SpoolFullError as error:
            self.refuse_full(error)
        else:
            return True
        return False

    def refuse_after_end(self, call: str) -> None:
        """Warn that a call came after the end of the run."""
        self.let_go_of_ended_run()
        now, queue = time.time(), self.queue
        # The run ends. If names of files are gone, a writer waits for what this process has logged before.
        if not self.is_owner and not (self.control.done or queue.checked_at <= now < queue.next_check_at):
            self.check(now)
        self.refusals.warn(
            "after the end",
            f"{call} was called after finish(): ignored. Move finish() to the end.",
        )

    def refuse_full(self, error: SpoolFullError) -> None:
        """Warn that the spool has no room."""
        self.refusals.warn(
            "spool",
            f"The spool is full ({error}): records are refused until the writer has made room, and counted in "
            "status.json. Storing is stalled or too slow: check the storage "
            f"{self.address.storage}, or raise RUNICORN_SPOOL_MAX_BYTES.",
        )

    def let_go_of_ended_run(self) -> None:
        """In a process that has joined: give the descriptors back once the owner has ended the run."""
        if not self.is_owner and self.control.done:
            self.let_go()

    def devices(self) -> PendingValues:
        """What is on its way from a device, for this run."""
        if self.pending_values is None:
            from runicorn.devices.pending_values import PendingValues

            made = PendingValues(self._send_of_device, self.refusals, wait=self.address.settings.device_wait)
            # setdefault is atomic: of two threads one has made it.
            return vars(self).setdefault("pending_values", made)  # type: ignore[no-any-return]
        return self.pending_values

    def _send_of_device(self, record: PartialMetrics | LateValues) -> bool:
        try:
            self.queue.put(record)
        except ClosedError:
            if type(record) is PartialMetrics:  # its values are of no use either; nobody is told twice
                self.refuse_after_end("log()")
        except SpoolFullError as error:
            self.refuse_full(error)
            if type(record) is LateValues:  # its record is in: it is offered again
                self.queue.dropped_records -= 1
                return False
        return True

    def await_devices(self, timeout_s: float, *, last: bool) -> None:
        """Before an end: what is on its way from a device is waited for, but not for ever."""
        if self.pending_values is not None:
            limit_s = self.address.settings.device_finish_wait_s
            self.pending_values.resolve_all(min(limit_s, timeout_s or limit_s), last=last and self.is_owner)

    def check(self, now: float) -> None:
        """Send the values that have arrived from devices, and check that the writer lives.

        Args:
            now: the wall clock; the next check is ``look_interval_s`` later, or at the next call while values are
                on their way.
        """
        queue, interval_s = self.queue, self.address.settings.look_interval_s
        if self.pending_values is not None and self.pending_values.resolve():
            if queue.checked_at <= now < queue.checked_at + interval_s:
                return
            queue.checked_at = now  # and the next call comes by again
        else:
            queue.checked_at = now
            queue.next_check_at = now + interval_s
        try:
            self.check_writer()
        except Exception as error:  # noqa: BLE001 - the boundary: the record is pushed before or after this
            self.refusals.broken("the check of the writer", error)

    def check_writer(self) -> None:
        """Check the writer's heartbeat; called by log() at most every look_interval_s."""
        self._keep_in_reach()
        monitor = self._monitor
        if monitor is not None and not self.queue.forked_here:
            monitor.check()

    def _keep_in_reach(self) -> None:
        """See to it that a writer finds what this process has pushed."""
        if time.monotonic() >= self._repair_at or self.control.moved:
            self._repair_spool()
        self.queue.copy_unreachable()

    def _offer_all(self) -> None:
        """Before another writer is started: what the last one alone had open has to have a name."""
        if not self.queue.forked_here:
            self._repair_spool()
            self.queue.copy_unreachable(alone=True)

    def _repair_spool(self) -> None:
        """Make again what somebody has removed of the spool by name; or follow who has."""
        self._repair_at = time.monotonic() + spool_repair.EVERY_S
        from runicorn.session import at_exit  # it knows the runs that are open, and those know us

        with suppress(OSError, RuntimeError):
            if self._owner_locks and not self.queue.forked_here and not self.control.done:
                try:
                    again = spool_repair.renew_lock(self.address, spool.OWNER_LOCK)
                    if again is not None:
                        self._owner_locks.append(again)
                    spool_repair.repair(self.address, self.control)
                    at_exit.keep_mark_named(self.address.spool)
                finally:
                    if self.control.done:  # the writer has removed the spool meanwhile: it must not come back
                        spool.remove_spool(self.address)
            self.queue.follow_name()

    def put_blob(self, data: bytes | bytearray | memoryview) -> Blob:
        """Leave bytes that are too many for the queue beside it, for a record to tell of.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: there is no room.
        """
        from runicorn.queue.blobs import Blobs

        return Blobs(self.address, self.control).put(data)

    def drop_blob(self, left: Blob | None) -> None:
        """Take them back: no record tells of them."""
        if left is None:
            return
        from runicorn.queue.blobs import Blobs

        Blobs(self.address, self.control).remove(left)

    def let_go(self) -> None:
        """Give back every descriptor, once the run has ended: the program may keep the handle for long."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self.control = ControlPage.of_ended_run()
        self.queue.let_go(self.control)
        self._has_let_go = True
