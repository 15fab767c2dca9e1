"""How much memory the cgroups of this process have left.

What lies in a file system in memory counts as theirs, whoever asks for its free space: a container that may have
2 GiB sees a shared memory of half of its host's memory, and filling that gets its processes killed.
"""

from __future__ import annotations

import os
import sys
import time

import msgspec

FRESH_S = 1.0
_LEVELS_FRESH_S = 60.0
_NO_LIMIT_BYTES = 1 << 60
_BLOCK_BYTES = 1 << 16
_MOST_BYTES = 32 << 20
"""The longest file is the table of mounts. The kernel allows 100,000 mounts, of about 200 bytes each."""
_IN_MEMORY = ("tmpfs", "ramfs")


class _Mount(msgspec.Struct, frozen=True):
    device: str
    root: str
    point: str
    kind: str
    options: str


class _Names(msgspec.Struct, frozen=True):
    """What one version of cgroups calls its files."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: str


_V1 = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names(("memory.max", "memory.high"), "memory.current", "inactive_file")


class MemoryLimit:
    """The limits of every level from this process's cgroup up to the root that it can see.

    Args:
        root: in whose ``proc`` and below which everything is searched.
        process: whose cgroups; ``self`` = those of this process.
    """

    def __init__(self, root: str = "/", process: str = "self") -> None:
        self._root = root
        self._process = process
        self._levels: list[tuple[str, _Names]] = []
        self._found_at = self._read_at = float("-inf")
        self._left_bytes: int | None = None

    def left_bytes(self) -> int | None:
        """How much may still be used, page cache that can be given back not counted; None where nothing limits it.

        Read anew at most once a second, and only of levels that had a limit within the last minute.
        """
        now = time.monotonic()
        if now - self._read_at >= FRESH_S:
            self._read_at = now
            if now - self._found_at >= _LEVELS_FRESH_S:
                self._found_at = now
                self._levels = [level for level in self._all_levels() if _left_of(*level) is not None]
            left = [each for each in (_left_of(*level) for level in self._levels) if each is not None]
            self._left_bytes = min(left, default=None)
        return self._left_bytes

    def counts(self, directory: str) -> bool:
        """Whether what lies in a directory is memory."""
        try:
            device = os.stat(directory).st_dev
        except OSError:
            return False
        named = f"{os.major(device)}:{os.minor(device)}"
        return any(mount.device == named and mount.kind in _IN_MEMORY for mount in self._mounts())

    def _all_levels(self) -> list[tuple[str, _Names]]:
        return [(directory, _V2 if is_v2 else _V1) for directory, is_v2 in self.levels("memory")]

    def levels(self, controller: str) -> list[tuple[str, bool]]:
        """The directories of a controller, from the process's cgroup up to the root; whether each is of cgroup v2."""
        mounts = self._mounts()
        found: list[tuple[str, bool]] = []
        for line in self._read(f"proc/{self._process}/cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            is_v2 = controller not in controllers.split(",")
            if controllers and is_v2:
                continue
            for mount in mounts:
                if _holds(mount, controller, is_v2=is_v2):
                    found += [(directory, is_v2) for directory in self._directories(mount, path)]
                    break
        return found

    def _directories(self, mount: _Mount, path: str) -> list[str]:
        """From a cgroup's directory up to the mount point; in a container the path may be out of sight."""
        inside = os.path.relpath(path, mount.root) if path.startswith(mount.root) else "."
        parts = [] if inside == "." or inside.startswith("..") else inside.split("/")
        top = os.path.join(self._root, mount.point.lstrip("/"))
        return [os.path.join(top, *parts[:depth]) for depth in range(len(parts), -1, -1)]

    def _mounts(self) -> list[_Mount]:
        mounts = []
        for line in self._read("proc/self/mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            first, last = before.split(" "), after.split(" ")
            if len(first) > 4 and len(last) > 2:
                mounts.append(_Mount(first[2], _plain(first[3]), _plain(first[4]), last[0], last[2]))
        return mounts

    def _read(self, name: str) -> str:
        return _read(os.path.join(self._root, name))


def share_of_left(directory: str, used_bytes: int) -> int | None:
    """How much a spool in a directory may take in all: a quarter of what would be left without it; None = any amount.

    Args:
        directory: where it lies.
        used_bytes: what it takes already.
    """
    if sys.platform != "linux":
        return None
    left = _of_this_process.left_bytes()
    if left is None or not _is_memory(directory):
        return None
    return max(0, left + used_bytes) // 4


_of_this_process = MemoryLimit()
_known: dict[str, bool] = {}


def _is_memory(directory: str) -> bool:
    if directory not in _known:
        _known[directory] = _of_this_process.counts(directory)
    return _known[directory]


def _holds(mount: _Mount, controller: str, *, is_v2: bool) -> bool:
    if is_v2:
        return mount.kind == "cgroup2"
    return mount.kind == "cgroup" and controller in mount.options.split(",")


def _left_of(directory: str, names: _Names) -> int | None:
    limits = [_number(_read(os.path.join(directory, name))) for name in names.limits]
    limit = min((each for each in limits if each is not None and each < _NO_LIMIT_BYTES), default=None)
    usage = _number(_read(os.path.join(directory, names.usage)))
    if limit is None or usage is None:
        return None
    for line in _read(os.path.join(directory, "memory.stat")).splitlines():
        name, _, value = line.partition(" ")
        if name == names.reclaimable:
            return limit - usage + min(usage, _number(value) or 0)
    return limit - usage


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None


def _plain(field: str) -> str:
    """A path of ``mountinfo``, where space, tab, newline and backslash are written as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def _read(path: str) -> str:
    return read_kernel_file(path).decode("utf-8", "surrogateescape")


def read_kernel_file(path: str) -> bytes:
    """The content of a file of the kernel; empty if it cannot be read, or is too long.

    It uses ``os``, because ``open()`` may not exist any more when the interpreter ends.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return b""
    blocks, left = list[bytes](), _MOST_BYTES
    try:
        while block := os.read(fd, _BLOCK_BYTES):
            blocks.append(block)
            left -= len(block)
            if left < 0:
                return b""
    except OSError:  # a process has ended meanwhile
        return b""
    finally:
        os.close(fd)
    return b"".join(blocks)
