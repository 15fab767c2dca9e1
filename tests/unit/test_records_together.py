"""Records become lines many at a time, and the lines are those of each record by itself."""

import math
import os
import random

import msgspec
import pytest

from runicorn.queue.control_page import ControlPage
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Dropped, Hello, LateValues, Metrics, PartialMetrics, Primary, Text, encode
from runicorn.storage.run_directory import RunDir
from runicorn.storage.run_files import Names
from runicorn.writer.apply import HIGHEST_STEP, Records
from runicorn.writer.followed import SegmentChunk
from runicorn.writer.lines import nonfinite_name

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
NAMES = Names.of("host", on_main_host=True)
OWNER = Hello("host-1", not_owner=False)
HELLOS = [OWNER, Hello("host-1", not_owner=False, rank=0), Hello("host-2", not_owner=True), Hello("host-3", True, 3)]
VALUES = [0.5, -0.0, 1e300, 7, -(2**63), 2**64 - 1, True, None, "null", "nan", math.nan, math.inf, -math.inf]


@pytest.fixture
def records(tmp_path):
    """Give what makes lines of records, as often as it is asked."""
    made = []

    def make() -> Records:
        place = tmp_path / str(len(made))
        place.mkdir()
        ControlPage.create(str(place / "control"))
        made.append((RunDir(str(place)), ControlPage.open(str(place / "control"))))
        run_dir, control = made[-1]
        return Records(
            "r", run_dir, NAMES, None, None, control, retry_max_s=1.0, patience=bool, blobs=None, opened_at=0.0
        )

    yield make
    for each in made:
        for opened in each:
            opened.close()


def lines_of(records: Records, hello: Hello, pieces: list[list[bytes]]) -> dict[str, bytes]:
    """What becomes of payloads, so many at a time, by the name of the file."""
    buffers = {name: bytearray() for name in (NAMES.logs, NAMES.events_of(hello.rank))}
    for payloads in pieces:
        records._build(SegmentChunk(hello, payloads, "segment"), buffers, {})
    return {name: bytes(content) for name, content in buffers.items()}


def made_up_metrics(chance: random.Random, number: int) -> Metrics:
    """Give one of the kinds that a program may log, most often four floats."""
    data = {name: chance.random() for name in ("loss", "accuracy", "lr", "grad_norm")}
    if chance.random() < 0.2:
        data = {f"m{chance.randrange(9)}": chance.choice(VALUES) for _ in range(chance.randrange(5))}
    if chance.random() < 0.05:
        data[chance.choice(["loss", "time", "global_step", "stage", "null"])] = chance.choice(VALUES)
    step = chance.choice([number, -number, HIGHEST_STEP + number]) if chance.random() < 0.1 else number
    return Metrics(1.79e9 + number / 7, step, data, chance.choice([None, None, "train"]))


def made_up_payload(chance: random.Random, number: int) -> bytes:
    """Give mostly metrics, and between them whatever else stands in a segment."""
    if chance.random() < 0.9:
        return encode(made_up_metrics(chance, number))
    step = number - chance.randrange(3)
    others = [
        PartialMetrics(1.79e9 + number, step, {"loss": None, "late": None}, None, number, ["late"], ["loss"]),
        LateValues(number - chance.randrange(9), step, {"late": chance.choice(VALUES)}),
        Text(1.79e9, f"text {number}"),
        Primary(chance.choice(["loss", "accuracy"]), chance.choice(["max", "min"]), float(number)),
        Dropped(number),
        ("m", "not a time"),
    ]
    return msgspec.msgpack.encode(chance.choice(others))


def expected_line(record: Metrics, hello: Hello) -> bytes:
    """The line of one record, as the storage contract has it."""
    data = record.data | {"global_step": min(record.step, HIGHEST_STEP), "time": record.time}
    data |= {} if record.stage is None else {"stage": record.stage}
    line = {"ts": record.time, "type": "metrics", "data": data}
    nonfinite = {name: nonfinite_name(value) for name, value in data.items() if _is_nonfinite(value)}
    marks = {"nonfinite": nonfinite, "producer": hello.producer if hello.not_owner else None, "rank": hello.rank}
    return msgspec.json.encode(line | {name: mark for name, mark in marks.items() if mark not in ({}, None)}) + b"\n"


def _is_nonfinite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


@pytest.mark.parametrize("hello", HELLOS, ids=str)
def test_the_line_of_each_record_is_that_of_the_contract(records, hello):
    """Whatever stands beside it, a record becomes its own line, in the order of the calls."""
    print(f"CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    payloads = [encode(made_up_metrics(chance, number)) for number in range(1000)]
    content = lines_of(records(), hello, [payloads])
    assert content[NAMES.events_of(hello.rank)] == b"".join(expected_line(decode(each), hello) for each in payloads)


@pytest.mark.parametrize("hello", HELLOS, ids=str)
def test_records_together_and_one_by_one_are_the_same(records, hello):
    """The lines and the run's state do not depend on which records are built together."""
    print(f"CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    payloads = [made_up_payload(chance, number) for number in range(3000)]
    together, one_by_one = records(), records()
    expected = lines_of(one_by_one, hello, [[payload] for payload in payloads])
    assert lines_of(together, hello, [payloads]) == expected
    for each in (together, one_by_one):
        for trouble in each.state.troubles:
            del trouble["time"]
    assert together.state == one_by_one.state
    assert together.state.pending
    assert together.state.best_value is not None
    assert together.state.damaged_bytes


def test_a_complete_record_waits_for_a_partial_one_of_its_step(records):
    """Of two records of one step the later one's line comes later, and those of other steps do not wait."""
    waiting = PartialMetrics(1.0, 5, {"late": None}, None, 1, ["late"], [])
    late = LateValues(1, 5, {"late": 0.5})
    logged = [waiting, Metrics(2.0, 5, {"a": 1}), Metrics(3.0, 6, {"a": 2}), late, Metrics(4.0, 5, {"a": 3})]
    content = lines_of(records(), OWNER, [[encode(record) for record in logged]])[NAMES.events]
    assert [msgspec.json.decode(line)["ts"] for line in content.splitlines()] == [3.0, 1.0, 2.0, 4.0]


def test_steps_behind_the_highest_are_the_highest(records):
    """They count as one step: a record waits for another of them, and the run's last step is the highest."""
    waiting = PartialMetrics(1.0, HIGHEST_STEP + 5, {"late": None}, None, 1, ["late"], [])
    late = LateValues(1, HIGHEST_STEP + 5, {"late": 0.5})
    store = records()
    logged = [waiting, Metrics(2.0, HIGHEST_STEP + 3, {"a": 1}), late, Metrics(3.0, HIGHEST_STEP + 4, {"a": 2})]
    lines = lines_of(store, OWNER, [[encode(record) for record in logged]])[NAMES.events].splitlines()
    found = [msgspec.json.decode(line) for line in lines]
    assert [(line["ts"], line["data"]["global_step"]) for line in found] == [(n, HIGHEST_STEP) for n in (1.0, 2.0, 3.0)]
    assert store.state.last_step == HIGHEST_STEP
