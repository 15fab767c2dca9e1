"""What takes longer than a batch may, done by a thread of the writer beside the batches.

A chore comes out of the queue as a record, and is carried in the state until its outcome is in the run's files: so a
writer that takes over does it again. Doing one twice gives the same files.

The thread touches the archive and what it reads, and nothing else; the run's own files are the loop's.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from runicorn.capture import datasets, outputs
from runicorn.capture.archive import Archive, SourceError
from runicorn.queue.asset_records import Candidate, Chore, Code, Environment, InputAsset, LastScan, Outputs, Scanning
from runicorn.storage import run_files
from runicorn.storage.escaping import escape
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")
_OF_THE_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
_RETRY_S = 0.2
_TRIES = 5


class Outcome(msgspec.Struct):
    """What a chore comes to.

    Attributes:
        entries: of the lists in ``assets.json``, by section.
        code: the entry of the code snapshot.
        files: JSON files of the run directory, by name.
        links: files of the run directory that are in the archive, by name.
        has_scanned: whether the chore was a scan for outputs.
        archived: the outputs that are in the archive now.
        notes: what is missing, and why; for ``status.json``.
        remark: what may be missing; the same.
    """

    entries: list[tuple[str, dict[str, Any]]] = []
    code: dict[str, Any] | None = None
    files: dict[str, dict[str, Any]] = {}
    links: dict[str, str] = {}
    has_scanned: bool = False
    archived: list[Candidate] = []
    notes: list[str] = []
    remark: str = ""


class _GaveUpError(Exception):
    """The archive cannot be written, and nobody waits for it any more."""


class Chores:
    """The thread, and what it has to do; begun when there is something.

    Args:
        run_id: the run's id.
        storage: the storage root.
        read_blob: gives the bytes of a blob, or None where they are gone.
        seen: what was seen of the outputs that are watched. A scan changes it, by itself in the thread; what was
            archived is noted by the loop, when ``assets.json`` says so, and no scan is under way then.
        patience: asked at each failed try to write the archive; False = give up.

    Attributes:
        trouble: why the archive cannot be written, where that is so.
        done_bytes: what was read so far: while it grows, something is being done.
    """

    def __init__(
        self,
        run_id: str,
        storage: str,
        read_blob: Callable[[Any], bytes | None],
        seen: dict[str, outputs.Seen],
        patience: Callable[[], bool],
    ) -> None:
        self._run_id = run_id
        self._storage = storage
        self._read_blob = read_blob
        self._seen = seen
        self._patience = patience
        self._archive = Archive(storage, self._tell, run_id)
        self._to_do: queue.SimpleQueue[tuple[int, Chore | Scanning]] = queue.SimpleQueue()
        self._done: deque[tuple[int, Outcome]] = deque()
        self._begun: set[int] = set()
        self._thread: threading.Thread | None = None
        self._what, self._bytes = "", 0
        self.trouble = ""
        self.done_bytes = 0

    @property
    def doing(self) -> str:
        """What is being done, for who waits for it; empty where nothing is."""
        if len(self._begun) == len(self._done):
            return ""
        waiting = self._to_do.qsize()
        more = f", {waiting} more to do" if waiting else ""
        return f"{self._what} ({self._bytes / 1e6:,.0f} MB){more}" if self._what else ""

    @property
    def idle(self) -> bool:
        """Whether everything that was begun has been taken as an outcome."""
        return not self._begun

    def is_begun(self, number: int) -> bool:
        """Whether that one is being done, or waits for it."""
        return number in self._begun

    def begin(self, number: int, chore: Chore | Scanning) -> None:
        """Have something done, once a number."""
        if number in self._begun:
            return
        self._begun.add(number)
        self._to_do.put((number, chore))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="runicorn-chores", daemon=True)
            self._thread.start()

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """What was done since the last call."""
        found = []
        while self._done:
            found.append(self._done.popleft())
            self._begun.discard(found[-1][0])
        return found

    def _work(self) -> None:
        while True:
            number, chore = self._to_do.get()
            self._bytes = 0
            try:
                outcome = self._do(chore)
            except SourceError as error:
                outcome = Outcome(notes=[str(error)])
            except Exception as error:  # noqa: BLE001 - the run's records must not suffer for it
                outcome = Outcome(notes=[f"{type(chore).__name__.lower()}: {type(error).__name__}: {error}"])
            self._what = self.trouble = ""
            self._done.append((number, outcome))

    def _retry(self, action: Callable[[], _Result]) -> _Result:
        """Write to the archive, again and again while that fails: for a full disk is made room."""
        while True:
            try:
                result = action()
            except OSError as error:
                why = f"the archive cannot be written: {error.strerror or error} ({self._archive.root})"
                if error.errno in _OF_THE_NAME:
                    raise SourceError(f"{error.filename}: {error.strerror}") from error
                self._what = self.trouble = why
                if not self._patience():
                    raise _GaveUpError(why) from error
                time.sleep(_RETRY_S)
            else:
                self.trouble = ""
                return result

    def _do(self, chore: Chore | Scanning) -> Outcome:
        if isinstance(chore, Environment):
            return self._environment(chore)
        if isinstance(chore, Code):
            return self._code(chore)
        if isinstance(chore, InputAsset):
            return self._input_asset(chore)
        if isinstance(chore, Scanning):
            return self._scan(chore, last=False)
        if isinstance(chore, LastScan):
            return self._scan(chore.scanning, last=True)
        return self._outputs(chore)

    def _environment(self, chore: Environment) -> Outcome:
        from runicorn.writer import environment_survey

        self._what = "recording the environment"
        found = environment_survey.environment(chore.facts, os.fsdecode(chore.workspace_root))
        return Outcome(files={run_files.ENVIRONMENT: found})

    def _code(self, chore: Code) -> Outcome:
        from runicorn.capture import code_snapshot

        self._what = "archiving the code"
        listed = self._read_blob(chore.blob)
        if listed is None:
            return Outcome(notes=["the code was not archived: its list of files is missing from the spool"])
        files = msgspec.msgpack.decode(listed, type=list[tuple[str, int]])
        missing: list[str] = []
        root = os.fsdecode(chore.workspace_root)

        def make(out: Any) -> None:
            missing[:] = code_snapshot.write_zip(root, files, out, progress=self._tell).missing

        stored = self._retry(lambda: self._archive.store_made(make))
        own = self._retry(lambda: self._archive.own_file(self._run_id, "code", run_files.CODE, stored))
        entry = {
            "saved": True,
            "workspace_root": escape(root),
            "format": "zip",
            "created_at": int(chore.time),
            "archive_path": own,
            "fingerprint_kind": "sha256",
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
            "file_count": len(files) - len(missing),
            "left_out": chore.left_out,
            "left_out_count": chore.left_out_count,
        }
        gone = counted(len(missing), "file")
        notes = [f"{gone} of the code disappeared before the archive was made: {', '.join(missing[:5])}"]
        return Outcome(code=entry, links={run_files.CODE: stored.path}, notes=notes if missing else [])

    def _input_asset(self, chore: InputAsset) -> Outcome:
        entry, source = chore.entry, os.fsdecode(chore.source)
        self._what = f"{'archiving' if chore.save else 'recording'} {entry['name']}"
        try:
            files = datasets.walk(source)
            found = self._saved(chore.section, entry["name"], source, files) if chore.save else _measured(source, files)
        except (SourceError, OSError, _GaveUpError) as error:
            found = {"saved": False, "error": escape(str(error))}
            notes = [f"{entry['name']} was not {'archived' if chore.save else 'recorded'}: {error}"]
            return Outcome(entries=[(chore.section, {**entry, **found})], notes=notes)
        return Outcome(entries=[(chore.section, {**entry, **found})])

    def _saved(self, section: str, name: str, source: str, files: list[str]) -> dict[str, Any]:
        archive, key, leaf = self._archive, f"{section}/{name}", os.path.basename(source)
        if os.path.isdir(source):
            tree = self._retry(lambda: archive.store_tree(section, source, files))
            return {
                "saved": True,
                "sha256": tree.fingerprint,
                "fingerprint_kind": "sha256_manifest",
                "archive_path": self._retry(lambda: archive.own_tree(self._run_id, key, leaf, tree)),
                "manifest_path": tree.path,
                "file_count": tree.files,
                "total_size_bytes": tree.size_bytes,
            }
        stored = self._retry(lambda: archive.store_file(source))
        return {
            "saved": True,
            "sha256": stored.sha256,
            "fingerprint_kind": "sha256",
            "archive_path": self._retry(lambda: archive.own_file(self._run_id, key, leaf, stored)),
            "size_bytes": stored.size_bytes,
        }

    def _scan(self, scanning: Scanning, *, last: bool) -> Outcome:
        self._what = "scanning for outputs"
        found = outputs.scan(scanning, self._seen, time.time(), leave_out=self._storage, last=last)
        # A watch scans again; its last scan is the last.
        outcome = self._archive_outputs(scanning.mode, found.candidates, comes_again=not last)
        outcome.has_scanned = True
        if last:
            outcome.remark = outputs.remark(found, scanning)
        if found.overflowed:
            outcome.notes.append(f"more than {outputs.MOST_FILES:,} outputs: the rest is ignored")
        return outcome

    def _outputs(self, chore: Outputs) -> Outcome:
        listed = self._read_blob(chore.blob)
        if listed is None:
            return Outcome(notes=["outputs were not archived: their list is missing from the spool"])
        candidates = msgspec.msgpack.decode(listed, type=list[Candidate])
        return self._archive_outputs(chore.mode, candidates, comes_again=False)

    def _archive_outputs(self, mode: str, candidates: list[Candidate], *, comes_again: bool) -> Outcome:
        outcome = Outcome()
        for candidate in candidates:
            self._what = f"archiving {candidate.key}"
            try:
                entry = self._hold_still(mode, candidate, tries=1 if comes_again else _TRIES)
            except (SourceError, _GaveUpError) as error:
                if not comes_again:
                    outcome.notes.append(f"an output was not archived: {error}")
                continue
            outcome.archived.append(candidate)
            outcome.entries.append(("outputs", entry))
        return outcome

    def _hold_still(self, mode: str, candidate: Candidate, *, tries: int) -> dict[str, Any]:
        while True:
            try:
                return self._retry(lambda: self._archive_output(mode, candidate))
            except SourceError:
                tries -= 1
                if not tries:
                    raise
                time.sleep(_RETRY_S)

    def _archive_output(self, mode: str, candidate: Candidate) -> dict[str, Any]:
        key, path = candidate.key, os.fsdecode(candidate.path)
        rolling = mode == "rolling" or candidate.is_log
        entry: dict[str, Any] = {
            "key": key,
            "name": escape(os.path.basename(path)),
            "kind": "dir" if candidate.is_directory else "file",
            "path": escape(path),
            "saved": True,
            "mode": "rolling" if rolling else mode,
            "archived_at": int(time.time()),
        }
        archive, run_id, leaf = self._archive, self._run_id, os.path.basename(path)
        if candidate.is_directory:
            try:
                files = datasets.walk(path)
            except OSError as error:
                raise SourceError(f"{path}: {error.strerror}") from error
            if rolling:
                tree = archive.roll_tree(run_id, key, path, files)
                own = tree.path
            else:
                tree = archive.store_tree("outputs", path, files)
                own = archive.own_tree(run_id, key, leaf, tree)
            found = {"archive_path": own, "sha256": tree.fingerprint, "fingerprint_kind": "sha256_manifest"}
            return {**entry, **found, "file_count": tree.files, "total_size_bytes": tree.size_bytes}
        if rolling:
            stored = archive.roll_file(run_id, key, path, growing=candidate.is_log)
            own = stored.path
        else:
            stored = archive.store_file(path)
            own = archive.own_file(run_id, key, leaf, stored)
        found = {"archive_path": own, "sha256": stored.sha256, "fingerprint_kind": "sha256"}
        return {**entry, **found, "size_bytes": stored.size_bytes}

    def _tell(self, read_bytes: int) -> None:
        self._bytes += read_bytes
        self.done_bytes += read_bytes


def _measured(source: str, files: list[str]) -> dict[str, Any]:
    """Size and times of a file or directory whose content is not read."""
    statuses = [os.stat(path) for path in files]
    newest = max((status.st_mtime for status in statuses), default=os.stat(source).st_mtime)
    total_bytes = sum(status.st_size for status in statuses)
    if os.path.isdir(source):
        fingerprint = {"mtime": newest, "file_count": len(files), "total_size_bytes": total_bytes}
    else:
        fingerprint = {"size_bytes": total_bytes, "mtime": newest}
    return {"saved": False, "fingerprint": fingerprint}
