"""``set_primary_metric()`` and ``summary()``."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import math
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pytest
from omegaconf import OmegaConf
from support import best, status, stopped_writer, summary, wait_until, warnings_in

# --- the primary metric ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["MAX", "Min", "", "best", None, 1, True])
def test_another_mode_raises(open_run, mode):
    """A mode other than ``"max"`` and ``"min"`` raises, naming it and both."""
    run = open_run()
    with pytest.raises(ValueError, match="mode=") as raised:
        run.set_primary_metric("acc", mode)
    assert all(repr_ in str(raised.value) for repr_ in (repr(mode), '"max"', '"min"'))


@pytest.mark.parametrize("name", [None, 5, b"acc", ["acc"]])
def test_a_metric_name_that_is_no_string_raises(open_run, name):
    """A metric is named by a string."""
    run = open_run()
    with pytest.raises(TypeError, match="metric_name=") as raised:
        run.set_primary_metric(name)
    assert repr(name) in str(raised.value)
    assert "string" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "value", "step"),
    [(("acc",), 0.9, 2), (("acc", "max"), 0.9, 2), (("acc", "min"), 0.1, 3)],
    ids=["default", "max", "min"],
)
def test_strictly_better_wins(open_run, arguments, value, step):
    """The best value is there by ``finish()``, and of equals the first stays; the default is ``"max"``."""
    run = open_run()
    run.set_primary_metric(*arguments)
    for each in (0.5, 0.9, 0.1, 0.9, 0.1):
        run.log(acc=each, other=5)
    run.finish()
    assert best(run) == ("acc", (*arguments, "max")[1], value, step)


def test_the_step_of_the_best_is_that_of_its_call(open_run):
    """An explicit step is stored as the best metric's step."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=1, step=100)
    run.log(acc=2, step=-7)
    run.finish()
    assert best(run) == ("acc", "max", 2, -7)


def test_what_is_no_number_is_never_the_best(open_run):
    """Strings and None are not compared; a bool is 0 or 1."""
    run = open_run()
    run.set_primary_metric("acc")
    for value in ("9", None, True, False):
        run.log(acc=value)
    run.finish()
    assert best(run) == ("acc", "max", 1, 3)


def test_there_is_no_best_without_a_value(open_run):
    """Where the metric was never logged nothing is said about it."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(loss=1)
    run.finish()
    assert best(run) == (None,) * 4


FORKED = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="family")
run.set_primary_metric("acc")
run.log(acc=0.5, step=1)
pid = os.fork()
if pid == 0:
    run.log(acc=0.9, step=2)
    run.log(acc=0.1, step=3)
    os._exit(0)
os.waitpid(pid, 0)
run.log(acc=0.7, step=4)
run.finish()
"""


def test_the_best_is_tracked_over_all_producers(run_program, storage):
    """A value that a forked child has logged is the best as well as one of the owner's."""
    run_program(FORKED)
    assert best(storage / "runs" / "default" / "family") == ("acc", "max", 0.9, 2)


@pytest.mark.detached_writer
def test_the_best_is_refreshed_while_running(open_run, monkeypatch):
    """``summary.json`` has the best metric of a live run, and a better one later."""
    monkeypatch.setenv("RUNICORN_SUMMARY_INTERVAL_S", "0.1")
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=0.5)
    wait_until(lambda: best(run) == ("acc", "max", 0.5, 1))
    run.log(acc=0.75)
    wait_until(lambda: best(run) == ("acc", "max", 0.75, 2))
    assert status(run)["status"] == "running"


@pytest.mark.detached_writer
def test_the_best_is_refreshed_no_more_often_than_that(open_run, monkeypatch):
    """However often it improves, ``summary.json`` is written once per interval, which is 5 s by default."""
    assert open_run()._session.address.settings.summary_interval_s == 5
    monkeypatch.setenv("RUNICORN_SUMMARY_INTERVAL_S", "0.4")
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=0)
    wait_until(lambda: best(run)[2] == 0)
    file, seen, began = run.run_dir / "summary.json", set(), time.monotonic()

    def look():
        run.log(acc=time.monotonic())
        seen.add(file.stat().st_mtime_ns)
        return len(seen) == 4

    wait_until(look)
    # The first was there before; one that was late may be followed by the next a tick sooner.
    assert time.monotonic() - began > 2 * 0.4


