"""The write-ahead plan's file: whatever happens to one of its slots, the newest whole plan is what is read."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from runicorn.queue.records import End, Primary
from runicorn.writer.plan import Plan, PlanFile, SegmentRange
from runicorn.writer.run_state import RunState

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
SLOT_BYTES = 2048
MOST_SEGMENTS = 24

counts = st.integers(0, MOST_SEGMENTS)
positions = st.integers(0, 2**40)


def examples(most: int = 40):
    """So many examples, the same each time; another ``CHAOS_SEED`` gives others."""
    return lambda test: seed(SEED)(settings(max_examples=most, deadline=None, database=None)(test))


def plan(sequence: int, segments: int = 3) -> Plan:
    """A plan that differs from every other one in each of its parts."""
    return Plan(
        sequence,
        [SegmentRange(n % 2, f"1f.{n:08x}-{sequence:08d}.seg", n, n + sequence, n % 3 == 0) for n in range(segments)],
        {"events.jsonl": 100 * sequence, "logs.txt": sequence},
        RunState(
            sequence, 0, 0, sequence + 0.5, sequence, Primary("acc", "max"), 0.5, sequence, End(1.5, "failed", "x")
        ),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Where plan files of this module lie, one after the other."""
    return str(tmp_path_factory.mktemp("plans") / "plan")


@contextmanager
def fresh(path: str, slot_bytes: int = SLOT_BYTES):
    """An empty plan file of two slots."""
    with open(path, "wb") as file:
        file.write(bytes(2 * slot_bytes))
    opened = PlanFile(path)
    try:
        yield opened
    finally:
        opened.close()


