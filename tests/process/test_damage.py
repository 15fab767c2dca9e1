"""A spool whose files are damaged costs the records that were hit, and no other; what is stored stays stored once."""

import json
import os
import random
from pathlib import Path

import psutil
import pytest
from support import status, wait_until
from support.trainers import Trainer, counted, recover, wait_dead

from runicorn.queue.asset_records import Blob, Image
from runicorn.queue.records import Text, encode
from runicorn.queue.segment import FRAME_HEADER_BYTES, HEADER_BYTES, frame, unpack_frame_header
from runicorn.writer.plan import PlanFile

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))

BODY = """
import time
run = rn.init()
opened(run)
run.set_primary_metric("loss", mode="min")
sys.stdin.readline()
log_flat_out(run, 399)
run.log_text("behind")
log_flat_out(run, 1, first=400)
for i in range(401, 10_000):  # until a batch kills it
    log_flat_out(run, 1, first=i)
    time.sleep(0.001)
"""


def dead_run(tmp_path: Path, moment: str, body: str = BODY, **variables: str) -> Trainer:
    """A run of which a batch is stored when owner and writer die, at a moment of the batch after that."""
    variables["crash_at"] = f"{moment}:2:both"
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore", **variables)
    writer = psutil.Process(trainer.writer_pid())
    plan = PlanFile(str(trainer.spool / "plan"))
    wait_until(plan.read, 60, "there is no first batch")
    writer.suspend()
    trainer.go_on()
    trainer.wait_returned(400)
    writer.resume()
    trainer.end()
    wait_dead(writer.pid)
    plan.close()
    return trainer


def all_of(trainer: Trainer) -> list[int]:
    """What must be stored: what log() has returned for, and what was on its way at the death if it is there."""
    most = trainer.returned + 1
    return list(range(1, most + (most in counted(trainer.run_dir))))


