"""``log()`` in one call of C: the bytes are those of Python, and what is not plain is declined."""

import datetime as dt
import enum
import gc
import mmap
import os
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

from runicorn.queue import accelerator
from runicorn.queue.records import Metrics, encode
from runicorn.queue.segment import frame

push_metrics = accelerator.push_metrics
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
NOW = 1764460800.25
RESERVED = ("time", "step", "global_step", "stage", "")

pytestmark = pytest.mark.skipif(push_metrics is None, reason="this installation was built without a compiler")


def pushed(time, step, data, stage, *, closed=b"\0", checked_at=0.0, next_check_at=1e300):
    """The frames that a call has pushed, and what it returned."""
    frames = []
    returned = push_metrics(time, step, data, stage, frames.append, memoryview(closed), checked_at, next_check_at)
    return frames, returned


integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(
    [sign * (2**bits) + more for bits in (5, 7, 8, 15, 16, 31, 32, 62) for sign in (1, -1) for more in (-1, 0, 1)]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
names = texts.filter(lambda name: name not in RESERVED)
values = st.floats() | integers | st.booleans() | st.none() | texts


@seed(SEED)
@settings(max_examples=300, deadline=None, database=None)
@given(st.floats(), integers, st.dictionaries(names, values, min_size=1, max_size=40), st.none() | texts)
@example(NOW, 1, {"loss": 0.5}, None)
@example(NOW, 1, {"x" * length: 0 for length in (1, 31, 32, 255, 256, 2000)}, "s" * 256)
@example(NOW, -1, {str(number): number for number in range(300)}, "")
@example(NOW, 0, dict.fromkeys("abcdefghijklmno"), "é")
@example(NOW, 0, dict.fromkeys("abcdefghijklmnop", False), "epoch")
def test_a_plain_record_is_pushed_as_python_would_push_it(time, step, data, stage):
    """Byte for byte, length and checksum included, unless the frame has more than 8 KiB: that is declined."""
    expected = frame(encode(Metrics(time, step, data, stage)))
    frames, returned = pushed(time, step, data, stage)
    if returned is False:
        assert frames == []
        assert len(expected) > 8192 - 9 - 1
    else:
        assert frames == [expected]


class Text(str):
    """A string that is no plain one."""

    __slots__ = ()


class Number(float):
    """A float that is no plain one."""

    __slots__ = ()


class Level(enum.Enum):
    """Something that msgspec would rewrite."""

    HIGH = 0.5


@dataclass
class Fields:
    """Something that msgspec would take for a mapping."""

    loss: float = 0.5


class Record(msgspec.Struct):
    """The same, of msgspec's own."""

    loss: float = 0.5


NOT_PLAIN = [
    1.5j, b"1", bytearray(b"1"), memoryview(b"1"), [1], (1,), {1}, frozenset({1}), {"a": 1}, Text("a"), Number(1),
    2**63, -(2**63) - 1, 2**64, 10**400, Decimal(1), Fraction(1, 2), Level.HIGH, Fields(), Record(), object(),
    dt.datetime.now(dt.timezone.utc), dt.date(2026, 1, 1), dt.time(1), dt.timedelta(1), uuid.UUID(int=1), "\udc80",
    np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.array(1.0), np.array([1.0]), msgspec.UNSET,
    msgspec.Raw(b"\x01"), msgspec.msgpack.Ext(1, b"a"),
]  # fmt: skip


@pytest.mark.parametrize(
    "value", NOT_PLAIN, ids=[f"{type(each).__name__}-{number}" for number, each in enumerate(NOT_PLAIN)]
)
def test_a_value_of_any_other_type_is_declined_wherever_it_stands(value):
    """As a value, the first or a later one, as the data, the step or the stage: nothing is pushed."""
    assert pushed(NOW, 1, {"loss": value}, None) == ([], False)
    assert pushed(NOW, 1, {"loss": 0.5, "acc": value}, None) == ([], False)
    assert pushed(NOW, value, {"loss": 0.5}, None) == ([], False)
    assert pushed(NOW, 1, {"loss": 0.5}, value) == ([], False)
    if type(value) is not dict:
        assert pushed(NOW, 1, value, None) == ([], False)


@pytest.mark.parametrize("name", [*RESERVED, "\udc80", Text("acc"), 1, 1.5, None, True, b"loss", ("a",), Level.HIGH])
def test_a_name_that_needs_thought_is_declined(name):
    """Reserved ones, those that are no plain strings, and the empty one."""
    assert pushed(NOW, 1, {name: 0.5}, None) == ([], False)
    assert pushed(NOW, 1, {"loss": 0.5, name: 0.5}, None) == ([], False)


@pytest.mark.parametrize("data", [{}, None, OrderedDict(loss=0.5), [("loss", 0.5)], {str(n): n for n in range(2000)}])
def test_data_that_is_no_plain_dict_of_usual_size_is_declined(data):
    """Empty ones, other mappings, and those of more than 8 KiB."""
    assert pushed(NOW, 1, data, None) == ([], False)


@pytest.mark.parametrize("value", [True, False, None, 1.5])
def test_a_step_or_stage_of_another_plain_type_is_declined(value):
    """A bool is no step, and only a string is a stage."""
    assert pushed(NOW, value, {"loss": 0.5}, None) == ([], False)
    if value is not None:
        assert pushed(NOW, 1, {"loss": 0.5}, value) == ([], False)


def test_a_record_up_to_the_last_byte_of_the_room_is_right():
    """Around the limit a record is pushed whole or declined; none is cut."""
    outcomes = set()
    for length in range(8000, 8200):
        data = {"n" * length: "v" * 20}
        frames, returned = pushed(NOW, 2**40, data, "stage")
        outcomes.add(returned)
        assert frames == ([] if returned is False else [frame(encode(Metrics(NOW, 2**40, data, "stage")))])
    assert outcomes == {None, False}


def test_a_full_segment_declines_and_any_other_error_gets_out():
    """ValueError is what a full mapping raises."""
    with mmap.mmap(-1, mmap.PAGESIZE) as full:
        full.seek(mmap.PAGESIZE)
        assert push_metrics(NOW, 1, {"a": 1}, None, full.write, memoryview(b"\0"), 0.0, 1e300) is False
    with pytest.raises(TypeError):
        push_metrics(NOW, 1, {"a": 1}, None, None, memoryview(b"\0"), 0.0, 1e300)
    with pytest.raises(TypeError, match="eight"):
        push_metrics(NOW, 1, {"a": 1}, None)


@pytest.mark.parametrize(
    ("closed", "checked_at", "next_check_at", "is_due"),
    [
        (b"\0", NOW, NOW + 1, None),
        (b"\0", NOW - 1, NOW, True),
        (b"\0", NOW + 1, NOW + 2, True),
        (b"\0", 0.0, 0.0, True),
        (b"\1", NOW, NOW + 1, True),
    ],
)
def test_a_check_is_due_at_the_end_and_outside_its_span_of_the_clock(closed, checked_at, next_check_at, is_due):
    """The record is pushed all the same: push first, check second."""
    frames, returned = pushed(NOW, 1, {"a": 1}, None, closed=closed, checked_at=checked_at, next_check_at=next_check_at)
    assert (len(frames), returned) == (1, is_due)


def test_no_reference_is_kept_or_given_away():
    """Ten thousand calls of each kind leave the counts of all that they were given as they were."""
    name, value, stage, step, big = "a name of its own", 12345.678, "a stage of its own", 2**40, object()
    data, odd = {name: value}, {name: big}
    push = bytearray().extend
    objects = (name, value, stage, step, big, data, odd, push)
    gc.collect()
    before = [sys.getrefcount(each) for each in objects]
    for _ in range(10_000):
        push_metrics(NOW, step, data, stage, push, memoryview(b"\0"), 0.0, 1e300)
        push_metrics(NOW, step, odd, stage, push, memoryview(b"\0"), 0.0, 1e300)
    assert [sys.getrefcount(each) for each in objects] == before
