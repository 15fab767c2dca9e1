"""Has anything become slower since? Two results of a benchmark, compared by ratios and not by absolute times.

::

    python bench/log_latency.py --json > old/log_latency.json      # on the old version
    python bench/log_latency.py --json > new/log_latency.json      # on the new one
    python bench/compare.py old/log_latency.json new/log_latency.json
    python bench/compare.py old new --threshold 1.4                # all benchmarks that are in both directories

It is for a person, before a release. Machines differ, and one machine differs from hour to hour; so each figure is
divided by one that the same run measured beside it and that no change of ours can move (the floor, a bare interpreter,
the published version, a plain baseline), and then the new quotient by the old one. A figure of 1.00 has not changed,
one above 1 has become worse. Quotients of tails (p99 and beyond) are shown, and not judged: they say what the machine
did. Both results should come from one machine all the same: two processors do not keep all ratios.

It ends with 0 where nothing became worse by more than the threshold (1.25), 1 where something did, and 2 where the two
cannot be compared: they are of different benchmarks, one is a smoke run, or no figure of theirs has a floor.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import harness
import quotients

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLD = 1.25
SAME, WORSE, INCOMPARABLE = 0, 1, 2


class IncomparableError(Exception):
    """The two results cannot be compared; the message says why."""


@dataclass(frozen=True)
class Change:
    """One quotient, old and new."""

    name: str
    old: float
    new: float
    judged: bool

    @property
    def ratio(self) -> float:
        """More than 1 = worse."""
        return self.new / self.old


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The quotients that both results have, the worst change first.

    Raises:
        IncomparableError: there are none, or the results are not of the same work.
    """
    name = new["benchmark"]
    if old["benchmark"] != name:
        raise IncomparableError(f"one is of {old['benchmark']}, the other of {name}")
    if old["quick"] or new["quick"]:
        raise IncomparableError(f"{name}: a smoke run's figures mean nothing")
    if name not in quotients.OF_BENCHMARK:
        raise IncomparableError(f"{name} measures nothing beside which its figures could be put")
    before = {quotient.name: quotient for quotient in _quotients(name, old)}
    changes = [
        Change(quotient.name, before[quotient.name].value, quotient.value, quotient.judged)
        for quotient in _quotients(name, new)
        if quotient.name in before
    ]
    if not changes:
        raise IncomparableError(f"{name}: the two have no figure in common that has a floor")
    return sorted(changes, key=lambda change: (not change.judged, -change.ratio))


def _quotients(name: str, result: dict[str, Any]) -> list[quotients.Quotient]:
    try:
        return list(quotients.OF_BENCHMARK[name](result["figures"]))
    except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
        raise IncomparableError(
            f"{name}: a figure is missing or zero, {error!r}; was it measured with all rows?"
        ) from None


def pairs(old: pathlib.Path, new: pathlib.Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The results of two files, or of all benchmarks that are in both directories.

    Raises:
        IncomparableError: there are none.
    """
    if old.is_dir() != new.is_dir():
        raise IncomparableError("one is a directory, the other a file")
    if not old.is_dir():
        return [(_result(old), _result(new))]
    olds, news = (
        {each["benchmark"]: each for each in map(_result, sorted(path.glob("*.json")))} for path in (old, new)
    )
    if not olds.keys() & news.keys():
        raise IncomparableError("no benchmark is in both directories")
    return [(olds[name], news[name]) for name in olds if name in news]


def _result(path: pathlib.Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IncomparableError(f"{path} cannot be read: {error}") from None
    if not isinstance(result, dict) or not {"benchmark", "quick", "figures"} <= result.keys():
        raise IncomparableError(f"{path} is not what a benchmark printed with --json")
    return result


def table(name: str, changes: list[Change], threshold: float) -> harness.Table:
    """The changes of one benchmark."""
    rows = [
        [change.name, f"{change.old:.3g}", f"{change.new:.3g}", f"{change.ratio:.2f}", _verdict(change, threshold)]
        for change in changes
    ]
    return harness.Table(name, ["figure over its floor", "old", "new", "new / old", ""], rows)


def _verdict(change: Change, threshold: float) -> str:
    if not change.judged:
        return "not judged"
    return "WORSE" if change.ratio > threshold else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status as the module says."""
    parser = argparse.ArgumentParser(description="Has anything become slower? By ratios, not by absolute times.")
    parser.add_argument("old", type=pathlib.Path, help="a result, or a directory of results")
    parser.add_argument("new", type=pathlib.Path, help="the same of the new version")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"how much worse is too much ({THRESHOLD})")
    options = parser.parse_args(arguments)
    worse = compared = 0
    try:
        for old, new in pairs(options.old, options.new):
            try:
                changes = compare(old, new)
            except IncomparableError as error:
                print(f"not compared: {error}\n", file=sys.stderr)
                continue
            compared += 1
            worse += sum(change.judged and change.ratio > options.threshold for change in changes)
            print(harness._table_as_text(table(new["benchmark"], changes, options.threshold)) + "\n")
    except IncomparableError as error:
        print(f"not compared: {error}", file=sys.stderr)
        return INCOMPARABLE
    if not compared:
        return INCOMPARABLE
    print(f"{worse} of the judged figures became worse by more than {options.threshold:g} times.")
    return WORSE if worse else SAME


if __name__ == "__main__":
    sys.exit(main())
