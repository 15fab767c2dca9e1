"""The machine's numbers, sampled by a thread of the writer and appended by its loop, as a line each.

The thread reads, and touches no file of the run: a driver or a kernel that does not answer costs samples, and no
record. So does a file of samples that cannot be written, and a thread that cannot be started. The loop asks for a
sample when one is due, and appends what has come. What reads is imported by the thread, after the first second: a short
run does without.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.storage.run_files import MACHINE
from runicorn.writer.end_status import KILLED, PROCESS_GONE

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage
    from runicorn.queue.records import End
    from runicorn.queue.spool_address import Address
    from runicorn.sampling.machine_insight import MachineInsight
    from runicorn.writer.owner import OwnerProcess
    from runicorn.writer.store import Store

_BASELINE_S, _FIRST_S = 0.4, 1.0
_LAST_WAIT_S, _KILLED_WAIT_S = 0.2, 2.0
_AGAIN_S, _LAST_APPEND_S, _LAST_AGAIN_S = 1.0, 0.5, 0.05
_MOST_WAITING = 1000


class MachineWatch:
    """The loop's side, and the thread.

    Args:
        address: of the spool.
        store: owns the run's files.
        control: knows who logs.
        owner: the training's main process.
        is_on: whether there is somebody to sample, and this process may do so.
    """

    def __init__(
        self, address: Address, store: Store, control: ControlPage, owner: OwnerProcess, *, is_on: bool
    ) -> None:
        self._address = address
        self._store = store
        self._control = control
        self._owner = owner
        self._interval_s = address.settings.system_interval_s
        self._begun_at = time.monotonic()
        self._due_at = self._begun_at + _BASELINE_S if self._interval_s and is_on else float("inf")
        self._thread: threading.Thread | None = None
        self._asked = threading.Semaphore(0)
        self._answered = threading.Event()
        self._answered.set()
        self._roots: set[int] = set()
        self._samples: deque[dict[str, float]] = deque(maxlen=_MOST_WAITING)
        self._unwritten = bytearray()
        self._append_at = 0.0
        self._has_appended = False
        self._insight: MachineInsight | None = None

    def go_on(self) -> None:
        """Ask for a sample if one is due, and append those that have come."""
        if self._samples or self._unwritten:
            self._append()
        now = time.monotonic()
        if now < self._due_at or self._unwritten or not self._answered.is_set():
            return
        first_at = self._begun_at + min(_FIRST_S, self._interval_s)
        self._due_at = first_at if self._thread is None and now < first_at else now + self._interval_s
        self._ask()

    def ask_last(self) -> None:
        """Ask for a sample at the end, if there was one before."""
        if self._thread is not None and self._answered.is_set():
            self._ask()

    def finish(self, end: End) -> None:
        """Append what has come. Only if the run was killed is a slow machine waited for longer: it may say why."""
        if self._thread is not None:
            self._answered.wait(_KILLED_WAIT_S if _is_kill(end) else _LAST_WAIT_S)
            self._append_last()

    def conclusions(self) -> dict[str, Any]:
        """What ``summary.json`` says of the machine; empty if nothing is known."""
        found = None if self._insight is None else self._insight.fields()
        return {MACHINE: found} if found else {}

    def explained(self, end: End) -> End:
        """The end of a run that was killed, with what the cgroup says about that."""
        if self._insight is None or not _is_kill(end):
            return end
        why = self._insight.why_killed()
        return msgspec.structs.replace(end, reason=f"{end.reason} ({why})") if why else end

    def _ask(self) -> None:
        owner = self._owner.pid or self._address.owner_pid * (sys.platform != "linux")
        self._roots = {*(noted.pid for noted in self._control.producers()), owner} - {0}
        if self._thread is not None or self._start():
            self._answered.clear()
            self._asked.release()

    def _start(self) -> bool:
        """Start the thread; whether that could be done."""
        name, earlier = self._store.names.system, None
        try:
            earlier = self._store.run_dir.open_for_reading(name)
        except OSError as error:
            _tell(f"{name} cannot be read, and the summary is without it: {error}")
        thread = threading.Thread(
            target=self._work, args=(min(self._roots, default=0), earlier), name="runicorn-machine", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more processes, or no memory, are allowed
            if earlier is not None:
                os.close(earlier)
            _tell(f"the machine is not sampled: {error}")
            self._due_at = float("inf")
            return False
        self._thread = thread
        return True

    def _append(self) -> None:
        """Append what has come, if the file takes it; it is tried again later, and the run's records do not wait."""
        assert self._insight is not None
        if time.monotonic() < self._append_at:
            return
        if not self._unwritten:
            while self._samples:
                sample = self._samples.popleft()
                self._insight.add(sample)
                self._unwritten += msgspec.json.encode(sample) + b"\n"
        error = self._write()
        if error is not None:
            self._append_at = time.monotonic() + _AGAIN_S
            _tell(f"{self._store.names.system} cannot be written: {error}")

    def _write(self) -> OSError | None:
        """Append until nothing is left; what was in the way, if something was."""
        files, name = self._store.run_dir, self._store.names.system
        try:
            if not self._has_appended:  # a writer before this one may have been killed
                files.end_torn_line(name)
            self._has_appended = True
            while self._unwritten:
                del self._unwritten[: files.append(name, memoryview(bytes(self._unwritten)))]
        except OSError as error:
            return error
        return None

    def _append_last(self) -> None:
        """The same at the end: a moment's trouble is waited for, and what is missing is told."""
        deadline = time.monotonic() + _LAST_APPEND_S
        while self._samples or self._unwritten:
            self._append_at = 0.0
            self._append()
            if self._unwritten and time.monotonic() > deadline:
                lines = self._unwritten.count(b"\n") + len(self._samples)
                self._store.note(f"{lines} samples of the machine: {self._store.names.system} cannot be written")
                return
            if self._unwritten:
                time.sleep(_LAST_AGAIN_S)

    def _work(self, one_of_them: int, earlier: int | None) -> None:
        """What the thread does: the first sample is what the rates of the second begin at."""
        try:
            from runicorn.sampling import gpu_drivers
            from runicorn.sampling.machine_insight import MachineInsight
            from runicorn.sampling.machine_sampler import MachineSampler

            self._insight = MachineInsight.of_file(earlier)
            root = self._address.settings.system_root
            sampler = MachineSampler(
                one_of_them,
                self._address.run_dir,
                root=root,
                shm=os.path.dirname(self._address.spool),
                gpus=gpu_drivers.find(root, _tell),
                tell=_tell,
            )
            self._asked.acquire()
            sampler.sample(self._roots)
            while True:
                self._answered.set()
                self._asked.acquire()
                self._samples.append(sampler.sample(self._roots))
        except Exception as error:  # noqa: BLE001 - the run's records must not suffer for it
            _tell(f"the machine is not sampled: {type(error).__name__}: {error}")
            self._answered.set()
            self._due_at = float("inf")


def _is_kill(end: End) -> bool:
    return end.reason is not None and end.reason.startswith((PROCESS_GONE, KILLED))


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - to writer.log
