"""A run that has died, however, goes on in a fresh process by ``init(run_id=...)``: nothing lost, nothing doubled."""

import json
import os
import random
import signal
import textwrap
from pathlib import Path

import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_valid, counted, wait_dead, wait_stored

from runicorn.host.locks import is_held
from runicorn.queue.control_page import ControlPage

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
QUICK = {
    "RUNICORN_WRITER_RESTART_AFTER_S": "0.3",
    "RUNICORN_LOOK_INTERVAL_S": "0.05",
    "RUNICORN_SEGMENT_BYTES": "16384",
    "RUNICORN_SEGMENT_MAX_BYTES": "16384",
}
RECORDS = 1500
MORE = 100
HIGHEST = 5000
BEST = ("acc", "max", 0.96, 96)

FIRST = f"""
import signal
run = rn.init(path="cv/a", run_id="phoenix", alias="first")
opened(run)
run.set_primary_metric("acc")
run.summary({{"kept": 1}})
run.log_text("before")
for i in range(1, {RECORDS} + 1):
    # An explicit step in the middle is the highest, not the last.
    run.log({{"i": i, "acc": i % 97 / 100}}, step={{700: {HIGHEST}, 701: 701}}.get(i))
    returned(i)
print("logged", flush=True)
"""
SECOND = f"""
import json
run = rn.init(path="other", run_id="phoenix", alias="second")
opened(run)

def lines(name):
    with open(run.run_dir / name, "rb") as file:
        return sum(1 for _ in file)

def content(name):
    return json.loads((run.run_dir / name).read_text())

print(json.dumps({{
    "pid": os.getpid(), "step": run.global_step, "status": content("status.json"), "lines": lines("events.jsonl"),
    "joined": not run._session.is_owner, "path": run.path, "alias": run.alias,
}}), flush=True)
sys.stdin.readline()
for i in range({RECORDS} + 1, {RECORDS + MORE} + 1):
    run.log({{"i": i, "acc": 0.5}})
run.summary({{"more": 2}})
run.log_text("after")
run.finish()
"""


def writer_of(trainer: Trainer) -> int:
    """Pid of the writer that holds the lock; on a slow machine a second one may be waiting for it."""
    control = control_of(trainer)
    wait_until(lambda: is_held(str(trainer.spool / "writer.lock")) and control.writer_pid, what="a writer is up")
    return control.writer_pid


def control_of(trainer: Trainer) -> ControlPage:
    return ControlPage.open(str(trainer.spool / "control"))


def die(first: Trainer, how: str, stop_writer_at: int | None) -> None:
    """Have the first session end in some way; its processes are gone then, or end by themselves."""
    # Only of scripts that wait: the others may have ended by now.
    writer = writer_of(first) if how in {"writer", "both"} else 0
    if stop_writer_at is not None:
        first.wait_returned(stop_writer_at)
        os.kill(writer, signal.SIGSTOP)  # so that there is something left in the spool
    assert first.read_line() == "logged"
    if how in {"writer", "both"}:
        os.kill(writer, signal.SIGKILL)
    if how in {"trainer", "both"}:
        first.kill()
    if how == "SIGTERM":
        first.kill(signal.SIGTERM)
    first.end()
    if how == "both":
        wait_dead(writer)


def resume(tmp_path, first: Trainer, **environment: str) -> tuple[Trainer, dict]:
    """The second session, opened in a fresh process; what it found when init() had returned."""
    second = Trainer(tmp_path, SECOND, **{**QUICK, **environment})
    assert second.run_dir == first.run_dir
    return second, json.loads(second.read_line())


