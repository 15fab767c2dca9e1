"""A process's connection to a run: its queue, the control page, the writer's watch, the way out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.queue import spool, spool_address
from runicorn.queue.control_page import ControlPage
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.session.connection import Connection
from runicorn.session.finish_wait import Deadline, WaitNotice
from runicorn.session.writer_monitor import WriterMonitor
from runicorn.storage import statuses

if TYPE_CHECKING:
    from runicorn.queue.records import End
    from runicorn.refusals import Refusals

__all__ = ["ClosedError", "Session", "SpoolFullError"]

_FIRST_POLL_S, _LONGEST_POLL_S = 0.001, 0.02
_MOST_INTERRUPTIONS = 5
_TICKS_OF_A_LOOK = 2
"""After so many ticks, the writer has checked which processes live at least once since the count began."""


class Session(Connection):
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
        pending_values: what is on its way from a device; None before the first such value.
    """

    _left_at: int | None = None
    """The writer's heartbeat when this process had released its locks; None before it has."""

    @classmethod
    def ended(cls, address: spool_address.Address, refusals: Refusals) -> Session:
        """A connection to a run that has ended: it refuses everything."""
        return cls(address, None, refusals, control=ControlPage.of_ended_run())

    def end_run(self, end: End, timeout_s: float) -> bool:
        """Say how the run ended, refuse what starts from now on, and wait until everything is stored.

        Args:
            end: the last record.
            timeout_s: how long to wait; 0 = for ever.

        Returns:
            Whether everything is stored and the writer is gone.
        """
        if self._has_let_go:  # all of it is done; and an interpreter that shuts down could not do it again
            return True
        deadline = Deadline(timeout_s)
        self._generation = self.control.generation
        if not self._push_end(end, deadline):
            return False
        if not end.lingering:
            self.control.close_run()
        stored = self._wait(deadline, end)
        if stored:
            self._release()
        else:
            self.leave(end)
        return stored

    def leave_at_exit(self, timeout_s: float) -> None:
        """Leave the run in a joined process whose interpreter ends. The last process to leave waits for the run's end.

        A container or a job step may end with its last process, and the writer with it. So the run must have ended by
        then.

        Args:
            timeout_s: how long to wait; 0 = for ever.
        """
        produces = self.queue.produces
        # First release the lock, then look for others: if several processes leave at once, one of them finds no other.
        self.queue.close()
        self.leave()
        if not produces:
            return
        self._monitor = self._monitor or self._monitor_for_now()
        if self._wait(Deadline(timeout_s), None) and self.control.done:
            self._release()

    def leave(self, end: End | None = None) -> None:
        """Wait no more, and maybe end: what this process alone has, since its name has gone, is made again now.

        Ctrl-C does not stop that, which takes as long as copying memory does.

        Args:
            end: the last record, if nobody has pushed it; None in a process that has joined.
        """
        for _ in range(_MOST_INTERRUPTIONS):
            with suppress(KeyboardInterrupt):
                self._leave(end)
                return

    def _leave(self, end: End | None) -> None:
        if end is not None:
            with suppress(SpoolFullError):
                self.queue.push_end(end, self.refusals.take_count())
                if not end.lingering:
                    self.control.close_run()
        if self._monitor is None or self._monitor.is_writer_alive():
            self._keep_in_reach()
        else:
            self._offer_all()
        self.queue.release_if_closed()

    def _push_end(self, end: End, deadline: Deadline) -> bool:
        """Push the run's end; wait while the spool does not take it, and say so."""
        progress = WaitNotice(self.control, deadline)
        try:
            while True:
                try:
                    self.queue.push_end(end, self.refusals.take_count())
                except SpoolFullError as error:
                    if deadline.left_s() <= 0:
                        self.refusals.warn("end", f"finish(): the run's end cannot be written to the spool: {error}.")
                        return False
                    self.check_writer()
                    progress.show(f"; the run's end cannot be written to the spool: {error}")
                    time.sleep(_LONGEST_POLL_S)
                else:
                    return True
        finally:
            progress.clear()

    def push_rank_end(self, end: End) -> None:
        """A rank that is not the owner ends: the run's status is made of that if the owner never comes."""
        if self._is_rank and not (self.queue.forked_here or self.is_supervised):
            with suppress(ClosedError, SpoolFullError):
                self.queue.report_dropped(self.refusals.take_count())
                self.queue.put(end)

    def flush(self, timeout_s: float) -> bool:
        """Wait until what this process has logged is stored; it may go on logging.

        Args:
            timeout_s: how long to wait; 0 = for ever.

        Returns:
            Whether it is.
        """
        deadline = Deadline(timeout_s)
        with suppress(ClosedError, SpoolFullError):
            self.queue.report_dropped(self.refusals.take_count())
        self.queue.seal()
        monitor = self._monitor or self._monitor_for_now()
        try:
            while not self.queue.is_stored() and not self.control.done:
                if deadline.left_s() <= 0:
                    return False
                self._keep_in_reach()
                if monitor is not None:
                    monitor.check()
                    if monitor.in_process:  # no writer can be started, and the owner's finish() may wait for our end
                        return False
                time.sleep(_LONGEST_POLL_S)
        finally:
            if monitor is not None and monitor is not self._monitor:
                monitor.close()
        return True

    def discard(self) -> None:
        """Be no producer any more, and no owner: nothing was logged by this session."""
        self.queue.close()
        self.queue.release()
        self._release_locks()

    def _monitor_for_now(self) -> WriterMonitor | None:
        """The owner may be gone, or busy: whoever waits for a writer sees to it that there is one."""
        try:
            return WriterMonitor(self.address, self.control, self.refusals, self._offer_all)
        except OSError:  # the run has just ended, the spool's name is gone, or there is no descriptor left
            return None

    def _repeat_end(self, end: End) -> None:
        """For another writer: the plan in which the one before it had noted the end may have gone with its name."""
        before, self._generation = self._generation, self.control.generation
        if 0 < before != self._generation and not self.control.done:
            with suppress(ClosedError, SpoolFullError, OSError):
                self.queue.push_end_again(end)

    def _wait(self, deadline: Deadline, end: End | None) -> bool:
        """Wait until the run has ended, or goes on without this process.

        Args:
            deadline: until when.
            end: the end that the owner has pushed; None in a process that has joined.

        Returns:
            False if the deadline came first.
        """
        poll_s = _FIRST_POLL_S
        progress = WaitNotice(self.control, deadline)
        producing = True
        try:
            while not (self._has_ended(end) or self._has_ended_by_another_page()):
                if end is not None:
                    self._repeat_end(end)
                if producing and self.queue.is_safe():  # else the writer would not wait for what we may have to copy
                    self.queue.release()
                    producing = False
                if deadline.left_s() <= 0:
                    return False
                monitor = self._monitor
                if monitor is not None and monitor.in_process:
                    self._offer_all()
                    self.queue.release()
                    self._digest()
                else:
                    self.check_writer()
                progress.show()
                time.sleep(poll_s)
                poll_s = min(poll_s * 1.1, _LONGEST_POLL_S)  # so a wait is a tenth too long at most
            if self._monitor is not None:
                self._monitor.pass_on()  # what it said at its end
        finally:
            progress.clear()
        return True

    def _has_ended(self, end: End | None) -> bool:
        if self.control.done:
            monitor = self._monitor  # another thread that ends the run takes it away
            return monitor is None or not monitor.is_writer_alive()
        if end is None and self._has_owner():
            return True
        return (end is None or end.lingering) and self._goes_on_without_us()

    def _has_owner(self) -> bool:
        from runicorn.queue import live_spools  # at the exit of a joined process alone

        return live_spools.has_owner(self.address, beside=os.getpid())

    def _goes_on_without_us(self) -> bool:
        """Whether the writer has seen other joined processes after this one released its locks.

        A process that left before that has found our lock, and does not wait for the run's end. If no other process is
        left, this one must wait.
        """
        if not (self.control.others and self.queue.is_stored()):
            return False
        if self._left_at is None:
            self._give_up_owner_locks()
            self._left_at = self.control.heartbeat
        return self.control.heartbeat - self._left_at >= _TICKS_OF_A_LOOK

    def _has_ended_by_another_page(self) -> bool:
        """Whether the run has ended, and its spool is removed, by a writer that knows another control page than ours.

        It made one of its own if the name of ours was gone before it came up.
        """
        if self.control.done or os.path.lexists(self.address.spool):
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

    def _give_up_owner_locks(self) -> None:
        while self._owner_locks:
            self._owner_locks.pop().release()

    def _release_locks(self) -> None:
        self._give_up_owner_locks()
        if self._monitor is not None:
            self._monitor.close()

    def _release(self) -> None:
        self._release_locks()
        if self.control.done:  # a writer killed between its last word and the removal leaves the removal to us
            spool.remove_spool(self.address)
        self.let_go()
