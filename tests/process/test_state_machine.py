"""Any sequence of what can happen to a run, against a model of a few lines: real processes, real deaths."""

import json
import os
import signal
from collections import Counter
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from zoo import Trainer, assert_valid, events, recover, status, wait_until

from runicorn.locks import is_held
from runicorn.writer.control import ControlPage

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
EXAMPLES = int(os.environ.get("CHAOS_TRIALS", "9"))
STEPS = 12
MOST_KILLS = 2  # of writers in a session: after four that die at once the owner does without
COUNTS = [0, 1, 30, 400]
QUICK = {
    "RUNICORN_WRITER_RESTART_AFTER_S": "0.3",
    "RUNICORN_LOOK_INTERVAL_S": "0.05",
    "RUNICORN_SEGMENT_BYTES": "8192",
    "RUNICORN_SEGMENT_MAX_BYTES": "8192",
}

# Does what each line of its standard input says, and answers each with a line.
PUPPET = """
from zlib import crc32


def log(who, first, count):
    for i in range(int(first), int(first) + int(count)):
        run.log({"who": who, "i": i, "value": crc32(f"{who} {i}".encode())})


def fork(who, count, end):
    child = os.fork()
    if child == 0:
        log(who, 1, count)
        if end == "finish":
            run.finish()
        os.kill(os.getpid(), 9) if end == "SIGKILL" else os._exit(0)
    os.waitpid(child, 0)


run = rn.init(run_id="phoenix")
run.set_primary_metric("value")
opened(run)
print(run.global_step, run._session.joined, flush=True)
for line in sys.stdin:
    verb, *words = line.split()
    if verb == "exit":
        break
    if verb == "raise":
        raise ValueError("boom")
    {"log": log, "fork": fork, "finish": run.finish, "os._exit": lambda code: os._exit(int(code))}[verb](*words)
    print("done", flush=True)
"""

done = Counter()