@pytest.mark.detached_writer
def test_set_late_it_counts_what_was_logged_before(open_run):
    """A metric that is set at the end counts from the first call on."""
    run = open_run()
    for value in (0.5, 0.9, math.nan, 0.1, 0.9):
        run.log({"acc": value, 'quo"ted/é': -value})
    wait_until(lambda: run._session.control.stored_records == 5)
    run.set_primary_metric("acc")
    run.finish()
    assert best(run) == ("acc", "max", 0.9, 2)


@pytest.mark.detached_writer
def test_set_again_the_best_is_that_of_the_new_metric(open_run):
    """Another metric, or another mode, is the best over the whole run, and nothing stays of the old one."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log({"acc": 0.9, 'lo"ss/é': 5})
    run.log({"acc": 0.1, 'lo"ss/é': 7})
    run.set_primary_metric("acc", "min")
    run.log({"acc": 0.5, 'lo"ss/é': 6})
    wait_until(lambda: best(run) == ("acc", "min", 0.1, 2))
    run.set_primary_metric('lo"ss/é')
    run.finish()
    assert best(run) == ('lo"ss/é', "max", 7, 2)


def test_set_again_to_one_that_was_never_logged(open_run):
    """The old metric's best does not stand under the new one's name, nor under its own."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=0.9)
    run.set_primary_metric("never")
    run.finish()
    assert best(run) == (None,) * 4


def test_set_late_in_a_resumed_run_it_counts_the_earlier_session(open_run):
    """The whole run is what is in ``events.jsonl``, whoever wrote it."""
    run = open_run()
    run.log(acc=0.9)
    run.finish()
    run = open_run(run_id=run.id)
    run.log(acc=0.5)
    run.set_primary_metric("acc")
    run.finish()
    assert best(run) == ("acc", "max", 0.9, 1)


# --- the summary ----------------------------------------------------------------------------------------------


def test_a_summary_is_merged_in_call_order(open_run):
    """Fields are merged shallowly: a later one replaces an earlier one, dicts are not merged into each other."""
    run = open_run()
    run.summary({"a": 1, "b": {"x": 1}, "c": 1})
    run.summary({"b": {"y": 2}, "c": 2})
    run.summary({"c": 3})
    run.finish()
    assert summary(run) == {"a": 1, "b": {"y": 2}, "c": 3}


FAMILY = """
import os, sys
import runicorn as rn
from support import stopped_writer
run = rn.init(storage=sys.argv[1], run_id="family")
run.log(a=1)
with stopped_writer(run):  # all of it lies in the spool at once
    run.summary({"who": "owner", "owner": 1})
    pid = os.fork()
    if pid == 0:
        run.summary({"who": "child", "child": 1})
        os._exit(0)
    os.waitpid(pid, 0)
    if sys.argv[2] == "owner":
        run.summary({"who": "owner again"})
run.finish()
"""


@pytest.mark.parametrize(("last", "who"), [("child", "child"), ("owner", "owner again")])
def test_a_summary_is_merged_in_call_order_over_all_producers(run_program, storage, last, who):
    """What was called later wins, in whichever process it was called."""
    run_program(FAMILY, last)
    assert summary(storage / "runs" / "default" / "family") == {"who": who, "owner": 1, "child": 1}


def test_threads_lose_no_field(open_run):
    """Fields of several threads all arrive."""
    run = open_run()
    threads = [
        threading.Thread(target=lambda at=at: [run.summary({f"{at}.{n}": n}) for n in range(50)]) for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    assert summary(run) == {f"{at}.{n}": n for at in range(8) for n in range(50)}


@pytest.mark.detached_writer
def test_a_summary_is_stored_while_running(open_run):
    """A field can be read before ``finish()``."""
    run = open_run()
    run.summary({"a": 1})
    wait_until(lambda: summary(run) == {"a": 1})


class Colour(enum.Enum):
    """An enum with a value that JSON has."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A dataclass with another one inside."""

    x: int
    inner: object = None


class Pair(NamedTuple):
    """A tuple with names."""

    a: int
    b: int


FIELDS = [
    (1, 1),
    (0.1, 0.1),
    (True, True),
    (None, None),
    ("text", "text"),
    ("sur\udc80", "sur\\udc80"),
    ([1, [2, "x"]], [1, [2, "x"]]),
    ((1, 2), [1, 2]),
    (Pair(1, 2), [1, 2]),
    ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    (collections.OrderedDict(a=1), {"a": 1}),
    ({1: "a"}, {"1": "a"}),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7),
    (np.bool_(True), True),
    (np.array(1.5), 1.5),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([1.0, np.nan]), [1.0, "NaN"]),
    (Path("/a/b"), "/a/b"),
    (PurePosixPath("c"), "c"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
        "2026-01-02T03:04:05+00:00",
    ),
    (Colour.RED, "red"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset(["a"]), ["a"]),
    (set(), []),
    (Point(1, Point(2)), {"x": 1, "inner": {"x": 2, "inner": None}}),
    (math.nan, "NaN"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
    ([np.float64("inf")], ["Infinity"]),
    ([Path("a"), Colour.RED, {2, 1}], ["a", "red", [1, 2]]),
    (np.longdouble(0.5), 0.5),
    (np.array([0.5], dtype=np.longdouble), [0.5]),
    (collections.UserString("text"), "text"),
]


