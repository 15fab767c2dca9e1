"""What the reading end of the queue takes for a copy of a segment, or for one given up, and what it does not."""

import os
import shutil
import time
from contextlib import suppress

import pytest

from runicorn.host.locks import Lock
from runicorn.queue import spool
from runicorn.queue.control_page import ControlPage
from runicorn.queue.producer import Queue
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Dropped, Hello, Text, encode
from runicorn.queue.segment import HEADER_BYTES, MAGIC, Segment, frame
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
    segment = Segment.create(
        path, 4096, encode(Hello(f"host-{producer}", not_owner=True)), number - 1 if number else None
    )
    for payload in payloads:
        segment.write(frame(payload))
    segment.seal()
    return path


def begin(address, number: int, before: int | None = None) -> Segment:
    """Make a segment that is not sealed yet."""
    path = os.path.join(address.spool, f"{PRODUCER}-{number:08d}{spool.SEGMENT_SUFFIX}")
    return Segment.create(path, 4096, encode(Hello("host-1", not_owner=True)), before)


def give_up(address, number: int, before: int | None, how_far: str) -> None:
    """Make a segment, and stop in the middle, as who is interrupted does."""
    segment = begin(address, number, before)
    with open(segment.path, "r+b") as file:
        if how_far != "whole":
            file.write(bytes(len(MAGIC)))
        if how_far in {"reserved", "header"}:
            file.seek(0 if how_far == "reserved" else HEADER_BYTES)
            file.write(bytes(4096 - file.tell()))
        file.truncate(0 if how_far == "opened" else 4096)


@pytest.fixture
def living(address):
    """The producer lives: this process has its lock."""
    lock = Lock.take(os.path.join(address.spool, PRODUCER + spool.LOCK_SUFFIX))
    yield lock
    lock.release()


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
    lost = encode(Dropped(1))
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
    segment = Segment.create(path, 4096, encode(Hello("host-1", not_owner=True)))
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


HOW_FAR = ["opened", "reserved", "header", "hello", "whole"]


@pytest.mark.parametrize("how_far", HOW_FAR)
@pytest.mark.usefixtures("living")
def test_what_follows_a_segment_that_was_given_up_is_read(address, tail, how_far):
    """A rotation was interrupted, and the next one has taken other numbers: what comes into that segment is had."""
    fill(address, 0, *texts("a"))
    assert read(tail) == texts("a")
    give_up(address, 2, 0, how_far)  # 1 went to a spare that was not there, and so did 3
    assert read(tail) == []
    used = begin(address, 4, 0)
    assert read(tail) == []
    used.write(frame(texts("b")[0]))
    assert read(tail) == texts("b")
    assert [each.number for each in tail.finished()] == [0, 2]
    assert not tail.has_left(), "the one in use is the newest"
    used.seal()
    fill(address, 5, *texts("c"))
    assert read(tail) == texts("c")
    assert [each.number for each in tail.finished()] == [0, 2, 4, 5]
    assert not tail.is_in_doubt


@pytest.mark.parametrize("how_far", HOW_FAR)
def test_a_segment_that_a_dead_process_has_given_up_lacks_nothing(address, tail, how_far):
    """No record was in it: that its header is not there is no damage, and what follows it is no copy of it."""
    fill(address, 0, *texts("a"))
    give_up(address, 2, 0, how_far)
    begin(address, 4, 0).write(frame(texts("b")[0]))
    tail.scan()
    assert tail.living() == 1  # and so it knows that the process is dead
    pieces = tail.collect(1 << 20, probe=True) + tail.collect(1 << 20, probe=True)
    assert [payload for piece in pieces for payload in piece.payloads] == texts("a", "b")
    assert [piece.damages for piece in pieces if piece.damages] == []
    assert [each.number for each in tail.finished()] == [0, 2, 4]
    assert not tail.is_in_doubt


def test_a_segment_without_its_header_is_damaged_if_it_was_in_use(address, tail):
    """A later segment says that it was, so something was in it, although nothing is there now."""
    path = fill(address, 0, *texts("a"))
    with open(path, "r+b") as file:
        file.write(bytes(4096))
    fill(address, 1, *texts("b"))
    pieces = tail.collect(1 << 20, probe=True) + tail.collect(1 << 20, probe=True)
    assert [payload for piece in pieces for payload in piece.payloads] == texts("b")
    assert [piece.segment for piece in pieces if piece.damages] == [os.path.basename(path)]


