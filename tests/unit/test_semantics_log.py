"""``log()``: names, values, steps, stages, time."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import linecache
import math
import sys
import threading
import time
import types
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import best, events, logged, status, steps, warnings_in

pytestmark = pytest.mark.usefixtures("each_way")
HIGHEST, LOWEST = 2**63 - 1, -(2**63)


class Scalar:
    """A number on a device: what torch and JAX make of one element."""

    def __init__(self, number):
        self._number = number
        self.shape = ()

    def item(self):
        """Copy the number to the host."""
        return self._number

    def __repr__(self):
        return f"Scalar({self._number})"


class EagerScalar:
    """The same as TensorFlow has it."""

    def __init__(self, number):
        self._number = number

    def numpy(self):
        """Copy the number to the host."""
        return np.float32(self._number)

    def __repr__(self):
        return f"EagerScalar({self._number})"


class Level(enum.IntEnum):
    """An int by another name."""

    HIGH = 3


class Word(str):
    """A string by another name."""

    __slots__ = ()


class Index:
    """Something that can be an index."""

    def __index__(self):
        return 12


# --- the call -----------------------------------------------------------------------------------------


def test_a_line_is_as_in_0_7_2(open_run):
    """A line holds ``ts``, ``type`` and ``data``, which ends with step, time and stage."""
    run = open_run()
    run.log({"loss": 0.5, "acc": 1}, step=3, stage="train")
    run.finish()
    (line,) = events(run)
    assert list(line) == ["ts", "type", "data"]
    assert line["type"] == "metrics"
    assert list(line["data"]) == ["loss", "acc", "global_step", "time", "stage"]
    assert line["data"]["time"] == line["ts"]


class Chosen(collections.abc.Mapping):
    """A mapping that is no dict."""

    def __getitem__(self, name):
        return {"a": 1, "b": 2}[name]

    def __iter__(self):
        return iter("ab")

    def __len__(self):
        return 2


@pytest.mark.parametrize(
    "data",
    [
        {"a": 1, "b": 2},
        collections.OrderedDict(a=1, b=2),
        collections.defaultdict(int, a=1, b=2),
        collections.UserDict(a=1, b=2),
        collections.ChainMap({"a": 1}, {"b": 2}),
        types.MappingProxyType({"a": 1, "b": 2}),
        Chosen(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_data_is_any_mapping_and_keywords_win(open_run, caplog, data):
    """Data of any mapping type and keyword metrics are merged, and keywords win."""
    run = open_run()
    run.log(data)
    run.log(data, b=3, c=4)
    run.finish()
    assert logged(run) == [{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]
    assert warnings_in(caplog) == []


def test_data_may_be_none(open_run):
    """Keyword metrics need no data."""
    run = open_run()
    run.log(None, a=1)
    run.log(a=2)
    run.finish()
    assert logged(run) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("data", [5, "loss", [1, 2], object()], ids=lambda data: type(data).__name__)
def test_data_that_is_no_mapping_is_refused(open_run, caplog, data):
    """Other data is refused with what to write; keyword metrics of the call are stored."""
    run = open_run()
    run.log(data, a=1)
    run.finish()
    (message,) = warnings_in(caplog)
    assert "data" in message
    assert "dict" in message
    assert logged(run) == [{"a": 1}]


@pytest.mark.usefixtures("strict")
def test_data_that_is_no_mapping_raises_when_strict(open_run):
    """The same raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="data"):
        run.log(5)


def test_a_call_with_nothing_advances_the_step_and_writes_no_line(open_run, caplog):
    """``log()``, ``log({})`` and ``log(None)`` count, a step that is given is the counter, and no line is written."""
    run = open_run()
    run.log()
    run.log({})
    run.log(None)
    run.log(a=1)
    run.log({}, step=9)
    run.log(stage="alone")
    run.log(wall_time=5)
    run.log(a=2)
    run.finish()
    assert logged(run) == [{"a": 1}, {"a": 2}]
    assert steps(run) == [4, 12]
    assert warnings_in(caplog) == []


def test_a_call_whose_every_value_was_refused_writes_no_line(open_run, caplog):
    """What is left of such a call is no record."""
    run = open_run()
    run.log({"bad": [1, 2]})
    run.log(bad=object())
    run.log({"outer": {"bad": [1, 2]}, "empty": {}})
    run.log({5: 1}, wall_time=7)
    run.log(5)
    run.finish()
    assert events(run) == []
    assert len(warnings_in(caplog)) == 4


