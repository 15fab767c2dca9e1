"""The worker processes: started, talked with, looked at from outside, and ended with their trackers' helpers."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import queue
import secrets
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import environments
import psutil

if TYPE_CHECKING:
    from roster import Tracker

WORKER = pathlib.Path(__file__).with_name("worker.py")
MARK = "BENCH_PEER_MARK"
WORKER_LIMIT_S = 120.0
NOWHERE = "http://127.0.0.1:9"  # nobody listens: what a tracker sends in spite of its switches goes no further


class WorkerError(Exception):
    """The worker did not do what it should; the message says what it did instead, in one line."""


class Worker:
    """A worker process, with all the helpers that its tracker starts.

    Args:
        tracker: who.
        workload: of ``loops.LOOPS``, or ``kill``, or ``read``.
        home: a directory of this worker and its reader: ``store`` in it is what the tracker is given.
        counts: how many calls, and what is in them.
    """

    def __init__(self, tracker: Tracker, workload: str, home: str, counts: dict[str, Any]) -> None:
        self.mark = secrets.token_hex(8)
        self.more_time()
        self._log = open(os.path.join(home, f"{workload}.log"), "w+b")  # noqa: SIM115 - closed in close()
        store = os.path.join(home, "store")
        os.makedirs(store, exist_ok=True)
        self.process = subprocess.Popen(
            [
                *(environments.interpreter(tracker.requirements), str(WORKER)),
                *(tracker.adapter, workload, store, json.dumps(counts)),
            ],
            env=_environment(home, tracker, self.mark),
            cwd=store,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def hear(self, stage: str, limit_s: float = WORKER_LIMIT_S) -> dict[str, Any]:
        """Wait until it says that it is at this stage.

        Raises:
            WorkerError: it ended before, or takes too long.
        """
        try:
            line = self._lines.get(timeout=max(0.0, min(limit_s, self._deadline - time.monotonic())))
        except queue.Empty:
            raise WorkerError(f"did not get to {stage!r} within {limit_s:.0f} s") from None
        if not line:
            raise WorkerError(f"ended before {stage!r}: {self.last_words()}")
        said = json.loads(line)
        if said["stage"] != stage:
            raise WorkerError(f"came to {said['stage']!r} where {stage!r} was expected")
        return said

    def more_time(self) -> None:
        """Begin its limit anew."""
        self._deadline = time.monotonic() + WORKER_LIMIT_S

    def go_on(self) -> None:
        """Let it go on."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def last_words(self) -> str:
        """The last line that it wrote to its standard error."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "no message")

    def helpers(self) -> list[psutil.Process]:
        """The processes that it has started, also those that left its group: they have its environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != self.process.pid and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def look(self) -> dict[str, Any]:
        """Memory, threads and helpers at this moment."""
        own = psutil.Process(self.process.pid)
        helpers_bytes = []
        for helper in self.helpers():
            with contextlib.suppress(psutil.Error):
                helpers_bytes.append(helper.memory_info().rss)
        return {
            "rss_bytes": own.memory_info().rss,
            "threads": own.num_threads(),
            "helpers": len(helpers_bytes),
            "helpers_rss_bytes": sum(helpers_bytes),
        }

    def wait_for_end(self) -> int:
        """Its exit code.

        Raises:
            WorkerError: it hangs.
        """
        try:
            return self.process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise WorkerError(f"did not end within {WORKER_LIMIT_S:.0f} s") from None

    def close(self) -> None:
        """End it and what it has left behind."""
        self.process.kill()
        self.process.wait()
        for helper in self.helpers():
            with contextlib.suppress(psutil.Error):
                helper.kill()
                helper.wait(5)
        self.process.stdin.close()
        self._log.close()

    def _listen(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


class Reader:
    """A second worker of the same tracker, which reads back whenever it is asked."""

    def __init__(self, tracker: Tracker, home: str) -> None:
        self._worker = Worker(tracker, "read", home, {})
        self._worker.hear("ready")

    def count(self) -> dict[str, Any]:
        """How many records are readable now, and why not more, where the tracker's reader says."""
        self._worker.more_time()
        self._worker.go_on()
        return self._worker.hear("read")

    def close(self) -> None:
        """End it."""
        self._worker.close()


def _environment(home: str, tracker: Tracker, mark: str) -> dict[str, str]:
    # A home of its own: no tracker finds a person's settings, nor leaves any.
    # Nor does one that has an environment of its own find our package, where PYTHONPATH leads to it.
    dropped = {"PYTHONDONTWRITEBYTECODE", *(["PYTHONPATH"] if tracker.requirements else [])}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **(kept | proxies | threads),
        "NO_PROXY": "127.0.0.1,localhost",
        "HOME": home,
        "XDG_CACHE_HOME": os.path.join(home, ".cache"),
        MARK: mark,
        **tracker.switches,
    }
