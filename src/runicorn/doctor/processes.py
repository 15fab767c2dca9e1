"""Whether processes see each other's locks, and whether a writer comes up: both are really tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import runicorn
from runicorn.doctor import probe
from runicorn.doctor.finding import BROKEN, NOTE, OK, Finding
from runicorn.host import locks
from runicorn.queue import spool
from runicorn.session import writer_process
from runicorn.storage import directory_kinds, modes, removal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.settings import Settings

_CHILD_WITHIN_S = 60.0
_TRIAL_WITHIN_S = 180.0
_LOOK = (
    "import sys; sys.path.append(sys.argv[1]); from runicorn.host.locks import is_held; "
    "print(int(is_held(sys.argv[2])))"
)
_TRIAL = """
import json, os, sys, time
sys.path.extend(json.loads(sys.argv[2]))
import runicorn
from runicorn.session import adopt
adopt._sweep = adopt.opening_lock.sweep = lambda _: None  # a checkup removes nothing
begun = time.monotonic()
run = runicorn.init(path="doctor", storage=sys.argv[1])
opened_s = time.monotonic() - begun
control = run._session.control
while not control.heartbeat and time.monotonic() - begun < 60:
    time.sleep(0.002)
up_s = time.monotonic() - begun if control.heartbeat else None
pid = control.writer_pid
run.log({"probe": 1.0})
begun = time.monotonic()
run.finish()
told = {"run_dir": str(run.run_dir), "init_s": opened_s, "writer_up_s": up_s, "finish_s": time.monotonic() - begun}
print(json.dumps({**told, "is_process": pid not in (0, os.getpid())}))
"""
_NOT_FOR_THE_TRIAL = ("RUNICORN_ON", "RUNICORN_DIR")
_SPOOL_LOCKS = (
    "Set RUNICORN_SHM_DIR to another directory. Without visible locks a live run is taken for a dead one, and its "
    "records may be stored twice."
)
_STORAGE_LOCKS = "The database of a 0.7.2 viewer may be damaged there. Runs are safe: they need no lock in the storage."


def locks_work(settings: Settings, root: str) -> Iterator[Finding]:
    """A lock of this process is checked by a child, in shared memory and in the storage."""
    memory = spool.shm_dir(settings) or spool.temp_dir()
    yield _locks("locks", memory, _SPOOL_LOCKS, BROKEN)
    if os.path.isdir(root):
        yield _locks("storage_locks", root, _STORAGE_LOCKS, NOTE)


def _locks(name: str, directory: str, otherwise: str, status: str) -> Finding:
    details: dict[str, Any] = {"directory": directory, "work": False}
    try:
        with probe.folder_in(directory) as folder:
            path = os.path.join(folder, "lock")
            lock = locks.Lock.take(path)
            if lock is None:
                raise probe.ProbeError(f"cannot lock a new file in {directory}")  # noqa: TRY301 - told below
            try:
                held = _seen_by_child(path)
            finally:
                lock.release()
            seen = held and not _seen_by_child(path)
    except (OSError, probe.ProbeError, subprocess.SubprocessError) as error:
        return Finding(name, status, f"could not test locks in {directory}: {error}", otherwise, details)
    if not seen:
        what = "that is given up is seen as held" if held else "is not seen"
        return Finding(name, status, f"a lock in {directory} {what} by another process", otherwise, details)
    return Finding(name, OK, f"a lock in {directory} is seen by another process", None, {**details, "work": True})


def _seen_by_child(path: str) -> bool:
    package = os.path.dirname(os.path.dirname(os.path.abspath(runicorn.__file__)))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LOOK, package, path],
        capture_output=True,
        check=True,
        timeout=_CHILD_WITHIN_S,
    )
    return done.stdout.strip() == b"1"


def writer_starts(settings: Settings, *, tried: bool) -> Iterator[Finding]:
    """A run of one record in a storage of its own, with a writer.

    Args:
        settings: of the environment.
        tried: False where the environment is such that no run can be opened.
    """
    if not tried:
        yield Finding("writer", NOTE, "no test run was made: the settings above allow none")
        return
    if not writer_process.can_launch():
        yield Finding(
            "writer",
            NOTE,
            f"{sys.executable or 'this program'} is not a Python interpreter, so no writer process can be started; "
            "finish() stores what was logged",
            None,
            {"is_process": False},
        )
        return
    folder = tempfile.mkdtemp(prefix="runicorn-doctor-", dir=spool.temp_dir())
    modes.make_usable(folder)
    try:
        yield _trial(os.path.join(folder, "storage"))
    finally:
        _clean_up(settings, folder)


def _trial(storage: str) -> Finding:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_TRIAL}
    directories = [path for path in sys.path if path and os.path.isabs(path)]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL, storage, json.dumps(directories)],
            env={**kept, "RUNICORN_RANK_MODE": "separate"},
            capture_output=True,
            check=False,
            timeout=_TRIAL_WITHIN_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return _failed(f"a test run did not end: {error}")
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        return _failed(f"a test run failed: {said.splitlines()[-1] if said else f'exit {done.returncode}'}")
    details: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not _is_stored(details.pop("run_dir")):
        return _failed(f"a test run was not stored: {said or 'there was no message'}")
    if details["writer_up_s"] is None or not details["is_process"]:
        return _failed("no writer process started; finish() stored the test run", details)
    return Finding(
        "writer",
        OK,
        f"a writer process started {details['writer_up_s']:.2f} s after init(), which took {details['init_s']:.2f} s; "
        f"finish() took {details['finish_s']:.2f} s",
        None,
        details,
    )


def _failed(text: str, details: dict[str, Any] | None = None) -> Finding:
    advice = "Fix the other findings first. Then run: runicorn demo --seconds 1"
    return Finding("writer", BROKEN, text, advice, details or {})


def _is_stored(run_dir: str) -> bool:
    with suppress(OSError, ValueError):
        with open(os.path.join(run_dir, "events.jsonl"), "rb") as file:
            lines = file.read().splitlines()
        with open(os.path.join(run_dir, "status.json"), "rb") as file:
            return len(lines) == 1 and json.load(file).get("status") == "finished"
    return False


def _clean_up(settings: Settings, folder: str) -> None:
    from runicorn.session.orphaned_spools import recover

    with suppress(OSError):  # nothing, where the run has ended as it should
        recover(settings, os.path.join(folder, "storage"))
    removal.remove_tree(folder, directory_kinds.PROBE)
