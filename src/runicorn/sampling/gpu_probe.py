"""The GPUs of a training, read by a child process: a driver that hangs costs samples, and nothing else."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_BOOT = "import sys; sys.path.extend(sys.argv[2:]); from runicorn.sampling.gpu_child import main; main(sys.argv[1])"
_BEGIN_S, _ANSWER_S = 20.0, 3.0
"""How long the driver may take to begin, and to answer."""
_PAUSE_S = 60.0
_MOST_FAILURES = 3
"""After so many failures in a row the child is not asked again."""


class GpuProbe:
    """Asks the child, which is started when it is first asked.

    Args:
        root: below which the kernel's files are.
        tell: takes what is wrong, in words.
        begin_s: how long the driver may take to begin.
        answer_s: how long it may take to answer.
        pause_s: after a failure.
    """

    def __init__(
        self,
        root: str,
        tell: Callable[[str], None],
        *,
        begin_s: float = _BEGIN_S,
        answer_s: float = _ANSWER_S,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._root = root
        self._tell = tell
        self._begin_s, self._answer_s, self._pause_s = begin_s, answer_s, pause_s
        self._child: subprocess.Popen[bytes] | None = None
        self._has_answered = False
        self._failures = 0
        self._again_at = 0.0

    def sample(self, pids: Collection[int]) -> dict[str, float]:
        """The numbers of the GPUs that are the training's; none if the driver does not answer.

        Args:
            pids: the processes of the training.
        """
        if self._failures >= _MOST_FAILURES or time.monotonic() < self._again_at:
            return {}
        try:
            answer = json.loads(self._asked(json.dumps(sorted(pids)).encode() + b"\n"))
        except (OSError, ValueError) as error:
            self._failures += 1
            self._again_at = time.monotonic() + self._pause_s
            self._tell(f"the GPUs were not sampled: {error}")
            self.close()
            return {}
        self._failures = 0
        for text in answer["tell"]:
            self._tell(text)
        numbers: dict[str, float] = answer["numbers"]
        return numbers

    def _asked(self, question: bytes) -> bytes:
        if self._child is None:
            paths = [path for path in sys.path if path]
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, self._root, *paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._has_answered = False
        assert self._child.stdin is not None and self._child.stdout is not None  # noqa: PT018 - both are pipes
        self._child.stdin.write(question)
        self._child.stdin.flush()
        limit_s = self._answer_s if self._has_answered else self._begin_s
        answer, fd = b"", self._child.stdout.fileno()
        deadline = time.monotonic() + limit_s
        while not answer.endswith(b"\n"):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"the driver has not answered for {limit_s:g} s")
            piece = os.read(fd, 1 << 16)
            if not piece:
                raise ChildProcessError("the process that asks the driver has ended")
            answer += piece
        self._has_answered = True
        return answer

    def close(self) -> None:
        """End the child; one that hangs in the kernel ends when that lets it go."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):  # what it has not read
                if pipe is not None:
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.5)
