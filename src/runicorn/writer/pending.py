"""Partial metrics, until their values have come from the device: part of the run's state, so that a crash keeps them.

A record that waits holds up no others but those of the same step and process behind it: of two values of one metric at
one step the later call's must be the later line, because readers take that.
"""

from __future__ import annotations

import msgspec

from runicorn.queue.records import Hello, LateValues, Metrics, PartialMetrics

_HIGHEST_STEP = 2**63 - 1


class WaitingRecord(msgspec.Struct, array_like=True):
    """One record that waits: for its values, or, if none of it is pending, for those before it."""

    hello: Hello
    record: PartialMetrics

    def fill(self, values: dict[str, float | int | bool | str | None]) -> None:
        """Put the late values in; what did not come is missing."""
        record = self.record
        record.missing += [name for name in record.pending if name not in values]
        record.data.update({name: values[name] for name in record.pending if name in values})
        record.pending = []


Pending = dict[str, dict[int, list[WaitingRecord]]]
"""What waits: by producer, by step, in the order of the calls."""


def add(pending: Pending, record: PartialMetrics, hello: Hello) -> list[WaitingRecord]:
    """Take a record in; those that can be stored now are returned."""
    record.step = min(record.step, _HIGHEST_STEP)
    line = pending.setdefault(hello.producer, {}).setdefault(record.step, [])
    if any(_is_same(each.record, record) for each in line):  # read again, from a file that has got another name
        return []
    line.append(WaitingRecord(hello, record))
    return _leave(pending, hello.producer, record.step)


def _is_same(waiting: PartialMetrics, record: PartialMetrics) -> bool:
    """Whether two records of one process and step are one: by their number, which complete ones have not."""
    return waiting.number == record.number and waiting.time == record.time and (waiting.number > 0 or waiting == record)


def must_wait(pending: Pending, record: Metrics, hello: Hello) -> bool:
    """Whether a complete record has to wait for one of its step; it is added then."""
    if min(record.step, _HIGHEST_STEP) not in pending.get(hello.producer, ()):
        return False
    add(pending, PartialMetrics(record.time, record.step, record.data, record.stage, 0, [], []), hello)
    return True


def resolve(pending: Pending, late: LateValues, hello: Hello) -> list[WaitingRecord]:
    """Put late values into their record; those that can be stored now are returned."""
    step = min(late.step, _HIGHEST_STEP)
    for each in pending.get(hello.producer, {}).get(step, ()):
        if each.record.pending and each.record.number == late.number:
            each.fill(late.values)
    return _leave(pending, hello.producer, step)


def hello_of(pending: Pending, record: PartialMetrics | LateValues) -> Hello | None:
    """Who has logged a record that waits, if another one says that it is the same or that these are its values."""
    step = min(record.step, _HIGHEST_STEP)
    waiting = (each for steps in pending.values() for each in steps.get(step, ()))
    return next((each.hello for each in waiting if 0 < each.record.number == record.number), None)


def ranks(pending: Pending) -> set[int | None]:
    """Of whom something waits."""
    return {each.hello.rank for steps in pending.values() for line in steps.values() for each in line}


def give_up(pending: Pending) -> list[WaitingRecord]:
    """The run ends: all that waits, in the order of the calls of each producer; what has not come is missing."""
    lines = [line for steps in pending.values() for line in steps.values()]
    # A line is in the order of the calls, whatever the clock did between them.
    lines.sort(key=lambda line: (line[0].hello.producer, line[0].record.time))
    found = [each for line in lines for each in line]
    for each in found:
        each.fill({})
    pending.clear()
    return found


def _leave(pending: Pending, producer: str, step: int) -> list[WaitingRecord]:
    line = pending.get(producer, {}).get(step, [])
    count = next((number for number, each in enumerate(line) if each.record.pending), len(line))
    left = line[:count]
    del line[:count]
    if not line and producer in pending:
        pending[producer].pop(step, None)
        if not pending[producer]:
            del pending[producer]
    return left