@pytest.mark.parametrize("how_far", HOW_FAR[:-1])
@pytest.mark.usefixtures("living")
def test_a_segment_that_is_being_made_again_is_waited_for(address, tail, how_far):
    """Its name was gone; the next one says that it was in use, so its producer is not done with the copy of it."""
    segment = begin(address, 0)
    segment.write(frame(texts("a")[0]))
    segment.seal()
    with open(segment.path, "rb") as file:
        content = file.read()
    os.unlink(segment.path)
    begin(address, 1, 0).write(frame(texts("b")[0]))
    assert read(tail) == []
    give_up(address, 0, None, how_far)  # not given up, but on the way to what it was
    assert read(tail) == []
    with open(segment.path, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), content[25:], 25)
        os.pwrite(file.fileno(), content[:16], 0)
    assert read(tail) == texts("a", "b")
    assert tail.take_lacks() == []


@pytest.mark.usefixtures("living")
def test_a_segment_whose_header_stays_away_is_given_up(address, tail, monkeypatch):
    """It was in use, and nobody makes it again: what can be read in it is, and what follows it is stored."""
    path = fill(address, 0, *texts("a"))
    with open(path, "r+b") as file:
        file.write(bytes(len(MAGIC)))
    begin(address, 1, 0).write(frame(texts("b")[0]))
    assert read(tail) == []
    monkeypatch.setattr("runicorn.writer.follow.GAP_WAIT_S", 0.0)
    pieces = tail.collect(1 << 20)
    assert [payload for piece in pieces for payload in piece.payloads] == texts("a", "b")
    assert [piece.segment for piece in pieces if piece.damages] == [os.path.basename(path)]


@pytest.mark.parametrize("how_far", HOW_FAR)
def test_a_segment_of_the_plan_that_was_given_up_has_no_copy(address, tail, how_far):
    """A plan knows a segment that holds nothing; the next writer takes the one that follows for no copy of it."""
    fill(address, 0, *texts("a"))
    give_up(address, 2, 0, how_far)
    assert read(tail) == texts("a")
    ranges = tail.ranges()
    begin(address, 4, 0).write(frame(texts("b")[0]))
    later = Tail(address, ControlPage.open(os.path.join(address.spool, spool.CONTROL)))
    later.restore(ranges)
    tail.close()
    assert later.living() == 1  # and so it knows that the process is dead
    assert read(later)[-1:] == texts("b")
    assert not later.is_in_doubt
    later.close()


@pytest.fixture
def queue(address):
    """Of this process, which has no writer."""
    control = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
    made = Queue(address, control, is_owner=False, rank=None)
    yield made
    made.let_go(ControlPage.of_ended_run())
    control.close()


def test_the_owner_is_none_of_those_that_outlive_it(address, tail, queue):
    """While it waits for the run's end it lives; of others alone it is told that the run goes on without it."""
    owner = Queue(address, queue.control, is_owner=True, rank=None)
    put(queue, "own")
    put(owner, "of the owner")
    owner.seal()
    for step in (read, store):  # while its segment is followed, and when that is stored
        step(tail)
        assert (tail.living(), tail.living_beside_owner()) == (2, 1)
    owner.let_go(ControlPage.of_ended_run())


def test_who_is_dead_outlives_nobody(address, tail):
    """A dead process with unread records keeps the run open, but does not count among those that outlive the owner."""
    fill(address, 0, *texts("unread"))
    tail.scan()
    assert (tail.living(), tail.living_beside_owner()) == (1, 0)


def put(queue, word: str) -> None:
    """A record into the queue."""
    queue.put(Text(1.0, word))


ROTATIONS = {
    "appear": lambda queue: queue.register(),
    "log": lambda queue: put(queue, "own"),
    "report": lambda queue: queue.report_dropped(1),
}


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_in_use_is_the_newest_whatever_interrupts_a_rotation(tail, queue, monkeypatch, first, rotation, raises):
    """A signal handler rotates as well, or begins to and raises: what is pushed then, and later, is had."""
    create = Segment.create
    interrupted = []

    def create_and_be_interrupted(*arguments) -> Segment:
        made = create(*arguments)
        if interrupted == [True] and raises:
            interrupted.append(True)
            raise KeyboardInterrupt
        if not interrupted:
            interrupted.append(True)
            with suppress(KeyboardInterrupt):
                put(queue, "handler")
        return made

    if not first:
        put(queue, "before")
        queue.seal()
    monkeypatch.setattr(Segment, "create", create_and_be_interrupted)
    ROTATIONS[rotation](queue)
    found = read(tail)
    put(queue, "after")
    found += read(tail)
    words = [decode(each).text for each in found if isinstance(decode(each), Text)]
    assert words[-1] == "after"
    assert words.count("handler") == (not raises)


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