def change(path: Path, at: int, data: bytes) -> None:
    """Write over a part of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def segment_of(trainer: Trainer) -> Path:
    """The only one."""
    segments = list(trainer.spool.glob("*.seg"))
    assert len(segments) == 1, f"{sorted(trainer.spool.iterdir())} {trainer.returned} {trainer.errors.read_text()}"
    return segments[0]


@pytest.mark.parametrize("moment", ["planned", "appending", "appended", "stored"])
@pytest.mark.parametrize("damage", ["zeros", "random", "missing", "cut"])
def test_without_a_plan_the_files_say_what_is_stored(tmp_path, moment, damage):
    """Whatever has become of the plan, and whenever the writer died: each record is stored once, in order."""
    trainer = dead_run(tmp_path, moment)
    plan = trainer.spool / "plan"
    if damage == "missing":
        plan.unlink()
    elif damage == "cut":
        os.truncate(plan, 10)
    else:
        print(f"seed {SEED}")
        size = plan.stat().st_size
        plan.write_bytes(bytes(size) if damage == "zeros" else random.Random(SEED).randbytes(size))
    said = recover(tmp_path)
    assert ": stored" in said
    assert counted(trainer.run_dir) == all_of(trainer)
    assert (trainer.run_dir / "logs.txt").read_text().count("behind") == (trainer.returned >= 400)
    summary = json.loads((trainer.run_dir / "summary.json").read_text())
    assert (summary["best_metric_value"], summary["best_metric_step"]) == (0.5, 1)
    assert status(trainer.run_dir)["last_step"] == all_of(trainer)[-1]
    assert "Nothing to recover" in recover(tmp_path)
    assert not trainer.spool.exists()


@pytest.mark.parametrize("moment", ["planned", "appended", "stored"])
@pytest.mark.parametrize("at", [0, 8, 16, 24, 28, 40, 1000, 12_000])
def test_damage_in_a_segment_costs_what_it_hit(tmp_path, moment, at):
    """Header, hello, a stored frame, one that is not: at most that one record is lost, and it is told."""
    trainer = dead_run(tmp_path, moment)
    segment = segment_of(trainer)
    used = len(segment.read_bytes().rstrip(b"\0"))
    assert used > at + 100
    change(segment, at, bytes([segment.read_bytes()[at] ^ 0xFF]))  # one byte: three may be in two frames
    assert ": stored" in recover(tmp_path)
    found = counted(trainer.run_dir)
    assert sorted(set(found)) == found
    lost = set(range(1, trainer.returned + 1)) - set(found)
    assert len(lost) <= 1
    if lost:
        assert status(trainer.run_dir)["damaged_bytes"] > 0
        assert segment.name in status(trainer.run_dir)["storage_errors"][0]["error"]
    assert not trainer.spool.exists()


def test_an_events_file_that_was_shortened_meanwhile(tmp_path):
    """Lines that a user removed stay removed, what was not stored is, and the status says so."""
    trainer = dead_run(tmp_path, "planned")
    events = trainer.run_dir / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:3]) if events.exists() else b"")
    assert ": stored" in recover(tmp_path)
    found = counted(trainer.run_dir)
    assert sorted(set(found)) == found
    assert found[-1] == all_of(trainer)[-1]
    assert not trainer.spool.exists()


def test_a_spool_with_a_damaged_address_is_told_and_kept(tmp_path):
    """A spool of which nobody knows where its records belong is named by recover, and nothing is changed."""
    trainer = dead_run(tmp_path, "planned")
    address = trainer.spool / "address.json"
    whole = address.read_bytes()
    before = counted(trainer.run_dir)
    change(address, whole.index(b'"run_dir":"') + 12, b"x")
    said = recover(tmp_path)
    assert str(trainer.spool) in said
    assert "damaged" in said
    assert counted(trainer.run_dir) == before
    address.write_bytes(whole)
    recover(tmp_path)
    assert counted(trainer.run_dir) == all_of(trainer)


def test_a_control_page_that_says_done_is_not_believed_alone(tmp_path):
    """A control page of random bytes costs no record."""
    trainer = dead_run(tmp_path, "appended")
    control = trainer.spool / "control"
    print(f"seed {SEED}")
    control.write_bytes(random.Random(SEED).randbytes(control.stat().st_size))
    change(control, 8, b"\1\1")
    assert ": stored" in recover(tmp_path)
    assert counted(trainer.run_dir) == all_of(trainer)


GOOD = "blob-0123456789abcdef"
PATHS = [
    "",
    ".",
    "..",
    "../outside",
    "{outside}",
    "media",
    "media/",
    "media/..",
    "media/../../outside",
    "media/../a.png",
]
PATHS += ["media/a\0b", "status.json", "media/" + "x" * 5000]
BLOBS = ["", ".", "..", "../outside", "{outside}", "plan", "control", "address.json", "a\0b", "x" * 5000]


@pytest.mark.parametrize(
    ("path", "blob"),
    [
        *((path, Blob(0, GOOD, 12)) for path in PATHS),
        *(("media/i.png", Blob(0, name, 12)) for name in BLOBS),
        *(("media/i.png", Blob(place, GOOD, 12)) for place in (7, -1)),
        ("media/i.png", Blob(0, GOOD, -1)),
    ],
)
def test_names_in_a_record_lead_nowhere_else(tmp_path, path, blob):
    """An image whose names are not those that a process gives costs itself alone, and it is told."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"0123456789ab")
    trainer = dead_run(tmp_path, "planned")
    (trainer.spool / GOOD).write_bytes(b"0123456789ab")
    (trainer.spool.parent / "outside").write_bytes(b"0123456789ab")
    name = blob.name.format(outside=outside)
    blob = Blob(blob.tier, name, blob.size_bytes)
    image = Image(1.0, "k", path.format(outside=outside), 1, None, ".png", 90, "RGB", 2, 2, blob)
    segment = segment_of(trainer)
    used = len(segment.read_bytes().rstrip(b"\0"))
    change(segment, used, frame(encode(image)) + frame(encode(Text(1.0, "after"))))
    assert ": stored" in recover(tmp_path)
    assert counted(trainer.run_dir) == all_of(trainer)
    assert "after" in (trainer.run_dir / "logs.txt").read_text()
    assert outside.read_bytes() == (trainer.spool.parent / "outside").read_bytes() == b"0123456789ab"
    assert not trainer.spool.exists()
    assert status(trainer.run_dir)["storage_errors"]
    (trainer.spool.parent / "outside").unlink()


