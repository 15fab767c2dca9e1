"""Segments for every sequence of payloads, every slicing of reads and every kind of damage."""

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager

import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

from runicorn.queue.records import Metrics, encode
from runicorn.queue.segment import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    MIN_FRAME_BYTES,
    SEAL,
    Segment,
    checksum,
    frame,
    make_spare,
)
from runicorn.queue.segment_reader import Damage, SegmentReader

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
HELLO = b"hello"
CERTAIN_BYTES = 256  # up to here no zeroed part of a payload can escape the checksum, whatever is in it

small = st.binary(min_size=1, max_size=40)
certain = st.one_of(small, st.binary(min_size=1, max_size=CERTAIN_BYTES))


def examples(most: int = 40):
    """So many examples, the same each time; another ``CHAOS_SEED`` gives others."""
    return lambda test: seed(SEED)(settings(max_examples=most, deadline=None, database=None)(test))


def made_up(size: int) -> bytes:
    """A payload of any size, without asking hypothesis for each byte of it."""
    return random.Random(size).randbytes(size)


sizes = st.one_of(st.integers(1, 700), st.integers(4090, 4100), st.integers(1, 40_000))
alike_lists = st.one_of(st.just(len(HELLO)), st.integers(1, CERTAIN_BYTES)).flatmap(  # read in a loop of their own
    lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=12)
)
payload_lists = st.one_of(st.lists(st.one_of(certain, sizes.map(made_up)), max_size=20), alike_lists)
certain_lists = st.one_of(st.lists(certain, min_size=1, max_size=12), alike_lists)
limit_lists = st.lists(st.integers(1, 50_000), min_size=1)
chunks = st.sampled_from([MIN_FRAME_BYTES, 16, 64, 1000, 4096, SegmentReader.CHUNK_BYTES])


def bytes_of(payloads: list[bytes]) -> int:
    return HEADER_BYTES + sum(FRAME_HEADER_BYTES + len(payload) for payload in [HELLO, *payloads])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Where the segments of this module lie, one after the other."""
    return str(tmp_path_factory.mktemp("segments") / "segment")


def create(path: str, size_bytes: int) -> Segment:
    """A fresh segment at the path."""
    if os.path.exists(path):
        os.unlink(path)
    return Segment.create(path, size_bytes, HELLO)


def written(path: str, payloads: list[bytes], rest_bytes: int) -> Segment:
    """A segment that holds the payloads and has so much left."""
    segment = create(path, bytes_of(payloads) + rest_bytes)
    for payload in payloads:
        segment.write(frame(payload))
    return segment


@contextmanager
def reading(path: str, chunk_bytes: int = SegmentReader.CHUNK_BYTES):
    """A reader of it."""
    reader = SegmentReader(os.open(path, os.O_RDONLY))
    reader.CHUNK_BYTES = chunk_bytes
    try:
        yield reader
    finally:
        reader.close()


def read_all(reader: SegmentReader, limits: list[int], most: int) -> list[bytes]:
    """Read until a look brings nothing, with one limit after the other; ``most`` looks must be enough."""
    found = []
    for n in range(most):
        new = reader.read(limits[n % len(limits)])
        if not new:
            return found
        found += new
    raise AssertionError(f"{most} looks were not enough")


def read_damaged(path: str, chunk_bytes: int) -> tuple[list[bytes], SegmentReader]:
    """What a reader makes of a damaged segment, in a bounded number of looks."""
    with reading(path, chunk_bytes) as reader:
        if not reader.valid:
            return [], reader
        found = read_all(reader, [1 << 20], os.stat(path).st_size + 2)
        assert reader.read(1 << 20) == [], "it stays where it stopped"
    return found, reader


def overwrite(path: str, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def frame_ends(payloads: list[bytes]) -> list[int]:
    """Where each frame ends, that of the hello first."""
    return [bytes_of(payloads[:n]) for n in range(len(payloads) + 1)]


def whole_frames(payloads: list[bytes], before: bytes, after: bytes) -> list[bytes]:
    """The payloads whose frames lie before the first byte that differs."""
    differs = next((at for at in range(len(before)) if before[at : at + 1] != after[at : at + 1]), len(before))
    frames = zip([HELLO, *payloads], frame_ends(payloads), strict=True)
    return [payload for payload, end in frames if end <= differs]


# --- what was written is read ---------------------------------------------------------------------------


@examples()
@given(payloads=payload_lists, rest=st.integers(0, 40), limits=limit_lists, chunk=chunks)
def test_any_payloads_in_any_slices(path, payloads, rest, limits, chunk):
    """Whatever was written is read, in order, whatever the limits of the looks and the reader's chunk."""
    segment = written(path, payloads, rest)
    assert segment.size_bytes == os.stat(path).st_size
    with reading(path, chunk) as reader:
        assert reader.valid
        assert reader.size_bytes == segment.size_bytes
        assert read_all(reader, limits, len(payloads) + 2) == [HELLO, *payloads]
        assert reader.position == bytes_of(payloads)
        assert reader.sealed == (rest < MIN_FRAME_BYTES)
        assert not reader.torn