def expect_continued(first: Trainer, second: Trainer, found: dict, meta_before: dict) -> None:
    """All that is said of a resumed run, from the moment of init() to the end of the second session."""
    assert not found["joined"]
    assert (found["path"], found["alias"]) == ("cv/a", "first")
    assert found["lines"] == RECORDS, "what the earlier session had logged is stored first"
    assert not first.spool.exists(), "and its spool is gone"
    assert found["step"] == HIGHEST
    assert found["status"]["status"] == "running"
    assert "ended_at" not in found["status"]
    assert "exit_reason" not in found["status"]
    second.go_on()
    _, errors = second.end()
    assert second.process.returncode == 0, errors
    (warning,) = errors.splitlines()
    assert "'cv/a', and was opened there, not under 'other'" in warning
    run_dir = first.run_dir
    assert counted(run_dir) == list(range(1, RECORDS + MORE + 1))
    steps = [event["data"]["global_step"] for event in events(run_dir)]
    assert steps[:RECORDS] == [*range(1, 700), HIGHEST, 701, *range(702, RECORDS + 1)]
    assert steps[RECORDS:] == list(range(HIGHEST + 1, HIGHEST + MORE + 1))
    assert [line[11:] for line in (run_dir / "logs.txt").read_text().splitlines()] == ["before", "after"]
    summary = json.loads((run_dir / "summary.json").read_text())
    assert tuple(summary[f"best_metric_{part}"] for part in ("name", "mode", "value", "step")) == BEST
    assert (summary["kept"], summary["more"]) == (1, 2)
    meta = json.loads((run_dir / "meta.json").read_text())
    assert {name: meta[name] for name in ("id", "created_at", "path", "alias")} == {
        name: meta_before[name] for name in ("id", "created_at", "path", "alias")
    }
    assert [entry["pid"] for entry in meta["resumed"]] == [found["pid"]]
    ended = status(run_dir)
    assert (ended["status"], ended.get("exit_reason")) == ("finished", None)
    assert ended["last_step"] == HIGHEST + MORE
    assert_valid(run_dir)
    assert not second.spool.exists()


def meta_of(trainer: Trainer) -> dict:
    return json.loads((trainer.run_dir / "meta.json").read_text())


DEATHS = {
    "trainer": "signal.pause()",
    "both": "signal.pause()",
    "writer": "sys.stdin.readline()\nrun.finish()",
    "SIGTERM": "signal.pause()",
    "os._exit": "os._exit(0)",
    "exception": "raise ValueError('boom')",
    "no finish": "pass",
    "finish": "run.finish('failed')",
    "sys.exit in a thread": "import threading; threading.Thread(target=sys.exit).start(); os._exit(3)",
}


@pytest.mark.parametrize("how", list(DEATHS))
def test_after_a_death(tmp_path, how):
    """Resumed right after its death, before anybody has dealt with what it left, a run goes on where it stood."""
    moment = random.Random(f"{SEED}-{how}").randrange(1, RECORDS) if how in {"writer", "both"} else None
    print(f"seed {SEED}, moment {moment}")
    first = Trainer(tmp_path, FIRST + DEATHS[how] + "\n", **QUICK)
    meta_before = meta_of(first)
    die(first, how, moment)
    second, found = resume(tmp_path, first)
    expect_continued(first, second, found, meta_before)


@pytest.mark.parametrize("moment", ["planned", "appending", "appended", "stored"])
def test_after_a_death_in_the_middle_of_a_batch(tmp_path, moment):
    """Where both died while a batch was being written, the resumed run has it once, and goes on behind it."""
    dice = random.Random(f"{SEED}-{moment}")
    count = dice.randrange(2, 9)
    print(f"seed {SEED}, count {count}")
    first_body = "run = rn.init(run_id='phoenix')\nopened(run)\nlog_flat_out(run, 6000)\nrun.finish()\n"
    second_body = f"""
run = rn.init(run_id='phoenix')
opened(run)
with open(run.run_dir / "events.jsonl", "rb") as file:
    print(len(file.readlines()), run.global_step, flush=True)
log_flat_out(run, {MORE}, first=run.global_step + 1)
run.finish()
"""
    crash = {"crash_at": f"{moment}:{count}:both", "RUNICORN_BATCH_BYTES": "16384"}
    first = Trainer(tmp_path, first_body, **QUICK, **crash)
    first.end()
    assert first.process.returncode == -signal.SIGKILL, "there were fewer batches than that"
    second = Trainer(tmp_path, second_body, **QUICK)
    lines, step = map(int, second.read_line().split())
    _, errors = second.end()
    assert second.process.returncode == 0, errors
    assert lines == step
    assert lines in {first.returned, first.returned + 1}
    assert not first.spool.exists()
    assert counted(first.run_dir) == list(range(1, lines + MORE + 1))
    assert_valid(first.run_dir)