@pytest.mark.parametrize("damage", ["zeros", "random", "missing"])
def test_a_mark_of_sigterm_that_is_garbage_is_none(tmp_path, damage):
    """Only what faulthandler writes says that SIGTERM ended the owner."""
    trainer = dead_run(tmp_path, "planned")
    mark = trainer.spool / "sigterm"
    if damage == "missing":
        mark.unlink()
    else:
        print(f"seed {SEED}")
        mark.write_bytes(bytes(100) if damage == "zeros" else random.Random(SEED).randbytes(100))
    recover(tmp_path)
    assert status(trainer.run_dir)["exit_reason"] == "process gone"


def test_a_segment_that_was_copied_is_stored_once(tmp_path):
    """A copy of a segment under the next name adds nothing."""
    trainer = dead_run(tmp_path, "stored")
    segment = segment_of(trainer)
    twin = segment.with_name(segment.name.replace("-00000000", "-00000001"))
    twin.write_bytes(segment.read_bytes())
    twin.chmod(0o600)
    assert ": stored" in recover(tmp_path)
    assert counted(trainer.run_dir) == all_of(trainer)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("moment", ["planned", "appended", "stored"])
def test_of_a_segment_and_its_copy_one_may_be_damaged_at_its_beginning(tmp_path, moment, number):
    """The first record of either is not what it was: the two are copies still, and what one has is stored once."""
    trainer = dead_run(tmp_path, moment)
    segment = segment_of(trainer)
    twin = segment.with_name(segment.name.replace("-00000000", "-00000001"))
    twin.write_bytes(segment.read_bytes())
    twin.chmod(0o600)
    hello_bytes, _ = unpack_frame_header(segment.read_bytes(), HEADER_BYTES)
    change((segment, twin)[number], HEADER_BYTES + FRAME_HEADER_BYTES + hello_bytes, b"\xff")
    assert ": stored" in recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == all_of(trainer)
    assert not trainer.spool.exists()


@pytest.mark.parametrize("moment", ["planned", "appending", "appended", "stored"])
def test_a_segment_that_has_got_another_name_is_stored_once(tmp_path, moment):
    """The plan knows a segment by its name: under another one, what of it is stored is found in the files."""
    trainer = dead_run(tmp_path, moment, BODY.replace('run.log_text("behind")', ""))
    segment = segment_of(trainer)
    segment.rename(segment.with_name(segment.name.replace("-00000000", "-00000001")))
    assert ": stored" in recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == all_of(trainer)
    assert not trainer.spool.exists()


def test_text_of_a_segment_that_has_another_ones_name_is_stored(tmp_path):
    """First and last segment have exchanged their names, one is there twice: each line of text is stored once."""
    body = """
    import time
    run = rn.init()
    opened(run)
    run.set_primary_metric("loss", mode="min")
    sys.stdin.readline()
    for i in range(1, 401):
        log_flat_out(run, 1, first=i)
        run.log_text(f"text {i}.")
    for i in range(401, 10_000):  # until a batch kills it
        log_flat_out(run, 1, first=i)
        time.sleep(0.001)
    """
    trainer = dead_run(tmp_path, "planned", body, RUNICORN_SEGMENT_BYTES="4096")
    first, *between, last = sorted(trainer.spool.glob("*.seg"))
    assert between
    twin = last.with_name(f"{last.name[:-12]}{99:08d}.seg")
    twin.write_bytes(between[0].read_bytes())
    twin.chmod(0o600)
    aside = first.rename(first.with_name("aside"))
    last.rename(first)
    aside.rename(last)
    assert ": stored" in recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == all_of(trainer)
    lines = (trainer.run_dir / "logs.txt").read_text().splitlines()
    assert sorted(line.partition(" | ")[2] for line in lines) == sorted(f"text {i}." for i in range(1, 401))
    assert not trainer.spool.exists()