def read_again(path: str) -> Plan | None:
    """What a writer that comes after a crash reads."""
    opened = PlanFile(path)
    try:
        return opened.read()
    finally:
        opened.close()


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def overwrite(path: str, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def test_there_is_no_plan_before_the_first(path):
    """A fresh file holds none."""
    with fresh(path) as file:
        assert file.read() is None
        assert read_again(path) is None


@examples()
@given(sizes=st.lists(counts, min_size=1, max_size=6), first=st.integers(1, 2**40))
def test_the_newest_plan_is_read(path, sizes, first):
    """After each write that plan, whole, is what its writer and the next one read."""
    with fresh(path) as file:
        for sequence, segments in enumerate(sizes, first):
            written = plan(sequence, segments)
            file.write(written)
            assert file.read() == written
            assert read_again(path) == written


@examples()
@given(cut=st.integers(0, SLOT_BYTES), sequence=st.integers(2, 9), segments=counts, before=counts)
def test_a_crash_in_the_middle_of_a_write(path, cut, sequence, segments, before):
    """Of a write that was cut at any byte the plan before is what remains, and the next write is whole again."""
    with fresh(path) as file:
        for earlier in range(1, sequence):
            file.write(plan(earlier, before))
        half = content(path)
        file.write(plan(sequence, segments))
        whole = content(path)
        at = (sequence % 2) * SLOT_BYTES
        torn = whole[at : at + cut] + half[at + cut : at + SLOT_BYTES]
        overwrite(path, at, torn)
        expected = plan(sequence, segments) if torn == whole[at : at + SLOT_BYTES] else plan(sequence - 1, before)
        assert read_again(path) == expected
        file.write(plan(sequence))
        assert read_again(path) == plan(sequence)


@examples()
@given(data=st.data(), newest=st.integers(2, 5), segments=counts)
def test_damage_to_the_other_slot(path, data, newest, segments):
    """Whatever is written over the slot of the older plan, the newest one is read."""
    with fresh(path) as file:
        for sequence in range(1, newest + 1):
            file.write(plan(sequence, segments))
        at = data.draw(st.integers(0, SLOT_BYTES - 1), label="at")
        damage = data.draw(st.binary(min_size=1, max_size=SLOT_BYTES - at), label="damage")
        overwrite(path, ((newest + 1) % 2) * SLOT_BYTES + at, damage)
        assert read_again(path) == plan(newest, segments)


@examples()
@given(data=st.data(), newest=st.integers(2, 5), segments=st.integers(0, 2))
def test_a_flipped_bit_in_the_newest_slot(path, data, newest, segments):
    """One flipped bit anywhere in the newest plan, and the one before is read; never a third."""
    with fresh(path) as file:
        for sequence in range(1, newest + 1):
            file.write(plan(sequence, segments))
        at = (newest % 2) * SLOT_BYTES
        used = 8 + int.from_bytes(content(path)[at : at + 4], "little")
        bit = data.draw(st.integers(0, 8 * used - 1), label="bit")
        value = content(path)[at + bit // 8] ^ (1 << bit % 8)
        overwrite(path, at + bit // 8, bytes([value]))
        assert read_again(path) == plan(newest - 1, segments)


@examples()
@given(data=st.data(), newest=st.integers(2, 5), segments=counts)
def test_zeros_over_the_newest_slot(path, data, newest, segments):
    """Zeros over any part of the newest plan leave the one before, or the newest where nothing was changed."""
    with fresh(path) as file:
        for sequence in range(1, newest + 1):
            file.write(plan(sequence, segments))
        before = content(path)
        start = data.draw(st.integers(0, SLOT_BYTES - 1), label="start")
        length = data.draw(st.integers(1, SLOT_BYTES - start), label="length")
        overwrite(path, (newest % 2) * SLOT_BYTES + start, bytes(length))
        expected = newest if content(path) == before else newest - 1
        assert read_again(path) == plan(expected, segments)


@examples(80)
@given(size=st.integers(0, 2 * SLOT_BYTES), segments=counts, newest=st.integers(1, 4))
def test_a_file_that_was_cut(path, size, segments, newest):
    """A plan file that was cut at any byte is read without an error; what lies whole in the first slot is found."""
    with fresh(path) as file:
        for sequence in range(1, newest + 1):
            file.write(plan(sequence, segments))
    os.truncate(path, size)
    found = read_again(path)
    whole_first = newest - newest % 2
    assert found in (None, plan(newest, segments), plan(newest - 1, segments))
    if size >= SLOT_BYTES and whole_first:
        assert found is not None
        assert found.sequence >= whole_first


# --- plans that are larger than a slot -----------------------------------------------------------------


@examples(40)
@given(
    sizes=st.lists(st.one_of(counts, st.integers(60, 2000)), min_size=2, max_size=6),
    slot_bytes=st.sampled_from([64, 512, SLOT_BYTES]),
)
def test_plans_that_are_larger_than_a_slot(path, sizes, slot_bytes):
    """The file grows with the plan: the newest is read, and the one before where the newest is damaged."""
    with fresh(path, slot_bytes) as file:
        for sequence, segments in enumerate(sizes, 1):
            file.write(plan(sequence, segments))
            assert read_again(path) == plan(sequence, segments)
        newest = len(sizes)
        slot = os.stat(path).st_size // 2
        overwrite(path, (newest % 2) * slot + 8, b"damage")
        assert read_again(path) == plan(newest - 1, sizes[-2])
        assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_a_rest_of_a_growth_that_was_cut_short(path):
    """What a crash in the middle of growing has left beside the file is neither read nor in the way."""
    with fresh(path) as file:
        file.write(plan(1))
        with open(f"{path}.new", "wb") as rest:
            rest.write(content(path)[: SLOT_BYTES // 2] + b"\xff" * 100_000)
        assert read_again(path) == plan(1)
        file.write(plan(2, 2000))
        assert read_again(path) == plan(2, 2000)
        assert not os.path.exists(f"{path}.new")


NO_ROOM = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_plan import PlanFile, plan, read_again

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for path in sys.argv[2:]:
    limit = int(path.rpartition("-")[2])
    file = PlanFile(path)
    file.write(plan(1))
    file.write(plan(2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        file.write(plan(3, 2000))
    except OSError:
        assert read_again(path) == plan(2), f"{limit}: a crash now would find {read_again(path)}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        file.write(plan(3, 2000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert read_again(path) == plan(3, 2000), f"{limit}: it said that the plan is in place"
    file.write(plan(4))
    assert read_again(path) == plan(4)
"""


def test_no_room_to_grow(tmp_path):
    """Where a larger plan has no room, write() raises and the plan before is still in place; with room it goes on."""
    paths = [tmp_path / f"plan-{limit}" for limit in (4096, 50_000, 100_000, 199_000, 300_000, 500_000)]
    for path in paths:
        path.write_bytes(bytes(2 * SLOT_BYTES))
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, os.path.dirname(__file__), *map(str, paths)],
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