def test_after_a_host_that_went(tmp_path):
    """Where spool and memory went with the host, the run goes on behind what is there, and a torn line is closed."""
    first = Trainer(tmp_path, FIRST + DEATHS["trainer"] + "\n", **QUICK)
    die(first, "trainer", None)
    wait_stored(first)
    run_dir = first.run_dir
    # As fsync left them: status of a live run, and lines of which a part had reached the disk.
    pieces = {"events.jsonl": b'{"ts":17.5,"type":"met', "logs.txt": b"12:00:0"}
    before = {}
    for name, torn in pieces.items():
        before[name] = (run_dir / name).read_bytes() + torn
        (run_dir / name).write_bytes(before[name])
    (run_dir / "status.json").write_text('{"status": "running", "started_at": 1.5}')
    second, found = resume(tmp_path, first)
    assert found["step"] == HIGHEST
    second.go_on()
    _, errors = second.end()
    assert second.process.returncode == 0, errors
    for name, content in before.items():
        after = (run_dir / name).read_bytes()
        assert after.startswith(content + b"\n")
        assert after.endswith(b"\n")
    lines = (run_dir / "events.jsonl").read_bytes()[len(before["events.jsonl"]) + 1 :].splitlines()
    assert [json.loads(line)["data"]["i"] for line in lines] == list(range(RECORDS + 1, RECORDS + MORE + 1))
    assert status(run_dir)["started_at"] == 1.5


# --- a full disk -------------------------------------------------------------------------------------------

FULL = FIRST.replace("for i in", "sys.stdin.readline()\nfor i in", 1) + "signal.pause()\n"


def die_on_a_full_disk(tmp_path, switch, who: str) -> Trainer:
    """A session whose disk is full from some record on, and that is killed then."""
    first = Trainer(tmp_path, FULL, storage_fault=str(switch), **QUICK)
    writer = writer_of(first)
    control = control_of(first)
    first.go_on()
    first.wait_returned(random.Random(f"{SEED}-{who}").randrange(1, RECORDS - 200))
    switch.write_text("ENOSPC")
    assert first.read_line() == "logged"
    wait_until(lambda: control.troubles > 0, what="the writer has met the full disk")
    first.kill()
    first.end()
    if who == "both":
        os.kill(writer, signal.SIGKILL)
        wait_dead(writer)
    return first


def test_after_a_full_disk_that_has_room_again(tmp_path):
    """Killed with its writer while the disk was full, and resumed when there is room: everything is there."""
    switch = tmp_path / "fault"
    first = die_on_a_full_disk(tmp_path, switch, "both")
    meta_before = meta_of(first)
    switch.unlink()
    second, found = resume(tmp_path, first)
    expect_continued(first, second, found, meta_before)


def test_init_waits_for_a_full_disk(tmp_path):
    """Resumed while its writer still waits for room, init() waits as well, and then everything is there."""
    switch = tmp_path / "fault"
    first = die_on_a_full_disk(tmp_path, switch, "trainer")
    meta_before = meta_of(first)
    control = control_of(first)
    second = Trainer(tmp_path, SECOND, expect_line=False, **QUICK)
    wait_until(lambda: control.closed[0] == 1, what="init() has come to the earlier session")
    assert second.process.poll() is None
    assert status(first.run_dir)["status"] == "running"
    switch.unlink()
    run_dir, spool = second.read_line().split()
    second.run_dir, second.spool = Path(run_dir), Path(spool)
    expect_continued(first, second, json.loads(second.read_line()), meta_before)


def test_a_disk_that_stays_full(tmp_path):
    """Where there is no room within the time limit init() raises, changes nothing, and works when there is room."""
    switch = tmp_path / "fault"
    first = die_on_a_full_disk(tmp_path, switch, "both")
    before = {path.name: path.read_bytes() for path in first.run_dir.iterdir() if path.is_file()}
    body = """
    try:
        rn.init(run_id="phoenix")
    except TimeoutError as error:
        print(error, flush=True)
    """
    limits = {"RUNICORN_FINISH_TIMEOUT_S": "1", "storage_fault": str(switch)}
    blocked = Trainer(tmp_path, body, expect_line=False, **QUICK, **limits)
    try:
        out, errors = blocked.end()
        assert blocked.process.returncode == 0, f"init() did not come back: {errors}"
        assert str(first.spool) in out
        assert {path.name: path.read_bytes() for path in first.run_dir.iterdir() if path.is_file()} == before
        assert first.spool.exists()
    finally:
        switch.unlink()
    second, found = resume(tmp_path, first)
    meta = json.loads(before["meta.json"])
    expect_continued(first, second, found, meta)


