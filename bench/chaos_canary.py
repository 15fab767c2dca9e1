"""Files of somebody else beside everything that a trial of ``chaos.py`` writes, which nobody may touch."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pathlib

OLD_S = 1_500_000_000
UID = os.getuid() if hasattr(os, "getuid") else 0
_TEXT = b"not a tracker's\n"
_AS_OURS = f"runicorn-{UID}-0123456789abcdef"


class Seen(NamedTuple):
    """What is compared of a file, a directory or a link."""

    mode: int
    mtime_ns: int
    content: bytes


class Canaries:
    """Trees with names that look like ours, and links into one that does not.

    Args:
        directory: of the trial; ``storage``, ``cache`` and ``temp`` are in it.
        memory: shared memory of the trial.
    """

    def __init__(self, directory: pathlib.Path, memory: pathlib.Path) -> None:
        self._roots: list[pathlib.Path] = []
        self._elsewhere = self._tree(directory / "elsewhere", ["paper.tex", "owner.lock", "a-00000000.seg"], 0o700)
        for base in (memory, directory / "temp"):
            self._look_alikes(base)
        self._tree(directory / "storage-of-mine" / "runs" / "default", ["meta.json", "events.jsonl"])
        self._roots.append(directory / "storage-of-mine")
        for base in (directory / "cache", directory / "storage", directory / "storage" / "archive"):
            self._tree(base / "papers", ["paper.tex", "0123456789abcdef0123456789abcdef.npy"])
            self._file(base / "paper.txt")
            self._link(base / "link")
        self._before = self._seen()

    def _look_alikes(self, base: pathlib.Path) -> None:
        self._tree(base / f"runicorn-{UID}-paper", ["paper.tex", "notes.txt"])
        self._tree(base / _AS_OURS, ["paper.tex", "blob-of-mine"], 0o700)
        self._tree(base / f"{_AS_OURS}-overflow", ["paper.tex"], 0o700)
        self._tree(base / f"runicorn.{UID}", ["paper.tex"], 0o700)
        self._link(base / f"runicorn-{UID}-fedcba9876543210")
        self._link(base / f"runicorn-{UID}-fedcba9876543210-overflow")
        self._link(base / f"runicorn.{UID}.fedcba9876543210.opening")
        self._file(base / f"runicorn-{UID}-00000000deadbeef")
        self._file(base / f"runicorn.{UID}.paper.opening")

    def differences(self) -> list[str]:
        """Paths that have come, gone or changed, each with how."""
        after = self._seen()
        found = []
        for path in sorted(self._before.keys() | after.keys()):
            before, now = self._before.get(path), after.get(path)
            if before != now:
                found.append(f"{path}: {_how(before, now)}")
        return found

    def holds(self, path: pathlib.Path) -> bool:
        """Whether a path is one of these trees."""
        return path in self._roots

    def _tree(self, path: pathlib.Path, names: list[str], mode: int = 0o755) -> pathlib.Path:
        path.mkdir(parents=True)
        for name in names:
            (path / name).write_bytes(_TEXT)
            os.utime(path / name, (OLD_S, OLD_S))
        path.chmod(mode)
        os.utime(path, (OLD_S, OLD_S))
        self._roots.append(path)
        return path

    def _file(self, path: pathlib.Path) -> None:
        path.write_bytes(_TEXT)
        path.chmod(0o600)
        os.utime(path, (OLD_S, OLD_S))
        self._roots.append(path)

    def _link(self, path: pathlib.Path) -> None:
        path.symlink_to(self._elsewhere)
        os.utime(path, (OLD_S, OLD_S), follow_symlinks=False)
        self._roots.append(path)

    def _seen(self) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for root in self._roots:
            _look(str(root), found)
        return found


def _look(path: str, found: dict[str, Seen]) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    content = b""
    if stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    else:
        for name in os.listdir(path):
            _look(os.path.join(path, name), found)
    found[path] = Seen(status.st_mode, status.st_mtime_ns, content)


def _how(before: Seen | None, now: Seen | None) -> str:
    if before is None:
        return "has come"
    if now is None:
        return "has gone"
    changed = [name for name in Seen._fields if getattr(before, name) != getattr(now, name)]
    return f"{', '.join(changed)} changed"
