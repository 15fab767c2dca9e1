"""A run's values that are on their way from a device, and the records that tell the writer of those that arrived."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runicorn.devices import MOST_ON_THE_WAY
from runicorn.queue.records import LateValues

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from runicorn.devices import Accelerator, OnDevice, Transfer
    from runicorn.queue.records import PartialMetrics, Scalar
    from runicorn.refusals import Refusals

_FIRST_POLL_S = 0.0005
_LONGEST_POLL_S = 0.01
_MOST_TRIES = 100


class PendingCall(NamedTuple):
    """One call's values: its number, its step, and by library the names and their transfer."""

    number: int
    step: int
    parts: list[tuple[list[str], Transfer]]
    read: list[dict[str, Scalar]]
    """Its values, once they were read: what they were in belongs to other values then."""

    @property
    def names(self) -> list[str]:
        """Of its values."""
        return [name for names, _ in self.parts for name in names]

    def has_arrived(self) -> bool:
        """Whether all are there; one whose device has failed will never be, and keeps nobody waiting."""
        return all(_state(transfer) is not _ON_ITS_WAY for _, transfer in self.parts)

    def values(self) -> dict[str, Scalar]:
        """By name; without those that the device has failed to give: what is in their place now is not theirs."""
        if self.read:
            return self.read[0]
        found: dict[str, Scalar] = {}
        for names, transfer in self.parts:
            if _state(transfer) is not _THERE:
                _left_behind.append(transfer)
                continue
            with suppress(Exception):  # whatever a library raises when its device has failed
                found.update(zip(names, transfer.values(), strict=True))
        self.read.append(found)
        return self.read[0]  # not ours, where a signal handler has read them meanwhile


_ON_ITS_WAY, _THERE, _FAILED = False, True, None

_left_behind: deque[Transfer] = deque()
"""Transfers that nobody waits for any more: what they hold is free when they have arrived, and not before."""

_of_all_runs: weakref.WeakSet[PendingValues] = weakref.WeakSet()


def _state(transfer: Transfer) -> bool | None:
    try:
        return transfer.has_arrived()
    except Exception:  # noqa: BLE001 - whatever a library raises when its device has failed
        return _FAILED


def _sweep() -> None:
    """Free what others have left behind."""
    for _ in range(len(_left_behind)):
        try:
            transfer = _left_behind.popleft()
        except IndexError:  # another thread was faster
            return
        if _state(transfer) is _THERE:
            with suppress(Exception):
                transfer.values()
        else:
            _left_behind.append(transfer)


