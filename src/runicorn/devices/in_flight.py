"""A run's values that are on their way from a device, and the records that tell the writer of those that arrived."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runicorn.writer.records import Landed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from runicorn.devices import Accelerator, OnDevice, Transfer
    from runicorn.writer.records import Scalar

_FIRST_POLL_S = 0.0005
_LONGEST_POLL_S = 0.01


class Flight(NamedTuple):
    """One call's values: its number, its step, and by library the names and their transfer."""

    number: int
    step: int
    parts: list[tuple[list[str], Transfer]]

    @property
    def names(self) -> list[str]:
        """Of its values."""
        return [name for names, _ in self.parts for name in names]

    def has_arrived(self) -> bool:
        """Whether all are there; a device that has failed keeps nobody waiting."""
        try:
            return all(transfer.has_arrived() for _, transfer in self.parts)
        except Exception:  # noqa: BLE001 - whatever a library raises when its device has failed
            return True

    def values(self) -> dict[str, Scalar]:
        """By name; without those that the device has failed to give."""
        found: dict[str, Scalar] = {}
        for names, transfer in self.parts:
            with suppress(Exception):  # as above
                found.update(zip(names, transfer.values(), strict=True))
        return found


class InFlight:
    """What is on its way in this process, for one run.

    Locks: ``_landing`` is only ever tried, never waited for: who finds it taken (by another thread, or by the code
    that a signal handler has interrupted) leaves the work to its holder.

    Args:
        push: takes the record of values that have arrived; what it raises is its own business.
        wait: whether a call waits where too many values are on their way; else it goes without them.
    """

    def __init__(self, push: Callable[[Landed], None], *, wait: bool) -> None:
        self._push = push
        self._wait = wait
        # Also unique among processes that had one pid after another.
        self._numbers = itertools.count(time.time_ns())
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._landing = threading.Lock()
        self._streams: dict[Hashable, deque[Flight]] = {}

    def depart(self, on_device: dict[str, OnDevice], step: int) -> tuple[Flight, list[str]]:
        """Queue the copies of a call's values; to be followed when the record with the holes has been pushed.

        Args:
            on_device: the values by name.
            step: of the call.

        Returns:
            What will arrive, and the names of the values that will not, because too many are on their way.
        """
        self.land()
        by_library: dict[Accelerator, list[str]] = {}
        for name, each in on_device.items():
            by_library.setdefault(each.accelerator, []).append(name)
        lost: list[str] = []
        parts = []
        for accelerator, names in by_library.items():
            transfer = self._start(accelerator, [on_device[name].value for name in names])
            if transfer is None:
                lost += names
            else:
                parts.append((names, transfer))
        return Flight(next(self._numbers), step, parts), lost

    def follow(self, flight: Flight) -> None:
        """Tell the writer of a call's values as soon as they have arrived: not before it knows of the holes."""
        if not flight.parts:
            return
        # One queue for each stream: one that stands still must not hold up the others. No queue is ever removed, so
        # that no thread appends to one that another has just thrown away; there are as many as the program's streams.
        self._streams.setdefault(tuple(each.stream for _, each in flight.parts), deque()).append(flight)

    def land(self) -> bool:
        """Tell the writer of all that has arrived; whether something is still on its way."""
        if os.getpid() != self._pid:  # forked: what the parent waits for is the parent's
            self._begin()
        if self._landing.acquire(blocking=False):
            try:
                for queue in list(self._streams.values()):
                    while queue and queue[0].has_arrived():
                        flight = queue.popleft()
                        self._push(Landed(flight.number, flight.step, flight.values()))
            finally:
                self._landing.release()
        return any(self._streams.values())

    def land_all(self, timeout_s: float) -> bool:
        """Wait for all that is on its way; whether all has arrived.

        Args:
            timeout_s: how long; polled, because a wait inside a library cannot be ended, not even by Ctrl-C.
        """
        give_up_s = time.monotonic() + timeout_s
        poll_s = _FIRST_POLL_S
        while self.land():
            if time.monotonic() >= give_up_s:
                return False
            time.sleep(poll_s)
            poll_s = min(poll_s * 1.3, _LONGEST_POLL_S)
        return True

    def _start(self, accelerator: Accelerator, values: list[object]) -> Transfer | None:
        while True:
            try:
                transfer = accelerator.start(values)
            except Exception:  # noqa: BLE001 - whatever a library raises when its device has failed
                return None
            oldest = next((queue[0] for queue in list(self._streams.values()) if queue), None)
            if transfer is not None or not self._wait or oldest is None:
                return transfer
            for _, each in oldest.parts:
                each.wait()
            self.land()
            if any(queue and queue[0] is oldest for queue in self._streams.values()):  # its holder has `_landing`
                return None
