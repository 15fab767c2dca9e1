"""Where one trial of ``chaos.py`` takes place: what happens, and who comes by."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import chaos_script
import psutil
from chaos_canary import Canaries
from chaos_judge import Judge, last_lines
from chaos_outcome import Outcome
from chaos_plan import CONTENTS, FLIPPED, INSIDE_INIT, INSIDE_ROTATION, LINKED, MOMENTS, UNLINKED, VISITORS, Trial
from chaos_script import FINISH, NEXT_INIT, SHARED_BYTES

from runicorn.host.locks import is_held
from runicorn.queue.control_page import ControlPage

# The scripts that die, and the looks at what they left, are those of the tests.
TESTS = pathlib.Path(__file__).parents[1] / "tests"
sys.path.append(str(TESTS))
import support  # noqa: E402 - as above
from support import trainers  # noqa: E402 - as above

SETTLE_S = 25.0
END_S = 40.0
COMING_S = 3.2  # so long the next init() leaves a spool alone whose first writer may be on its way
OLD_S = 120.0  # older than what may be in the making


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
        self.canaries = Canaries(self.directory, self.memory)
        if trial.around == LINKED:
            (self.directory / "link").symlink_to(self.directory / "storage")
        if trial.around == "datasets":
            (self.directory / "data").mkdir()
            for k in range(1, chaos_script.DATASETS + 1):
                (self.directory / "data" / f"{k}.bin").write_bytes(dataset(k))
        # For the scripts, and for `runicorn recover`, which inherits them.
        os.environ.update(
            RUNICORN_SHM_DIR=str(self.memory), TMPDIR=str(self.temp), RUNICORN_CACHE_DIR=str(self.directory / "cache")
        )
        self.shared = self.directory / "shared"
        self.fault = self.directory / "fault"
        self.trainer: trainers.Trainer | None = None
        self.kinds: list[dict[str, int]] = []
        self.is_unlinked = False
        self.is_unlinked_early = False  # before any writer was up
        self.flipped = ""

    # --- what happens ---------------------------------------------------------------------------------

    def play(self) -> None:
        """Let it happen, and judge."""
        trial = self.trial
        judge = Judge(self)
        self.trainer = self.start(chaos_script.first(trial))
        visitor = self.send_visitors()
        healer = self.strike_while_it_runs()
        self.wait_for_end(self.trainer)
        for thread in (healer, visitor):
            if thread is not None:
                thread.join()
        judge.reached()
        sessions = [self.returned(self.trainer)]
        run_dir = self.find_run_dir()
        if trial.around == FLIPPED:
            self.flip()
        expected = judge.expected()
        if trial.then == "resume at once" and run_dir is not None:
            self.resume(run_dir, sessions)
            expected = judge.expected_of_resumed()
        self.settle()
        judge.status(run_dir, expected)
        if trial.then == "recover, resume" and run_dir is not None:
            self.resume(run_dir, sessions)
            judge.status(run_dir, judge.expected_of_resumed())
            self.wait_until_nothing_is_left()
        judge.records(run_dir, sessions)
        judge.leftovers(run_dir)
        judge.outside()

    def start(self, body: str, **environment: str) -> trainers.Trainer:
        """Start a script; it has said that it is starting, no more."""
        trial = self.trial
        self.shared.write_bytes(bytes(SHARED_BYTES))
        by_link = trial.around == LINKED and (self.trainer is None) == (trial.number % 2 == 0)
        given = {
            "CHAOS_SHARED": str(self.shared),
            "CHAOS_TESTS": str(TESTS),
            "RUNICORN_DIR": str(self.directory / ("link" if by_link else "storage")),
            "RUNICORN_DEVICE_FINISH_WAIT_S": "0",
            "PYTHONWARNINGS": "ignore",
            "RUNICORN_WRITER_RESTART_AFTER_S": "0.3",
            "RUNICORN_LOOK_INTERVAL_S": "0.05",
        }
        if trial.small_segments:
            given.update(RUNICORN_SEGMENT_BYTES="16384", RUNICORN_SEGMENT_MAX_BYTES="16384")
        if trial.when in MOMENTS and self.trainer is None:
            who = {"trainer": "owner"}.get(trial.who, trial.who)
            given["crash_at"] = f"{trial.when}:{trial.count}:{who}"
        if trial.fault:
            given["storage_fault"] = str(self.fault)
        trainer = trainers.Trainer(self.directory, body, expect_line=False, **given, **environment)
        self.read_word(trainer, "starting")
        return trainer

    def read_word(self, trainer: trainers.Trainer, word: str) -> None:
        """Wait for a script to say something."""
        said = trainer.read_line()
        if said != word:
            raise RuntimeError(f"the script said {said!r} and not {word!r}")

    def strike_while_it_runs(self) -> threading.Timer | None:
        """Break storage, deal the deaths, let a survivor end; what will heal storage, if it is broken."""
        trial, trainer = self.trial, self.trainer
        if trial.when == "starting":
            support.PAUSE.wait(trial.delay_s)
            self.signal(0)
            return None
        line = trainer.process.stdout.readline().split()
        if len(line) == 2:  # else it has died inside init
            trainer.run_dir, trainer.spool = map(pathlib.Path, line)
        # A captured console may come to its rotation at the script's first word.
        elif trial.when not in (*INSIDE_INIT, *INSIDE_ROTATION):
            raise RuntimeError(f"the script did not open its run: {trainer.errors.read_text()}")
        control = ControlPage.open(str(trainer.spool / "control")) if self.needs_control() else None
        if trial.around == UNLINKED:
            self.unlink_names()
        healer = self.break_storage() if trial.fault else None
        if not self.needs_control():
            return healer  # it dies by itself
        if trial.who in {"writer", "both"}:
            support.wait_until(lambda: control.writer_pid, what="no writer is up")
        trainer.wait_returned(trial.records)
        if trial.when == "finishing":
            self.stop()
            self.read_word(trainer, "finishing")
            support.PAUSE.wait(trial.delay_s)
        if trial.who == "writer":
            self.kill_writers(control)
        else:
            self.signal(control.writer_pid)
        return healer

    def needs_control(self) -> bool:
        """Whether the writer is to be found, so the control page is opened while it has its name."""
        return not (self.trial.when in MOMENTS or self.trial.by_itself)

    def unlink_names(self) -> None:
        """Remove names in shared memory from under the run, as cleaners do, in the middle of its calls."""
        trial, trainer = self.trial, self.trainer
        control = ControlPage.open(str(trainer.spool / "control"))
        with contextlib.suppress(AssertionError):  # it has died first
            support.wait_until(lambda: control.heartbeat or trainer.process.poll() is not None, what="no writer is up")
            trainer.wait_returned(min(trial.around_at, trial.records))
        dice = trial.dice
        self.is_unlinked_early = not control.heartbeat
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            names = sorted(os.listdir(trainer.spool))
            if not names:
                return
            how_many = {"one name": 1, "half of the names": (len(names) + 1) // 2}.get(trial.unlinking, len(names))
            for name in dice.sample(names, how_many):
                (trainer.spool / name).unlink(missing_ok=True)
            if trial.unlinking == "the directory":
                shutil.rmtree(trainer.spool)
        self.is_unlinked = True

    def flip(self) -> None:
        """Change one bit of what lies in the spool that the dead have left: of a segment, or of the plan."""
        dice = self.trial.dice
        files = [path for spool in self.spools() for path in sorted(spool.iterdir())]
        files = [path for path in files if path.suffix == ".seg" or path.name == "plan"]
        if not files or any(is_held(str(path.parent / "writer.lock")) for path in files):
            self.outcome.reached = False
            return
        path = dice.choice(files)
        used = len(path.read_bytes().rstrip(b"\0")) or 1
        at, bit = dice.randrange(used), dice.randrange(8)
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << bit]))
        self.flipped = f"bit {bit} of byte {at} of {used} in {path.name}"

    def send_visitors(self) -> threading.Thread | None:
        """Have others come by at random moments: ``recover``, or the ``init()`` of another run."""
        if self.trial.around not in VISITORS:
            return None
        thread = threading.Thread(target=self.visit)
        thread.start()
        return thread

    def visit(self) -> None:
        """One or two visits."""
        dice = self.trial.dice
        storage = str(self.directory / "storage")
        command = [sys.executable, "-m", "runicorn", "recover", "--storage", storage]
        if self.trial.around == "init meanwhile":
            program = "import runicorn as rn\nwith rn.init(path='visit') as run:\n    run.log({'i': 1})"
            command = [sys.executable, "-c", program]
        for _ in range(dice.choice([1, 2])):
            support.PAUSE.wait(dice.uniform(0, 0.3))
            ended = subprocess.run(
                command,
                env={**os.environ, "RUNICORN_DIR": storage},
                capture_output=True,
                text=True,
                timeout=2 * END_S,
                check=False,
            )
            if ended.returncode not in {0, 1}:
                self.outcome.add("wrong_statuses", 1, f"a visitor ended with {ended.returncode}: {ended.stderr[-400:]}")
            elif self.trial.around == "init meanwhile" and (ended.returncode or ended.stderr):
                self.outcome.add("wrong_statuses", 1, f"a visitor said {ended.stderr[-400:]}")

    def signal(self, writer_pid: int) -> None:
        """Send the signals of a trial in which the trainer dies."""
        trial, trainer = self.trial, self.trainer
        number = getattr(signal, trial.how.split()[0])
        for again in (False, True) if trial.how.endswith("twice") else (False,):
            if again:
                support.PAUSE.wait(trial.delay_s)
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
                    support.PAUSE.wait(trial.delay_s)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.outcome.kills += 1
            if trial.when == "finishing":
                return
            if trial.kills_writer:
                wait_gone(pid)
                if self.outcome.kills < trial.count:
                    support.wait_until(lambda gone=pid: self.newest_writer(control) != gone, what="no writer followed")
            trainer.wait_returned(trainer.returned + trial.more)
        if trial.ends == "SIGKILL":
            trainer.kill()
        else:
            self.stop()

    def newest_writer(self, control: ControlPage) -> int:
        """Its process id, also where the page was removed by name and made again."""
        with contextlib.suppress(OSError):
            control.follow_name(str(self.trainer.spool / "control"), make=False)
        return control.writer_pid

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
            script = chaos_script.train(trial, len(sessions) + 1, most, 0.0, 0, arguments)
            trainer = self.start(script + FINISH)
            if killed:
                self.kill_again(trainer)
            self.wait_for_end(trainer)
            if not killed and (trainer.process.returncode or trainer.returned != trial.more):
                self.outcome.add("wrong_statuses", 1, f"the run was not resumed: {last_lines(trainer)}")
            sessions.append(self.returned(trainer))

    def kill_again(self, trainer: trainers.Trainer) -> None:
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
            support.wait_until(nobody_is_at_it, SETTLE_S)
        if self.is_unlinked:  # a spool without some of its names may be one that is being made, for a minute
            for spool in self.spools():
                with contextlib.suppress(FileNotFoundError):
                    os.utime(spool, (time.time() - OLD_S,) * 2)
        if (self.spools() or self.is_unlinked) and self.trial.then.startswith("recover"):
            trainers.recover(self.directory)
        elif self.spools() and self.trial.then == "next init":
            self.wait_until_no_writer_is_coming()
            self.wait_for_end(self.start(NEXT_INIT))
        self.wait_until_nothing_is_left()

    def wait_until_no_writer_is_coming(self) -> None:
        """The next init() leaves a spool alone, for a while, whose first writer may be on its way."""
        for spool in self.spools():
            with contextlib.suppress(OSError):
                born = (spool / "address.json").stat().st_mtime
                if not ControlPage.open(str(spool / "control")).writer_pid:
                    support.PAUSE.wait(max(0.0, born + COMING_S - time.time()))

    def wait_until_nothing_is_left(self) -> None:
        """Give what is about to end the time to do so; what is left then is judged."""
        with contextlib.suppress(AssertionError):
            support.wait_until(lambda: not self.spools() and not self.processes(), SETTLE_S)

    def wait_for_end(self, trainer: trainers.Trainer) -> None:
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

    def returned(self, trainer: trainers.Trainer) -> dict[int, int]:
        """How many calls have returned, by producer."""
        counts = struct.unpack(f"<{SHARED_BYTES // 8}Q", self.shared.read_bytes())
        children = counts[chaos_script.FIRST_CHILD : chaos_script.FIRST_KIND]
        self.kinds.append(dict(zip(CONTENTS, counts[chaos_script.FIRST_KIND :], strict=True)))
        return {0: trainer.returned, **{number: count for number, count in enumerate(children, 1) if count}}

    def find_run_dir(self) -> pathlib.Path | None:
        """The run's directory; None where init() has left none."""
        found = list((self.directory / "storage" / "runs" / "default").glob("*"))
        if len(found) > 1:
            raise RuntimeError(f"{len(found)} runs where one was begun")
        return found[0] if found else None

    def spools(self) -> list[pathlib.Path]:
        """Both places of every spool."""
        return [path for path in (*self.memory.iterdir(), *self.temp.iterdir()) if not self.canaries.holds(path)]

    def processes(self) -> list[psutil.Process]:
        """Scripts and writers that live."""
        return processes_of(self.directory, self.memory)

    def close(self, keep: str | None) -> None:
        """Remove everything; keep what a trial that failed has left, if that is asked for."""
        while trainers.STARTED:
            trainers.STARTED.pop().close()
        end_processes_of(self.directory, self.memory)
        if keep and self.outcome.problems:
            shutil.copytree(self.directory, pathlib.Path(keep) / self.directory.name, dirs_exist_ok=True)
            shutil.copytree(self.memory, pathlib.Path(keep) / self.directory.name / "memory", dirs_exist_ok=True)
        for directory in (self.directory, self.memory):
            shutil.rmtree(directory, ignore_errors=True)


def dataset(k: int) -> bytes:
    """Content of a dataset."""
    return f"dataset {k}\n".encode() * k


def wait_gone(pid: int) -> None:
    """Wait until a process that was killed has let go of its locks."""

    def is_gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    support.wait_until(is_gone, what=f"process {pid} lives on")


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