def test_a_call_with_nothing_after_the_end_is_refused(open_run, caplog):
    """After ``finish()`` it warns as every other call, and writes nothing."""
    run = open_run()
    run.finish()
    run.log()
    assert "after" in warnings_in(caplog)[0]
    assert events(run) == []


def test_the_second_positional_argument_is_the_step(open_run, caplog):
    """``log(data, 3)`` is ``log(data, step=3)``, told once."""
    run = open_run()
    run.log({"a": 1}, 3)
    run.log({"a": 2}, 7)
    run.log({"a": 3}, np.int64(8), stage="s")
    run.log({"a": 4}, None)
    run.finish()
    (message,) = warnings_in(caplog)
    assert "step=" in message
    assert steps(run) == [3, 7, 8, 9]
    assert events(run)[2]["data"]["stage"] == "s"


def test_more_positional_arguments_are_refused_and_the_metrics_stored(open_run, caplog):
    """What is one too many is left out with one warning, a step by name wins, and nothing is raised."""
    run = open_run()
    run.log({"a": 1}, 3, "train")
    run.log({"a": 2}, 4, step=5)
    run.log({"a": 3}, "x", 1, 2)
    run.finish()
    first, second = warnings_in(caplog)
    assert "step=" in first
    assert "'x'" in second
    assert steps(run) == [3, 5, 6]


@pytest.mark.usefixtures("strict")
def test_more_positional_arguments_raise_when_strict(open_run):
    """The same raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="position"):
        run.log({"a": 1}, 3, "train")


def test_any_name_may_be_a_keyword(open_run):
    """A metric may be called ``self``."""
    run = open_run()
    run.log(self=1)
    run.finish()
    assert logged(run) == [{"self": 1}]


def test_what_becomes_of_the_dict_later_changes_nothing(open_run):
    """The caller's dict is neither kept nor changed."""
    run = open_run()
    data = {"loss": 1.5, "stage": "train"}
    run.log(data)
    assert data == {"loss": 1.5, "stage": "train"}
    data["loss"] = 99.0
    run.finish()
    assert logged(run) == [{"loss": 1.5}]


# --- names -----------------------------------------------------------------------------------------------


def test_a_name_is_any_string(open_run, caplog):
    """Any non-empty string names a metric."""
    names = ["train/loss", "a b", "准确率", "😀", 'quo"te', "back\\slash", "new\nline", "\0", "ts", "x" * 10_000]
    run = open_run()
    calls = [{name: number} for name in names for number in (1, 2)]
    for data in calls:
        run.log(data)
    run.finish()
    assert logged(run) == calls
    assert warnings_in(caplog) == []


def test_a_string_of_a_subclass_is_a_name(open_run):
    """A ``str`` subclass names a metric as its text."""
    run = open_run()
    run.log({Word("loss"): 1, np.str_("acc"): 2})
    run.finish()
    assert logged(run) == [{"loss": 1, "acc": 2}]


@pytest.mark.parametrize("name", [1, None, ("a", 1), 2.5, b"loss", True], ids=repr)
def test_another_key_is_refused(open_run, caplog, name):
    """A key that is no string is refused, naming it; the other metrics of the call are stored."""
    run = open_run()
    run.log({name: 1, "good": 2})
    run.finish()
    (message,) = warnings_in(caplog)
    assert repr(name) in message
    assert "string" in message
    assert logged(run) == [{"good": 2}]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", [1, None, ("a", 1), 2.5, b"loss"], ids=repr)
