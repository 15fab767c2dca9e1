"""The owner's eye on the writer: is it alive, does another one have to be started, is storing in trouble?"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from runicorn.host import identity, locks
from runicorn.queue import spool, spool_address
from runicorn.queue.control_page import MISSING
from runicorn.session import writer_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.queue.control_page import ControlPage
    from runicorn.refusals import Refusals

_MOST_FAILED_STARTS = 4
_MOST_LOG_BYTES = 300
_LONGEST_PATIENCE_S = 300.0


class WriterMonitor:
    """Looks at the heartbeat, and probes the writer's lock only where that stands still.

    An old heartbeat and a held lock is a writer that is stalled or stopped: nothing is started then. No heartbeat and
    a free lock is one that has died, or one that is slow to start (an interpreter on a network disk, a host with more
    processes than cores): each time twice as long is waited as the time before, unless its process has ended.

    Args:
        address: of the spool.
        control: its page.
        refusals: where warnings go.
        prepare: called before another writer is started in the place of one that has died.
    """

    def __init__(
        self, address: spool_address.Address, control: ControlPage, refusals: Refusals, prepare: Callable[[], None]
    ) -> None:
        self._address = address
        self._prepare = prepare
        self._control = control
        self._refusals = refusals
        # By descriptor: the lock is asked for after the spool's removal, to know that the writer is really gone.
        self._writer = locks.Probe(os.path.join(address.spool, spool.WRITER_LOCK))
        self._beat = control.heartbeat
        self._since_s = time.monotonic()
        self._troubles = control.troubles
        self._failed_starts = 0
        self._trouble = ""
        self._started: int | None = None  # process id of a writer whose heartbeat has not been seen yet
        self.in_process = False
        """No writer process could be had so far: the records wait in the spool for one, or for ``finish()``."""

    def start(self) -> None:
        """Start a writer and do not wait for it."""
        self._since_s = time.monotonic()
        if not writer_process.can_launch():
            self._go_in_process("there is no Python interpreter to start it with")
            return
        self._started = None
        try:
            self._started = writer_process.launch(self._address.spool)
        except OSError as error:
            self._trouble = str(error)

    def check(self) -> None:
        """Start another writer where the last one has died; pass on what it says about storing."""
        now = time.monotonic()
        beat = self._control.heartbeat
        if beat != self._beat:
            self._beat, self._since_s, self._failed_starts, self._trouble = beat, now, 0, ""
            self._started = None
            self.in_process = False  # one has come up after all
        elif now - self._since_s >= self._patience_s() or self._has_ended_at_once():
            self._since_s = now
            if not self.is_writer_alive() and not self._control.done:
                self._failed_starts += 1
                if self._failed_starts > _MOST_FAILED_STARTS:
                    self._go_in_process(self._trouble or f"each one that was started has ended{self._writer_output()}")
                self._prepare()
                self.start()
        self.pass_on()

    def pass_on(self) -> None:
        """Warn of what the writer has said since the last time."""
        if self._control.troubles != self._troubles:
            self._troubles = self._control.troubles
            message = self._control.message
            if message.startswith(MISSING):
                self._refusals.warn(
                    ("missing", message),
                    f"Something was not stored: {message.removeprefix(MISSING)}. Everything else is stored; "
                    "status.json says what is missing.",
                )
                return
            self._refusals.warn(
                "storage",
                f"Storing fails: {message}. Records are kept in the spool {self._address.spool} "
                "and stored as soon as that is possible. Free some space, or give access.",
            )

    def is_writer_alive(self) -> bool:
        """Whether a process holds the writer's lock."""
        try:
            # The file that had the name may have been removed, and another one made.
            return self._writer.is_held() or locks.is_held(os.path.join(self._address.spool, spool.WRITER_LOCK))
        except OSError:  # no descriptor is left: the next check will say
            return True

    def close(self) -> None:
        """Give the probe back."""
        self._writer.close()

    def _has_ended_at_once(self) -> bool:
        return self._started is not None and not self.in_process and identity.has_ended(self._started)

    def _writer_output(self) -> str:
        try:
            with open(os.path.join(self._address.spool, spool.WRITER_LOG), "rb") as file:
                words = file.read()[-_MOST_LOG_BYTES:].decode("utf-8", "replace").split()
        except OSError:
            return ""
        return f" ({sys.executable}; it said: {' '.join(words)})" if words else f" ({sys.executable}; it said nothing)"

    def _patience_s(self) -> float:
        return min(self._address.settings.writer_restart_after_s * 2.0**self._failed_starts, _LONGEST_PATIENCE_S)

    def _go_in_process(self, why: str) -> None:
        self.in_process = True
        self._refusals.warn(
            "in process",
            f"No writer process could be started: {why}. Records are kept in the spool {self._address.spool} "
            "and are stored by finish(), or when the interpreter ends.",
        )