# --- again and again ---------------------------------------------------------------------------------------

AGAIN = """
run = rn.init(run_id="phoenix")
opened(run)
run.set_primary_metric("loss", "min")
print(run.global_step, flush=True)
for _ in range(MORE):
    step = run.global_step + 1
    run.log({"i": step, "loss": 1 / step})
    run.summary({f"session {SESSION}": step})
print("logged", flush=True)
import signal
signal.pause()
"""


def test_death_after_death(tmp_path):
    """Four sessions, each of which resumes the one before and is killed: one sequence of steps, one best metric."""
    sessions, more = 4, 300
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    killed = [dice.choice(["trainer", "both"]) for _ in range(sessions)]
    for session, who in enumerate(killed):
        body = f"SESSION, MORE = {session}, {more}\n" + AGAIN
        trainer = Trainer(tmp_path, body, **QUICK)
        assert int(trainer.read_line()) == session * more
        writer = writer_of(trainer)
        assert trainer.read_line() == "logged"
        if who == "both":
            os.kill(writer, signal.SIGKILL)
        trainer.kill()
        trainer.end()
    last = Trainer(tmp_path, "run = rn.init(run_id='phoenix')\nopened(run)\nrun.finish()\n", **QUICK)
    _, errors = last.end()
    assert last.process.returncode == 0, errors
    total = sessions * more
    assert counted(last.run_dir) == list(range(1, total + 1))
    assert [event["data"]["global_step"] for event in events(last.run_dir)] == list(range(1, total + 1))
    summary = json.loads((last.run_dir / "summary.json").read_text())
    assert (summary["best_metric_value"], summary["best_metric_step"]) == (1 / total, total)
    assert all(summary[f"session {n}"] == (n + 1) * more for n in range(sessions))
    assert len(meta_of(last)["resumed"]) == sessions
    assert status(last.run_dir)["status"] == "finished"
    assert_valid(last.run_dir)


def test_processes_that_wait_for_the_same_earlier_session(tmp_path):
    """Of four processes that wait in init() for one dead session to be stored one owns the run, the others join it."""
    switch = tmp_path / "fault"
    first = die_on_a_full_disk(tmp_path, switch, "trainer")
    body = """
    run = rn.init(run_id="phoenix")
    opened(run)
    run.log({"number": NUMBER})
    print(not run._session.is_owner, flush=True)
    sys.stdin.readline()
    run.finish()
    """
    limits = {"storage_fault": str(switch), "RUNICORN_FINISH_TIMEOUT_S": "80", **QUICK}
    others = [
        Trainer(tmp_path, f"NUMBER = {n}\n{textwrap.dedent(body)}", expect_line=False, **limits) for n in range(4)
    ]
    waiting = str(first.spool / "control")
    for other in others:
        wait_until(lambda pid=other.process.pid: waiting in Path(f"/proc/{pid}/maps").read_text())
    switch.unlink()
    spools = {other.read_line() for other in others}
    joined = [other.read_line() for other in others]
    for other in others:
        other.go_on()
    for other in others:
        _, errors = other.end()
        assert other.process.returncode == 0, errors
    assert sorted(joined) == ["False", "True", "True", "True"]
    assert len(spools) == 1
    stored = events(first.run_dir)
    assert sorted(event["data"]["number"] for event in stored if "number" in event["data"]) == [0, 1, 2, 3]
    assert counted(first.run_dir) == list(range(1, RECORDS + 1))
    assert len(meta_of(first)["resumed"]) == 1