@examples()
@given(payloads=payload_lists, chunk=chunks, cuts=st.data())
def test_a_range_that_was_read_can_be_read_again(path, payloads, chunk, cuts):
    """Between any two places where frames end, read_range() gives exactly what lies there."""
    written(path, payloads, 20)
    ends = frame_ends(payloads)
    first = cuts.draw(st.integers(0, len(payloads)), label="first")
    last = cuts.draw(st.integers(first, len(payloads)), label="last")
    with reading(path, chunk) as reader:
        assert reader.valid
        assert reader.read_range(ends[first], ends[last]) == payloads[first:last]
        assert reader.position == ends[last]


@examples()
@given(batches=st.lists(st.lists(st.one_of(certain, sizes.map(made_up)), max_size=4), max_size=6), chunk=chunks)
def test_a_reader_that_looks_between_the_writes(path, batches, chunk):
    """Each look gives what was written since the one before, and nothing where there is nothing."""
    segment = create(path, bytes_of([payload for batch in batches for payload in batch]) + MIN_FRAME_BYTES)
    with reading(path, chunk) as reader:
        assert reader.valid
        assert reader.read_first() == HELLO
        for batch in batches:
            for payload in batch:
                segment.write(frame(payload))
            assert read_all(reader, [1 << 30], len(batch) + 2) == batch
            assert not reader.torn
            assert not reader.sealed


def test_payloads_that_are_larger_than_the_readers_chunk(path):
    """Payloads of the chunk's size and beyond, with small ones between them, are read whole."""
    chunk = SegmentReader.CHUNK_BYTES
    payloads = [made_up(size) for size in (chunk - 8, 1, chunk - 7, chunk, 2, chunk + 1, 3 * chunk, 5)]
    written(path, payloads, 0)
    with reading(path) as reader:
        assert reader.valid
        assert read_all(reader, [1], len(payloads) + 2) == [HELLO, *payloads]
        assert reader.sealed


@examples(10)
@given(runs=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 200)), max_size=8), limits=limit_lists)
def test_runs_of_payloads_of_one_length(path, runs, limits):
    """Payloads are read in order however many of one length follow each other, and however few."""
    payloads = [made_up(size + number)[:size] for size, count in runs for number in range(count)]
    written(path, payloads, 20)
    with reading(path) as reader:
        assert reader.valid
        assert read_all(reader, limits, len(payloads) + 2) == [HELLO, *payloads]
        assert reader.position == bytes_of(payloads)


@examples()
@given(size=st.integers(100, 2000), payload=small)
def test_a_prepared_segment_is_one_like_any_other(path, size, payload):
    """A spare that was made and claimed has its size, its hello, and takes frames; it can be claimed once."""
    spare = f"{path}.spare"
    make_spare(spare, size)
    segment = Segment.claim(spare, path, HELLO)
    assert segment.size_bytes == size == os.stat(path).st_size
    segment.write(frame(payload))
    with reading(path) as reader:
        assert reader.valid
        assert reader.read(size) == [HELLO, payload]
    assert Segment.claim(spare, f"{path}.other", HELLO) is None
    assert not os.path.exists(f"{path}.other")


@examples()
@given(payload=st.one_of(certain, st.integers(1, 30_000).map(made_up)))
def test_the_checksum_in_pieces_is_that_of_the_whole(payload):
    """Summed in pieces or at once, the checksum is the same."""
    from zlib import adler32

    assert checksum(payload) == adler32(payload)


# --- damage -----------------------------------------------------------------------------------------------