def test_another_key_raises_when_strict(open_run, name):
    """A key that is no string raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="name"):
        run.log({name: 1})


def test_an_empty_name_is_refused(open_run, caplog):
    """The empty string names nothing."""
    run = open_run()
    run.log({"": 1, "good": 2})
    run.finish()
    (message,) = warnings_in(caplog)
    assert "empty" in message
    assert logged(run) == [{"good": 2}]


@pytest.mark.usefixtures("strict")
def test_an_empty_name_raises_when_strict(open_run):
    """The empty string raises when strict."""
    run = open_run()
    with pytest.raises(ValueError, match="empty"):
        run.log({"": 1})


@pytest.mark.parametrize("strictly", [False, True])
@pytest.mark.parametrize("name", ["step", "global_step", "time"])
def test_a_reserved_name_gets_a_mark_behind_it(open_run, caplog, monkeypatch, name, strictly):
    """A metric called ``step``, ``global_step`` or ``time`` is stored under that name and ``_``, told once."""
    monkeypatch.setenv("RUNICORN_STRICT", str(int(strictly)))
    run = open_run()
    for number in (1, 2):
        run.log({name: 77, "loss": number})
    run.finish()
    (message,) = warnings_in(caplog)
    assert f"'{name}_'" in message
    assert logged(run) == [{f"{name}_": 77, "loss": 1}, {f"{name}_": 77, "loss": 2}]
    assert steps(run) == [1, 2]
    assert events(run)[0]["data"]["time"] > 77


@pytest.mark.parametrize("name", ["global_step", "time"])
def test_a_reserved_keyword_gets_a_mark_behind_it(open_run, caplog, name):
    """The same holds for a keyword metric."""
    run = open_run()
    run.log(**{name: 77}, loss=1)
    run.finish()
    assert len(warnings_in(caplog)) == 1
    assert logged(run) == [{f"{name}_": 77, "loss": 1}]
    assert steps(run) == [1]


@pytest.mark.parametrize("data", [{"time": 1, "time_": 2, "time__": 3}, {"time_": 2, "time__": 3, "time": 1}])
def test_a_reserved_name_never_takes_the_place_of_another(open_run, data):
    """Where the program has a ``time_`` of its own, ``time`` gets another mark."""
    run = open_run()
    run.log(data)
    run.finish()
    assert logged(run) == [{"time_": 2, "time__": 3, "time___": 1}]


# --- nested data ---------------------------------------------------------------------------------------


class Proxy:
    """A mapping of another process: it has keys, and is no ``Mapping``."""

    def keys(self):
        """Its names."""
        return ["a"]

    def __getitem__(self, name):
        return {"a": 1}[name]


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        ({"train": {"loss": 1}}, {"train/loss": 1}),
        ({"a": {"b": {"c": {"d": 1.5}}}, "e": 2}, {"a/b/c/d": 1.5, "e": 2}),
        ({"m": Chosen(), "x": types.MappingProxyType({"y": np.float32(2)})}, {"m/a": 1, "m/b": 2, "x/y": 2.0}),
        ({"m": collections.UserDict(a=collections.ChainMap({"b": 1}))}, {"m/a/b": 1}),
        ({"far": Proxy()}, {"far/a": 1}),
        ({"train": {"time": 1, "step": 2, "stage": 3}}, {"train/time": 1, "train/step": 2, "train/stage": 3}),
        ({"time": {"fit": 1}, "step": {}}, {"time_/fit": 1}),
        ({"empty": {}, "none": {"x": None}}, {"none/x": None}),
        ({"a": {Word("b"): True}}, {"a/b": True}),
    ],
)
def test_nested_mappings_are_flattened(open_run, data, stored):
    """Any mapping at any depth becomes metrics whose names are joined with ``/``."""
    run = open_run()
    run.log(data)
    run.log(**data)
    run.log(data, wall_time=5)
    run.finish()
    assert logged(run) == [stored] * 3


def test_what_is_wrong_inside_a_nested_mapping_is_refused_alone(open_run, caplog):
    """A list, a name that is no string and an empty one are refused by their full name, the rest is stored."""
    run = open_run()
    run.log({"a": {"list": [1, 2], 5: 1, "": 2, "good": 3}})
    run.finish()
    messages = warnings_in(caplog)
    assert len(messages) == 3
    assert any("'a/list'" in message for message in messages)
    assert logged(run) == [{"a/good": 3}]


def test_a_mapping_that_contains_itself_is_refused_and_the_rest_stored(open_run, caplog):
    """A cycle, or more levels than anybody means, is refused once and ends."""
    cycle: dict = {"x": 1}
    cycle["me"] = {"again": cycle}
    deep: dict = {"end": 1}
    for _ in range(5000):
        deep = {"d": deep}
    wide: dict = {"leaf": 1}
    for _ in range(30):
        wide = {"l": wide, "r": wide}
    run = open_run()
    run.log({"cycle": cycle, "good": 1})
    run.log({"deep": deep, "good": 2})
    run.log({"wide": wide, "good": 3})
    run.finish()
    assert len(warnings_in(caplog)) == 1
    first, second, third = logged(run)
    assert first == {"cycle/x": 1, "good": 1}
    assert second == {"good": 2}
    assert third["good"] == 3


def test_a_name_that_is_given_twice_has_the_nested_value(open_run, caplog):
    """``a/b`` and ``{"a": {"b": ...}}`` in one call are told."""
    run = open_run()
    run.log({"a/b": 1, "a": {"b": 2}})
    run.finish()
    assert "'a/b'" in warnings_in(caplog)[0]
    assert logged(run) == [{"a/b": 2}]


# --- values ------------------------------------------------------------------------------------------------


ONE_NUMBER = [
    (7, 7),
    (0.1, 0.1),
    (1e308, 1e308),
    (5e-324, 5e-324),
    (-0.0, -0.0),
    (HIGHEST, HIGHEST),
    (LOWEST, LOWEST),
    (True, True),
    (False, False),
    (None, None),
    ("hello", "hello"),
    ("", ""),
    ("null", "null"),
    (np.float16(0.5), 0.5),
    (np.float32(0.1), float(np.float32(0.1))),
    (np.float64(0.1), 0.1),
    (np.longdouble(0.5), 0.5),
    (np.int8(-3), -3),
    (np.int64(LOWEST), LOWEST),
    (np.uint8(200), 200),
    (np.bool_(True), True),
    (np.array(1.5), 1.5),
    (np.array(4), 4),
    (np.array(False), False),
    (np.array([2.5]), 2.5),
    (np.array([[3]]), 3),
    (Decimal("1.25"), 1.25),
    (Fraction(1, 4), 0.25),
    (Scalar(4.5), 4.5),
    (Scalar(4), 4),
    (Scalar(True), True),
    (EagerScalar(0.5), 0.5),
    (Level.HIGH, 3),
    (Word("word"), "word"),
    (np.str_("text"), "text"),
]


def test_a_value_is_one_number(open_run, caplog):
    """Whatever carries one number is stored as that number, of the type that JSON has for it."""
    run = open_run()
    for value, _ in ONE_NUMBER:
        run.log(metric=value, beside=1)
    run.finish()
    for (value, stored), data in zip(ONE_NUMBER, logged(run), strict=True):
        assert data == {"metric": stored, "beside": 1}, value
        assert type(data["metric"]) is type(stored), value
        assert math.copysign(1, data["metric"]) == math.copysign(1, stored) if stored == 0 else True
    assert not any("nonfinite" in line for line in events(run))
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("value", [HIGHEST + 1, LOWEST - 1, 10**30, np.uint64(2**64 - 1)], ids=str)
def test_an_int_outside_64_bit_becomes_a_float(open_run, caplog, value):
    """It is stored as the nearest float, and one warning names the metric."""
    run = open_run()
    run.log(big=value)
    run.finish()
    (message,) = warnings_in(caplog)
    assert "'big'" in message
    assert str(int(value)) in message
    assert "float" in message
    (data,) = logged(run)
    assert data == {"big": float(value)}
    assert type(data["big"]) is float


@pytest.mark.usefixtures("strict")
def test_an_int_outside_64_bit_is_a_warning_even_when_strict(open_run, caplog):
    """It is a warning and no refusal: nothing raises, the value is stored."""
    run = open_run()
    run.log(big=2**64)
    run.finish()
    assert len(warnings_in(caplog)) == 1
    assert logged(run) == [{"big": 2.0**64}]


NOT_ONE_NUMBER = [
    [1, 2],
    [1],
    (1,),
    {7},
    {1, 2},
    np.array([1, 2]),
    np.array([[1.0], [2.0]]),
    np.array([]),
    dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
    dt.date(2026, 1, 2),
    dt.timedelta(seconds=5),
    np.datetime64("2026-01-02"),
    np.datetime64("2026-01-02", "ns"),
    1 + 2j,
    np.complex64(1),
    b"1.5",
    bytearray(b"1.5"),
    np.bytes_(b"1.5"),
    object(),
    len,
]


@pytest.mark.parametrize("value", NOT_ONE_NUMBER, ids=lambda value: f"{type(value).__name__}-{value!s:.20}")
def test_what_is_not_one_number_is_refused(open_run, caplog, value):
    """Anything else is refused, naming the metric and its type; the other metrics are stored."""
    run = open_run()
    run.log({"before": 1, "bad": value, "after": 2}, step=5, stage="s")
    run.finish()
    (message,) = warnings_in(caplog)
    assert "'bad'" in message
    assert type(value).__name__ in message
    assert "log a mean" in message or "Write" in message
    assert logged(run) == [{"before": 1, "after": 2}]
    assert steps(run) == [5]


@pytest.mark.usefixtures("strict")
def test_what_is_not_one_number_raises_when_strict(open_run):
    """The same raises ``TypeError`` that names the metric when strict."""
    run = open_run()
    for value in NOT_ONE_NUMBER:
        with pytest.raises(TypeError, match="'bad'"):
            run.log({"bad": value})


def test_lone_surrogates_are_escaped(open_run, caplog):
    """A lone surrogate in a name, a string or a stage is written as its escape, every time."""
    run = open_run()
    for _ in range(2):
        run.log({"na\udc80me": 1, "text": "x\ud800", "fine": "é"}, stage="\udfff")
    run.finish()
    assert logged(run) == [{"na\\udc80me": 1, "text": "x\\ud800", "fine": "é"}] * 2
    assert [line["data"]["stage"] for line in events(run)] == ["\\udfff"] * 2
    assert warnings_in(caplog) == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (np.float32("nan"), "NaN"),
        (np.array([-np.inf]), "-Infinity"),
        (Scalar(math.inf), "Infinity"),
        (Decimal("NaN"), "NaN"),
    ],
    ids=str,
)
def test_a_value_that_is_not_finite_is_kept_beside_the_data(open_run, value, name):
    """It is ``null`` in ``data`` and named in ``nonfinite`` beside it, in a line of valid JSON."""
    run = open_run()
    run.log({"loss": value, "none": None, "acc": 1.0})
    run.log({"loss": 1.0, "none": None})
    run.finish()
    first, second = events(run)
    assert first["data"]["loss"] is None
    assert first["data"]["acc"] == 1.0
    assert first["nonfinite"] == {"loss": name}
    assert "nonfinite" not in second


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_value_that_is_not_finite_is_never_the_best(open_run, mode):
    """NaN and the infinities, first or last, do not become the best metric."""
    run = open_run()
    run.set_primary_metric("loss", mode)
    for value in (math.nan, math.inf, 0.5, -math.inf, math.nan):
        run.log(loss=value)
    run.finish()
    assert best(run) == ("loss", mode, 0.5, 3)


NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name not in {"step", "global_step", "time", "stage"})
VALUES = st.one_of(
    st.floats(),
    st.integers(LOWEST, HIGHEST),
    st.booleans(),
    st.none(),
    st.text(max_size=20),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.dictionaries(NAMES, VALUES, max_size=8), min_size=1, max_size=40))
def test_whatever_is_logged_comes_back(open_run, calls):
    """Any names and values come back exactly as they went in, in the order of the calls."""
    run = open_run()
    for data in calls:
        run.log(data)
    run.finish()
    names = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    for line, data in zip(events(run), filter(None, calls), strict=True):
        found = {name: line["data"][name] for name in data}
        found |= {name: names[text] for name, text in line.get("nonfinite", {}).items()}
        assert repr(found) == repr(data)


# --- the stage -----------------------------------------------------------------------------------------------


def test_a_stage_is_stored_as_a_string(open_run, caplog):
    """A stage is a string or an int, by argument or in data, is stored as a string, and is that of its call alone."""
    run = open_run()
    for stage in ("epoch_1", "", 3, Word("w"), Level.HIGH):
        run.log(loss=1, stage=stage)
        run.log({"loss": 1, "stage": stage})
        run.log(loss=2)
    run.finish()
    stored = [line["data"].get("stage") for line in events(run)]
    assert stored == [each for stage in ("epoch_1", "", "3", "w", "3") for each in (stage, stage, None)]
    assert all("stage" not in line["data"] for line in events(run)[2::3])
    assert warnings_in(caplog) == []


def test_no_stage_is_stored_for_none(open_run, caplog):
    """None is no stage, by argument or in data."""
    run = open_run()
    run.log(loss=1, stage=None)
    run.log({"loss": 1, "stage": None})
    run.finish()
    assert ["stage" in line["data"] for line in events(run)] == [False, False]
    assert warnings_in(caplog) == []


def test_the_stage_argument_wins_over_data(open_run):
    """``stage`` in data is the stage unless the argument is given."""
    run = open_run()
    run.log({"loss": 1, "stage": "data"}, stage="argument")
    run.finish()
    assert events(run)[0]["data"]["stage"] == "argument"


@pytest.mark.parametrize("stage", [2.5, ["a"], {"a": 1}, b"a", object()], ids=lambda v: type(v).__name__)
def test_another_stage_is_refused(open_run, caplog, stage):
    """Anything else is refused, naming it; the metrics are stored."""
    run = open_run()
    run.log(loss=1, stage=stage)
    run.finish()
    (message,) = warnings_in(caplog)
    assert f"stage={stage!r}" in message
    assert "string" in message
    assert logged(run) == [{"loss": 1}]
    assert "stage" not in events(run)[0]["data"]


@pytest.mark.usefixtures("strict")
def test_another_stage_raises_when_strict(open_run):
    """Anything else raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="stage"):
        run.log(loss=1, stage=2.5)


