"""Storage that is full, read-only, gone, stalled or somebody else's: nothing accepted is lost, nothing raises."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, assert_valid, counted, recover

from runicorn.queue.control_page import ControlPage

LINES = 3000
WAIT_THEN_LOG = f"run = rn.init()\nopened(run)\nsys.stdin.readline()\nlog_flat_out(run, {LINES})\n"
TWO_HALVES = f"""
run = rn.init()
opened(run)
before_us = p99_us(run, {LINES}, 1)
print("half", flush=True)
sys.stdin.readline()
during_us = p99_us(run, {LINES}, {LINES + 1})
print("logged", before_us, during_us, flush=True)
sys.stdin.readline()
run.finish()
"""


def fill(directory: Path) -> Path:
    """Use up what is free on a file system."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return filler


@pytest.fixture
def small_tmpfs(tmp_path):
    """Mounts small file systems in memory; a machine that does not allow that fails here, and the text says so."""
    mounted = []

    def mount(name: str, size: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", directory], check=True)
        mounted.append(directory)
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "-l", directory], check=True)


can_mount = os.geteuid() == 0 and shutil.which("mount") is not None


def run_through_fault(trainer: Trainer, break_it, heal_it) -> str:
    """First half sound, second half broken, then healed; everything must be there. Returns stderr."""
    assert trainer.read_line() == "half"
    wait_until(lambda: len(events_so_far(trainer)) == LINES)
    break_it()
    trainer.go_on()
    word, before_us, during_us = trainer.read_line().split()
    print(f"p99 of log(): {before_us} us before, {during_us} us during the fault")
    assert word == "logged"
    heal_it()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert trainer.returned == 2 * LINES
    assert_exactly_once(trainer)
    assert_valid(trainer.run_dir)
    assert status(trainer.run_dir)["status"] == "finished"
    return errors


