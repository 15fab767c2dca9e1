"""What a trial of ``chaos.py`` has left, compared with what it may leave."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from chaos_plan import FLIPPED, INSIDE_FINISH, MOMENTS, UNLINKED, WITHOUT_A_WORD

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import support
from support import trainers

from runicorn.storage import statuses

if TYPE_CHECKING:
    from chaos_stage import Stage

Ends = set[tuple[Any, Any]]

# Status and exit reason, as docs/ends-and-handles.md has them.
FINISHED = ("finished", None)
GONE = ("failed", "process gone")
TERMINATED = ("interrupted", "SIGTERM")
CTRL_C = ("interrupted", "KeyboardInterrupt")
NO_RUN = (None, None)
STILL_RUNNING = ("running", None)


def killed_by(number: int) -> Ends:
    """Ends of a process that a signal has killed: told where somebody could ask the system, else unknown."""
    return {("failed", f"killed by signal {number}"), GONE}


KILLED = killed_by(9)
END_OF_SIGNAL: dict[str, Ends] = {
    "SIGKILL": KILLED,
    "SIGTERM": {TERMINATED},
    "SIGINT": {CTRL_C},
    # The second one may have ended what the first one had begun.
    "SIGINT twice": {CTRL_C, ("interrupted", "SIGINT")},
    "SIGHUP": killed_by(1),
}
END_OF_SCRIPT: dict[str, Ends] = {
    "os._exit": {("failed", "exit code 3"), GONE},
    "segfault": killed_by(11),
    "MemoryError": {("failed", "MemoryError")},
    "exception": {("failed", "ValueError: boom")},
    "sys.exit(3)": {("failed", "exit code 3")},
    "no finish()": {FINISHED},
    "end of a thread": {FINISHED},
}
# Of one that is killed inside init(), before what tells its end is set up.
EARLY: dict[str, Ends] = {
    "SIGTERM": {GONE},
    "SIGINT": {GONE, ("interrupted", "SIGINT"), ("failed", "exit code 1")},
    "SIGINT twice": {GONE, ("interrupted", "SIGINT"), ("failed", "exit code 1")},
}


# What the owner says on stderr where records are missing.
WARNINGS = ("The run will lack something", "Storing fails", "not stored", "is lost", "are lost", "were lost")


class Judge:
    """Of one trial."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._trial = stage.trial
        self._outcome = stage.outcome
        self._status: dict[str, Any] = {}

    def reached(self) -> None:
        """See whether the owner has met the moment of its death."""
        if self._trial.when in MOMENTS and self._trial.who != "writer":
            self._outcome.reached = self._stage.trainer.process.returncode == -signal.SIGKILL

    # --- how it has ended -----------------------------------------------------------------------------

    def expected(self) -> Ends:
        """How the run may have ended."""
        ends = self._of_death()
        stage = self._stage
        if stage.is_unlinked and (self._nobody_could_end_it() or stage.is_unlinked_early):
            ends |= {STILL_RUNNING, GONE}
        if self._stage.flipped:  # the record of its end may be what was hit
            ends |= KILLED
        return ends

    def expected_of_resumed(self) -> Ends:
        """How a run may have ended that was resumed and finished."""
        return {FINISHED}

    def _of_death(self) -> Ends:
        trial, trainer = self._trial, self._stage.trainer
        if trial.when in MOMENTS:
            return self._of_moment()
        if trial.by_itself:
            return set(END_OF_SCRIPT[trial.how])
        if trial.who == "writer":
            if trial.ends == "finish()" or trial.when == "finishing":
                return {FINISHED}
            # A writer that was sent SIGTERM takes the owner's end for the scheduler's.
            return {TERMINATED} if trial.how == "SIGTERM" else set(KILLED)
        # Of a trial without anything to flip the death came all the same.
        end = END_OF_SIGNAL[trial.how] if self._outcome.reached or trial.around == FLIPPED else {GONE}
        if trial.when == "finishing":
            return {FINISHED} | end
        if trial.when == "starting" and not trainer.returned:
            return {NO_RUN} | end | EARLY.get(trial.how, set())
        return set(end)

    def _of_moment(self) -> Ends:
        trial, trainer = self._trial, self._stage.trainer
        if trainer.process.returncode == 0 or trial.when in INSIDE_FINISH:
            return {FINISHED}
        if trial.when == "directory":
            return {NO_RUN}
        return set(KILLED) if trainer.returned < trial.records else KILLED | {FINISHED}

    def _nobody_could_end_it(self) -> bool:
        trial = self._trial
        return trial.kills_writer and not self._owner_said_goodbye()

    def _owner_said_goodbye(self) -> bool:
        trial = self._trial
        if trial.who == "writer":
            return trial.ends == "finish()" or trial.when == "finishing"
        return trial.how not in {*WITHOUT_A_WORD, "SIGTERM", "SIGHUP"}

    def status(self, run_dir: Path | None, expected: Ends) -> None:
        """Compare how the run has ended with how it may have."""
        found: tuple[Any, Any] = NO_RUN
        if run_dir is not None and (run_dir / "status.json").exists():
            self._status = support.status(run_dir)
            found = (self._status["status"], self._status.get("exit_reason"))
            lost = self._status.get("lost_records", 0)
            if self._trial.around != UNLINKED:
                self._outcome.add("lost", lost, "refused, the spool was full")
        if found not in expected:
            self._outcome.add("wrong_statuses", 1, f"{found} is none of {sorted(expected, key=str)}")

    # --- what is stored -------------------------------------------------------------------------------

    def records(self, run_dir: Path | None, sessions: list[dict[int, int]]) -> None:
        """Compare what was logged with what is stored."""
        events = support.events(run_dir) if run_dir is not None else []
        stored: dict[tuple[int, int], list[int]] = defaultdict(list)
        steps: dict[int, list[int]] = defaultdict(list)
        for event in events:
            data = event["data"]
            if event["type"] != "metrics":
                continue
            stored[data["session"], data["producer"]].append(data["i"])
            if data["producer"] == 0:
                steps[data["session"]].append(data["global_step"])
        missing: list[str] = []
        number_missing = 0
        for number, session in enumerate(sessions, 1):
            for producer, returned in session.items():
                self._outcome.logged += returned
                name = f"session {number}, producer {producer}"
                lost = self._producer(name, returned, stored.pop((number, producer), []))
                if lost:
                    number_missing += len(lost)
                    missing.append(f"{name}: {len(lost)} of {returned}, from {lost[0]} to {lost[-1]}")
        for (number, producer), found in stored.items():
            self._producer(f"session {number}, producer {producer}", 0, found)
        if self._trial.around != "device scalars":  # whose lines are stored when their values are there
            all_steps = [step for number in sorted(steps) for step in steps[number]]
            wrong = sum(after <= before for before, after in itertools.pairwise(all_steps))
            self._outcome.add("doubled", wrong, f"{wrong} steps of the owner do not rise")
        self._missing(number_missing, "; ".join(missing))
        kinds = {"images": self._images, "console": self._console, "datasets": self._datasets}
        kinds["device scalars"] = self._device
        if self._trial.around in kinds and run_dir is not None:
            kinds[self._trial.around](run_dir, events)

    def _producer(self, name: str, returned: int, stored: list[int]) -> list[int]:
        """What is missing of a producer; what is there too often or wrongly is counted."""
        often = Counter(stored)
        self._outcome.add("doubled", len(stored) - len(often), f"{name}: {len(stored) - len(often)} stored again")
        if self._trial.around != "device scalars":
            disorder = sum(after < before for before, after in itertools.pairwise(stored))
            self._outcome.add("doubled", disorder, f"{name}: {disorder} out of order")
        strange = [i for i in often if not 1 <= i <= returned + 1]
        self._outcome.add("doubled", len(strange), f"{name}: {len(strange)} beyond {returned} and the call in flight")
        return [i for i in range(1, returned + 1) if i not in often]

    def _missing(self, number: int, text: str) -> None:
        """Count what is missing and may not be."""
        if not number:
            return
        if self._stage.flipped:
            text = f"{text} ({self._stage.flipped})"
            damaged = self._status.get("damaged_bytes", 0)
            if not damaged:
                self._outcome.add("lost", number, f"without a word in status.json: {text}")
            elif number > 1:
                self._outcome.add("lost", number - 1, f"more than the frame that was hit: {text}")
            return
        if self._stage.is_unlinked:
            # What was in memory only is gone with the memory of the killed; else it is told.
            if not self._owner_said_goodbye() or self._is_told():
                return
            text = f"not told in status.json and by a warning: {text} ({self._trial.unlinking} unlinked)"
        self._outcome.add("lost", number, text)

    def _is_told(self) -> bool:
        in_status = self._status.get("lost_records") or self._status.get("storage_errors")
        said = self._stage.trainer.errors.read_text()
        return bool(in_status) and any(words in said for words in WARNINGS)

    # --- beside the numbers ---------------------------------------------------------------------------

    def _kinds(self, name: str, found: list[str], kind: str) -> None:
        often = Counter(found)
        for session, counts in enumerate(self._stage.kinds, 1):
            missing = [k for k in range(1, counts[kind] + 1) if f"{session}.{k}" not in often]
            self._outcome.add("lost", len(missing), f"session {session}: {name} {missing} of {counts[kind]}")
        again = {key: times for key, times in often.items() if times > 1}
        self._outcome.add("doubled", len(again), f"{name} stored again: {again}")

    def _images(self, run_dir: Path, events: list[dict[str, Any]]) -> None:
        lines = [event["data"] for event in events if event["type"] == "image"]
        self._kinds("images", [data["caption"] for data in lines], "images")
        for data in lines:
            path = run_dir / data["path"]
            if not path.exists() or f"n\0{data['caption']}".encode() not in path.read_bytes():
                self._outcome.add("lost", 1, f"the file of image {data['caption']}")
        files = set((run_dir / "media").iterdir()) if (run_dir / "media").is_dir() else set()
        more = files - {run_dir / data["path"] for data in lines}
        self._outcome.add("leftovers", len(more), f"{sorted(path.name for path in more)} in media without a line")

    def _console(self, run_dir: Path, _: list[dict[str, Any]]) -> None:
        path = run_dir / "logs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [line.split("console ")[1].removesuffix(" of many") for line in lines if line.endswith(" of many")]
        self._kinds("printed lines", found, "console")

    def _datasets(self, run_dir: Path, _: list[dict[str, Any]]) -> None:
        path = run_dir / "assets.json"
        entries = json.loads(path.read_text())["datasets"] if path.exists() else []
        self._kinds("datasets", [entry["name"].removeprefix("data-") for entry in entries], "datasets")
        for entry in entries:
            source = self._stage.directory / "data" / Path(entry["uri"]).name
            archived = entry.get("archive_path")
            if not archived or Path(archived).read_bytes() != source.read_bytes():
                self._outcome.add("lost", 1, f"the content of {entry['name']}: {entry}")

    def _device(self, _: Path, events: list[dict[str, Any]]) -> None:
        for event in events:
            data = event["data"]
            if "x" not in data or data["x"] == data["i"]:
                continue
            kept = self._stage.kinds[data["session"] - 1]["device scalars"]
            if data["x"] is not None or event.get("lost") != ["x"] or data["i"] <= kept:
                self._outcome.add("lost", 1, f"a value that had arrived (up to {kept}): {event}")

    # --- what should not be there ---------------------------------------------------------------------

    def leftovers(self, run_dir: Path | None) -> None:
        """Look for what should be gone, and end it."""
        for process in self._stage.processes():
            with contextlib.suppress(psutil.Error):
                self._outcome.add("leftovers", 1, f"process {process.pid}: {' '.join(process.cmdline())[-200:]}")
                process.kill()
        nobodys = self._spools_without_address()
        for spool in self._stage.spools():
            if spool in nobodys:
                continue
            log = spool / "writer.log"
            text = log.read_text()[-600:] if log.exists() else "no log"
            self._outcome.add("leftovers", 1, f"{spool.name} with {sorted(os.listdir(spool))}: {text}")
        if run_dir is not None:
            try:
                trainers.assert_valid(run_dir)
            except (AssertionError, ValueError) as error:
                # Its pointer file stays with a spool, and with a run that nobody has come by to end.
                is_open = self._stage.is_unlinked and self._status.get("status") == statuses.RUNNING
                if not ((nobodys or is_open) and ".spool-" in str(error)):
                    self._outcome.add("leftovers", 1, str(error))

    def _spools_without_address(self) -> list[Path]:
        """Spools whose address was removed by name, and nobody was left to make it again: `recover` names them."""
        if not self._stage.is_unlinked:
            return []
        return [path for path in self._stage.spools() if not (path / "address.json").exists()]

    def outside(self) -> None:
        """Compare what is not ours with what it was."""
        found = self._stage.canaries.differences()
        self._outcome.add("outside", len(found), "; ".join(found))


def last_lines(trainer: trainers.Trainer) -> str:
    """What a script has said on stderr."""
    return trainer.errors.read_text()[-800:].strip() or "no word on stderr"