def test_processes_that_resume_at_once(tmp_path):
    """Of six processes that resume one run at the same moment one owns it, the others join: every record is there."""
    rounds, processes = 3, 6
    trainer = Trainer(
        tmp_path,
        f"""
        import json, traceback

        def first(run_id):
            run = rn.init(run_id=run_id)
            run.log(i=1)
            run.finish()

        def again(run_id, number):
            os.read(begun, 1)
            run = rn.init(run_id=run_id)
            run.log(number=number)
            os.write(done, json.dumps([run_id, not run._session.is_owner]).encode() + b"\\n")
            os.read(ended, 1)  # nobody goes before all have come
            run.finish()

        def fork(work, *arguments):
            child = os.fork()
            if child == 0:
                try:
                    work(*arguments)
                except BaseException:
                    os.write(done, json.dumps(["error", traceback.format_exc()]).encode() + b"\\n")
                finally:
                    os._exit(0)
            return child

        told, done = os.pipe()
        for n in range({rounds}):
            os.waitpid(fork(first, f"run-{{n}}"), 0)
            begun, begin = os.pipe()
            ended, end = os.pipe()
            children = [fork(again, f"run-{{n}}", number) for number in range({processes})]
            os.write(begin, b"x" * {processes})
            came = b""
            while came.count(b"\\n") < {processes}:
                came += os.read(told, 65536)
            os.write(end, b"x" * {processes})
            for child in children:
                os.waitpid(child, 0)
            os.write(1, came)
        """,
        expect_line=False,
        PYTHONWARNINGS="ignore",
        RUNICORN_FINISH_TIMEOUT_S="80",
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    told = [json.loads(line) for line in out.splitlines()]
    assert [trouble for word, trouble in told if word == "error"] == []
    for n in range(rounds):
        owners = [joined for run_id, joined in told if run_id == f"run-{n}"].count(False)
        assert owners == 1, f"run-{n} has {owners} owners"
        stored = events(tmp_path / "storage" / "runs" / "default" / f"run-{n}")
        numbers = [event["data"]["number"] for event in stored if "number" in event["data"]]
        assert sorted(numbers) == list(range(processes))
        assert len(stored) == processes + 1


def test_init_during_the_owners_finish(tmp_path):
    """Opened by its id while its owner waits in finish(), a run is resumed as soon as that has ended it."""
    body = """
    run = rn.init(run_id="phoenix")
    opened(run)
    sys.stdin.readline()
    log_flat_out(run, 1000)
    run.finish()
    """
    first = Trainer(tmp_path, body)
    writer = writer_of(first)
    control = control_of(first)
    os.kill(writer, signal.SIGSTOP)
    first.go_on()
    wait_until(lambda: control.closed[0] == 1, what="the owner is in finish()")
    again = """
    from runicorn.lifecycle.existing_run import ExistingRun

    wait = ExistingRun._wait_for_its_end

    def told(opening, address):
        print("waits", flush=True)
        wait(opening, address)

    ExistingRun._wait_for_its_end = told
    run = rn.init(run_id='phoenix')
    print(run.global_step)
    run.log({'i': 1001})
    run.finish()
    """
    second = Trainer(tmp_path, again, expect_line=False)
    assert second.read_line() == "waits"
    os.kill(writer, signal.SIGCONT)
    first.end()
    out, errors = second.end()
    assert (first.process.returncode, second.process.returncode, errors) == (0, 0, "")
    assert out.split()[-1] == "1000"
    assert counted(first.run_dir) == list(range(1, 1002))
    assert len(meta_of(first)["resumed"]) == 1
    assert status(first.run_dir)["status"] == "finished"


def test_what_is_missing_of_an_earlier_session_is_still_told(open_run):
    """A resume adds to the counts and messages of status.json, however often the run goes on."""
    run = open_run(path="p", run_id="r")
    run.log(a=1)
    run.finish()
    before = status(run.run_dir)
    missing = {"lost_records": 3, "damaged_bytes": 40, "storage_errors": [{"time": 1.0, "error": "no space"}]}
    (run.run_dir / "status.json").write_text(json.dumps({**before, **missing}))
    for _ in range(2):
        run = open_run(path="p", run_id="r")
        run.log(a=2)
        run.finish()
        assert {name: status(run.run_dir)[name] for name in missing} == missing
