"""A process's connection to a run: its queue, the control page, the writer's watch, the way out."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.devices.in_flight import InFlight
from runicorn.queue import mending, spool, spool_address
from runicorn.queue.control_page import ControlPage
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.queue.producer import Queue
from runicorn.queue.records import Holed, Landed
from runicorn.session.writer_monitor import Watch
from runicorn.storage import statuses

if TYPE_CHECKING:
    from runicorn.host.locks import Lock
    from runicorn.queue.records import Blob, End
    from runicorn.refusals import Refusals

__all__ = ["ClosedError", "Session", "SpoolFullError"]

_FIRST_POLL_S, _LONGEST_POLL_S = 0.001, 0.02
_SILENT_S = 1.0
_PROGRESS_EVERY_S = 0.5


class Session:
    """What a ``Run`` hands its records to.

    Args:
        address: of the spool.
        owner_lock: held by the run's owner, as long as it lives or until the run has ended; None in a process
            that has joined.
        refusals: where warnings go.
        rank: of this process in a distributed job, or of the one that has sent it the run.
        is_rank: whether this process is that rank, and not one that it has sent the run to.
        control: the control page, where it is not the spool's.

    Attributes:
        refusals: as above.
        in_flight: what is on its way from a device; None before the first such value.
    """

    in_flight: InFlight | None = None

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
        self.address = address
        self.refusals = refusals
        self.control = control or ControlPage.open(os.path.join(address.spool, spool.CONTROL))
        self.queue = Queue(address, self.control, joined=owner_lock is None, rank=rank)
        self._is_rank = is_rank
        self._owner_locks = [] if owner_lock is None else [owner_lock]
        self._mend_at = time.monotonic() + mending.EVERY_S
        self._generation = 0
        self._has_let_go = False
        # Where the owner need not be on this host, or not be there yet, everybody has an eye on the writer.
        watched = control is None and (owner_lock is not None or address.ranked)
        self._watch = Watch(address, self.control, refusals, self._offer_all) if watched else None

    @classmethod
    def ended(cls, address: spool_address.Address, refusals: Refusals) -> Session:
        """A connection to a run that has ended: it refuses everything."""
        return cls(address, None, refusals, control=ControlPage.of_ended_run())

    @property
    def joined(self) -> bool:
        """Whether another process owns the run: it created or resumed it, and it alone can end it."""
        return self.queue.joined

    def start_writer(self) -> None:
        """Start the writer and do not wait for it."""
        if self._watch is not None:
            self._watch.start()

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
        # The run ends, and a writer waits for what this process has logged before, if that has lost its names.
        if self.joined and not (self.control.done or queue.checked_at <= now < queue.next_check_at):
            self.check(now)
        self.refusals.warn(
            "after the end",
            f"{call} was called after the run had ended: it is refused, nothing of it is stored unless it overlapped "
            "finish(). Call finish() last.",
        )

    def refuse_full(self, error: SpoolFullError) -> None:
        """Warn that the spool has no room."""
        self.refusals.warn(
            "spool",
            f"The spool is full ({error}): records are refused until the writer has made room, and counted in "
            "status.json. Storing is stalled or too slow: look at the storage "
            f"{self.address.storage}, or raise RUNICORN_SPOOL_MAX_BYTES.",
        )

    def let_go_of_ended_run(self) -> None:
        """In a process that has joined: give the descriptors back once the owner has ended the run."""
        if self.joined and self.control.done:
            self.let_go()

    def devices(self) -> InFlight:
        """What is on its way from a device, for this run."""
        if self.in_flight is None:
            made = InFlight(self._send_of_device, self.refusals, wait=self.address.settings.device_wait)
            # setdefault is atomic: of two threads one has made it.
            return vars(self).setdefault("in_flight", made)  # type: ignore[no-any-return]
        return self.in_flight

    def _send_of_device(self, record: Holed | Landed) -> bool:
        try:
            self.queue.put(record)
        except ClosedError:
            if type(record) is Holed:  # its values are of no use any more either, and nobody has to be told twice
                self.refuse_after_end("log()")
        except SpoolFullError as error:
            self.refuse_full(error)
            if type(record) is Landed:  # its record is in: it is offered again
                self.queue.lost_records -= 1
                return False
        return True

    def await_devices(self, timeout_s: float, *, last: bool) -> None:
        """Before an end: what is on its way from a device is waited for, but not for ever."""
        if self.in_flight is not None:
            limit_s = self.address.settings.device_finish_wait_s
            self.in_flight.land_all(min(limit_s, timeout_s or limit_s), last=last and not self.joined)

    def check(self, now: float) -> None:
        """Tell the writer which values have arrived from devices, and check that it lives.

        Args:
            now: the wall clock; the next check is ``look_interval_s`` later, or at the next call while values are
                on their way.
        """
        queue, interval_s = self.queue, self.address.settings.look_interval_s
        if self.in_flight is not None and self.in_flight.land():
            if queue.checked_at <= now < queue.checked_at + interval_s:
                return
            queue.checked_at = now  # and the next call comes by again
        else:
            queue.checked_at = now
            queue.next_check_at = now + interval_s
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - the boundary: the record is pushed before or after this
            self.refusals.broken("the check of the writer", error)

    def look(self) -> None:
        """A look at the writer: every half second, when a call comes by."""
        self._keep_in_reach()
        watch = self._watch
        if watch is not None and not self.queue.forked_here:
            watch.look()

    def _keep_in_reach(self) -> None:
        """See to it that a writer finds what this process has pushed."""
        if time.monotonic() >= self._mend_at or self.control.moved:
            self._mend()
        self.queue.look()

    def _offer_all(self) -> None:
        """Before another writer is started: what the last one alone had open has to have a name."""
        if not self.queue.forked_here:
            self._mend()
            self.queue.look(alone=True)

    def _mend(self) -> None:
        """Make again what somebody has removed of the spool by name; or follow who has."""
        self._mend_at = time.monotonic() + mending.EVERY_S
        from runicorn.session import at_exit  # it knows the runs that are open, and those know us

        with suppress(OSError, RuntimeError):
            if self._owner_locks and not self.queue.forked_here and not self.control.done:
                try:
                    again = mending.keep_lock(self.address, spool.OWNER_LOCK)
                    if again is not None:
                        self._owner_locks.append(again)
                    mending.mend(self.address, self.control)
                    at_exit.keep_mark_named(self.address.spool)
                finally:
                    if self.control.done:  # the writer has removed the spool meanwhile: it must not come back
                        spool.dissolve(self.address)
            self.queue.keep_named()

    def end(self, end: End, timeout_s: float) -> bool:
        """Say how the run ended, refuse what starts from now on, and wait until everything is stored.

        Args:
            end: the last record.
            timeout_s: how long to wait; 0 = for ever.

        Returns:
            Whether everything is stored and the writer is gone.
        """
        if self._has_let_go:  # all of it is done; and an interpreter that shuts down could not do it again
            return True
        deadline = _Deadline(timeout_s)
        self._generation = self.control.generation
        if not self._put_end(end, deadline):
            return False
        if not end.lingering:
            self.control.close_run()
        stored = self._wait(deadline, end)
        if stored:
            self._release()
        return stored

    def _put_end(self, end: End, deadline: _Deadline) -> bool:
        """Push the run's end; wait while the spool does not take it, and say so."""
        progress = _Progress(self.control, deadline)
        try:
            while True:
                try:
                    self.queue.put_end(end, self.refusals.take_count())
                except SpoolFullError as error:
                    if deadline.left_s() <= 0:
                        self.refusals.warn("end", f"finish(): the run's end cannot be written to the spool: {error}.")
                        return False
                    self.look()
                    progress.show(f"; the run's end cannot be written to the spool: {error}")
                    time.sleep(_LONGEST_POLL_S)
                else:
                    return True
        finally:
            progress.clear()

    def say_goodbye(self, end: End) -> None:
        """A rank that is not the owner ends: the run's status is made of that if the owner never comes."""
        if self._is_rank and not self.queue.forked_here:
            with suppress(ClosedError, SpoolFullError):
                self.queue.report_lost(self.refusals.take_count())
                self.queue.put(end)

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

    def flush(self, timeout_s: float) -> bool:
        """Wait until what this process has logged is stored; it may go on logging.

        Args:
            timeout_s: how long to wait; 0 = for ever.

        Returns:
            Whether it is.
        """
        deadline = _Deadline(timeout_s)
        with suppress(ClosedError, SpoolFullError):
            self.queue.report_lost(self.refusals.take_count())
        self.queue.seal()
        watch = self._watch or self._watch_for_now()
        try:
            while not self.queue.is_stored() and not self.control.done:
                if deadline.left_s() <= 0:
                    return False
                self._keep_in_reach()
                if watch is not None:
                    watch.look()
                    if watch.in_process:  # no writer can be started, and the owner's finish() may wait for our end
                        return False
                time.sleep(_LONGEST_POLL_S)
        finally:
            if watch is not None and watch is not self._watch:
                watch.close()
        return True

    def discard(self) -> None:
        """Be no producer any more, and no owner: nothing was logged by this session."""
        self.queue.close()
        self.queue.release()
        self._release_locks()

    def _watch_for_now(self) -> Watch | None:
        """The owner may be gone, or busy: whoever waits for a writer sees to it that there is one."""
        try:
            return Watch(self.address, self.control, self.refusals, self._offer_all)
        except OSError:  # the run has just ended, the spool has lost its name, or there is no descriptor left
            return None

    def _repeat_end(self, end: End) -> None:
        """For another writer: the plan in which the one before it had noted the end may have gone with its name."""
        before, self._generation = self._generation, self.control.generation
        if 0 < before != self._generation and not self.control.done:
            with suppress(ClosedError, SpoolFullError, OSError):
                self.queue.put_end_again(end)

    def _wait(self, deadline: _Deadline, end: End) -> bool:
        poll_s = _FIRST_POLL_S
        progress = _Progress(self.control, deadline)
        producing = True
        try:
            while not (self._is_stored(lingering=end.lingering) or self._has_ended_by_another_page()):
                self._repeat_end(end)
                if producing and self.queue.is_safe():  # else the writer would not wait for what we may have to copy
                    self.queue.release()
                    producing = False
                if deadline.left_s() <= 0:
                    return False
                watch = self._watch
                if watch is not None and watch.in_process:
                    self._offer_all()
                    self.queue.release()
                    self._digest()
                else:
                    self.look()
                progress.show()
                time.sleep(poll_s)
                poll_s = min(poll_s * 1.3, _LONGEST_POLL_S)
            if self._watch is not None:
                self._watch.pass_on()  # its last words
        finally:
            self.queue.release()
            progress.clear()
        return True

    def _is_stored(self, *, lingering: bool) -> bool:
        if self.control.done:
            watch = self._watch  # another thread that ends the run takes it away
            return watch is None or not watch.is_writer_alive()
        # Where joined processes outlive the owner the run goes on without it.
        return lingering and bool(self.control.others) and self.queue.is_stored()

    def _has_ended_by_another_page(self) -> bool:
        """Whether the run has ended, and its spool is removed, by a writer that knows another control page than ours.

        It made one of its own if ours had lost its name before it came up.
        """
        if self.joined or self.control.done or os.path.lexists(self.address.spool):
            return False
        from runicorn.session.joining import read_status

        try:
            status = read_status(self.address.run_dir)
        except OSError:
            return False
        return status.get("status") in statuses.FINAL

    def _digest(self) -> None:
        from runicorn.writer.serve import serve

        try:
            serve(self.address.spool, handle_signals=False)
        except Exception as error:  # noqa: BLE001 - trouble in storing never raises
            self.refusals.warn(
                "digest", f"finish() could not store: {error}. The records stay in {self.address.spool}."
            )

    def _release_locks(self) -> None:
        while self._owner_locks:
            self._owner_locks.pop().release()
        if self._watch is not None:
            self._watch.close()

    def _release(self) -> None:
        self._release_locks()
        if self.control.done:  # a writer killed between its last word and the removal leaves the removal to us
            spool.dissolve(self.address)
        self.let_go()

    def let_go(self) -> None:
        """Give back every descriptor, once the run has ended: the program may keep the handle for long."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self.control = ControlPage.of_ended_run()
        self.queue.let_go(self.control)
        self._has_let_go = True


class _Deadline:
    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s if timeout_s else float("inf")

    def left_s(self) -> float:
        return self._at - time.monotonic()


class _Progress:
    """Silent for a second; then says what is waited for, on stderr, in one line on a terminal."""

    def __init__(self, control: ControlPage, deadline: _Deadline) -> None:
        self._control = control
        self._deadline = deadline
        self._next_s = time.monotonic() + _SILENT_S
        self._shown = False

    def show(self, trouble: str = "") -> None:
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + _PROGRESS_EVERY_S
        terminal = _is_terminal()
        if self._shown and not terminal:
            return
        left_s = self._deadline.left_s()
        limit = "" if left_s == float("inf") else f", for {left_s:.0f} s at most"
        task = f"; {doing}" if (doing := self._control.task) else ""
        text = (
            f"runicorn: waiting until everything is stored{limit}: {self._control.stored_records:,} records are, "
            f"up to {self._control.spooled_bytes / 1e6:.1f} MB are not{task}{trouble} "
            "(Ctrl-C stops the waiting, not the storing)"
        )
        self._write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
        self._shown = True

    def clear(self) -> None:
        if self._shown and _is_terminal():
            self._write("\r\x1b[K")

    @staticmethod
    def _write(text: str) -> Any:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none: then nobody is to be told
            return


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