def test_a_field_is_stored_as_json_has_it(open_run, caplog):
    """Each kind of value that is promised is stored, at the top and inside others."""
    run = open_run()
    for number, (value, _) in enumerate(FIELDS):
        run.summary({f"field {number}": value, f"inner {number}": {"list": [value]}})
    run.finish()
    found = summary(run)
    for number, (_, stored) in enumerate(FIELDS):
        assert found[f"field {number}"] == stored
        assert type(found[f"field {number}"]) is type(stored)
        assert found[f"inner {number}"] == {"list": [stored]}
    assert len(found) == 2 * len(FIELDS)
    assert warnings_in(caplog) == []


REFUSED = pytest.mark.parametrize(
    "value",
    [object(), 1 + 2j, len, b"bytes", threading.Lock(), Decimal("1e400"), np.clongdouble(1j)],
    ids=lambda value: type(value).__name__,
)


@REFUSED
def test_another_field_is_refused_by_its_key_path(open_run, caplog, value):
    """Anything else is refused with its key path; the rest, beside it and above it, is stored."""
    run = open_run()
    run.summary({"a": {"b": [1, {"bad": value, "good": 2}]}, "c": 3})
    run.finish()
    (message,) = warnings_in(caplog)
    assert "a.b.1.bad" in message
    assert type(value).__name__ in message
    assert "Convert" in message or "Write" in message
    assert summary(run) == {"a": {"b": [1, {"good": 2}]}, "c": 3}


@REFUSED
@pytest.mark.usefixtures("strict")
def test_another_field_raises_when_strict(open_run, value):
    """Anything else raises ``TypeError`` with its key path when strict."""
    run = open_run()
    with pytest.raises(TypeError, match=r"a\.bad"):
        run.summary({"a": {"bad": value}})


def test_a_field_that_contains_itself_is_refused(open_run, caplog):
    """An endless value ends in a refusal, and the rest is stored."""
    run = open_run()
    endless = {"good": 1}
    endless["again"] = endless
    run.summary({"endless": endless, "rest": 2})
    run.finish()
    assert any("endless.again" in message for message in warnings_in(caplog))
    assert summary(run)["rest"] == 2


@pytest.mark.parametrize("update", [5, "text", [1, 2], object()], ids=lambda value: type(value).__name__)
def test_an_update_that_is_no_mapping_is_refused(open_run, caplog, update):
    """``summary()`` takes a mapping."""
    run = open_run()
    run.summary(update)
    run.finish()
    (message,) = warnings_in(caplog)
    assert "update" in message
    assert "dict" in message
    assert summary(run) == {}


@pytest.mark.usefixtures("strict")
def test_an_update_that_is_no_mapping_raises_when_strict(open_run):
    """The same raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="update"):
        run.summary(5)


@pytest.mark.detached_writer
def test_what_becomes_of_the_update_later_changes_nothing(open_run):
    """The caller's dict is stored as it was at the call."""
    run = open_run()
    update = {"inner": {"a": [1]}}
    with stopped_writer(run):
        run.summary(update)
        update["inner"]["a"].append(2)
    run.finish()
    assert summary(run) == {"inner": {"a": [1]}}


class Hostile:
    """Raises whatever it is asked."""

    def trouble(self, *_):
        raise RuntimeError("trouble")

    __str__ = __repr__ = __getattr__ = __getitem__ = __len__ = __iter__ = __float__ = keys = trouble


