"""Looking for a program's outputs: which files there are, and which of them are ready to be archived.

A file is ready when its size and time of modification were the same in several scans, the last change is a while
ago, and it is not what was archived before. Logs grow for ever, so they need not be stable: they are copied at an
interval. The rules and their defaults are those of Runicorn 0.7.2; the last scan, when the run ends, takes what is
there.
"""

from __future__ import annotations

import os
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.capture import datasets
from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.queue.asset_records import Candidate, Scanning
from runicorn.storage.escaping import escape
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERNS = (
    *("*.pth", "*.pt", "*.ckpt", "*.safetensors", "*.h5", "*.hdf5", "*.keras", "*.msgpack", "*.gguf", "*.onnx"),
    *("*.tflite", "*.joblib", "*.pkl", "*.pickle", "*.npy", "*.npz", "*.parquet"),
    *("*model*.bin", "*optimizer*.bin"),  # any other *.bin is as likely the data that is trained on
    *("*.log", "*.json", "*.jsonl", "*.yaml", "*.yml", "*.txt", "*.csv", "*.png", "*.jpg", "*.jpeg", "*.svg"),
)
MODES = ("rolling", "overwrite_versions")
MOST_FILES = 100_000
"""More than these in one scan are left alone: somebody is watching a dataset, or the root directory."""

_MOST_ENDINGS = 5
_LOG_SUFFIXES = (".log", ".txt", ".jsonl", ".csv")


class Seen(msgspec.Struct):
    """What the scans so far have found of one output.

    Attributes:
        size_bytes, mtime: at the last scan.
        looks: how many scans in a row have found it so; the name in the state file.
        seen_at: when the last scan was, epoch seconds.
        archived_size_bytes, archived_mtime: as it was archived; None before.
        archived_at: when, epoch seconds.
    """

    size_bytes: int
    mtime: float
    looks: int
    seen_at: float
    archived_size_bytes: int | None = None
    archived_mtime: float | None = None
    archived_at: float = 0.0

    @property
    def is_archived(self) -> bool:
        """Whether it was archived as it was at the last scan."""
        return (self.size_bytes, self.mtime) == (self.archived_size_bytes, self.archived_mtime)


class ScanResult(msgspec.Struct):
    """What one scan has found.

    Attributes:
        scanned: outputs that there are.
        changed: of these, other ones than at the last scan.
        candidates: of these, what is ready to be archived.
        overflowed: whether there were more files than are scanned.
        unmatched: files that no pattern names, by the ending of their name; without hidden ones.
    """

    scanned: int
    changed: int
    candidates: list[Candidate]
    overflowed: bool
    unmatched: Counter[str]


def check(output_dirs: Any, patterns: Any, mode: Any, workspace_root: str, **numbers: Any) -> Scanning:
    """The arguments of ``scan_outputs_once()`` and ``watch_outputs()`` as the writer needs them.

    Raises:
        TypeError, ValueError: one of them is wrong.
    """
    if isinstance(output_dirs, (str, os.PathLike)):
        output_dirs = [output_dirs]
    if isinstance(patterns, str):
        patterns = [patterns]
    if mode not in MODES:
        raise WrongValueError(
            f'outputs: mode={mode!r} is not known. Write "rolling" (the newest of each file is kept) or '
            '"overwrite_versions" (every version is).'
        )
    for name, value in numbers.items():
        if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not 0 <= float(value) < float("inf"):
            raise WrongValueError(
                f"outputs: {name}={value!r} is not a number. Nothing was recorded. Write a number of 0 or more."
            )
    try:
        directories = [os.fsencode(os.path.abspath(os.path.expanduser(os.fspath(each)))) for each in output_dirs]
        named = [escape(str(each)) for each in (PATTERNS if patterns is None else patterns)]
    except TypeError as error:
        raise WrongTypeError(f"outputs: output_dirs and patterns are lists of strings or paths ({error}).") from error
    return Scanning(
        directories,
        named,
        os.fsencode(workspace_root),
        mode,
        max(1, int(numbers["stable_required"])),
        float(numbers["min_age_sec"]),
        float(numbers["log_snapshot_interval_sec"]),
        float(numbers["state_gc_after_sec"]),
    )