@examples()
@given(payloads=certain_lists, chunk=chunks, data=st.data())
def test_a_segment_that_was_cut(path, payloads, chunk, data):
    """Of a file that was cut at any byte the whole frames are read, and one of which a part is left is called torn."""
    written(path, payloads, 20)
    size = data.draw(st.integers(0, os.stat(path).st_size), label="size")
    os.truncate(path, size)
    found, reader = read_damaged(path, chunk)
    whole = [end for end in frame_ends(payloads) if end <= size]
    assert found == [HELLO, *payloads][: len(whole)]
    if size >= HEADER_BYTES:
        assert reader.position == (whole or [HEADER_BYTES])[-1]
        assert reader.sealed == (size - reader.position < MIN_FRAME_BYTES)  # the file ends there, whatever was meant
        has_begun = size - reader.position >= MIN_FRAME_BYTES and len(whole) <= len(payloads)
        assert reader.torn == has_begun


@examples()
@given(payloads=certain_lists, chunk=chunks, rest=st.integers(0, 300), data=st.data())
def test_a_flipped_bit(path, payloads, chunk, rest, data):
    """Behind one flipped bit, wherever it is, nothing is read, and nothing else than what was written before it."""
    written(path, payloads, rest)
    before = content(path)
    bit = data.draw(st.integers(8 * HEADER_BYTES, 8 * len(before) - 1), label="bit")
    overwrite(path, bit // 8, bytes([before[bit // 8] ^ (1 << bit % 8)]))
    found, reader = read_damaged(path, chunk)
    assert found == whole_frames(payloads, before, content(path))
    assert reader.position in frame_ends(payloads) or not found


def test_each_flipped_bit_among_frames_of_one_length(path):
    """Whichever bit of a run of frames of one length is flipped, the frames before it are read, and no others."""
    payloads = [made_up(number)[: len(HELLO)] for number in range(10, 16)]
    written(path, payloads, 20)
    before = content(path)
    for bit in range(8 * HEADER_BYTES, 8 * bytes_of(payloads)):
        after = bytearray(before)
        after[bit // 8] ^= 1 << bit % 8
        overwrite(path, 0, after)
        found, _ = read_damaged(path, SegmentReader.CHUNK_BYTES)
        assert found == whole_frames(payloads, before, bytes(after)), bit


def test_a_length_of_zero_with_the_checksum_of_nothing(path):
    """A header whose length is zero is no frame, whatever its checksum is, at the beginning of a look as well."""
    segment = written(path, [], 100)
    with reading(path) as reader:
        assert reader.valid
        assert reader.read(1) == [HELLO]
        segment.write(struct.pack("<II", 0, checksum(b"")) * 2)
        assert reader.read(1000) == []
        assert not reader.torn
        assert not reader.sealed


@examples()
@given(sizes_=st.lists(sizes, min_size=1, max_size=5), chunk=chunks, data=st.data())
def test_a_flipped_bit_in_large_payloads(path, sizes_, chunk, data):
    """The same with payloads of any size."""
    payloads = [made_up(size) for size in sizes_]
    written(path, payloads, 50)
    before = content(path)
    bit = data.draw(st.integers(8 * HEADER_BYTES, 8 * len(before) - 1), label="bit")
    overwrite(path, bit // 8, bytes([before[bit // 8] ^ (1 << bit % 8)]))
    found, _ = read_damaged(path, chunk)
    assert found == whole_frames(payloads, before, content(path))


@examples()
@given(payloads=certain_lists, chunk=chunks, rest=st.integers(0, 50), data=st.data())
def test_zeros_over_a_range(path, payloads, chunk, rest, data):
    """Where any range reads as zeros, as in a copy under way, the frames before it are read and none that it hits."""
    written(path, payloads, rest)
    before = content(path)
    start = data.draw(st.integers(HEADER_BYTES, len(before) - 1), label="start")
    stop = data.draw(st.integers(start + 1, len(before)), label="stop")
    overwrite(path, start, bytes(stop - start))
    found, _ = read_damaged(path, chunk)
    assert found == whole_frames(payloads, before, content(path))


@examples()
@given(sizes_=st.lists(sizes, min_size=1, max_size=5), data=st.data())
def test_a_copy_of_a_large_payload_under_way(path, sizes_, data):
    """Of a frame whose end is not there yet nothing is read, and it is called torn; when it is there it is read."""
    payloads = [made_up(size) for size in sizes_]
    written(path, payloads, 50)
    whole = content(path)
    start, end = frame_ends(payloads)[-2:]
    cut = data.draw(st.integers(start, end - 1), label="cut")
    overwrite(path, cut, bytes(end - cut))
    complete = content(path) == whole  # a payload may end with zeros
    with reading(path) as reader:
        assert reader.valid
        found = read_all(reader, [1 << 20], len(payloads) + 2)
        if not complete:
            assert found == [HELLO, *payloads[:-1]]
            assert reader.torn == any(whole[start : min(cut, start + 4)])
        overwrite(path, 0, whole)
        assert found + read_all(reader, [1 << 20], 3) == [HELLO, *payloads]
        assert not reader.torn


damages = st.one_of(
    st.binary(min_size=1, max_size=600),
    st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "little")),
)


@examples(80)
@given(payloads=certain_lists, chunk=chunks, damage=damages, data=st.data())
def test_any_bytes_over_any_range(path, payloads, chunk, damage, data):
    """Whatever is written over whatever frames: an end without an error, and what lies before the damage is read."""
    written(path, payloads, 20)
    before = content(path)
    start = data.draw(st.integers(HEADER_BYTES, len(before) - 1), label="start")
    overwrite(path, start, damage[: len(before) - start])
    found, reader = read_damaged(path, chunk)
    expected = whole_frames(payloads, before, content(path))
    assert found[: len(expected)] == expected
    assert HEADER_BYTES <= reader.position <= len(before)


@examples(80)
@given(
    payloads=certain_lists,
    chunk=chunks,
    at=st.integers(0, HEADER_BYTES - 1),
    damage=st.one_of(
        st.binary(min_size=1, max_size=HEADER_BYTES + 20),
        st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "little")),
    ),
)
@example([b"x" * 50], 4096, 8, struct.pack("<Q", HEADER_BYTES + 1))
@example([b"x" * 50], 4096, 8, struct.pack("<Q", 2**64 - 1))
@example([b"x" * 50], 4096, 8, struct.pack("<QI", 2**63 - 1, SEAL - 1))
def test_any_bytes_over_the_header(path, payloads, chunk, at, damage):
    """Whatever the header says: looking as the writer looks, for the hello and then for more, ends without an error."""
    written(path, payloads, 20)
    overwrite(path, at, damage)
    with reading(path, chunk) as reader:
        if reader.valid and reader.read_first() is not None:
            read_all(reader, [1 << 20], os.stat(path).st_size)
            assert reader.position <= os.stat(path).st_size