def events_so_far(trainer: Trainer) -> list[bytes]:
    try:
        return (trainer.run_dir / "events.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("fault", ["ENOSPC", "EROFS", "EIO", "EACCES", "EDQUOT", "block", "EIO once"])
def test_at_the_sink_seam(tmp_path, fault):
    """A run directory that is full, read-only, failing, forbidden or hanging, and then heals, has every record."""
    switch = tmp_path / "fault"
    trainer = Trainer(tmp_path, TWO_HALVES, storage_fault=str(switch))

    def heal():
        if fault != "block":
            wait_until(lambda: fault.endswith("once") != switch.exists() and is_troubled(trainer))
        switch.unlink(missing_ok=True)

    run_through_fault(trainer, lambda: switch.write_text(fault), heal)
    if fault != "block":
        (trouble,) = status(trainer.run_dir)["storage_errors"]
        assert trouble["error"]
        assert trouble["until"] >= trouble["time"]


def is_troubled(trainer: Trainer) -> bool:
    """Whether the writer has met the fault: it says so on the control page."""
    from runicorn.queue.control_page import ControlPage

    return ControlPage.open(str(trainer.spool / "control")).troubles > 0


def test_trouble_is_told_once(tmp_path):
    """A fault that lasts is told by one warning in the training process: the reason, and where the data is."""
    switch = tmp_path / "fault"
    body = """
    import time
    run = rn.init()
    opened(run)
    log_flat_out(run, 100)
    sys.stdin.readline()
    deadline = time.monotonic() + 60
    i = 100
    while "storage" not in run._refusals._seen and time.monotonic() < deadline:
        i += 1
        run.log({"i": i})
        returned(i)
        time.sleep(0.01)
    for _ in range(100):
        i += 1
        run.log({"i": i})
        returned(i)
    print("told", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body, storage_fault=str(switch), RUNICORN_LOOK_INTERVAL_S="0.05")
    switch.write_text("ENOSPC")
    trainer.go_on()
    assert trainer.read_line() == "told"
    switch.unlink()
    trainer.go_on()
    _, errors = trainer.end()
    assert errors.count("Storing fails: No space left on device") == 1
    assert str(trainer.spool) in errors
    assert_exactly_once(trainer)


def test_owner_killed_while_storage_fails(tmp_path):
    """A trainer that is killed while its disk is full has everything stored when there is room again."""
    switch = tmp_path / "fault"
    body = WAIT_THEN_LOG + "import signal\nsignal.pause()\n"
    trainer = Trainer(tmp_path, body, storage_fault=str(switch))
    switch.write_text("ENOSPC")
    trainer.go_on()
    trainer.wait_returned(LINES)
    wait_until(lambda: is_troubled(trainer))
    trainer.kill()
    trainer.end()
    switch.unlink()
    wait_until(lambda: not trainer.spool.exists())
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["exit_reason"] == "killed by signal 9"


if can_mount:

    def test_full_disk(tmp_path, small_tmpfs):
        """A file system that is really full, and then has room."""
        storage = small_tmpfs("storage", "4m")
        trainer = Trainer(tmp_path, TWO_HALVES)
        filler = []

        def heal():
            wait_until(lambda: is_troubled(trainer))
            filler[0].unlink()

        run_through_fault(trainer, lambda: filler.append(fill(storage)), heal)

    def test_read_only_disk(tmp_path, small_tmpfs):
        """A file system that is really remounted read-only while files on it cannot be opened, then writable."""
        storage = small_tmpfs("storage", "16m")
        body = WAIT_THEN_LOG + "sys.stdin.readline()\nrun.finish()\n"
        trainer = Trainer(tmp_path, body)
        trainer.writer_pid()
        subprocess.run(["mount", "-o", "remount,ro", storage], check=True)
        trainer.go_on()
        trainer.wait_returned(LINES)
        wait_until(lambda: is_troubled(trainer))
        subprocess.run(["mount", "-o", "remount,rw", storage], check=True)
        trainer.go_on()
        trainer.end()
        assert_exactly_once(trainer)

    @pytest.mark.parametrize("size", ["64k", "512k"])
    def test_tiny_shared_memory(tmp_path, small_tmpfs, size):
        """A /dev/shm that is too small for a spool is left alone: the temp directory takes it."""
        memory = small_tmpfs("shm", size)
        trainer = Trainer(tmp_path, TWO_HALVES, RUNICORN_SHM_DIR=str(memory), TMPDIR=str(made(tmp_path / "temp")))
        assert trainer.spool.parent == tmp_path / "temp"
        run_through_fault(trainer, lambda: None, lambda: None)
        assert list(memory.iterdir()) == []

    def test_full_shared_memory(tmp_path, small_tmpfs):
        """A /dev/shm that somebody else has filled before init() is left alone too."""
        memory = small_tmpfs("shm", "8m")
        fill(memory)
        trainer = Trainer(tmp_path, TWO_HALVES, RUNICORN_SHM_DIR=str(memory), TMPDIR=str(made(tmp_path / "temp")))
        assert trainer.spool.parent == tmp_path / "temp"
        run_through_fault(trainer, lambda: None, lambda: None)

    def test_shared_memory_fills_up_in_mid_stream(tmp_path, small_tmpfs):
        """A /dev/shm that somebody else fills while a run is live: no SIGBUS, and the rest goes elsewhere."""
        memory = small_tmpfs("shm", "16m")
        trainer = Trainer(
            tmp_path,
            TWO_HALVES,
            RUNICORN_SHM_DIR=str(memory),
            RUNICORN_SEGMENT_BYTES="16384",
            TMPDIR=str(made(tmp_path / "temp")),
        )
        run_through_fault(trainer, (lambda: fill(memory)), lambda: None)

    def test_neighbour_survives(tmp_path, small_tmpfs):
        """While storage stalls and the budget is used up, a neighbour maps and writes what is its own in /dev/shm."""
        memory = small_tmpfs("shm", "32m")
        switch = tmp_path / "fault"
        body = """
        run = rn.init()
        opened(run)
        sys.stdin.readline()
        text = "x" * 200_000
        for i in range(1, 201):
            run.log({"i": i})
            run.log_text(text)
            returned(i)
        print(run._queue.dropped_records, flush=True)
        sys.stdin.readline()
        run.finish()
        """
        trainer = Trainer(
            tmp_path,
            body,
            RUNICORN_SHM_DIR=str(memory),
            storage_fault=str(switch),
            RUNICORN_OVERFLOW_MAX_BYTES=str(4 << 20),
            TMPDIR=str(made(tmp_path / "temp")),
        )
        switch.write_text("block")
        trainer.go_on()
        lost = int(trainer.read_line())
        assert lost > 0, "the budgets were not used up"
        assert used_bytes(memory) <= (32 << 20) // 4 + (1 << 20)
        neighbour = (
            "import mmap, os, sys\n"
            "fd = os.open(sys.argv[1] + '/tensors', os.O_RDWR | os.O_CREAT)\n"
            "os.ftruncate(fd, 16 << 20)\n"
            "m = mmap.mmap(fd, 16 << 20)\n"
            "for at in range(0, 16 << 20, 4096): m[at] = 1\n"
        )
        subprocess.run(["python3", "-c", neighbour, str(memory)], check=True, timeout=100)
        switch.unlink()
        trainer.go_on()
        _, errors = trainer.end()
        assert trainer.process.returncode == 0, errors
        found = status(trainer.run_dir)
        assert found["lost_records"] == lost
        stored = len(counted(trainer.run_dir)) + (trainer.run_dir / "logs.txt").read_text().count("x" * 200_000)
        assert stored + lost == 400
        assert errors.count("The spool is full") == 1

    def test_temp_directory_full_too(tmp_path, small_tmpfs):
        """With both tiers full records are refused, counted, told once; with room again the run goes on."""
        memory, temp = small_tmpfs("shm", "8m"), small_tmpfs("temp", "1m")
        body = """
        import time
        run = rn.init()
        opened(run)
        log_flat_out(run, 100)
        sys.stdin.readline()
        for i in range(101, 20_001):
            run.log({"i": i})
        lost = run._queue.dropped_records
        print(lost, flush=True)
        sys.stdin.readline()
        time.sleep(0.2)  # the queue asks again every 0.1 s
        log_flat_out(run, 100, first=20_001)
        run.finish()
        """
        trainer = Trainer(
            tmp_path, body, RUNICORN_SHM_DIR=str(memory), TMPDIR=str(temp), RUNICORN_SEGMENT_BYTES="16384"
        )
        trainer.wait_returned(100)
        fillers = [fill(memory), fill(temp)]
        writer = trainer.writer_pid()
        os.kill(writer, signal.SIGSTOP)
        try:
            trainer.go_on()
            lost = int(trainer.read_line())
        finally:
            os.kill(writer, signal.SIGCONT)
        assert lost > 0
        for filler in fillers:
            filler.unlink()
        trainer.go_on()
        _, errors = trainer.end()
        assert trainer.process.returncode == 0, errors
        assert status(trainer.run_dir)["lost_records"] == lost
        stored = counted(trainer.run_dir)
        assert len(stored) == 20_100 - lost
        assert stored[-100:] == list(range(20_001, 20_101))
        assert errors.count("The spool is full") == 1


def test_no_shared_memory(tmp_path):
    """Where there is no /dev/shm the spool is in the temp directory."""
    temp = made(tmp_path / "temp")
    trainer = Trainer(tmp_path, TWO_HALVES, RUNICORN_SHM_DIR="/nonexistent", TMPDIR=str(temp))
    assert trainer.spool.parent == temp
    run_through_fault(trainer, lambda: None, lambda: None)
    assert list(temp.iterdir()) == []


def test_run_directory_removed(tmp_path):
    """A run directory that is removed while it is live is written again, with what was in it."""
    trainer = Trainer(tmp_path, TWO_HALVES)
    run_through_fault(trainer, lambda: shutil.rmtree(trainer.run_dir), lambda: None)
    assert {"meta.json", "status.json", "events.jsonl", "assets.json"} <= {p.name for p in trainer.run_dir.iterdir()}


def test_events_file_removed(tmp_path):
    """An events file that is removed alone is written again too."""
    trainer = Trainer(tmp_path, TWO_HALVES)
    run_through_fault(trainer, (trainer.run_dir / "events.jsonl").unlink, lambda: None)


def test_run_directory_moved(tmp_path):
    """A run directory that is moved to another path while it is live keeps its files together, at the new place."""
    trainer = Trainer(tmp_path, TWO_HALVES)
    old, new = trainer.run_dir, tmp_path / "storage" / "runs" / "moved" / trainer.run_dir.name

    def move():
        new.parent.mkdir()
        old.rename(new)
        trainer.run_dir = new

    run_through_fault(trainer, move, lambda: None)
    assert not old.exists()


def test_out_of_descriptors(tmp_path):
    """A program that has used up its descriptors has records refused and counted, and goes on when it has some."""
    body = """
    import resource, time
    run = rn.init()
    opened(run)
    log_flat_out(run, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    for i in range(101, 5001):
        run.log({"i": i})
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(run._queue.dropped_records, flush=True)
    time.sleep(0.2)  # the queue asks again every 0.1 s
    log_flat_out(run, 100, first=5001)
    run.finish()
    """
    trainer = Trainer(tmp_path, body, RUNICORN_SEGMENT_BYTES="16384", RUNICORN_SEGMENT_MAX_BYTES="16384")
    lost = int(trainer.read_line())
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert lost > 0
    assert len(counted(trainer.run_dir)) == 5100 - lost
    assert status(trainer.run_dir)["lost_records"] == lost


def test_file_size_limit(tmp_path):
    """RLIMIT_FSIZE that leaves no room for a segment refuses and counts, and does not end the process."""
    body = """
    import resource
    run = rn.init()
    opened(run)
    log_flat_out(run, 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    for i in range(101, 5001):
        run.log({"i": i})
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.finish()
    """
    trainer = Trainer(tmp_path, body, RUNICORN_SEGMENT_BYTES="16384", RUNICORN_SEGMENT_MAX_BYTES="16384")
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    lost = status(trainer.run_dir)["lost_records"]  # the writer, which has no such limit, may have made a segment
    assert lost > 0
    assert len(counted(trainer.run_dir)) == 5000 - lost


@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_strange_directory_in_the_spools_place(tmp_path, trap):
    """A directory that others can enter, or a link, where the overflow directory should be is not used."""
    temp = made(tmp_path / "temp")
    body = """
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    for i in range(1, 40_001):
        run.log({"i": i})
    print(run._queue.dropped_records, flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body, RUNICORN_SPOOL_MAX_BYTES=str(1 << 20), TMPDIR=str(temp))
    strange = temp / f"{trainer.spool.name}-overflow"
    elsewhere = made(tmp_path / "elsewhere")
    if trap == "a link":
        strange.symlink_to(elsewhere)
    else:
        strange.mkdir()
        strange.chmod(0o777)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    try:
        trainer.go_on()
        assert int(trainer.read_line()) > 0
    finally:
        os.kill(writer, signal.SIGCONT)
    assert list(elsewhere.iterdir()) == []
    trainer.go_on()
    _, errors = trainer.end()
    assert "is not a directory that only this user can enter" in errors


def test_pointer_to_a_strange_spool(tmp_path):
    """A spool that others could have written is not joined, though the run directory points to it."""
    import runicorn as rn
    from runicorn.session import adopt

    with rn.init(storage=str(tmp_path / "storage")) as run:
        host = run._session.address.host
        spool = Path(run._session.address.spool)
        pointer = run.run_dir / f".spool-{host}"
        assert adopt.find_spool(str(run.run_dir), host) is not None
        spool.chmod(0o755)
        assert adopt.find_spool(str(run.run_dir), host) is None
        spool.chmod(0o700)
        link = tmp_path / "link"
        link.symlink_to(spool)
        pointer.write_text(str(link))
        assert adopt.find_spool(str(run.run_dir), host) is None


def test_spool_is_private(tmp_path):
    """The spool is a random directory that nobody else can enter, and so are its files."""
    import runicorn as rn

    with rn.init(storage=str(tmp_path / "storage")) as run:
        run.log({"i": 1})
        spool = Path(run._session.address.spool)
        assert spool.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o077 == 0 for path in spool.iterdir())


def test_clock_set_back(tmp_path):
    """A wall clock that is set back an hour does not stop the owner from replacing a writer that has died."""
    body = """
    import time
    import runicorn.run as module
    run = rn.init()
    opened(run)
    log_flat_out(run, 100)
    sys.stdin.readline()
    module.time = lambda: time.time() - 3600
    old = run._session.control.writer_pid
    deadline = time.monotonic() + 60
    i = 100
    while run._session.control.writer_pid == old and time.monotonic() < deadline:
        i += 1
        run.log({"i": i})
        returned(i)
        time.sleep(0.001)
    print("replaced" if run._session.control.writer_pid != old else "not replaced", flush=True)
    run.finish()
    """
    trainer = Trainer(tmp_path, body, RUNICORN_LOOK_INTERVAL_S="0.05", RUNICORN_WRITER_RESTART_AFTER_S="0.3")
    writer = trainer.writer_pid()
    trainer.wait_returned(100)
    os.kill(writer, signal.SIGKILL)
    trainer.go_on()
    assert trainer.read_line() == "replaced"
    trainer.end()
    assert_exactly_once(trainer)
    times = [event["ts"] for event in events(trainer.run_dir)]
    assert times[0] - times[-1] > 3000


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def used_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize(("moment", "left"), [("planned", 0), ("appended", 50)])
def test_a_segment_of_a_half_stored_batch_is_removed(tmp_path, moment, left):
    """What a cleaner takes from a batch whose writer died is told and not doubled; the rest of it is stored."""
    body = """
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        for n in range(50):
            run.log({"child": n})
        os._exit(0)
    os.waitpid(child, 0)
    log_flat_out(run, 500)
    print(child, os.getpid(), flush=True)
    sys.stdin.readline()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore", crash_at=f"{moment}:1:both")
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    child = int(trainer.read_line().split()[0])
    writer.resume()
    trainer.end()
    wait_until(lambda: not writer.is_running())
    (segment,) = trainer.spool.glob(f"{child:x}.*.seg")
    segment.unlink()
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)
    assert [event["data"]["child"] for event in events(trainer.run_dir) if "producer" in event] == list(range(left))
    assert status(trainer.run_dir)["damaged_bytes"] > 0
    assert_valid(trainer.run_dir)


def test_more_segments_than_the_writer_may_have_descriptors(tmp_path):
    """A backlog of more segments than the writer may open is stored whole and in order, a part of it at a time."""
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    log_flat_out(run, 15_000)
    print("logged", flush=True)
    run.finish()
    """
    small = {"RUNICORN_SEGMENT_BYTES": "4096", "RUNICORN_SEGMENT_MAX_BYTES": "4096"}
    trainer = Trainer(tmp_path, body, **small)
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "logged"
    assert len(list(trainer.spool.glob("*.seg"))) > 100
    writer.resume()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert set(status(trainer.run_dir)) == {"status", "started_at", "ended_at", "last_step"}


def test_a_joined_process_finishes_when_the_spool_has_lost_its_name(tmp_path):
    """finish() of a child whose run's spool somebody has removed by name raises nothing, and its records are stored."""
    body = """
    import shutil
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        run.log({"child": 1})
        shutil.rmtree(run._session.address.spool)
        run.finish()
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    log_flat_out(run, 100)
    run.finish()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore", RUNICORN_FINISH_TIMEOUT_S="5")
    control = ControlPage.open(str(trainer.spool / "control"))
    wait_until(lambda: control.heartbeat > 0)
    trainer.go_on()
    assert trainer.read_line() == "7"
    trainer.end()
    assert trainer.process.returncode == 0
    wait_until(lambda: status(trainer.run_dir)["status"] == "finished", what="a writer that was slow has ended the run")
    assert_exactly_once_beside(trainer, 1)


def assert_exactly_once_beside(trainer, others):
    """The script's own records are there once and in order, beside so many that others may have pushed in time."""
    assert counted(trainer.run_dir) == list(range(1, trainer.returned + 1))
    assert len(events(trainer.run_dir)) - trainer.returned in {0, others}
