"""Is anything lost, doubled or left behind, whoever dies, however and whenever?

A trial is a training script as a real process that logs, is killed or ends by itself, and is judged by what is then on
disk. A seed gives the same sequence of trials, with the same moments; each that fails prints the command that repeats
it alone. What the scheduler of the operating system adds is not repeated, so ``--times`` repeats a trial often::

    python bench/chaos.py --kills 1000
    python bench/chaos.py --seed 7 --only 123 --times 20
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import harness
import psutil

from runicorn.locks import is_held
from runicorn.writer.control import ControlPage

# The scripts that die, and the looks at what they left, are those of the tests.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
import zoo

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

KILLS, QUICK_KILLS, JOBS = 1000, 4, 2
PROGRESS_EVERY = 50
SETTLE_S = 25.0
END_S = 40.0
SHARED_BYTES = 64  # one u64 to stop the script, then one a child: how many of its calls have returned
MOST_FLAT_OUT = 40_000

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGINT twice", "SIGHUP")
INSIDE_INIT = ("directory", "spool", "files", "launched")
INSIDE_ROTATION = ("sealed", "rotated")
INSIDE_BATCH = ("planned", "appending", "appended", "stored")
INSIDE_FINISH = ("closing", "synced", "status", "done")
MOMENTS = {
    **dict.fromkeys(INSIDE_INIT, "inside init"),
    **dict.fromkeys(INSIDE_ROTATION, "inside a rotation"),
    **dict.fromkeys(INSIDE_BATCH, "inside the writer's batch"),
    **dict.fromkeys(INSIDE_FINISH, "inside finish"),
}

# Status and exit reason, as the design's table has them.
FINISHED = ("finished", None)
GONE = ("failed", "process gone")
TOLD_BY_SYSTEM = ("exit code", "killed by signal")
TERMINATED = ("interrupted", "SIGTERM")
CTRL_C = ("interrupted", "KeyboardInterrupt")
NO_RUN = (None, None)
END_OF_SIGNAL = {"SIGKILL": GONE, "SIGTERM": TERMINATED, "SIGINT": CTRL_C, "SIGINT twice": CTRL_C, "SIGHUP": GONE}

# How a script ends by itself: the statement, and how its run ends then.
ENDINGS = {
    "os._exit": ("os._exit(3)", GONE),
    "segfault": ("import ctypes; ctypes.string_at(0)", GONE),
    "MemoryError": ("bytearray(1 << 62)", ("failed", "MemoryError")),
    "exception": ("raise ValueError('boom')", ("failed", "ValueError: boom")),
    "sys.exit(3)": ("sys.exit(3)", GONE),
    "no finish()": ("pass", FINISHED),
    "end of a thread": ("threading.Thread(target=log_when_main_is_over).start()", FINISHED),
}

# One round: each cell once, "" = at random. Rounds are shuffled, each differently.
DECK = [
    *((who, how, "") for who in ("trainer", "writer", "both", "group") for how in SIGNALS),
    ("writer", "segfault", ""),
    *((who, how, "") for who in ("trainer", "both") for how in ENDINGS),
    *(("", "SIGKILL", moment) for moment in MOMENTS),
]

SCRIPT = """
import resource, signal, threading, time

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
shared_file = open(os.environ["CHAOS_SHARED"], "r+b")
shared = mmap.mmap(shared_file.fileno(), {shared_bytes})
me = os.getpid()
children = []


def log_on(first, most):
    for i in range(first, first + most):
        if shared[0]:
            return
        run.log({{"i": i, "producer": 0, "session": {session}, "loss": i * 0.5}})
        returned(i)
        if {pause_s} or i > {most_flat_out}:
            time.sleep({pause_s} or 0.001)


def log_as_child(number):
    i = 0
    while not shared[0] and os.getppid() == me:
        i += 1
        run.log({{"i": i, "producer": number, "session": {session}}})
        struct.pack_into("<Q", shared, 8 * number, i)
        time.sleep(0.001)


def log_when_main_is_over():
    threading.main_thread().join()
    log_on({most} + 1, 50)


def kill_the_writer():
    while not run._session.control.writer_pid:
        time.sleep(0.001)
    os.kill(run._session.control.writer_pid, signal.SIGKILL)
    time.sleep({delay_s})


print("starting", flush=True)
run = rn.init({arguments})
opened(run)
for number in range(1, {children} + 1):
    pid = os.fork()
    if pid == 0:
        try:
            log_as_child(number)
        finally:
            os._exit(0)
    children.append(pid)
