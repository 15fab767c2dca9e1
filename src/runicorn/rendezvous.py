"""How the ranks of a job find their run: a file under the storage root, made by whoever comes first.

No waiting and no network call: the file is published whole, by a link that fails where it exists already, and says
which run it is. Who makes the run's directory is then decided by ``mkdir``, so a first comer that dies holds nobody up.
"""

from __future__ import annotations

import os
import time

from runicorn import paths

FOLDER = ".rendezvous"
_KEPT_S = 30 * 24 * 3600.0
_BEING_WRITTEN_S, _POLL_S = 1.0, 0.002
_TRIES = 10

_inits: dict[tuple[int, str], int] = {}
"""How often this process has called ``init()`` for a path; by process, for a forked child counts anew."""


def count_init(path: str) -> int:
    """Count one more ``init()`` of a path in this process; how many that makes."""
    key = (os.getpid(), path)
    _inits[key] = nth = _inits.get(key, 0) + 1
    return nth


def run_id_of(storage: str, path: str, job: str, nth: int) -> str:
    """The id of the run that the ranks of a job share: that of the n-th ``init()`` of this path in each rank.

    Raises:
        OSError: the storage cannot be written.
    """
    meeting_point = _meeting_point(storage, path, job, nth)
    folder = os.path.dirname(meeting_point)
    os.makedirs(folder, exist_ok=True)
    for _ in range(_TRIES):
        found = read(meeting_point)
        if found:
            return found
        if found == "":  # its maker died before it could write, on a file system without links
            _withdraw_empty(meeting_point)
        _forget_old(folder)
        publish(meeting_point, paths.new_run_id())
    raise FileNotFoundError(
        f"{meeting_point} is removed again and again while the ranks of a job meet there. Nothing was made. Look who "
        "else writes there, or set RUNICORN_RANK_MODE=separate."
    )


def known_run_id(storage: str, path: str, job: str, nth: int) -> str | None:
    """The same, where a rank has been there already; None where none has."""
    return read(_meeting_point(storage, path, job, nth)) or None


def _meeting_point(storage: str, path: str, job: str, nth: int) -> str:
    import hashlib  # 2 ms, which a run of one process need not pay

    digest = hashlib.sha256(f"{job}\n{path}\n{nth}".encode()).hexdigest()[:32]
    return os.path.join(storage, FOLDER, digest)


def publish(path: str, text: str) -> bool:
    """Make a file with its content at once; False where it exists already, which it then keeps."""
    temporary = f"{path}.{os.getpid():x}.{os.urandom(4).hex()}"
    with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: then not at once, but still exclusively
        return _write_exclusively(path, text)
    finally:
        os.unlink(temporary)
    return True


def _withdraw_empty(path: str) -> None:
    """Remove an empty file; what another process has published there since we looked is put back."""
    aside = f"{path}.{os.getpid():x}.{os.urandom(4).hex()}"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    with open(aside, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    os.unlink(aside)
    if text:
        publish(path, text)


def _write_exclusively(path: str, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def read(path: str) -> str | None:
    """What was published; None where nothing was. Waits while a file is still empty, and gives that up in a second."""
    deadline = time.monotonic() + _BEING_WRITTEN_S
    while True:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        if text or time.monotonic() > deadline:
            return text
        time.sleep(_POLL_S)


def _forget_old(folder: str) -> None:
    limit = time.time() - _KEPT_S
    for entry in os.scandir(folder):
        try:
            if entry.stat().st_mtime < limit:
                os.unlink(entry.path)
        except OSError:  # another job's first comer was faster
            continue
