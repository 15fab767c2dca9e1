"""``log()`` by its accelerator and in Python: both store the same, and refuse the same in the same words."""

import enum
import itertools
import math
import os
import random
import struct
import types
import warnings
from decimal import Decimal

import numpy as np
import pytest
from support import content, events

import runicorn as rn
from runicorn import run as run_module
from runicorn.queue.accelerator import push_metrics
from runicorn.validation import metrics

SEED = int(os.environ.get("CHAOS_SEED", "20261130"))
CALLS = 400

pytestmark = pytest.mark.skipif(push_metrics is None, reason="this installation was built without a compiler")


class Word(str):
    """A string that is no plain one."""

    __slots__ = ()


class Key(str, enum.Enum):
    """Names as many programs have them."""

    LOSS = "loss"


class Same:
    """No name, but taken for one by a set of names."""

    def __hash__(self):
        return hash("loss")

    def __eq__(self, other):
        return other == "loss"


NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF4000000000123))[0]
NAMES = [
    "loss", "acc", "a/b", "time", "step", "global_step", "stage", "", "\udc80", "é" * 16, "nul\0", Word("loss"),
    Word("step"), Key.LOSS, Same(), 1, None, True, b"loss", np.str_("np"),
    *("x" * length for length in (31, 32, 255, 256, 8170, 65535, 65536)),
]  # fmt: skip
VALUES = [
    0.5, -0.0, math.nan, NAN, math.inf, 5e-324, 0, 127, 128, -32, -33, 2**63 - 1, -(2**63), 2**63, 10**400, True, None,
    "", "text", "\udcff", "t" * 8192, Word("sub"), Key.LOSS, Decimal("0.1"), 1j, b"x", [1], {"a": 1, "b": {"c": 2}}, {},
    types.MappingProxyType({"z": 1}), np.float32(0.1), np.int64(3), np.array(2.5), np.array([1, 2]), np.bool_(True),
]  # fmt: skip
PLAIN = [
    0.5,
    -0.0,
    NAN,
    -math.inf,
    5e-324,
    True,
    None,
    "",
    "t" * 32,
    *(sign * 2**bits + more for bits in (5, 7, 8, 15, 16, 31, 32, 62) for sign in (1, -1) for more in (-1, 0, 1)),
]
STEPS = [None, None, None, 3, -5, 2**63 - 1, 2**63, 1.0, 1.5, True, "3", np.int64(9), math.nan]
STAGES = [None, None, None, "s", "", "\udc80", Word("w"), Key.LOSS, 3, True, 1.5, "x" * 8192]
ODD = [None, {}, 5, "text", [("a", 1)], [1], types.MappingProxyType({"a": 1}), np.float64(1)]


def calls(seed):
    """The same calls each time."""
    rng = random.Random(seed)
    for _ in range(CALLS):
        size = rng.choice([1, 1, 2, 3, 15, 16, 17, 70_000 if rng.random() < 0.02 else 300])
        names = [f"m{number}" for number in range(size)] if size > 3 else rng.choices(NAMES, k=size)
        plain = rng.random() < 0.5
        data = {name: rng.choice(PLAIN if plain else VALUES) for name in names[:1000]}
        data.update(dict.fromkeys(names[1000:], 1))
        more = {"kw": rng.choice(VALUES), "commit": True} if rng.random() < 0.1 else {}
        yield rng.choice(ODD) if rng.random() < 0.05 else data, rng.choice(STEPS), rng.choice(STAGES), more


def outcome(monkeypatch, way, path):
    """What a run of all calls has stored, how often it refused, and what each call raised."""
    clock = itertools.count(1_764_460_800)
    monkeypatch.setattr(run_module, "push_metrics", way)
    monkeypatch.setattr(run_module, "time", lambda: next(clock) + 0.5)
    metrics.known_names.clear()
    said = []
    with warnings.catch_warnings(), rn.init(path=path) as run:
        warnings.simplefilter("ignore")
        for data, step, stage, more in calls(SEED):
            try:
                run.log(data, step=step, stage=stage, **more)
            except (TypeError, ValueError) as error:
                said.append(f"{type(error).__name__}: {error}".replace(run.id, ""))
            said.append(run.global_step)
    return events(run), said, content(run, "summary.json")["runicorn"]["values_refused"]


@pytest.mark.parametrize("strict", ["0", "1"])
def test_both_ways_store_and_refuse_the_same(monkeypatch, strict):
    """Names, values, steps and stages of all sorts, by chance; also where a refusal raises."""
    print("seed", SEED)
    monkeypatch.setenv("RUNICORN_STRICT", strict)
    by_accelerator = outcome(monkeypatch, push_metrics, "c")
    in_python = outcome(monkeypatch, None, "python")
    assert len(by_accelerator[0]) > CALLS / 10
    assert by_accelerator == in_python