WITH_CHILD = """
import time
run = rn.init(capture_console=True)
opened(run)
run.set_primary_metric("loss", mode="min")
sys.stdin.readline()
here, there = os.pipe()
logged, told = os.pipe()
if os.fork() == 0:
    os.close(there)
    for i in range(-20, 0):
        run.log({"i": i})
    os.write(told, b"1")
    os.read(here, 1)  # until the owner has died
    os._exit(0)
os.close(here)
os.read(logged, 1)
for i in range(1, 400):
    log_flat_out(run, 1, first=i)
    sys.stderr.write(f"line {i}.\\n")
print("open ", end="", file=sys.stderr)
for i in range(400, 10_000):  # until a batch kills it
    log_flat_out(run, 1, first=i)
    time.sleep(0.001)
"""


def of_two_processes(trainer: Trainer) -> tuple[Path, list[Path]]:
    """The segment of the child, and those of the owner in their order."""
    owners = f"{trainer.process.pid:x}."
    segments = sorted(trainer.spool.glob("*.seg"))
    (child,) = [path for path in segments if not path.name.startswith(owners)]
    wait_dead(int(child.name.partition(".")[0], 16))
    return child, [path for path in segments if path.name.startswith(owners)]


def exchange(one: Path, other: Path) -> None:
    """Give each of two files the other one's name."""
    aside = one.rename(one.with_name("aside"))
    other.rename(one)
    aside.rename(other)


@pytest.mark.parametrize("moment", ["planned", "appended", "stored"])
def test_a_segment_that_does_not_say_whose_it_is_is_stored_once(tmp_path, moment):
    """The owner's segment has a child's name and a damaged hello: the files tell what they have of it."""
    trainer = dead_run(tmp_path, moment, WITH_CHILD)
    child, (owner,) = of_two_processes(trainer)
    exchange(child, owner)
    change(child, HEADER_BYTES + FRAME_HEADER_BYTES, b"\xff")
    assert ": stored" in recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == [*range(-20, 0), *all_of(trainer)]


@pytest.mark.parametrize("moment", ["planned", "appended", "stored"])
def test_a_line_that_is_not_ended_outlives_segments_that_are_read_out_of_turn(tmp_path, moment):
    """Segments of two processes have exchanged their names: each line is stored once, also the last, without an end."""
    trainer = dead_run(tmp_path, moment, WITH_CHILD, RUNICORN_SEGMENT_BYTES="4096")
    child, (_, between, *_) = of_two_processes(trainer)
    exchange(child, between)
    assert ": stored" in recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == [*range(-20, 0), *all_of(trainer)]
    lines = (trainer.run_dir / "logs.txt").read_text().splitlines()
    printed = [line.partition("] ")[2] for line in lines if "] " in line and str(trainer.spool) not in line]
    assert sorted(printed) == sorted([*(f"line {i}." for i in range(1, 400)), "open "])


def test_a_damaged_frame_of_a_living_producer_does_not_stop_its_run(tmp_path):
    """While a run is live, what follows a damaged frame is stored, and finish() ends the run."""
    body = """
    run = rn.init()
    opened(run)
    log_flat_out(run, 1)
    sys.stdin.readline()
    log_flat_out(run, 100, first=2)
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body)
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "logged"
    segment = segment_of(trainer)
    used = len(segment.read_bytes().rstrip(b"\0"))
    change(segment, used - 200, bytes(60))
    writer.resume()
    trainer.go_on()
    trainer.end()
    found = counted(trainer.run_dir)
    assert 95 <= len(found) < 101
    assert found[-1] == 101
    assert status(trainer.run_dir)["status"] == "finished"
    assert status(trainer.run_dir)["damaged_bytes"] >= 60
