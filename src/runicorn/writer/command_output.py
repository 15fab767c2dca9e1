"""What a command says: for a limited time, no more than is wanted, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, NamedTuple

from runicorn.settings import KIB, MIB

CALL_S = 5.0
OUTPUT_BYTES = 4 * MIB
_COMPLAINT_BYTES = 4 * KIB
_COMPLAINT_WAIT_S = 0.2
_SETTINGS_OF_GIT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_SETTINGS_BY_NUMBER = ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")


class Output(NamedTuple):
    """What a command has said.

    Attributes:
        data: the first bytes of its standard output.
        truncated: whether there were more.
        status: its exit status; None if it was killed because it had said enough.
        complaint: the beginning of its standard error.
    """

    data: bytes
    truncated: bool
    status: int | None
    complaint: str

    @property
    def text(self) -> str:
        """Its output as text."""
        return self.data.decode("utf-8", "replace").strip()


def output(arguments: list[str], until: float, limit: int = OUTPUT_BYTES, **variables: str) -> Output:
    """Run a command until it has ended, has said enough, or the time is over; then its process group is killed.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long.
    """
    inherited = {name: value for name, value in os.environ.items() if _is_inherited(name)}
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**inherited, **variables},
        start_new_session=True,
        bufsize=0,
    )
    said, complaint = bytearray(), bytearray()
    reader = _reader(process.stdout, said, limit, to_the_end=False)
    complaints = _reader(process.stderr, complaint, _COMPLAINT_BYTES, to_the_end=True)
    reader.join(max(0.0, until - time.monotonic()))
    # Without its reader the pipe has an end that nobody closes: what it says later goes nowhere, and costs a thread.
    late = reader.is_alive()
    truncated = len(said) > limit
    try:
        if late or truncated:
            _kill(process)
        status = process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        _kill(process)
        late = True
    if late:
        raise TimeoutError(f"{os.path.basename(arguments[0])} took longer than allowed, and was stopped")
    complaints.join(_COMPLAINT_WAIT_S)
    told = bytes(complaint).decode("utf-8", "replace")
    return Output(bytes(said[:limit]), truncated, None if truncated else status, told)


def _is_inherited(name: str) -> bool:
    """Not what points git at another repository, or has it run something; safe.directory and the like are."""
    return not name.startswith("GIT_") or name in _SETTINGS_OF_GIT or name.startswith(_SETTINGS_BY_NUMBER)


def _reader(pipe: IO[bytes] | None, into: bytearray, limit: int, *, to_the_end: bool) -> threading.Thread:
    reader = threading.Thread(target=_read, args=(pipe, into, limit, to_the_end), daemon=True)
    reader.start()
    return reader


def _read(pipe: IO[bytes] | None, into: bytearray, limit: int, to_the_end: bool) -> None:
    if pipe is None:
        return
    with pipe:
        while (to_the_end or len(into) <= limit) and (block := pipe.read(64 * KIB)):
            if len(into) <= limit:
                into += block


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with everything that it has started; its group is there while it was not waited for."""
    try:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
