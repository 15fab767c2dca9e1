"""Calls of ``log_config()`` of several processes, merged in their order whatever the order of arrival."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Config, encode
from runicorn.writer.assets import Assets
from runicorn.writer.configuration import Configuration

CALLS = [
    (Config(1.0, {"args": {"a": 1, "n": {"x": 1}}}), "p"),
    (Config(2.0, {"args": {"b": 2, "n": {"y": 2}}}, merge=True), "q"),
    (Config(3.0, {"args": {"c": 3, "n": 3}, "extra": {"e": 1}}, merge=True), "r"),
    (Config(4.0, {"args": {"n": {"z": 4}}, "config_files": ["f"]}, merge=True), "s"),
]
MERGED = {"args": {"a": 1, "b": 2, "c": 3, "n": {"z": 4}}, "extra": {"e": 1}, "config_files": ["f"]}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_arrival_changes_nothing(order):
    """Each process's records are read when the writer comes to them."""
    configuration = Configuration({"args": {"gone": 1}})
    for number in order:
        merged = configuration.enter(*CALLS[number])
    assert merged == MERGED


def test_a_clock_that_is_set_back_changes_nothing():
    """The calls of one process are in the order in which it made them."""
    configuration = Configuration({})
    configuration.enter(Config(9.0, {"args": {"a": 1}}), "p")
    assert configuration.enter(Config(1.0, {"args": {"a": 2}}), "p") == {"args": {"a": 2}}


def test_very_many_calls_are_merged():
    """More than are kept for a call that arrives late, in an order drawn at random within a window."""
    seed = random.randrange(10**9)
    print(f"{seed=}")
    draw = random.Random(seed)
    calls = [(Config(float(number), {"args": {f"k{number % 50}": number}}, merge=True), "p") for number in range(1000)]
    arrivals = sorted(range(1000), key=lambda number: number + draw.random() * 50)
    configuration = Configuration({})
    for number in arrivals:
        merged = configuration.enter(calls[number][0], f"p{number}")
    assert merged == {"args": {f"k{number % 50}": number for number in range(950, 1000)}}


def test_a_record_of_the_earlier_shape_is_decoded():
    """One without ``merge``, which a version before has left in a spool, replaces."""
    old = msgspec.msgpack.encode(["c", 1.0, {"args": {"a": 1}}])
    assert decode(old) == Config(1.0, {"args": {"a": 1}}, merge=False)
    assert decode(encode(CALLS[1][0])).merge


def test_the_configuration_of_one_run_is_not_that_of_another():
    """Two runs in one process, each with an empty file."""
    first, second = (Assets(name, dict) for name in ("first", "second"))
    first.update_config(Config(1.0, {"args": {"a": 1}}), "p")
    second.update_config(Config(1.0, {"extra": {"b": 1}}, merge=True), "p")
    assert second.content["config"] == {"extra": {"b": 1}, "fingerprint": "second"}
