"""The hazards of a queue in shared memory, one after the other."""

import json
import os
import shutil
import signal

from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, counted, wait_stored

SMALL_SEGMENTS = {"RUNICORN_SEGMENT_BYTES": "4096", "RUNICORN_SEGMENT_MAX_BYTES": "4096"}


def test_budget_then_temp_directory_then_refusal(tmp_path):
    """Beyond its budget the spool goes on in the temp directory, beyond that records are refused, told and counted."""
    temp = tmp_path / "temp"
    temp.mkdir()
    trainer = Trainer(
        tmp_path,
        """
        run = rn.init()
        opened(run)
        sys.stdin.readline()
        refused = 0
        for i in range(1, 60_001):
            before = run._queue.dropped_records
            run.log({"i": i})
            refused += run._queue.dropped_records - before
        print(refused, flush=True)
        sys.stdin.readline()
        run.finish()
        """,
        RUNICORN_SPOOL_MAX_BYTES=str(1 << 20),
        RUNICORN_OVERFLOW_MAX_BYTES=str(128 << 10),
        RUNICORN_SEGMENT_BYTES=str(32 << 10),
        TMPDIR=str(temp),
        RUNICORN_WRITER_RESTART_AFTER_S="100",
    )
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    try:
        trainer.go_on()
        refused = int(trainer.process.stdout.readline())
        assert list(temp.glob("*-overflow/*.seg")), "nothing went to the temp directory"
    finally:
        os.kill(writer, signal.SIGCONT)
    trainer.go_on()
    _, errors = trainer.end()
    assert refused > 0
    stored = counted(trainer.run_dir)
    assert len(stored) == 60_000 - refused
    assert stored == list(range(1, len(stored) + 1))
    assert status(trainer.run_dir)["lost_records"] == refused
    assert errors.count("The spool is full") == 1
    assert not list(temp.iterdir())