class PendingValues:
    """What is on its way in this process, for one run. What is pushed tells its own refusals.

    Locks: ``_resolving`` is only ever tried, never waited for: who finds it taken by another thread leaves the work to
    that one. It is re-entrant: a signal handler that ends the run takes what the code that it has interrupted was about
    to take. Then a value may be told twice, which the writer knows by its number.

    Args:
        push: takes partial metrics, and values that have arrived late; raises nothing, and says whether it has
            taken them: values are offered again.
        refusals: where it is told that values are missing.
        wait: whether a call waits where too many values are on their way; else it goes without them.
    """

    def __init__(self, push: Callable[[PartialMetrics | LateValues], bool], refusals: Refusals, *, wait: bool) -> None:
        self._push = push
        self._refusals = refusals
        self._wait = wait
        # Also unique among processes that had one pid after another.
        self._numbers = itertools.count(time.time_ns())
        self._begin()
        _of_all_runs.add(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._resolving = threading.RLock()
        self._streams: dict[Hashable, deque[PendingCall]] = {}

    def send(self, record: PartialMetrics, on_device: dict[str, OnDevice]) -> None:
        """Queue the copies of a call's values, push its record, and follow them.

        Args:
            record: without its number, pending and missing names.
            on_device: the values by name.
        """
        self.resolve()
        pending, record.missing = self._start_copies(on_device, record.step)
        record.number, record.pending = pending.number, pending.names
        if record.missing:
            self._refusals.warn(
                "device",
                f"log(): {record.missing[0]!r} was not taken from its device: {MOST_ON_THE_WAY:,} values are being "
                "copied already, or the device failed. Null was stored; status.json counts such values. Log less "
                "often, or set RUNICORN_DEVICE_WAIT=1 to have log() wait.",
            )
        self._push(record)
        # Not before the writer can know of them: another thread may collect what has arrived at any moment.
        if pending.parts:
            # One queue for each stream: one that stands still must not hold up the others. No queue is ever removed,
            # so that no thread appends to one that another has just thrown away; there are as many as streams.
            self._streams.setdefault(tuple(each.stream for _, each in pending.parts), deque()).append(pending)

    def _start_copies(self, on_device: dict[str, OnDevice], step: int) -> tuple[PendingCall, list[str]]:
        """What will arrive, and the names of the values that will not, because too many are on their way."""
        by_library: dict[Accelerator, list[str]] = {}
        for name, each in on_device.items():
            by_library.setdefault(each.accelerator, []).append(name)
        missing: list[str] = []
        parts = []
        for accelerator, names in by_library.items():
            transfer = self._start(accelerator, [on_device[name].value for name in names])
            if transfer is None:
                missing += names
            else:
                parts.append((names, transfer))
        return PendingCall(next(self._numbers), step, parts, []), missing

    def resolve(self) -> bool:
        """Tell the writer of all that has arrived; whether something is still on its way."""
        if os.getpid() != self._pid:  # forked: what the parent waits for is the parent's
            self._begin()
            _left_behind.clear()
        resolving = self._resolving
        if resolving.acquire(blocking=False):
            try:
                for queue in list(self._streams.values()):
                    while (pending := _first(queue)) is not None and pending.has_arrived():
                        # It leaves the queue when it is told: an exception out of a signal handler loses nothing, and
                        # who ends the run meanwhile waits for it.
                        if not self._push(LateValues(pending.number, pending.step, pending.values())):
                            return True
                        if _first(queue) is pending:
                            queue.popleft()
            finally:
                resolving.release()
        return any(self._streams.values())

    def resolve_all(self, timeout_s: float, *, last: bool) -> None:
        """Wait for all that is on its way; Ctrl-C stops the waiting. What has not come then is given up.

        Args:
            timeout_s: how long; polled, because a wait inside a library cannot be ended.
            last: the run ends: nothing will be told any more. Else what comes later is told later.
        """
        give_up_s = time.monotonic() + timeout_s
        poll_s = _FIRST_POLL_S
        with suppress(KeyboardInterrupt):
            while self.resolve() and time.monotonic() < give_up_s:
                time.sleep(poll_s)
                poll_s = min(poll_s * 1.3, _LONGEST_POLL_S)
        if any(self._streams.values()):
            if last:
                streams, self._streams = self._streams, {}
                _left_behind.extend(
                    each for queue in streams.values() for pending in queue for _, each in pending.parts
                )
            self._refusals.warn(
                "device at the end",
                f"finish(): values on a device were not computed after {timeout_s:g} s; null is stored for them. "
                "If the device was not stuck, raise RUNICORN_DEVICE_FINISH_WAIT_S.",
            )

    def _start(self, accelerator: Accelerator, values: list[object]) -> Transfer | None:
        tries = _MOST_TRIES if self._wait else 1
        while True:
            try:
                transfer = accelerator.start(values)
            except Exception:  # noqa: BLE001 - whatever a library raises when its device has failed
                return None
            if transfer is not None or not tries:
                return transfer
            # The room is the process's: what others have in it may have arrived long ago.
            waiting = _all_pending()
            if self._wait and waiting:
                for _, each in min(waiting).parts:
                    with suppress(Exception):  # as above
                        each.wait()
            _sweep()
            for run in list(_of_all_runs):
                run.resolve()
            if self._wait and len(_all_pending()) < len(waiting):
                continue
            tries -= 1
            if tries:
                time.sleep(_FIRST_POLL_S)


def _first(queue: deque[PendingCall]) -> PendingCall | None:
    try:
        return queue[0]
    except IndexError:
        return None


def _all_pending() -> list[PendingCall]:
    """What all runs of this process wait for."""
    return [pending for run in list(_of_all_runs) for queue in list(run._streams.values()) for pending in list(queue)]  # noqa: SLF001 - our own class