class Life(RuleBasedStateMachine):
    """One run through all its sessions, and what its files must say.

    Attributes:
        records: how many records each producer's ``log()`` calls have returned for.
        ended: status and reason that the run has, or will have when what is left is stored; None while it is open.
    """

    directory = None
    number = 0

    def __init__(self):
        super().__init__()
        Life.number += 1
        self.place = self.directory / str(Life.number)
        self.place.mkdir()
        self.trainer = None
        self.records = Counter()
        self.ended = None
        self.sessions = 0
        self.killed = {0}
        self.kills = 0

    # --- what can happen ---------------------------------------------------------------------------

    @precondition(lambda self: not self.is_open)
    @rule()
    def init(self):
        trainer = Trainer(self.place, PUPPET, PYTHONWARNINGS="ignore", **QUICK)
        assert trainer.read_line() == f"{self.records['owner']} False"
        if self.trainer is not None:
            assert not self.trainer.spool.exists()
            assert trainer.run_dir == self.trainer.run_dir
        self.trainer = trainer
        self.ended = None
        self.sessions += 1
        self.kills = 0
        assert status(trainer.run_dir)["status"] == "running"
        # What earlier sessions have logged is stored when init() has returned.
        self.expect_records()
        done["init" if self.sessions == 1 else "resume"] += 1

    @precondition(lambda self: self.is_open)
    @rule(count=st.sampled_from(COUNTS[1:]), end=st.sampled_from(["os._exit", "SIGKILL", "finish"]))
    def log_from_a_forked_child(self, count, end):
        who = f"child-{len(self.records)}"
        self.tell("fork", who, count, end)
        self.records[who] = count
        done["fork"] += 1

    @precondition(lambda self: self.is_open and self.kills < MOST_KILLS)
    @rule(before=st.sampled_from(COUNTS), after=st.sampled_from(COUNTS))
    def kill_writer(self, before, after):
        self.log(before)
        self.kill_the_writer()
        self.log(after)
        done["kill writer"] += 1

    @precondition(lambda self: self.is_open)
    @rule(
        count=st.sampled_from(COUNTS),
        how=st.sampled_from(["SIGKILL", "SIGTERM", "os._exit 0", "exit", "raise"]),
        writer_too=st.booleans(),
    )
    def the_trainer_ends(self, count, how, writer_too):
        self.log(count)
        if writer_too:
            self.kill_the_writer()
        if how.startswith("SIG"):
            self.trainer.kill(getattr(signal, how))
        else:
            self.trainer.process.stdin.write(f"{how}\n")
            self.trainer.process.stdin.flush()
        self.trainer.end()
        self.ended = {
            "SIGKILL": ("failed", "process gone"),
            "SIGTERM": ("interrupted", "SIGTERM"),
            "os._exit 0": ("failed", "process gone"),
            "exit": ("finished", "finish() was not called"),
            "raise": ("failed", "ValueError: boom"),
        }[how]
        done[how + (", writer too" if writer_too else "")] += 1

    @precondition(lambda self: self.is_open)
    @rule(count=st.sampled_from(COUNTS), word=st.sampled_from(["finished", "failed", "interrupted"]))
    def finish(self, count, word):
        self.log(count)
        self.tell("finish", word)
        self.ended = (word, None)
        assert not self.trainer.spool.exists()
        self.expect_files()
        self.trainer.process.stdin.write("exit\n")
        _, errors = self.trainer.end()
        assert not errors
        done["finish"] += 1

    @precondition(lambda self: self.trainer is not None and not self.is_open)
    @rule()
    def settle(self):
        recover(self.place)
        wait_until(lambda: not self.trainer.spool.exists(), 20, "the spool is still there")
        self.expect_files()
        done["settle"] += 1

    def teardown(self):
        try:
            if self.is_open:
                self.finish(1, "finished")
            elif self.trainer is not None:
                self.settle()
        finally:
            if self.trainer is not None:
                self.trainer.close()

    # --- how it is done, and what must be true -----------------------------------------------------

    @property
    def is_open(self):
        return self.trainer is not None and self.ended is None

    def tell(self, *words):
        self.trainer.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.trainer.process.stdin.flush()
        assert self.trainer.read_line() == "done"

    def log(self, count):
        self.tell("log", "owner", self.records["owner"] + 1, count)
        self.records["owner"] += count

    def kill_the_writer(self):
        lock = str(self.trainer.spool / "writer.lock")
        control = ControlPage.open(str(self.trainer.spool / "control"))

        def is_up():
            if is_held(lock) and control.writer_pid not in self.killed:
                return True
            self.log(1)  # where the last one has been killed, a call that comes by starts the next
            return False

        wait_until(is_up, what="a writer is up")
        self.killed.add(control.writer_pid)
        self.kills += 1
        os.kill(control.writer_pid, signal.SIGKILL)

    def expect_records(self):
        stored = {}
        for event in events(self.trainer.run_dir):
            stored.setdefault(event["data"]["who"], []).append(event)
        assert stored.keys() == self.records.keys() - {"owner"} | ({"owner"} if self.records["owner"] else set())
        for who, found in stored.items():
            assert [event["data"]["i"] for event in found] == list(range(1, self.records[who] + 1)), who
            assert ("producer" in found[0]) == (who != "owner")
        assert [event["data"]["global_step"] for event in stored.get("owner", [])] == list(
            range(1, self.records["owner"] + 1)
        )

    def expect_files(self):
        self.expect_records()
        run_dir = self.trainer.run_dir
        found = status(run_dir)
        assert (found["status"], found.get("exit_reason")) == self.ended
        assert found.get("last_step", 0) == self.records["owner"]
        values = [crc32(f"{who} {i}".encode()) for who, count in self.records.items() for i in range(1, count + 1)]
        summary = run_dir / "summary.json"
        best = json.loads(summary.read_text()).get("best_metric_value") if summary.exists() else None
        assert best == max(values, default=None)
        assert len(json.loads((run_dir / "meta.json").read_text()).get("resumed", [])) == self.sessions - 1
        assert_valid(run_dir)


@pytest.mark.timeout(120)
def test_any_life_of_a_run(tmp_path):
    """After any sequence of logs, forks, deaths, recoveries and resumptions the run's files are what the model says."""
    print(f"seed {SEED}")
    Life.directory = tmp_path
    run_state_machine_as_test(
        seed(SEED)(Life),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(done))
    assert done["resume"] > 0
    assert done["settle"] > 0