log_on(1, {most})
"""
FINISH = """
shared[0] = 1
for pid in children:
    os.waitpid(pid, 0)
print("finishing", flush=True)
run.finish()
"""
NEXT_INIT = """
print("starting", flush=True)
with rn.init(path="next"):
    pass
"""


@dataclass(frozen=True)
class Trial:
    """What is going to happen.

    Attributes:
        seed: of the whole sequence.
        number: its place in the sequence.
        who: dies; ``group`` is the trainer's process group.
        how: it dies.
        when: ``flat out``, ``paced``, ``starting``, ``finishing``, or one of ``MOMENTS``.
        records: calls of the owner that return before that.
        count: of the moment, which time; of a writer, how many are killed in a row.
        pause_s: between two calls.
        delay_s: between two signals, or after the script's word that it starts or finishes.
        children: forked producers beside the owner.
        small_segments: rotate every few hundred records.
        fault: what storage does for a while; empty = nothing.
        fault_at: from this call of the owner on.
        fault_s: so long.
        ends: how the trainer ends after its writer was killed; ``SIGKILL`` also has writers die in resumed sessions.
        then: who comes by afterwards.
        more: records of a process that resumes the run.
        resumes: how many processes resume it, one after the other; all but the last are killed.
    """

    seed: int
    number: int
    who: str
    how: str
    when: str
    records: int
    count: int
    pause_s: float
    delay_s: float
    children: int
    small_segments: bool
    fault: str
    fault_at: int
    fault_s: float
    ends: str
    then: str
    more: int
    resumes: int

    @property
    def cell(self) -> str:
        """Its row in the table."""
        return f"{self.who}: {self.how}"

    @property
    def kills_writer(self) -> bool:
        """Whether a writer dies, so that somebody else has to come by where the owner dies as well."""
        deadly = self.how in {"SIGKILL", "segfault"} or self.how in ENDINGS
        return self.who in {"writer", "both"} and deadly

    @property
    def command(self) -> str:
        """What repeats it alone."""
        return f"python bench/chaos.py --seed {self.seed} --only {self.number}"


def plan(seed: int, number: int) -> Trial:
    """Derive a trial from the seed alone."""
    round_number, place = divmod(number, len(DECK))
    deck = list(DECK)
    random.Random(f"{seed}-round-{round_number}").shuffle(deck)
    who, how, when = deck[place]
    dice = random.Random(f"{seed}-{number}")
    who = who or dice.choice(["trainer", "writer", "both"])
    when = when or _random_time(dice, who, how)
    paced = when == "paced" or (when in MOMENTS and dice.random() < 0.5)
    records = dice.randrange(6) if dice.random() < 0.1 else dice.randrange(1, 400 if paced else 15_000)
    if when in MOMENTS:
        records = dice.randrange(600, 1200) if paced else dice.randrange(3000, 12_000)
    count = dice.choice([1, 1, 2, 3]) if who == "writer" or when in INSIDE_BATCH + INSIDE_ROTATION else 1
    may_fork = when not in (*INSIDE_INIT, *INSIDE_ROTATION, "starting")
    children = 2 if may_fork and dice.random() < (0.6 if who == "group" else 0.25) else 0
    fault = dice.choice(["ENOSPC", "EIO", "EROFS", "EIO once", "block"])
    may_fail = when not in (*INSIDE_INIT, "starting")
    return Trial(
        seed=seed,
        number=number,
        who=who,
        how=how,
        when=when,
        records=records,
        count=count,
        pause_s=dice.choice([0.0002, 0.0005, 0.001]) if paced else 0.0,
        delay_s=dice.uniform(0, 0.15) if when == "starting" else dice.choice([0.0, dice.uniform(0, 0.08)]),
        children=children,
        small_segments=when in INSIDE_ROTATION or dice.random() < 0.7,
        fault=fault if may_fail and dice.random() < 0.25 else "",
        fault_at=dice.randrange(records + 1),
        fault_s=dice.uniform(0.05, 0.8),
        ends=dice.choice(["finish()", "SIGKILL"]),
        then=_what_then(dice, who, how, when),
        more=dice.randrange(1, 500),
        resumes=dice.choice([1, 1, 2, 3]),
    )


def _random_time(dice: random.Random, who: str, how: str) -> str:
    if how in ENDINGS and who != "writer":
        return dice.choice(["flat out", "paced"])
    times = ["flat out", "flat out", "paced", "paced", "finishing"]
    return dice.choice(times if who in {"writer", "both"} else [*times, "starting"])


def _what_then(dice: random.Random, who: str, how: str, when: str) -> str:
    if when in {"directory", "starting"}:  # there may be no run to resume
        return dice.choice(["recover", "next init"])
    somebody = ["recover", "next init", "resume at once", "recover, resume"]
    if when == "spool":  # no status yet: init(run_id=...) would wait for somebody who is making the run
        somebody.remove("resume at once")
    if when not in INSIDE_INIT and (who in {"trainer", "group"} or how not in {"SIGKILL", "segfault", *ENDINGS}):
        somebody += ["nobody", "nobody"]
    return dice.choice(somebody)


@dataclass
class Outcome:
    """What came of a trial; the four counts are to be 0.

    Attributes:
        trial: what was to happen.
        kills: deaths that were dealt.
        logged: records whose ``log()`` has returned.
        lost: of these, not stored.
        doubled: stored more than once, out of order, or never logged.
        wrong_statuses: status and reason that are not in the table; a program that did not end.
        leftovers: processes, spools and temporary files; files that are not whole.
        reached: whether the moment came at which somebody was to die.
        problems: each of them, in words.
    """

    trial: Trial
    kills: int = 1
    logged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_statuses: int = 0
    leftovers: int = 0
    reached: bool = True
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, number: int, text: str) -> None:
        """Count what went wrong, and say it."""
        if number:
            setattr(self, kind, getattr(self, kind) + number)
            self.problems.append(f"{kind.replace('_', ' ')}: {text}")


class Stage:
    """Where one trial takes place: its own storage, shared memory and temp directory."""

    def __init__(self, trial: Trial, root: pathlib.Path, memory: pathlib.Path) -> None:
        self.trial = trial
        self.outcome = Outcome(trial)
        self.directory = root / f"trial-{trial.number}"
        self.memory = memory / f"trial-{trial.number}"
        self.temp = self.directory / "temp"
        for directory in (self.directory, self.memory, self.temp):
            directory.mkdir()
        # For the scripts, and for `runicorn recover`, which inherits them.
        os.environ.update(RUNICORN_SHM_DIR=str(self.memory), TMPDIR=str(self.temp))
        self.shared = self.directory / "shared"
        self.fault = self.directory / "fault"
        self.trainer: zoo.Trainer | None = None

    # --- what happens ---------------------------------------------------------------------------------

    def play(self) -> None:
        """Let it happen, and judge."""
        trial = self.trial
        self.trainer = self.start(self.body())
        healer = self.strike_while_it_runs()
        self.wait_for_end(self.trainer)
        if healer is not None:
            healer.join()
        self.judge_reached()
        sessions = [self.returned(self.trainer)]
        run_dir = self.find_run_dir()
        expected = self.expected()
        if trial.then == "resume at once" and run_dir is not None:
            self.resume(run_dir, sessions)
            expected = {FINISHED}
        self.settle()
        self.judge_status(run_dir, expected)
        if trial.then == "recover, resume" and run_dir is not None:
            self.resume(run_dir, sessions)
            self.judge_status(run_dir, {FINISHED})
            self.wait_until_nothing_is_left()
        self.judge_records(run_dir, sessions)
        self.judge_leftovers(run_dir)

    def body(self) -> str:
        """Write the script."""
        trial = self.trial
        by_itself = trial.how in ENDINGS and trial.who != "writer"
        most = trial.records if by_itself or trial.when in MOMENTS else 10**9
        text = self.script(1, most, trial.pause_s, trial.children, "")
        if not by_itself:
            return text + FINISH
        return text + ("kill_the_writer()\n" if trial.who == "both" else "") + ENDINGS[trial.how][0] + "\n"

    def script(self, session: int, most: int, pause_s: float, children: int, arguments: str) -> str:
        """Fill in the script."""
        return SCRIPT.format(
            session=session,
            most=most,
            pause_s=pause_s,
            children=children,
            arguments=arguments,
            delay_s=self.trial.delay_s,
            most_flat_out=MOST_FLAT_OUT,
            shared_bytes=SHARED_BYTES,
        )

    def start(self, body: str, **environment: str) -> zoo.Trainer:
        """Start a script; it has said that it is starting, no more."""
        trial = self.trial
        self.shared.write_bytes(bytes(SHARED_BYTES))
        given = {
            "CHAOS_SHARED": str(self.shared),
            "PYTHONWARNINGS": "ignore",
            "RUNICORN_WRITER_RESTART_AFTER_S": "0.3",
            "RUNICORN_LOOK_INTERVAL_S": "0.05",
        }
        if trial.small_segments:
            given.update(RUNICORN_SEGMENT_BYTES="16384", RUNICORN_SEGMENT_MAX_BYTES="16384")
        if trial.when in MOMENTS and self.trainer is None:
            who = {"trainer": "owner"}.get(trial.who, trial.who)
            given["RUNICORN_CRASH_AT"] = f"{trial.when}:{trial.count}:{who}"
        if trial.fault:
            given["RUNICORN_STORAGE_FAULT"] = str(self.fault)
        trainer = zoo.Trainer(self.directory, body, expect_line=False, **given, **environment)
        self.read_word(trainer, "starting")
        return trainer

    def read_word(self, trainer: zoo.Trainer, word: str) -> None:
        """Wait for a script to say something."""
        said = trainer.read_line()
        if said != word:
            raise RuntimeError(f"the script said {said!r} and not {word!r}")

    def strike_while_it_runs(self) -> threading.Timer | None:
        """Break storage, deal the deaths, let a survivor end; what will heal storage, if it is broken."""
        trial, trainer = self.trial, self.trainer
        if trial.when == "starting":
            zoo.PAUSE.wait(trial.delay_s)
            self.signal(0)
            return None
        line = trainer.process.stdout.readline().split()
        if len(line) == 2:  # else it has died inside init
            trainer.run_dir, trainer.spool = map(pathlib.Path, line)
        elif trial.when not in INSIDE_INIT:
            raise RuntimeError(f"the script did not open its run: {trainer.errors.read_text()}")
        healer = self.break_storage() if trial.fault else None
        if trial.when in MOMENTS or (trial.how in ENDINGS and trial.who != "writer"):
            return healer  # it dies by itself
        control = ControlPage.open(str(trainer.spool / "control"))
        if trial.who in {"writer", "both"}:
            zoo.wait_until(lambda: control.writer_pid, what="no writer is up")
        trainer.wait_returned(trial.records)
        if trial.when == "finishing":
            self.stop()
            self.read_word(trainer, "finishing")
            zoo.PAUSE.wait(trial.delay_s)
        if trial.who == "writer":
            self.kill_writers(control)
        else:
            self.signal(control.writer_pid)
        return healer

    def signal(self, writer_pid: int) -> None:
        """Send the signals of a trial in which the trainer dies."""
        trial, trainer = self.trial, self.trainer
        number = getattr(signal, trial.how.split()[0])
        for again in (False, True) if trial.how.endswith("twice") else (False,):
            if again:
                zoo.PAUSE.wait(trial.delay_s)
            with contextlib.suppress(ProcessLookupError):
                if trial.who == "both":
                    os.kill(writer_pid, number)
            with contextlib.suppress(ProcessLookupError):
                if trial.who == "group":
                    os.killpg(trainer.process.pid, number)
                else:
                    trainer.kill(number)
        if trial.kills_writer:
            wait_gone(writer_pid)

    def kill_writers(self, control: ControlPage) -> None:
        """Signal one writer after the other while the trainer goes on; then have that end too."""
        trial, trainer = self.trial, self.trainer
        number = getattr(signal, {"segfault": "SIGSEGV"}.get(trial.how, trial.how.split()[0]))
        self.outcome.kills = 0
        for _ in range(trial.count):
            pid = control.writer_pid
            for again in (False, True) if trial.how.endswith("twice") else (False,):
                if again:
                    zoo.PAUSE.wait(trial.delay_s)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.outcome.kills += 1
            if trial.when == "finishing":
                return
            if trial.kills_writer:
                wait_gone(pid)
                if self.outcome.kills < trial.count:
                    zoo.wait_until(lambda gone=pid: control.writer_pid != gone, what="no writer followed")
            trainer.wait_returned(trainer.returned + trial.more)
        if trial.ends == "SIGKILL":
            trainer.kill()
        else:
            self.stop()

    def stop(self) -> None:
        """Have the script call finish()."""
        with self.shared.open("r+b") as file:
            file.write(b"\x01")

    def break_storage(self) -> threading.Timer:
        """Have storage fail from a call on, until it heals."""
        trial, trainer = self.trial, self.trainer
        with contextlib.suppress(AssertionError):  # it has died first
            trainer.wait_returned(min(trial.fault_at, trial.records))
        self.fault.write_text(trial.fault)
        healer = threading.Timer(trial.fault_s, lambda: self.fault.unlink(missing_ok=True))
        healer.start()
        return healer

    def resume(self, run_dir: pathlib.Path, sessions: list[dict[int, int]]) -> None:
        """Go on with the run in a fresh process, and finish it; the first ones may be killed again."""
        trial = self.trial
        for again in range(trial.resumes):
            killed = again + 1 < trial.resumes
            most = 10**9 if killed else trial.more
            arguments = f"run_id={run_dir.name!r}"
            trainer = self.start(self.script(len(sessions) + 1, most, 0.0, 0, arguments) + FINISH)
            if killed:
                self.kill_again(trainer)
            self.wait_for_end(trainer)
            if not killed and (trainer.process.returncode or trainer.returned != trial.more):
                self.outcome.add("wrong_statuses", 1, f"the run was not resumed: {last_lines(trainer)}")
            sessions.append(self.returned(trainer))

    def kill_again(self, trainer: zoo.Trainer) -> None:
        """Kill a process that has resumed the run, and sometimes its writer first."""
        line = trainer.process.stdout.readline().split()
        if len(line) != 2:
            raise RuntimeError(f"the run was not resumed: {last_lines(trainer)}")
        trainer.run_dir, trainer.spool = map(pathlib.Path, line)
        control = ControlPage.open(str(trainer.spool / "control"))
        trainer.wait_returned(self.trial.more)
        self.outcome.kills += 1
        if self.trial.ends == "SIGKILL" and control.writer_pid:
            os.kill(control.writer_pid, signal.SIGKILL)
            wait_gone(control.writer_pid)
        trainer.kill()

    def settle(self) -> None:
        """Have somebody come by where owner and writer are both gone; then nothing of the run is left."""

        def nobody_is_at_it() -> bool:
            locks = [str(spool / lock) for spool in self.spools() for lock in ("owner.lock", "writer.lock")]
            return not any(map(is_held, locks))

        with contextlib.suppress(AssertionError):
            zoo.wait_until(nobody_is_at_it, SETTLE_S)
        if self.spools() and self.trial.then.startswith("recover"):
            zoo.recover(self.directory)
        elif self.spools() and self.trial.then == "next init":
            self.wait_for_end(self.start(NEXT_INIT))
        self.wait_until_nothing_is_left()

    def wait_until_nothing_is_left(self) -> None:
        """Give what is about to end the time to do so; what is left then is judged."""
        with contextlib.suppress(AssertionError):
            zoo.wait_until(lambda: not self.spools() and not self.processes(), SETTLE_S)

    def wait_for_end(self, trainer: zoo.Trainer) -> None:
        """Wait until a script and its children have ended."""
        began = time.monotonic()
        trainer.end(END_S)
        if time.monotonic() - began < END_S:
            return
        if self.trial.when == "starting" and "_get_module_lock" in trainer.errors.read_text():
            self.outcome.reached = False  # CPython drops a KeyboardInterrupt that comes in its import system's callback
        else:
            text = f"the program did not end within {END_S:.0f} s: {last_lines(trainer)}"
            self.outcome.add("wrong_statuses", 1, text)

    # --- what is left of it -----------------------------------------------------------------------------

    def returned(self, trainer: zoo.Trainer) -> dict[int, int]:
        """How many calls have returned, by producer."""
        children = struct.unpack(f"<{SHARED_BYTES // 8}Q", self.shared.read_bytes())[1:]
        return {0: trainer.returned, **{number: count for number, count in enumerate(children, 1) if count}}

    def find_run_dir(self) -> pathlib.Path | None:
        """The run's directory; None where init() has left none."""
        found = list((self.directory / "storage" / "runs" / "default").glob("*"))
        if len(found) > 1:
            raise RuntimeError(f"{len(found)} runs where one was begun")
        return found[0] if found else None

    def spools(self) -> list[pathlib.Path]:
        """Both places of every spool."""
        return [*self.memory.iterdir(), *self.temp.iterdir()]

    def processes(self) -> list[psutil.Process]:
        """Scripts and writers that live."""
        return processes_of(self.directory, self.memory)

    def expected(self) -> set[tuple[Any, Any]]:
        """How the run may have ended."""
        trial, trainer = self.trial, self.trainer
        if trial.when in MOMENTS:
            return self._expected_of_moment()
        if trial.how in ENDINGS and trial.who != "writer":
            return {ENDINGS[trial.how][1]}
        if trial.who == "writer":
            if trial.ends == "finish()" or trial.when == "finishing":
                return {FINISHED}
            # A writer that was sent SIGTERM takes the owner's end for the scheduler's.
            return {TERMINATED if trial.how == "SIGTERM" else GONE}
        end = END_OF_SIGNAL[trial.how] if self.outcome.reached else GONE
        if trial.when == "finishing":
            return {FINISHED, end}
        if trial.when == "starting" and not trainer.returned:
            # SIGTERM can be told from other ends when init() has come far enough.
            return {NO_RUN, end} | ({GONE} if trial.how in {"SIGTERM", "SIGINT twice"} else set())
        return {end}

    def _expected_of_moment(self) -> set[tuple[Any, Any]]:
        trial, trainer = self.trial, self.trainer
        if trainer.process.returncode == 0 or trial.when in INSIDE_FINISH:
            return {FINISHED}
        if trial.when == "directory":
            return {NO_RUN}
        return {GONE} if trainer.returned < trial.records else {GONE, FINISHED}

    def judge_reached(self) -> None:
        """See whether the owner has met the moment of its death."""
        trial = self.trial
        if trial.when in MOMENTS and trial.who != "writer":
            self.outcome.reached = self.trainer.process.returncode == -signal.SIGKILL

    def judge_status(self, run_dir: pathlib.Path | None, expected: set[tuple[Any, Any]]) -> None:
        """Compare how the run has ended with how it may have."""
        found: tuple[Any, Any] = NO_RUN
        if run_dir is not None and (run_dir / "status.json").exists():
            status = zoo.status(run_dir)
            found = (status["status"], status.get("exit_reason"))
            if str(found[1]).startswith(TOLD_BY_SYSTEM):  # unless nobody who could ask was left
                found = GONE
            if self.trial.how == "SIGINT twice" and found[0] == "interrupted":
                found = CTRL_C  # the second one may have ended what the first one had begun
            if status.get("lost_records"):
                self.outcome.add("lost", status["lost_records"], "refused, the spool was full")
        if found not in expected:
            self.outcome.add("wrong_statuses", 1, f"{found} is none of {sorted(expected, key=str)}")

    def judge_records(self, run_dir: pathlib.Path | None, sessions: list[dict[int, int]]) -> None:
        """Compare what was logged with what is stored."""
        stored: dict[tuple[int, int], list[int]] = defaultdict(list)
        steps: dict[int, list[int]] = defaultdict(list)
        for event in zoo.events(run_dir) if run_dir is not None else []:
            data = event["data"]
            stored[data["session"], data["producer"]].append(data["i"])
            if data["producer"] == 0:
                steps[data["session"]].append(data["global_step"])
        for number, session in enumerate(sessions, 1):
            for producer, returned in session.items():
                self.outcome.logged += returned
                found = stored.pop((number, producer), [])
                self._judge_producer(f"session {number}, producer {producer}", returned, found)
        for (number, producer), found in stored.items():
            self._judge_producer(f"session {number}, producer {producer}", 0, found)
        all_steps = [step for number in sorted(steps) for step in steps[number]]
        wrong = sum(after <= before for before, after in itertools.pairwise(all_steps))
        self.outcome.add("doubled", wrong, f"{wrong} steps of the owner do not rise")

    def _judge_producer(self, name: str, returned: int, stored: list[int]) -> None:
        often = Counter(stored)
        missing = [i for i in range(1, returned + 1) if i not in often]
        where = f"from {missing[:1]} to {missing[-1:]}"
        self.outcome.add("lost", len(missing), f"{name}: {len(missing)} of {returned}, {where}")
        twice = len(stored) - len(often)
        self.outcome.add("doubled", twice, f"{name}: {twice} stored again")
        disorder = sum(after < before for before, after in itertools.pairwise(stored))
        self.outcome.add("doubled", disorder, f"{name}: {disorder} out of order")
        strange = [i for i in often if not 1 <= i <= returned + 1]
        self.outcome.add("doubled", len(strange), f"{name}: {len(strange)} beyond {returned} and the call in flight")

    def judge_leftovers(self, run_dir: pathlib.Path | None) -> None:
        """Look for what should be gone, and end it."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                self.outcome.add("leftovers", 1, f"process {process.pid}: {' '.join(process.cmdline())[-200:]}")
                process.kill()
        for spool in self.spools():
            log = spool / "writer.log"
            text = log.read_text()[-600:] if log.exists() else "no log"
            self.outcome.add("leftovers", 1, f"{spool.name} with {sorted(os.listdir(spool))}: {text}")
        if run_dir is not None:
            try:
                zoo.assert_valid(run_dir)
            except (AssertionError, ValueError) as error:
                self.outcome.add("leftovers", 1, str(error))

    def close(self, keep: str | None) -> None:
        """Remove everything; keep what a trial that failed has left, if that is asked for."""
        while zoo.STARTED:
            zoo.STARTED.pop().close()
        end_processes_of(self.directory, self.memory)
        if keep and self.outcome.problems:
            shutil.copytree(self.directory, pathlib.Path(keep) / self.directory.name, dirs_exist_ok=True)
            shutil.copytree(self.memory, pathlib.Path(keep) / self.directory.name / "memory", dirs_exist_ok=True)
        for directory in (self.directory, self.memory):
            shutil.rmtree(directory, ignore_errors=True)


def last_lines(trainer: zoo.Trainer) -> str:
    return trainer.errors.read_text()[-800:].strip() or "no word on stderr"


def wait_gone(pid: int) -> None:
    """Wait until a process that was killed has let go of its locks."""

    def is_gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    zoo.wait_until(is_gone, what=f"process {pid} lives on")


def play(trial: Trial, root: str, memory: str, keep: str | None) -> Outcome:
    """Play one trial, in a process that plays nothing else meanwhile."""
    stage = Stage(trial, pathlib.Path(root), pathlib.Path(memory))
    try:
        stage.play()
    except Exception as error:  # noqa: BLE001 - whatever it is, the trial has not gone well, and the others go on
        stage.outcome.add("wrong_statuses", 1, f"the trial broke off: {type(error).__name__}: {error}")
    if stage.outcome.problems and stage.trainer is not None:
        stage.outcome.problems.append(f"stderr: {last_lines(stage.trainer)}")
    stage.close(keep)
    return stage.outcome


# --- a place of one's own -----------------------------------------------------------------------------------


@contextlib.contextmanager
def isolated() -> Iterator[tuple[str, str]]:
    """Give a root for storage and one for spools, in shared memory; end what lives in them, and remove them.

    No ``RUNICORN_`` setting of the user's reaches what is started meanwhile.
    """
    base = os.environ.get("RUNICORN_SHM_DIR") or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
    before = dict(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is under way is ended and removed
    with harness.storage() as root:
        memory = tempfile.mkdtemp(prefix="runicorn-bench-", dir=base)
        for name in [name for name in os.environ if name.startswith("RUNICORN_")]:
            del os.environ[name]
        os.environ["XDG_CONFIG_HOME"] = os.path.join(root, "no-configuration")
        try:
            yield root, memory
        finally:
            end_processes_of(pathlib.Path(root), pathlib.Path(memory))
            shutil.rmtree(memory, ignore_errors=True)
            os.environ.clear()
            os.environ.update(before)


def processes_of(*directories: pathlib.Path) -> list[psutil.Process]:
    """Scripts and writers: what has a path in one of the directories among its words."""
    starts = tuple(f"{directory}{os.sep}" for directory in directories)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(word.startswith(starts) for word in process.cmdline()):
                found.append(process)
    return found


def end_processes_of(*directories: pathlib.Path) -> None:
    """Kill them, by their ids."""
    for process in processes_of(*directories):
        with contextlib.suppress(psutil.Error):
            process.kill()


# --- all trials -----------------------------------------------------------------------------------------------


FAILED: list[str] = []


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Play the trials, some at once."""
    seed = int.from_bytes(os.urandom(4), "little") if arguments.seed is None else arguments.seed
    number = arguments.kills or (QUICK_KILLS if arguments.quick else KILLS)
    numbers = range(number) if arguments.only is None else [arguments.only] * arguments.times
    print(f"seed {seed}", file=sys.stderr)
    began = time.monotonic()
    outcomes = []
    with isolated() as (root, memory), workers(arguments.jobs) as pool:
        waiting = [
            pool.submit(play, plan(seed, number), made(root, place), made(memory, place), arguments.keep)
            for place, number in enumerate(numbers)
        ]
        for done in concurrent.futures.as_completed(waiting):
            outcomes.append(done.result())
            tell(outcomes, len(waiting))
    outcomes.sort(key=lambda outcome: outcome.trial.number)
    FAILED.extend(outcome.trial.command for outcome in outcomes if outcome.problems)
    return {
        "seed": seed,
        "trials": len(outcomes),
        "jobs": arguments.jobs,
        "elapsed_s": time.monotonic() - began,
        "not_reached": sum(not outcome.reached for outcome in outcomes),
        "with_fault": sum(bool(outcome.trial.fault) for outcome in outcomes),
        "resumed": sum("resume" in outcome.trial.then for outcome in outcomes),
        "cells": sums(outcomes, [f"{who}: {how}" for who, how in cells()], lambda trial: trial.cell),
        "moments": sums(outcomes, moments(), lambda trial: named(trial.when)),
        "totals": one_sum(outcomes),
        "failures": [
            {"command": outcome.trial.command, "problems": outcome.problems, "trial": asdict(outcome.trial)}
            for outcome in outcomes
            if outcome.problems
        ],
    }


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[concurrent.futures.Executor]:
    """Give processes, since the environment is a process's, and a trial sets it."""
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=reset_signals
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def reset_signals() -> None:
    """Undo what ``nohup`` and a shell's ``&`` do, which scripts would inherit: they ignore two of the deaths."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def made(directory: str, place: int) -> str:
    """Make a directory for the trial at a place of the sequence, where one may be there several times."""
    path = os.path.join(directory, str(place))
    os.mkdir(path)
    return path


def tell(outcomes: list[Outcome], number: int) -> None:
    """Report a failure at once, and progress now and then."""
    last = outcomes[-1]
    if last.problems:
        print(f"FAILED {last.trial.command}\n  {last.trial}\n  " + "\n  ".join(last.problems), file=sys.stderr)
    if len(outcomes) % PROGRESS_EVERY == 0:
        failed = sum(bool(outcome.problems) for outcome in outcomes)
        print(f"{len(outcomes)} of {number} trials, {failed} failed", file=sys.stderr)


def cells() -> list[tuple[str, str]]:
    """Who dies and how, in the order of the table."""
    return list(dict.fromkeys((who, how) for who, how, _ in DECK if who))


def named(when: str) -> str:
    """When, for people."""
    return f"{MOMENTS[when]}: {when}" if when in MOMENTS else when


def moments() -> list[str]:
    return ["flat out", "paced", "starting", "finishing", *map(named, MOMENTS)]


COUNTS = ("kills", "logged", "lost", "doubled", "wrong_statuses", "leftovers")


def one_sum(outcomes: list[Outcome]) -> dict[str, int]:
    return {name: sum(getattr(outcome, name) for outcome in outcomes) for name in COUNTS}


def sums(outcomes: list[Outcome], names: list[str], name_of: Any) -> dict[str, dict[str, int]]:
    """Add up by name; names that did not come up have no row."""
    grouped = {name: [outcome for outcome in outcomes if name_of(outcome.trial) == name] for name in names}
    return {name: one_sum(found) for name, found in grouped.items() if found}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make the tables: by who and how, by when, and what failed."""
    bad = sum(figures["totals"][name] for name in COUNTS[2:])
    note = (
        f"Targets: 0 in each of the last four columns: {'met' if bad == 0 else 'missed'}. {figures['trials']:,} trials "
        f"from seed {figures['seed']}, {figures['jobs']} at once, in {figures['elapsed_s'] / 60:.0f} min; in "
        f"{figures['with_fault']:,} storage failed for a while as well, {figures['resumed']:,} runs were resumed, and "
        f"in {figures['not_reached']:,} the script ended before its moment came. Records out of order count as "
        "doubled; files that are not whole count as leftovers."
    )
    failures = [[each["command"], "; ".join(each["problems"])[:300]] for each in figures["failures"]]
    return [
        _counts("Who dies, and how", figures["cells"], figures["totals"], note),
        _counts("When", figures["moments"], figures["totals"], "The same kills, by their moment."),
        *([harness.Table("Failures", ["repeated by", "what went wrong"], failures)] if failures else []),
    ]


def _counts(title: str, rows: dict[str, dict[str, int]], totals: dict[str, int], note: str) -> harness.Table:
    return harness.Table(
        title=title,
        columns=["cell", "kills", "records logged", "lost", "doubled", "wrong statuses", "leftovers"],
        rows=[[name, *(f"{row[count]:,}" for count in COUNTS)] for name, row in {**rows, "all": totals}.items()],
        note=note,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of this benchmark."""
    parser.add_argument("--kills", type=int, help=f"how many trials ({KILLS})")
    parser.add_argument("--seed", type=int, help="of all moments (random; it is printed)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"trials at once ({JOBS})")
    parser.add_argument("--only", type=int, metavar="K", help="only trial K of the seed")
    parser.add_argument("--times", type=int, default=1, help="with --only: how often")
    parser.add_argument("--keep", metavar="DIRECTORY", help="where files of trials that fail are kept")


if __name__ == "__main__":
    harness.Bench(
        question="Is anything lost, doubled or left behind, whoever dies, however and whenever?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
    sys.exit(1 if FAILED else 0)
