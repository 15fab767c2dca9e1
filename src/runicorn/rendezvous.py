"""How the ranks of a job find their run: a file under the storage root, made by whoever comes first.

No waiting and no network call: the file is published whole, by a link that fails where it exists already, and says
which run it is. Who makes the run's directory is then decided by ``mkdir``, so a first comer that dies holds nobody up.
"""

from __future__ import annotations

import hashlib
import os
import time

from runicorn import paths

FOLDER = ".rendezvous"
_KEPT_S = 30 * 24 * 3600.0

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
    digest = hashlib.sha256(f"{job}\n{path}\n{nth}".encode()).hexdigest()[:32]
    folder = os.path.join(storage, FOLDER)
    os.makedirs(folder, exist_ok=True)
    meeting_point = os.path.join(folder, digest)
    found = _read(meeting_point)
    if found is None:
        _forget_old(folder)
        publish(meeting_point, paths.new_run_id())
        found = _read(meeting_point)
    if found is None:
        raise FileNotFoundError(f"{meeting_point} was removed while the ranks of a job were meeting there")
    return found


def publish(path: str, text: str) -> bool:
    """Make a file with its content at once; False where it exists already, which it then keeps."""
    temporary = f"{path}.{os.getpid():x}.{os.urandom(4).hex()}"
    with open(temporary, "x", encoding="utf-8") as file:
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


def _write_exclusively(path: str, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() or None
    except FileNotFoundError:
        return None


def _forget_old(folder: str) -> None:
    limit = time.time() - _KEPT_S
    for entry in os.scandir(folder):
        try:
            if entry.stat().st_mtime < limit:
                os.unlink(entry.path)
        except OSError:  # another job's first comer was faster
            continue