def scan(
    scanning: Scanning, seen: dict[str, Seen], now: float, *, leave_out: str = "", last: bool = False
) -> ScanResult:
    """Look once; notes in ``seen`` what was found.

    Args:
        scanning: where, and what for.
        seen: from output key to what was seen of it so far; changed.
        now: epoch seconds.
        leave_out: a directory that is not searched, wherever it is: the storage.
        last: the run ends: what is there is ready.
    """
    found = ScanResult(0, 0, [], overflowed=False, unmatched=Counter())
    for key, path, size_bytes, mtime, is_directory in _outputs(scanning, leave_out, found.unmatched):
        if found.scanned >= MOST_FILES:
            found.overflowed = True
            break
        found.scanned += 1
        before = seen.get(key)
        if before is None or (before.size_bytes, before.mtime) != (size_bytes, mtime):
            found.changed += 1
        each = seen[key] = _seen_again(before, size_bytes, mtime, now)
        is_log = not is_directory and _is_log(path)
        if not each.is_archived and (last or _is_ready(each, scanning, now, is_log=is_log)):
            candidate = Candidate(key, os.fsencode(path), is_directory, is_log, size_bytes, mtime)
            found.candidates.append(candidate)
    for key in [key for key, each in seen.items() if now - each.seen_at > scanning.forget_after_s]:
        del seen[key]
    return found


def remark(found: ScanResult, scanning: Scanning) -> str:
    """What to tell of files that the default patterns do not name; empty if there are none, or others were given."""
    count = found.unmatched.total()
    if not count or tuple(scanning.patterns) != PATTERNS:
        return ""
    endings = [escape(ending or "no ending") for ending, many in found.unmatched.most_common(_MOST_ENDINGS) if many]
    return (
        f"outputs: {counted(count, 'file')} not archived: no default pattern matches ({', '.join(endings)}). If they "
        "are outputs, name them with patterns=[...]"
    )


def archived(candidate: Candidate, seen: dict[str, Seen], now: float) -> None:
    """Note that an output was archived as it was found."""
    each = seen.get(candidate.key)
    if each is not None:
        each.archived_size_bytes, each.archived_mtime, each.archived_at = candidate.size_bytes, candidate.mtime, now


def _seen_again(before: Seen | None, size_bytes: int, mtime: float, now: float) -> Seen:
    if before is None:
        return Seen(size_bytes, mtime, 1, now)
    same = (before.size_bytes, before.mtime) == (size_bytes, mtime)
    return msgspec.structs.replace(
        before, size_bytes=size_bytes, mtime=mtime, looks=before.looks + 1 if same else 1, seen_at=now
    )


def _is_ready(each: Seen, scanning: Scanning, now: float, *, is_log: bool) -> bool:
    if is_log:
        return now - each.archived_at >= scanning.log_interval_s
    return each.looks >= scanning.stable_required and now - each.mtime >= scanning.min_age_s


def _is_log(path: str) -> bool:
    name = os.path.basename(path)
    return name.lower().endswith(_LOG_SUFFIXES) or "tfevents" in name


def _outputs(
    scanning: Scanning, leave_out: str, unmatched: Counter[str]
) -> Iterator[tuple[str, str, int, float, bool]]:
    """Key, path, size, time of modification and kind of everything that a pattern names; each once, in order."""
    for_files = [each for each in scanning.patterns if not each.endswith("/")]
    for_directories = [each.rstrip("/") for each in scanning.patterns if each.endswith("/")]
    # By what they are, not by what they are called: a link may lead to the storage.
    done = {_identity(leave_out)} if leave_out else set()
    stack = [(os.fsdecode(each), os.fsdecode(each)) for each in reversed(scanning.directories)]
    while stack:
        directory, root = stack.pop()
        try:
            identity = _identity(directory)
            if identity in done:
                continue
            done.add(identity)
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:  # not there yet, or not ours to read
            continue
        deeper = []
        for entry in entries:
            try:
                relative = os.path.relpath(entry.path, root).replace(os.sep, "/")
                if entry.is_dir(follow_symlinks=False):
                    if not _matches(entry.name, relative, for_directories):
                        deeper.append((entry.path, root))
                    elif _identity(entry.path) not in done:
                        yield (_key(entry.path, scanning), entry.path, *_measure(entry.path), True)
                elif entry.is_file():
                    if not _matches(entry.name, relative, for_files):
                        unmatched[os.path.splitext(entry.name)[1]] += not entry.name.startswith(".")
                        continue
                    status = entry.stat()
                    yield _key(entry.path, scanning), entry.path, status.st_size, status.st_mtime, False
            except OSError:  # gone since the directory was listed
                continue
        stack += reversed(deeper)


def _identity(directory: str) -> tuple[int, int]:
    try:
        status = os.stat(directory)
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _matches(name: str, relative: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(relative if "/" in each else name, each) for each in patterns)


def _key(path: str, scanning: Scanning) -> str:
    root = os.fsdecode(scanning.workspace_root)
    inside = os.path.relpath(path, root) if path.startswith(os.path.join(root, "")) else path
    return escape(inside.replace(os.sep, "/"))


def _measure(directory: str) -> tuple[int, float]:
    """Size of all files in a directory, and the newest time of modification."""
    statuses = [os.stat(path) for path in datasets.walk(directory)]
    return sum(each.st_size for each in statuses), max((each.st_mtime for each in statuses), default=0.0)