@pytest.mark.parametrize("size_bytes", [2**40, 2**62])
def test_damaged_lengths_cost_no_memory(path, size_bytes):
    """A length and a size that were damaged into gigabytes do not make the reader ask for as much memory."""
    written(path, [b"x"], 20)
    overwrite(path, 8, struct.pack("<Q", size_bytes))
    overwrite(path, bytes_of([]), struct.pack("<I", SEAL - 1))
    tracemalloc.start()
    try:
        found, reader = read_damaged(path, SegmentReader.CHUNK_BYTES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [HELLO]
    assert reader.torn
    assert peak < 4 * SegmentReader.CHUNK_BYTES


# --- the seal ---------------------------------------------------------------------------------------------


@examples()
@given(payloads=st.lists(certain, max_size=8), rest=st.integers(0, 80), later=certain, chunk=chunks)
def test_a_seal_at_any_fill_level(path, payloads, rest, later, chunk):
    """After seal() no frame fits any more, sealing again changes nothing, and the reader sees the end."""
    segment = written(path, payloads, rest)
    segment.seal()
    sealed = content(path)
    for frame_bytes in (frame(b"x"), frame(later)):
        with pytest.raises(ValueError, match="out of range"):
            segment.write(frame_bytes)
    segment.seal()
    assert content(path) == sealed
    with reading(path, chunk) as reader:
        assert reader.valid
        assert read_all(reader, [1 << 20], len(payloads) + 2) == [HELLO, *payloads]
        assert reader.sealed
        assert not reader.torn


@examples()
@given(rest=st.integers(0, 80), payload=small)
def test_a_frame_that_does_not_fit_changes_nothing(path, rest, payload):
    """A write that raises ValueError has written nothing, and one that fits exactly is taken."""
    segment = written(path, [b"before"], rest)
    before = content(path)
    framed = frame(payload)
    if len(framed) > rest:
        with pytest.raises(ValueError, match="out of range"):
            segment.write(framed)
        assert content(path) == before
    else:
        segment.write(framed)
        with reading(path) as reader:
            assert reader.valid
            assert reader.read(1 << 20) == [HELLO, b"before", payload]


def test_a_seal_while_threads_write(path):
    """A seal that comes while four threads write loses none of their frames, and none comes behind it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    try:
        for _ in range(30):
            segment = create(path, 32 * 1024)
            counts = [0] * 4

            def write(thread, segment=segment, counts=counts):
                try:
                    while True:
                        segment.write(frame(struct.pack("<II", thread, counts[thread])))
                        counts[thread] += 1
                except ValueError:
                    return

            threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            level = dice.randrange(2000)
            while sum(counts) < level and any(thread.is_alive() for thread in threads):
                pass
            segment.seal()
            for thread in threads:
                thread.join()
            with reading(path) as reader:
                assert reader.valid
                found = [struct.unpack("<II", payload) for payload in reader.read(1 << 20)[1:]]
                assert reader.sealed
            for thread, count in enumerate(counts):
                assert [number for of, number in found if of == thread] == list(range(count))
    finally:
        sys.setswitchinterval(before)


# --- a reader beside the process that writes ------------------------------------------------------------

APPEND = """
import mmap, random, struct, sys
from runicorn.queue.segment import Segment, frame

path, counter_path, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
counter_file = open(counter_path, "r+b")
counter = mmap.mmap(counter_file.fileno(), 8)
segment = Segment.create(path, 8 << 20, b"hello")
print("created", flush=True)
sys.stdin.readline()
for number in range(most):
    dice = random.Random(number)
    payload = struct.pack("<I", number) + dice.randbytes(dice.choice((1, 30, 200, 3000, 9000)))
    segment.write(frame(payload))
    counter[:8] = struct.pack("<Q", number + 1)
segment.seal()
"""
APPENDED = 1200


def appended(number: int) -> bytes:
    dice = random.Random(number)
    return struct.pack("<I", number) + dice.randbytes(dice.choice((1, 30, 200, 3000, 9000)))


@contextmanager
def appending(tmp_path):
    """A process that appends flat out as soon as it is told to."""
    target, counter = tmp_path / f"segment-{time.monotonic_ns()}", tmp_path / f"count-{time.monotonic_ns()}"
    counter.write_bytes(bytes(8))
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND, str(target), str(counter), str(APPENDED)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"created\n"
        yield process, str(target), lambda: struct.unpack("<Q", counter.read_bytes())[0]
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_reader_beside_a_process_that_appends(tmp_path):
    """At each look a reader in another process has a prefix of what was written, at least what was when it began."""
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    with appending(tmp_path) as (process, target, returned), reading(target) as reader:
        reader.CHUNK_BYTES = 5000
        assert reader.valid
        assert reader.read_first() == HELLO
        process.stdin.write(b"\n")
        process.stdin.flush()
        count = 0
        deadline = time.monotonic() + 90
        while not reader.sealed:
            assert time.monotonic() < deadline, f"{count} of {APPENDED}"
            least = returned()
            limit = dice.choice((1, 10_000, 1 << 30))
            for payload in reader.read(limit):
                assert payload == appended(count)
                count += 1
            assert limit < 1 << 30 or count >= least
        assert count == APPENDED


def test_a_reader_beside_a_process_that_is_killed(tmp_path):
    """Of a process that was killed in mid-stream every frame that it had written is read, and at most one more."""
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    for _ in range(8):
        with appending(tmp_path) as (process, target, returned), reading(target) as reader:
            process.stdin.write(b"\n")
            process.stdin.flush()
            moment = dice.randrange(1, APPENDED - 200)
            deadline = time.monotonic() + 90
            while returned() < moment:
                assert time.monotonic() < deadline
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert reader.valid
            found = read_all(reader, [1 << 30], 3)
            assert found == [HELLO, *map(appended, range(len(found) - 1))]
            assert len(found) - 1 in {returned(), returned() + 1}


# --- behind damage ------------------------------------------------------------------------------------------

records = st.builds(
    lambda step, name, value: encode(Metrics(1.5, step, {name: value})),
    st.integers(0, 2**40),
    st.text(max_size=12),
    st.one_of(st.floats(), st.text(max_size=300), st.none()),
)
record_lists = st.lists(records, min_size=1, max_size=12)


def read_behind(reader: SegmentReader, most: int) -> list[bytes]:
    """All that can be had from a segment to which nothing is written any more, in a bounded number of looks."""
    found = []
    for _ in range(most):
        new = reader.read(1 << 20)
        found += new
        if not new and (reader.sealed or not reader.skip_damage(ended=True)):
            return found
    raise AssertionError(f"{most} looks were not enough")


def unharmed(payloads: list[bytes], before: bytes, after: bytes) -> list[bytes]:
    """The payloads whose frames are as they were."""
    ends = [HEADER_BYTES, *frame_ends(payloads)]
    frames = zip([HELLO, *payloads], ends, ends[1:], strict=False)
    return [payload for payload, start, end in frames if before[start:end] == after[start:end]]


@examples(80)
@given(payloads=record_lists, chunk=chunks, damage=damages, rest=st.integers(0, 300), data=st.data())
def test_damage_costs_the_frames_that_it_hits(path, payloads, chunk, damage, rest, data):
    """Whatever is written over a range: every other frame is read once and in order, and what was hit is told."""
    written(path, payloads, rest)
    before = content(path)
    end = bytes_of(payloads)
    start = data.draw(st.integers(HEADER_BYTES, end - 1), label="start")
    overwrite(path, start, damage[: end - start])
    expected = unharmed(payloads, before, content(path))
    with reading(path, chunk) as reader:
        assert reader.valid
        assert read_behind(reader, 4 * len(payloads) + 8) == expected
        hit = len(payloads) + 1 - len(expected)
        assert (not reader.damages) if not hit else (reader.damages or payloads[-1] not in expected)


@examples(80)
@given(payloads=record_lists, chunk=chunks, damage=damages, cuts=st.data())
def test_a_range_that_was_damaged_since(path, payloads, chunk, damage, cuts):
    """Between two places where frames end, read_range() gives the frames that no damage hit, and tells of the rest."""
    written(path, payloads, 20)
    before = content(path)
    start, stop = HEADER_BYTES, bytes_of(payloads)
    at = cuts.draw(st.integers(start, stop - 1), label="at")
    overwrite(path, at, damage[: stop - at])
    with reading(path, chunk) as reader:
        assert reader.valid
        expected = unharmed(payloads, before, content(path))
        assert reader.read_range(start, stop) == expected
        assert reader.position == stop
        assert bool(reader.damages) == (len(expected) <= len(payloads))


@pytest.mark.parametrize("number", range(4))
def test_random_bytes_hold_no_record(path, number):
    """In a segment of random bytes no record is found, and the search for one ends."""
    create(path, 4 << 20)
    overwrite(path, HEADER_BYTES, random.Random(number).randbytes((4 << 20) - HEADER_BYTES))
    with reading(path) as reader:
        assert reader.valid
        assert read_behind(reader, 3) == []
        assert sum(damage.size_bytes for damage in reader.damages) > 4_000_000


@pytest.mark.parametrize("field", [bytes(8), struct.pack("<Q", 17), struct.pack("<Q", 2**62)])
def test_a_size_field_that_lies(path, field):
    """The file's own length counts: all frames are read, whatever the header says of it, and that is told."""
    payloads = [encode(Metrics(1.0, n, {"i": n})) for n in range(9)]
    written(path, payloads, 30)
    overwrite(path, 8, field)
    with reading(path) as reader:
        assert reader.valid
        assert read_behind(reader, 3) == [HELLO, *payloads]
        assert reader.damages == [Damage(8, 8)]


def test_a_length_that_was_turned_into_a_seal(path):
    """A seal with something behind it is none: what follows is read."""
    payloads = [encode(Metrics(1.0, n, {"i": n})) for n in range(9)]
    written(path, payloads, 30)
    overwrite(path, frame_ends(payloads)[3], struct.pack("<I", SEAL))
    with reading(path) as reader:
        assert reader.valid
        assert read_behind(reader, 5) == [HELLO, *payloads[:3], *payloads[4:]]


def test_a_frame_that_a_living_producer_is_copying_is_waited_for(path, monkeypatch):
    """What is not whole yet is no damage, even with a whole frame behind it, before it was looked at again later."""
    now = [100.0]
    monkeypatch.setattr("runicorn.queue.segment_reader.time.monotonic", lambda: now[0])
    payloads = [encode(Metrics(1.0, n, {"i": n})) for n in range(3)]
    written(path, payloads, 60)
    whole = content(path)
    start = frame_ends(payloads)[1]
    with reading(path) as reader:
        assert reader.valid
        overwrite(path, start + 12, bytes(6))
        assert reader.read(1 << 20) == [HELLO, payloads[0]]
        assert not reader.skip_damage(ended=False)
        overwrite(path, 0, whole)
        assert reader.read(1 << 20) == payloads[1:]
        assert reader.damages == []
        overwrite(path, start + 12, bytes(6))
        reader.position = start
        assert reader.read(1 << 20) == []
        assert not reader.skip_damage(ended=False)
        now[0] += 60
        assert reader.skip_damage(ended=False)
        assert reader.read(1 << 20) == payloads[2:]
        assert reader.damages == [Damage(start, frame_ends(payloads)[2] - start)]
