"""What takes longer than a batch may, done by a thread of the writer beside the batches.

A chore comes out of the queue as a record, and is carried in the tally until its outcome is in the run's files: so a
writer that takes over does it again. Doing one twice gives the same files.

The thread touches the archive and what it reads, and nothing else; the run's own files are the loop's.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn import materials, outputs, rundir
from runicorn.writer.archive import Archive, SourceError
from runicorn.writer.records import Candidate, Chore, Code, Environment, LastLook, Material, Outputs, Scanning

if TYPE_CHECKING:
    from collections.abc import Callable

_RETRY_S = 0.2
_TRIES = 5


class Outcome(msgspec.Struct):
    """What a chore comes to.

    Attributes:
        entries: of the lists in ``assets.json``, by section.
        code: the entry of the code snapshot.
        files: JSON files of the run directory, by name.
        links: files of the run directory that are in the archive, by name.
        seen: what was seen of the outputs that are watched.
        notes: what is missing, and why; for ``status.json``.
    """

    entries: list[tuple[str, dict[str, Any]]] = []
    code: dict[str, Any] | None = None
    files: dict[str, dict[str, Any]] = {}
    links: dict[str, str] = {}
    seen: dict[str, Any] | None = None
    notes: list[str] = []


class Chores:
    """The thread, and what it has to do; begun when there is something.

    Args:
        run_id: the run's id.
        storage: the storage root.
        read_blob: gives the bytes of a blob, or None where they are gone.
        seen: what was seen of the outputs that are watched; the thread's, once it runs.
        patience: asked at each failed try to write the archive, with the seconds since the first; False = give up.

    Attributes:
        trouble: why the archive cannot be written, where that is so.
    """

    def __init__(
        self,
        run_id: str,
        storage: str,
        read_blob: Callable[[Any], bytes | None],
        seen: dict[str, outputs.Seen],
        patience: Callable[[float], bool],
    ) -> None:
        self._run_id = run_id
        self._storage = storage
        self._read_blob = read_blob
        self._seen = seen
        self._patience = patience
        self._archive = Archive(storage, self._tell)
        self._to_do: queue.SimpleQueue[tuple[int, Chore | Scanning]] = queue.SimpleQueue()
        self._done: deque[tuple[int, Outcome]] = deque()
        self._begun: set[int] = set()
        self._thread: threading.Thread | None = None
        self._what, self._bytes = "", 0
        self.trouble = ""

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
            outcome = self._insist(chore)
            self._what = self.trouble = ""
            self._done.append((number, outcome))

    def _insist(self, chore: Chore | Scanning) -> Outcome:
        """Do it, again and again while it is the archive that fails: for a full disk is made room."""
        since = time.monotonic()
        while True:
            self._bytes = 0
            try:
                return self._do(chore)
            except SourceError as error:
                return Outcome(notes=[str(error)])
            except OSError as error:
                self.trouble = f"the archive cannot be written: {error}"
                if not self._patience(time.monotonic() - since):
                    return Outcome(notes=[f"{type(chore).__name__}: {self.trouble}"])
                self._what = self.trouble
                time.sleep(_RETRY_S)
            except Exception as error:  # noqa: BLE001 - the run's records must not suffer for it
                return Outcome(notes=[f"{type(chore).__name__}: {type(error).__name__}: {error}"])

    def _do(self, chore: Chore | Scanning) -> Outcome:
        if isinstance(chore, Environment):
            return self._environment(chore)
        if isinstance(chore, Code):
            return self._code(chore)
        if isinstance(chore, Material):
            return self._material(chore)
        if isinstance(chore, Scanning):
            return self._look(chore, last=False)
        if isinstance(chore, LastLook):
            return self._look(chore.scanning, last=True)
        return self._outputs(chore)

    def _environment(self, chore: Environment) -> Outcome:
        from runicorn.writer import survey

        self._what = "looking at the environment"
        return Outcome(files={rundir.ENVIRONMENT: survey.environment(chore.facts, chore.workspace_root)})

    def _code(self, chore: Code) -> Outcome:
        from runicorn.writer import snapshot

        self._what = "archiving the code"
        listed = self._read_blob(chore.blob)
        if listed is None:
            return Outcome(notes=["the code was not archived: its list of files has gone from the spool"])
        files = msgspec.msgpack.decode(listed, type=list[tuple[str, int]])
        missing: list[str] = []

        def make(out: Any) -> None:
            missing[:] = snapshot.write_zip(chore.workspace_root, files, out, progress=self._tell).missing

        stored = self._archive.store_made(make)
        entry = {
            "saved": True,
            "workspace_root": chore.workspace_root,
            "format": "zip",
            "created_at": int(chore.time),
            "archive_path": stored.path,
            "fingerprint_kind": "sha256",
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
            "file_count": len(files) - len(missing),
            "left_out": chore.left_out,
            "left_out_count": chore.left_out_count,
        }
        notes = [f"{len(missing)} files of the code had gone before they were archived: {', '.join(missing[:5])}"]
        return Outcome(code=entry, links={rundir.CODE: stored.path}, notes=notes if missing else [])

    def _material(self, chore: Material) -> Outcome:
        entry, source = dict(chore.entry), chore.source
        if not source:
            return Outcome(entries=[(chore.section, {**entry, "saved": False})])
        self._what = f"{'archiving' if chore.save else 'looking at'} {entry['name']}"
        try:
            files = materials.walk(source)
            found = {**entry, **(self._saved(chore, files) if chore.save else _measured(source, files))}
        except FileNotFoundError as error:
            raise SourceError(f"{entry['name']}: {error}") from error
        except SourceError as error:
            unsaved = {**entry, "saved": False, "error": str(error)}
            return Outcome(entries=[(chore.section, unsaved)], notes=[f"{entry['name']} was not archived: {error}"])
        return Outcome(entries=[(chore.section, found)])

    def _saved(self, chore: Material, files: list[str]) -> dict[str, Any]:
        if os.path.isdir(chore.source):
            tree = self._archive.store_tree(chore.section, chore.source, files)
            return {
                "saved": True,
                "sha256": tree.fingerprint,
                "fingerprint_kind": "sha256_manifest",
                "archive_path": tree.path,
                "manifest_path": tree.path,
                "file_count": tree.files,
                "total_size_bytes": tree.size_bytes,
            }
        stored = self._archive.store_file(chore.source)
        return {
            "saved": True,
            "sha256": stored.sha256,
            "fingerprint_kind": "sha256",
            "archive_path": stored.path,
            "size_bytes": stored.size_bytes,
        }

    def _look(self, scanning: Scanning, *, last: bool) -> Outcome:
        now = time.time()
        found = outputs.look(scanning, self._seen, now, leave_out=self._storage, last=last)
        # A watch comes by again; its last look does not.
        outcome = self._outputs(Outputs(now, scanning.mode, found.candidates), comes_again=not last)
        if found.overflowed:
            outcome.notes.append(f"more than {outputs.MOST_FILES:,} outputs: the rest is not looked at")
        outcome.seen = msgspec.to_builtins(self._seen)
        return outcome

    def _outputs(self, chore: Outputs, *, comes_again: bool = False) -> Outcome:
        outcome = Outcome()
        for candidate in chore.candidates:
            self._what = f"archiving {candidate.key}"
            try:
                entry = self._archived(chore.mode, candidate, tries=1 if comes_again else _TRIES)
            except SourceError as error:
                if not comes_again:
                    outcome.notes.append(f"an output was not archived: {error}")
                continue
            outputs.archived(candidate, self._seen, chore.time)
            outcome.entries.append(("outputs", entry))
        return outcome

    def _archived(self, mode: str, candidate: Candidate, *, tries: int) -> dict[str, Any]:
        while True:
            try:
                return self._archive_output(mode, candidate)
            except SourceError:
                tries -= 1
                if not tries:
                    raise
                time.sleep(_RETRY_S)

    def _archive_output(self, mode: str, candidate: Candidate) -> dict[str, Any]:
        key, path = candidate.key, candidate.path
        rolling = mode == "rolling" or candidate.is_log
        entry: dict[str, Any] = {
            "key": key,
            "name": os.path.basename(path),
            "kind": "dir" if candidate.is_directory else "file",
            "path": path,
            "saved": True,
            "mode": "rolling" if rolling else mode,
            "archived_at": int(time.time()),
        }
        if candidate.is_directory:
            files = materials.walk(path)
            tree = (
                self._archive.roll_tree(self._run_id, key, path, files)
                if rolling
                else self._archive.store_tree("outputs", path, files)
            )
            found = {"archive_path": tree.path, "sha256": tree.fingerprint, "fingerprint_kind": "sha256_manifest"}
            return {**entry, **found, "file_count": tree.files, "total_size_bytes": tree.size_bytes}
        stored = (
            self._archive.roll_file(self._run_id, key, path, growing=candidate.is_log)
            if rolling
            else self._archive.store_file(path)
        )
        found = {"archive_path": stored.path, "sha256": stored.sha256, "fingerprint_kind": "sha256"}
        return {**entry, **found, "size_bytes": stored.size_bytes}

    def _tell(self, read_bytes: int) -> None:
        self._bytes += read_bytes


def _measured(source: str, files: list[str]) -> dict[str, Any]:
    """Size and times of a file or directory, where its content is not looked at."""
    statuses = [os.stat(path) for path in files]
    newest = max((status.st_mtime for status in statuses), default=os.stat(source).st_mtime)
    total_bytes = sum(status.st_size for status in statuses)
    if os.path.isdir(source):
        fingerprint = {"mtime": newest, "file_count": len(files), "total_size_bytes": total_bytes}
    else:
        fingerprint = {"size_bytes": total_bytes, "mtime": newest}
    return {"saved": False, "fingerprint": fingerprint}