# --- the step ---------------------------------------------------------------------------------------------------


WHOLE_NUMBERS = [
    (0, 0),
    (10, 10),
    (-3, -3),
    (7.0, 7),
    (-2.0, -2),
    (np.int64(9), 9),
    (np.uint8(9), 9),
    (np.float32(9.0), 9),
    (np.float64(-4.0), -4),
    (np.array(4), 4),
    (Index(), 12),
    (True, 1),
    (HIGHEST - 1, HIGHEST - 1),
    (LOWEST, LOWEST),
]


def test_a_step_is_a_whole_number_and_becomes_the_counter(open_run, caplog):
    """Anything with ``__index__`` and an integral float is a step, and the auto step goes on after it."""
    run = open_run()
    for step, _ in WHOLE_NUMBERS:
        run.log(a=1, step=step)
        run.log(a=2)
    run.finish()
    assert steps(run) == [each for _, stored in WHOLE_NUMBERS for each in (stored, stored + 1)]
    assert warnings_in(caplog) == []


WRONG_STEPS = [
    2.9,
    np.float32(9.7),
    math.nan,
    math.inf,
    1e300,
    "7",
    "abc",
    b"7",
    [1],
    HIGHEST + 1,
    LOWEST - 1,
    2**70,
    object(),
]


@pytest.mark.parametrize("step", WRONG_STEPS, ids=lambda value: f"{type(value).__name__}-{value!s:.20}")
def test_another_step_is_refused_and_the_auto_step_used(open_run, caplog, step):
    """Anything else is refused, naming it; the metrics are stored at the next step."""
    run = open_run()
    run.log(a=1, step=4)
    run.log(a=2, step=step)
    run.log(a=3)
    run.finish()
    (message,) = warnings_in(caplog)
    assert f"step={step!r}" in message
    assert "int" in message
    assert steps(run) == [4, 5, 6]
    assert logged(run) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.usefixtures("strict")