def test_fork(tmp_path):
    """A forked child writes segments of its own, also when the parent was inside a rotation in another thread."""
    trainer = Trainer(
        tmp_path,
        """
        import threading
        run = rn.init()
        opened(run)
        going = True
        def busy():
            i = 0
            while going:
                i += 1
                run.log({"parent": i})
        thread = threading.Thread(target=busy)
        thread.start()
        children = []
        for child in range(8):
            pid = os.fork()
            if pid == 0:
                for i in range(1, 501):
                    run.log({"child": child, "n": i})
                os._exit(0)
            children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        going = False
        thread.join()
        print(run.global_step, flush=True)
        run.finish()
        """,
        **SMALL_SEGMENTS,
        PYTHONWARNINGS="ignore",
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    found = events(trainer.run_dir)
    assert [e["data"]["parent"] for e in found if "parent" in e["data"]] == list(range(1, int(out) + 1))
    for child in range(8):
        mine = [e for e in found if e["data"].get("child") == child]
        assert [e["data"]["n"] for e in mine] == list(range(1, 501))
        assert len({e["producer"] for e in mine}) == 1
    assert all("producer" not in e for e in found if "parent" in e["data"])


def test_reentrancy(tmp_path):
    """log() from a signal handler and from __del__ in the middle of log() and of a rotation loses nothing."""
    trainer = Trainer(
        tmp_path,
        """
        import json, signal
        run = rn.init()
        opened(run)
        counts = {"signal": 0, "del": 0}
        def handler(*_):
            counts["signal"] += 1
            run.log({"signal": counts["signal"]})
        class Dying:
            def __del__(self):
                counts["del"] += 1
                run.log({"del": counts["del"]})
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for i in range(1, 20_001):
            if i % 100 == 0:
                Dying()
            run.log({"i": i})
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(counts), flush=True)
        run.finish()
        """,
        **SMALL_SEGMENTS,
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    counts = json.loads(out)
    assert counts["signal"] > 10
    found = events(trainer.run_dir)
    for name, most in (("i", 20_000), ("signal", counts["signal"]), ("del", counts["del"])):
        assert sorted(e["data"][name] for e in found if name in e["data"]) == list(range(1, most + 1))
    steps = [e["data"]["global_step"] for e in found]
    assert sorted(steps) == list(range(1, len(steps) + 1))


def test_threads(tmp_path):
    """Four threads at the shortest switch interval get unique steps without a gap, and every record is stored."""
    trainer = Trainer(
        tmp_path,
        """
        import threading
        sys.setswitchinterval(1e-6)
        run = rn.init()
        opened(run)
        def work(thread):
            for i in range(5000):
                run.log({"thread": thread, "n": i})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        run.finish()
        """,
        **SMALL_SEGMENTS,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    found = [e["data"] for e in events(trainer.run_dir)]
    assert sorted(e["global_step"] for e in found) == list(range(1, 20_001))
    for thread in range(4):
        assert [e["n"] for e in found if e["thread"] == thread] == list(range(5000))


def test_closing(tmp_path):
    """A joined process that logs through finish() has each record stored or refused, and none in silence."""
    trainer = Trainer(
        tmp_path,
        """
        import logging
        run = rn.init()
        opened(run)
        begun, begin = os.pipe()
        ended, end = os.pipe()
        child = os.fork()
        if child == 0:
            i = 0
            while not run.is_finished:
                i += 1
                run.log({"i": i})
                returned(i)
                if i == 1000:
                    os.write(begin, b"x")
            print(i, "after the end" in run._refusals._seen, flush=True)
            os.read(ended, 1)
            for _ in range(5):
                i += 1
                run.log({"i": i})
            print("after the end" in run._refusals._seen, flush=True)
            os._exit(0)
        os.read(begun, 1)
        run.finish()
        os.write(end, b"x")
        os.waitpid(child, 0)
        """,
        PYTHONWARNINGS="ignore",
    )
    out, errors = trainer.end()
    overlapping, refused, warned = out.split()
    stored = counted(trainer.run_dir)
    assert stored == list(range(1, len(stored) + 1))
    # The last call of the loop may have overlapped finish(): then it was refused, and may be stored as well.
    least = int(overlapping) - (refused == "True")
    assert least <= len(stored) <= int(overlapping), (out, len(stored))
    assert warned == "True"
    assert errors.count("was called after finish()") == 1


def test_mutation(tmp_path):
    """What the caller does to its dict after log() has returned changes nothing."""
    trainer = Trainer(
        tmp_path,
        """
        run = rn.init()
        opened(run)
        data = {}
        for i in range(1, 1001):
            data["i"] = i
            run.log(data)
            data.clear()
        run.finish()
        """,
    )
    trainer.end()
    assert counted(trainer.run_dir) == list(range(1, 1001))


def test_spool_goes_by_name(tmp_path):
    """A spool whose files are removed in mid-stream loses nothing: the rest goes through the temp directory."""
    temp = tmp_path / "temp"
    temp.mkdir()
    trainer = Trainer(
        tmp_path,
        """
        run = rn.init()
        opened(run)
        log_flat_out(run, 5000)
        sys.stdin.readline()
        log_flat_out(run, 15_000, first=5001)
        run.finish()
        """,
        **SMALL_SEGMENTS,
        TMPDIR=str(temp),
    )
    wait_until(lambda: trainer.returned == 5000)
    wait_until(lambda: len(counted_so_far(trainer)) == 5000)
    shutil.rmtree(trainer.spool)
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"
    assert not list(temp.iterdir())


def test_spool_gone_and_trainer_killed(tmp_path):
    """The end is noticed by descriptor: a trainer killed after its spool's files were removed is found dead."""
    trainer = Trainer(tmp_path, "run = rn.init()\nopened(run)\nlog_flat_out(run, 500)\nimport signal\nsignal.pause()")
    wait_until(lambda: len(counted_so_far(trainer)) == 500)
    shutil.rmtree(trainer.spool)
    trainer.kill()
    trainer.end()
    wait_until(lambda: status(trainer.run_dir)["status"] == "failed")
    wait_stored(trainer)
    assert_exactly_once(trainer)


def counted_so_far(trainer: Trainer) -> list[bytes]:
    try:
        return (trainer.run_dir / "events.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
