"""What the reading end of the queue takes for a copy of a segment, and what it does not."""

import os
import shutil
import time

import pytest

from runicorn.queue import spool
from runicorn.queue.control_page import ControlPage
from runicorn.queue.records import Hello, Lost, Text, encode
from runicorn.queue.segment import Segment, frame
from runicorn.settings import Settings
from runicorn.writer import segments
from runicorn.writer.follow import Tail

PRODUCER = "ffffff.00000001"  # a process that does not live


@pytest.fixture
def address(tmp_path):
    """Of a spool with nothing in it."""
    made, lock = spool.create(
        run_id="r",
        run_dir=str(tmp_path),
        storage=str(tmp_path),
        path="p",
        host="host",
        opened_at=time.time(),
        settings=Settings.from_environment(),
    )
    yield made
    lock.release()
    spool.remove(made.spool)


@pytest.fixture
def tail(address):
    """Of that spool."""
    control = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
    made = Tail(address, control)
    yield made
    made.close()
    control.close()


def fill(address, number: int, *payloads: bytes, producer: str = PRODUCER) -> str:
    """Make a segment of a dead process; its path."""
    path = os.path.join(address.spool, f"{producer}-{number:08d}{spool.SEGMENT_SUFFIX}")
    segment = Segment.create(path, 4096, encode(Hello(f"host-{producer}", joined=True)), number - 1 if number else None)
    for payload in payloads:
        segment.write(frame(payload))
    segment.seal()
    return path


def texts(*words: str) -> list[bytes]:
    """A record for each word."""
    return [encode(Text(1.0, word)) for word in words]


def read(tail: Tail) -> list[bytes]:
    """All that there is."""
    found = []
    while pieces := tail.collect(1 << 20, probe=True):  # damage ends a look
        found += [payload for piece in pieces for payload in piece.payloads]
    return found


def store(tail: Tail) -> None:
    """Have what was read be stored, and its segments removed."""
    tail.advance()
    tail.drop([each for each in tail.finished() if each.start == each.reader.position])


@pytest.mark.parametrize("stored", [False, True])
def test_segments_that_begin_alike_are_not_copies(address, tail, stored):
    """A process that loses one record in each of two segments says so by the same record: both are read in full."""
    lost = encode(Lost(1))
    fill(address, 0, lost, *texts("a"))
    if stored:
        assert read(tail) == [lost, *texts("a")]
        store(tail)
    fill(address, 1, lost, *texts("b"))
    assert read(tail) == [lost, *texts("b")] if stored else [lost, *texts("a"), lost, *texts("b")]
    assert not tail.is_in_doubt


def test_processes_that_begin_alike_are_not_copies(address, tail):
    """Forks that log the same at the same time are read in full."""
    same = texts("a", "b")
    fill(address, 0, *same)
    fill(address, 0, *same, producer="fffffe.00000002")
    assert read(tail) == same + same
    assert not tail.is_in_doubt


def test_a_copy_adds_what_it_alone_has(address, tail):
    """While a segment is there, a copy of it is read as far as the segment does not have the same."""
    path = fill(address, 0, *texts("a", "b", "c"))
    shutil.copy(path, path.replace("-00000000", "-00000001"))
    with open(path, "r+b") as file:
        whole = file.read()
        file.seek(whole.index(b"\xa1b") + 1)
        file.write(b"x")
    assert sorted(read(tail)) == texts("a", "b", "c")
    assert tail.is_in_doubt


def test_a_damaged_copy_is_read_to_its_end(address, tail):
    """What stands behind damage in a copy is had, although nothing before the damage was new."""
    path = fill(address, 0, *texts("a", "b", "c"))
    copy = path.replace("-00000000", "-00000001")
    shutil.copy(path, copy)
    for file, hit in ((copy, b"b"), (path, b"c")):
        with open(file, "r+b") as opened:
            opened.seek(opened.read().index(b"\xa1" + hit) + 1)
            opened.write(b"x")
    assert sorted(read(tail)) == texts("a", "b", "c")


def test_a_copy_of_what_is_stored_is_left_to_the_files(address, tail):
    """Nobody knows any more what a segment had that is removed, so its copy is compared with the files."""
    path = fill(address, 0, *texts("a", "b"))
    copy = path.replace("-00000000", "-00000001")
    shutil.copy(path, f"{path}.x")
    assert read(tail) == texts("a", "b")
    store(tail)
    os.rename(f"{path}.x", copy)
    assert read(tail) == texts("a", "b")
    assert tail.is_in_doubt


@pytest.mark.parametrize("is_copy", [False, True])
def test_what_an_earlier_writer_had_open_is_in_doubt_without_its_plan(address, tail, is_copy):
    """It may be stored in part, also if its producer has made it again; what is pushed after that is in no doubt."""
    path = os.path.join(address.spool, f"{PRODUCER}-00000000{spool.SEGMENT_SUFFIX}")
    segment = Segment.create(path, 4096, encode(Hello("host-1", joined=True)))
    segment.write(frame(texts("a")[0]))
    assert read(tail) == texts("a")
    assert not tail.is_in_doubt
    if is_copy:
        os.unlink(path)
        segment.seal()
        segment.copy_to(path)
    later = Tail(address, ControlPage.open(os.path.join(address.spool, spool.CONTROL)))
    later.has_lost_plan = True
    assert [piece.payloads for piece in later.collect(1 << 20)] == [texts("a")]
    assert later.is_in_doubt
    fill(address, 1, *texts("b"))
    later.advance()
    assert read(later) == texts("b")
    assert not later.is_in_doubt
    later.close()


def test_pieces_say_their_turn_by_the_header(address, tail):
    """Segments whose names were exchanged are read in the order that stands in them: what was logged first is first."""
    one, other = fill(address, 1, *texts("a")), fill(address, 2, *texts("b"))
    os.rename(one, f"{one}.x")
    os.rename(other, one)
    os.rename(f"{one}.x", other)
    assert [(piece.turn, piece.payloads) for piece in tail.collect(1 << 20, probe=True)] == [
        (1, texts("a")),
        (2, texts("b")),
    ]


def test_stored_segments_that_cannot_be_removed_are_in_the_next_plan(address, tail, monkeypatch):
    """A writer that follows a dead one stores no segment again whose removal had failed."""
    monkeypatch.setattr(segments, "_unlink", lambda _path: None)
    for number in range(3):
        fill(address, number, *texts(f"text {number}"))
    assert read(tail) == texts("text 0", "text 1", "text 2")
    store(tail)
    later = Tail(address, ControlPage.open(os.path.join(address.spool, spool.CONTROL)))
    again, gone_bytes = later.restore(tail.ranges())
    assert ([payload for piece in again for payload in piece.payloads], gone_bytes) == ([], 0)
    assert read(later) == []
    later.close()
