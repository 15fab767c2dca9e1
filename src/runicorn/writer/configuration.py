"""What several processes have given to ``log_config()``, in the order of their calls."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from runicorn.queue.records import Config

_MOST_CALLS = 200
"""How many calls are kept: one that arrives later than so many others is taken as if it were the last."""

_FILES = "config_files"


class _Call(msgspec.Struct, frozen=True, order=True):
    """One call: ordered by its time, then by its arrival."""

    time_s: float
    number: int
    record: Config


class Configuration:
    """The configuration of a run.

    Producers are read one after the other, so what arrives later may have been called earlier: then the calls from
    there on are made again. A producer's own records are in the order of its calls, whatever the clock did between
    them.

    Args:
        before: what is in the file already.
    """

    def __init__(self, before: dict[str, Any]) -> None:
        self._before = before
        self._merged = before
        self._calls: list[_Call] = []
        self._latest_of: dict[str, float] = {}
        self._arrived = 0

    def enter(self, record: Config, producer: str) -> dict[str, Any]:
        """Take up a call, and return the configuration as it is then."""
        time_s = max(record.time, self._latest_of.get(producer, record.time))
        self._latest_of[producer] = time_s
        self._arrived += 1
        call = _Call(time_s, self._arrived, record)
        is_last = not self._calls or call > self._calls[-1]
        insort(self._calls, call)
        if is_last:
            self._merged = _applied(self._merged, record)
        else:
            self._merged = self._before
            for each in self._calls:
                self._merged = _applied(self._merged, each.record)
        if len(self._calls) > _MOST_CALLS:
            self._before = _applied(self._before, self._calls.pop(0).record)
        return self._merged


def _applied(before: dict[str, Any], record: Config) -> dict[str, Any]:
    if not record.merge:
        return {**before, **record.update}
    merged = _added(before, record.update)
    files, more = before.get(_FILES), record.update.get(_FILES)
    if isinstance(files, list) and isinstance(more, list):
        merged[_FILES] = [*files, *(file for file in more if file not in files)]
    return merged


def _added(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """A new dict with the fields of both, at every depth; of two values that are not both dicts the later one."""
    merged = dict(before)
    for name, value in update.items():
        there = merged.get(name)
        merged[name] = _added(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return merged