class HostileFloat(float):
    """A number that cannot be had."""

    def __float__(self):
        raise RuntimeError("trouble")


class HostileDict(dict):
    """A dict that raises when it is read."""

    def items(self):
        raise RuntimeError("trouble")


class HalfReadable(collections.UserDict):
    """A mapping of which one value cannot be read."""

    def __getitem__(self, key):
        if key == "bad":
            raise RuntimeError("trouble")
        return super().__getitem__(key)


@pytest.mark.parametrize(
    "value",
    [10**400, Fraction(10**400), Hostile(), HostileFloat(1), HostileDict(a=1), collections.OrderedDict, iter([1])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_no_value_raises_out_of_summary(open_run, caplog, monkeypatch, value, strict):
    """It is refused with its key path, which strict raises, and the rest is stored."""
    if strict:
        monkeypatch.setenv("RUNICORN_STRICT", "1")
    run = open_run()
    if strict:
        with pytest.raises(TypeError, match=r"summary\(\): the value at 'in\.0\.bad'"):
            run.summary({"in": [{"bad": value}]})
    else:
        run.summary({"in": [{"bad": value, "good": 1}], "rest": 2})
        run.finish()
        assert summary(run) == {"in": [{"good": 1}], "rest": 2}
        (message,) = warnings_in(caplog)
        assert "summary(): the value at 'in.0.bad'" in message


def test_a_key_that_cannot_be_had_is_refused(open_run, caplog):
    """Keys too may raise when they are looked at; other text types are text."""
    run = open_run()
    run.summary({Hostile(): 1, 10**5000: 2, ("a", 1): 3, np.str_("good"): 4, "\udc80": 5})
    run.finish()
    assert summary(run) == {"good": 4, "\\udc80": 5}
    assert len(warnings_in(caplog)) == 3


def test_cycles_of_any_kind_are_refused_at_once(open_run):
    """Through lists, empty keys and two ways at once, which would be endless to follow."""
    run = open_run()
    endless = {"good": 1, "list": []}
    endless.update({"a": endless, "b": endless, "": endless})
    endless["list"].append(endless)
    run.summary({"endless": endless})
    run.finish()
    assert summary(run) == {"endless": {"good": 1, "list": []}}


def test_what_is_wide_and_deep_at_once_ends(open_run, caplog, monkeypatch):
    """A list that stands twice in itself, sixty times over, has more elements than there is time for."""
    monkeypatch.setattr("runicorn.validation.json_values._MOST_VALUES", 20_000)
    run = open_run()
    value = []
    for _ in range(60):
        value = [value, value]
    run.summary({"value": value, "good": 1})
    run.finish()
    assert summary(run)["good"] == 1
    assert warnings_in(caplog)


def test_a_mapping_that_is_no_dict_is_taken_by_its_items(open_run, caplog):
    """At the top and below; an element that cannot be read is refused, and not all beside it."""
    run = open_run()
    tree = OmegaConf.create({"a": 1, "list": [1, 2], "bad": "${nope}"})
    run.summary(tree)
    run.summary({"in": tree, "chain": collections.ChainMap({"x": 1}), "half": HalfReadable(good=1, bad=2)})
    run.summary(HalfReadable(top=1, bad=2))
    run.finish()
    stored = {"a": 1, "list": [1, 2]}
    assert summary(run) == {**stored, "in": stored, "chain": {"x": 1}, "half": {"good": 1}, "top": 1}
    assert {"'bad'", "'in.bad'", "'half.bad'"} == {message.split()[4] for message in warnings_in(caplog)}


def test_a_summary_at_the_bottom_of_a_recursion_does_not_raise(open_run):
    """The program's own frames leave it no room for its own."""
    run = open_run()

    def descend(frames):
        if frames:
            return descend(frames - 1)
        return run.summary({"deep": functools.reduce(lambda inner, _: {"in": inner}, range(90), 1)})

    depth = 0
    frame = sys._getframe()
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    descend(sys.getrecursionlimit() - depth - 80)
    run.summary({"rest": 1})
    run.finish()
    assert summary(run)["rest"] == 1


def test_results_are_not_masked(open_run):
    """A summary is what the user has found, whatever its fields are called."""
    run = open_run()
    run.summary({"token": "abc", "password": "x"})
    run.finish()
    assert summary(run) == {"token": "abc", "password": "x"}
