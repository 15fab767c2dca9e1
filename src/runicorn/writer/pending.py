"""Records with holes, until their values have come from the device: kept in the tally, so that a crash keeps them too.

A record that is held holds up nobody, but those of the same step and process behind it: of two values of one metric at
one step the later call's must be the later line, because readers take that.
"""

from __future__ import annotations

import msgspec

from runicorn.queue.records import Hello, Holed, Landed, Metrics

_HIGHEST_STEP = 2**63 - 1


class Held(msgspec.Struct, array_like=True):
    """One record that waits: for its values, or, where it has no hole, for those before it."""

    hello: Hello
    record: Holed

    def fill(self, values: dict[str, float | int | bool | str | None]) -> None:
        """Put the values into their holes; what did not come is lost."""
        record = self.record
        record.lost += [name for name in record.holes if name not in values]
        record.data.update({name: values[name] for name in record.holes if name in values})
        record.holes = []


Room = dict[str, dict[int, list[Held]]]
"""What is held: by producer, by step, in the order of the calls."""


def enter(room: Room, record: Holed, hello: Hello) -> list[Held]:
    """Take a record in; those that can be stored now are returned."""
    record.step = min(record.step, _HIGHEST_STEP)
    line = room.setdefault(hello.producer, {}).setdefault(record.step, [])
    if any(_is_same(each.record, record) for each in line):  # read again, from a file that has got another name
        return []
    line.append(Held(hello, record))
    return _leave(room, hello.producer, record.step)


def _is_same(held: Holed, record: Holed) -> bool:
    """Whether two records of one process and step are one: by their number, which those without holes have not."""
    return held.number == record.number and held.time == record.time and (held.number > 0 or held == record)


def is_in_the_way(room: Room, record: Metrics, hello: Hello) -> bool:
    """Whether a record without holes has to wait for one of its step; it is held then."""
    if record.step not in room.get(hello.producer, ()):
        return False
    enter(room, Holed(record.time, record.step, record.data, record.stage, 0, [], []), hello)
    return True


def land(room: Room, landed: Landed, hello: Hello) -> list[Held]:
    """Fill the holes of a record; those that can be stored now are returned."""
    step = min(landed.step, _HIGHEST_STEP)
    for each in room.get(hello.producer, {}).get(step, ()):
        if each.record.holes and each.record.number == landed.number:
            each.fill(landed.values)
    return _leave(room, hello.producer, step)


def ranks(room: Room) -> set[int | None]:
    """Of whom something is held."""
    return {each.hello.rank for steps in room.values() for line in steps.values() for each in line}


def give_up(room: Room) -> list[Held]:
    """The run ends: all that is held, in the order of the calls of each producer; what has not come is lost."""
    lines = [line for steps in room.values() for line in steps.values()]
    # A line is in the order of the calls, whatever the clock did between them.
    lines.sort(key=lambda line: (line[0].hello.producer, line[0].record.time))
    found = [each for line in lines for each in line]
    for each in found:
        each.fill({})
    room.clear()
    return found


def _leave(room: Room, producer: str, step: int) -> list[Held]:
    line = room.get(producer, {}).get(step, [])
    count = next((number for number, each in enumerate(line) if each.record.holes), len(line))
    left = line[:count]
    del line[:count]
    if not line and producer in room:
        room[producer].pop(step, None)
        if not room[producer]:
            del room[producer]
    return left
