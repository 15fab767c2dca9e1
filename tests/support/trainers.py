"""Training scripts as real processes, ways for them to die, and a look at what they left.

A script counts each ``log()`` that has returned in a file that it maps, so that the count survives SIGKILL.
"""

import io
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import redirect_stdout
from pathlib import Path
from threading import Timer

from runicorn.cli import main
from runicorn.host.locks import is_held
from runicorn.queue.control_page import ControlPage
from support import PAUSE, events, faults, wait_until, without_waiting, writers

STARTED: list["Trainer"] = []

TRAINER = '''
import mmap, os, struct, sys
import runicorn as rn

counter_file = open(sys.argv[1], "r+b")
counter = mmap.mmap(counter_file.fileno(), 8)


def returned(count):
    counter[:8] = struct.pack("<Q", count)


def opened(run):
    address = run._session.address
    print(address.run_dir, address.spool, flush=True)


def log_flat_out(run, most, first=1):
    for i in range(first, first + most):
        run.log({"i": i, "loss": i * 0.5})
        returned(i)


def p99_us(run, most, first):
    """What log() costs while records are counted, 99th percentile."""
    from time import perf_counter_ns
    costs = []
    for i in range(first, first + most):
        begun = perf_counter_ns()
        run.log({"i": i, "loss": i * 0.5})
        costs.append(perf_counter_ns() - begun)
        returned(i)
    return sorted(costs)[most * 99 // 100] / 1000
'''


class Trainer:
    """A training script that was started by a test."""

    def __init__(
        self,
        tmp_path: Path,
        body: str,
        *,
        expect_line: bool = True,
        prefix: tuple[str, ...] = (),
        crash_at: str = "",
        storage_fault: str = "",
        **environment: str,
    ) -> None:
        self.counter = tmp_path / f"returned-{time.monotonic_ns()}"
        self.counter.write_bytes(bytes(8))
        script = tmp_path / f"train-{time.monotonic_ns()}.py"
        first = faults.line_for_script(crash_at, storage_fault, str(tmp_path))
        script.write_text(first + TRAINER + textwrap.dedent(body))
        self.errors = script.with_suffix(".stderr")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(script), str(self.counter)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "RUNICORN_DIR": str(tmp_path / "storage"), **environment},
                start_new_session=True,
            )
        STARTED.append(self)
        self.run_dir, self.spool = Path(), Path()
        if expect_line:
            line = self.process.stdout.readline().split()
            if len(line) != 2:
                self.process.kill()
                raise AssertionError(f"the script did not start: {self.errors.read_text()}")
            self.run_dir, self.spool = Path(line[0]), Path(line[1])

    @property
    def returned(self) -> int:
        """How many log() calls have returned, also after the process's death."""
        return struct.unpack("<Q", self.counter.read_bytes())[0]

    def wait_returned(self, count: int, timeout_s: float = 60) -> None:
        with self.counter.open("rb") as file, mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as mapped:
            deadline = time.monotonic() + timeout_s
            while struct.unpack("<Q", mapped[:8])[0] < count:
                assert time.monotonic() < deadline, f"only {self.returned} calls had returned; {self.process.poll()=}"
                assert self.process.poll() is None, self.errors.read_text()
                PAUSE.wait(0.0005)

    def writer_pid(self, timeout_s: float = 60) -> int:
        """The pid of the run's writer process, as soon as it serves the spool."""
        lock = str(self.spool / "writer.lock")
        wait_until(lambda: is_held(lock), timeout_s, "no writer is up")
        page = ControlPage.open(str(self.spool / "control"))
        wait_until(lambda: page.writer_pid, timeout_s, "the writer has not begun")
        return page.writer_pid

    def go_on(self) -> None:
        """Let a script that waits in sys.stdin.readline() go on."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def read_line(self) -> str:
        """The next line that the script prints."""
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        return line.strip()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = 90) -> tuple[str, str]:
        """Wait for the script's end; what it printed since the last line that was read, and its errors."""
        self.process.stdin.close()
        # Not communicate(): it reads past what readline() has in its buffer.
        killer = Timer(timeout_s, self.process.kill)
        killer.start()
        try:
            with self.process.stdout as stdout:
                out = stdout.read()
            self.process.wait()
        finally:
            killer.cancel()
        return out, without_waiting(self.errors.read_text())

    def close(self) -> None:
        if not self.process.stdout.closed:
            self.process.kill()
            self.end()


def writer_pids(spool: Path) -> list[int]:
    """Processes that serve a spool."""
    return [process.pid for process in writers(str(spool))]


def wait_dead(pid: int) -> None:
    """Wait until a process has ended: a zombie has let go of its locks, and whoever has to reap it may take seconds."""

    def is_dead() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(is_dead, 60, f"process {pid} lives on")


def orphan(trainer: Trainer) -> Trainer:
    """Have a script log what it waits to log, and kill it and its writer before anything of that is stored."""
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    os.kill(writer, signal.SIGKILL)
    trainer.end()
    wait_dead(writer)
    return trainer


def wait_stored(trainer: Trainer, timeout_s: float = 60) -> None:
    """Wait until the run's writer has ended the run and removed the spool."""
    wait_until(lambda: not trainer.spool.exists(), timeout_s, f"spool {trainer.spool} is still there")
    wait_until(lambda: not writer_pids(trainer.spool), timeout_s, "the writer lives on")


def counted(run_dir: Path) -> list[int]:
    """The ``i`` of every record, in the order of the file."""
    return [event["data"]["i"] for event in events(run_dir) if "i" in event["data"]]


def assert_exactly_once(trainer: Trainer) -> None:
    """Every record whose log() returned is stored once and in order; at most the call in flight beside."""
    stored = counted(trainer.run_dir)
    returned = trainer.returned
    assert len(stored) in {returned, returned + 1}, f"{returned} calls returned, {len(stored)} records stored"
    assert stored == list(range(1, len(stored) + 1))


def recover(tmp_path: Path) -> str:
    """`runicorn recover` for the storage in ``tmp_path``; what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        main(["recover", "--storage", str(tmp_path / "storage")])
    return printed.getvalue()


def recover_killed(trainer: Trainer, tmp_path: Path) -> None:
    """End the trainer by SIGKILL, and recover what it and its writer, which was killed before, have left."""
    trainer.kill()
    trainer.end()
    # A process that is killed in the middle of an fsync() holds its lock until that returns.
    for lock in ("owner.lock", "writer.lock"):
        wait_until(lambda path=str(trainer.spool / lock): not is_held(path), what=f"{lock} is held by the dead")
    recover(tmp_path)
    wait_stored(trainer)


def assert_valid(run_dir: Path) -> None:
    """Every file of a run is whole: JSON files parse, line files end with a newline, nothing temporary is left."""
    for path in run_dir.iterdir():
        assert not path.name.startswith("."), f"{path} is left behind"
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in {".jsonl", ".txt"}:
            content = path.read_bytes()
            assert not content or content.endswith(b"\n")