def test_another_step_raises_when_strict(open_run):
    """Anything else raises when strict."""
    run = open_run()
    for step in WRONG_STEPS:
        with pytest.raises((TypeError, ValueError), match="step="):
            run.log(a=1, step=step)


def test_the_first_auto_step_is_1(open_run):
    """The auto step is the counter and 1, and becomes the counter."""
    run = open_run()
    assert run.global_step == 0
    for _ in range(3):
        run.log(a=1)
    assert run.global_step == 3
    run.finish()
    assert steps(run) == [1, 2, 3]


def test_backward_steps_are_stored_as_given(open_run):
    """A step before the last one is stored, and the counter follows it."""
    run = open_run()
    for step in (11, 5, None, -3, None, 0, None):
        run.log(a=1, step=step)
    run.finish()
    assert steps(run) == [11, 5, 6, -3, -2, 0, 1]


def test_nothing_breaks_after_the_highest_step(open_run):
    """After step 2**63 - 1 there is no next one: what follows is stored within the range."""
    run = open_run()
    run.log(a=1, step=HIGHEST)
    run.log(a=2)
    run.log(a=3)
    run.finish()
    assert [data["a"] for data in logged(run)] == [1, 2, 3]
    assert all(LOWEST <= step <= HIGHEST for step in steps(run))
    assert status(run)["status"] == "finished"


