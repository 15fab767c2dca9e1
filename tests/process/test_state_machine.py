"""Any order of init, log, fork, kill, resume and finish against a simple model of what must be stored."""

import shutil
import tempfile
from pathlib import Path

import psutil
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support import events, status, wait_until
from support.trainers import Trainer, assert_valid, recover

QUICK = {"RUNICORN_WRITER_RESTART_AFTER_S": "0.3", "RUNICORN_LOOK_INTERVAL_S": "0.05"}
DRIVER = """
run = rn.init(run_id="model")
opened(run)
for line in sys.stdin:
    word, who, first, most = line.split()
    if word == "finish":
        run.finish(who)
    elif word == "log":
        for i in range(int(first), int(first) + int(most)):
            run.log({"i": i, "who": who})
    else:
        child = os.fork()
        if child == 0:
            for i in range(int(first), int(first) + int(most)):
                run.log({"i": i, "who": who})
            os._exit(0)
        os.waitpid(child, 0)
    print("done", flush=True)
    if word == "finish":
        break
"""


class RunModel(RuleBasedStateMachine):
    """The model: for each producer how many records have been logged; the status; whether a session is open."""

    @initialize()
    def begin(self):
        self.place = Path(tempfile.mkdtemp(prefix="runicorn-model-"))
        self.trainer = None
        self.logged = {}
        self.expected = None

    @precondition(lambda self: self.trainer is None)
    @rule()
    def open(self):
        self.trainer = Trainer(self.place, DRIVER, **QUICK, PYTHONWARNINGS="ignore")
        self.writer_killed = False
        self.owner = f"owner-{len(self.logged)}"
        assert status(self.trainer.run_dir)["status"] == "running"

    @precondition(lambda self: self.trainer is not None)
    @rule(most=st.integers(1, 400))
    def log(self, most):
        self.say("log", self.owner, most)

    @precondition(lambda self: self.trainer is not None)
    @rule(most=st.integers(1, 50))
    def log_in_a_child(self, most):
        self.say("fork", f"child-{len(self.logged)}", most)

    @precondition(lambda self: self.trainer is not None and not self.writer_killed)
    @rule()
    def kill_the_writer(self):
        self.writer_killed = True  # once a session: the next one comes with a later call of the owner's
        writer = psutil.Process(self.trainer.writer_pid())
        writer.kill()
        wait_until(lambda: not writer.is_running(), what="the writer is dead")

    @precondition(lambda self: self.trainer is not None)
    @rule()
    def kill_the_trainer(self):
        self.trainer.kill()
        self.trainer.end()
        self.settle("failed")

    @precondition(lambda self: self.trainer is not None)
    @rule(how=st.sampled_from(["finished", "failed", "interrupted"]))
    def finish(self, how):
        self.say("finish", how, 0)
        self.trainer.end()
        self.settle(how)

    def say(self, word, who, most):
        first = self.logged.get(who, 0) + 1
        self.trainer.process.stdin.write(f"{word} {who} {first} {most}\n")
        self.trainer.process.stdin.flush()
        assert self.trainer.read_line() == "done"
        if most:
            self.logged[who] = first + most - 1

    def settle(self, how):
        """Nobody is left: the next who comes by has everything stored, once and in order, and the status is right."""
        trainer, self.trainer = self.trainer, None
        # Again, where a process that was killed has not let go of its lock yet.
        wait_until(lambda: recover(self.place) and not trainer.spool.exists())
        assert status(trainer.run_dir)["status"] == how
        assert_valid(trainer.run_dir)
        stored = [event["data"] for event in events(trainer.run_dir)]
        for who, most in self.logged.items():
            assert [data["i"] for data in stored if data["who"] == who] == list(range(1, most + 1))
        assert len(stored) == sum(self.logged.values())

    def teardown(self):
        if self.trainer is not None:
            self.kill_the_trainer()
        shutil.rmtree(self.place)


TestRunModel = RunModel.TestCase
TestRunModel.settings = settings(
    max_examples=5,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