def test_auto_steps_of_threads_are_unique_and_without_gaps(open_run):
    """Eight threads at the shortest switch interval draw each step once."""
    run = open_run()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [run.log(a=1) for _ in range(1000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    run.finish()
    assert sorted(steps(run)) == list(range(1, 8001))


# --- time, and several calls of one step --------------------------------------------------------------------------


def test_the_time_is_that_of_the_call(open_run):
    """``time`` and ``ts`` are the wall clock at the call."""
    run = open_run()
    spans = []
    for _ in range(20):
        before = time.time()
        run.log(a=1)
        spans.append((before, time.time()))
    run.finish()
    for line, (before, after) in zip(events(run), spans, strict=True):
        assert before <= line["ts"] <= after
        assert line["data"]["time"] == line["ts"]


@pytest.mark.parametrize("when", [5, 1.7e9, np.float64(12.5), np.array(7), Decimal("1.5"), Fraction(1, 2), 0])
def test_wall_time_sets_the_time_of_the_record(open_run, caplog, when):
    """Any number of seconds since 1970 is the ``time`` and ``ts`` of its record alone."""
    run = open_run()
    before = time.time()
    run.log({"a": 1}, wall_time=when, step=4, stage="s")
    run.log(a=2, wall_time=None)
    run.finish()
    first, second = events(run)
    assert first["ts"] == first["data"]["time"] == float(when)
    assert (first["data"]["global_step"], first["data"]["stage"]) == (4, "s")
    assert before <= second["ts"] <= time.time()
    assert warnings_in(caplog) == []


WRONG_TIMES = [math.nan, math.inf, -1.0, 1.7e12, 2**80, "5", True, b"5", [1], object(), 1j]


@pytest.mark.parametrize("when", WRONG_TIMES, ids=lambda value: f"{type(value).__name__}-{value!s:.12}")
def test_another_wall_time_is_refused_and_the_clock_used(open_run, caplog, when):
    """What is no number of seconds is refused, naming it; the metrics are stored with the time of the call."""
    run = open_run()
    before = time.time()
    run.log(a=1, wall_time=when)
    run.finish()
    (message,) = warnings_in(caplog)
    assert "wall_time=" in message
    assert before <= events(run)[0]["ts"] <= time.time()


def test_a_record_of_another_time_is_refused_after_the_end(open_run, caplog):
    """After ``finish()`` it warns and stores nothing."""
    run = open_run()
    run.finish()
    run.log(a=1, wall_time=5)
    assert len(warnings_in(caplog)) == 1
    assert events(run) == []


def test_several_calls_of_one_step_are_several_lines(open_run):
    """Metrics of one step may come in several calls; each is a line of its own."""
    run = open_run()
    run.log(loss=1, step=1)
    run.log(acc=2, step=1)
    run.log(loss=3, step=1)
    run.finish()
    assert steps(run) == [1, 1, 1]
    assert logged(run) == [{"loss": 1}, {"acc": 2}, {"loss": 3}]


def test_a_record_larger_than_a_segment_is_stored(open_run):
    """A call with very many metrics is one line like any other."""
    run = open_run()
    data = {f"metric_number_{number}": float(number) for number in range(200_000)}
    run.log(data)
    run.log(small=1)
    run.finish()
    first, second = (run.run_dir / "events.jsonl").read_bytes().splitlines()
    assert len(json.loads(first)["data"]) == 200_002
    assert json.loads(second)["data"]["small"] == 1


@pytest.mark.parametrize("value", [object(), 2**70])
def test_a_dict_that_is_changed_while_it_is_logged_raises_nothing(open_run, monkeypatch, value):
    """What another thread puts into the dict between the look at it and the copy is stored or refused, not raised.

    In Python only: in the call of C no thread comes in between.
    """
    monkeypatch.setattr("runicorn.run.push_metrics", None)
    run = open_run()
    data = {"a": 1.0, "b": 2.0}
    run.log(data)
    log = type(run).log.__code__

    def change(frame, event, _argument):
        if frame.f_code is log and event == "line" and "payload = encode((" in linecache.getline(*place_of(frame)):
            data["a"] = value
        return change

    def place_of(frame):
        return frame.f_code.co_filename, frame.f_lineno

    sys.settrace(change)
    try:
        run.log(data)
    finally:
        sys.settrace(None)
    run.finish()
    assert logged(run)[1] == ({"a": float(value), "b": 2.0} if type(value) is int else {"b": 2.0})
