"""``runicorn run``: start any program as a run: what it prints, its code and environment, and its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import runicorn as rn
from runicorn.commands.program import Program
from runicorn.errors import NotFoundError, WrongValueError
from runicorn.lifecycle import job_script
from runicorn.queue.records import CONSOLE_MODES
from runicorn.run import Run
from runicorn.session import supervised
from runicorn.session.console import Recorder
from runicorn.storage import run_files, statuses
from runicorn.storage.run_directory import RunDir
from runicorn.validation.secrets import mask_arguments
from runicorn.writer import end_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runicorn.noop import NoOpRun

HELP = "start any program as a run, and record what it prints and how it ends"

_SIGNALLED = 128
"""What shells add to the number of the signal that has ended a program, for its exit code."""
_FOR_SCRIPTS = "If it is a script, write its interpreter before it: runicorn run -- python train.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and which program."""
    parser.usage = "runicorn run [options] -- PROGRAM [ARGUMENT ...]"
    for field in ("path", "alias", "group"):
        variable = job_script.VARIABLES[field]
        known = f"{variable}, or default" if field == "path" else variable
        parser.add_argument(
            f"--{field}", default=job_script.decides(field), help=f"{field} of the run (default: {known})"
        )
    parser.add_argument("--storage", metavar="DIR", help="storage root (default: RUNICORN_DIR, your configuration)")
    parser.add_argument("--no-code", action="store_true", help="do not archive the code of the working directory")
    parser.add_argument("--force-code", action="store_true", help="archive the code even if it is larger than 500 MiB")
    parser.add_argument(
        "--progress-bars",
        choices=CONSOLE_MODES,
        default="smart",
        help="store the last state of each progress bar (smart, the default), every state (all), or nothing (none)",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="the program, and its arguments")


def run(options: argparse.Namespace) -> int:
    """Start the program, and end the run as it ends.

    Returns:
        The exit code of the program; 128 and the number of the signal that has ended it.

    Raises:
        ValueError: no program is named.
        LookupError: there is no such program, or it cannot be started.
    """
    words = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not words:
        raise WrongValueError("no program is named. Write for example: runicorn run -- python train.py")
    if shutil.which(words[0]) is None:
        raise NotFoundError(_not_found(words[0]))
    _open_standard_streams()
    os.environ.pop(supervised.VARIABLE, None)  # in the program of another `runicorn run`: this is a run of its own
    opened = rn.init(
        path=options.path,
        storage=options.storage,
        alias=options.alias,
        capture_env=True,
        snapshot_code=not options.no_code,
        workspace_root=os.getcwd(),
        force_snapshot=options.force_code,
    )
    code = _followed(words, opened, options)
    return code if code >= 0 else _SIGNALLED - code


def _not_found(word: str) -> str:
    if os.path.isfile(word):
        return f"the file {word!r} cannot be started as a program. No run was made. {_FOR_SCRIPTS}"
    return f"there is no program {word!r}. Nothing was started, and no run was made."


def _followed(words: list[str], opened: Run | NoOpRun, options: argparse.Namespace) -> int:
    """Run the program to its end, and end the run; its exit code, or minus the number of a signal."""
    if not isinstance(opened, Run):  # tracking is switched off
        return _started(words, opened, {}, {}).wait()
    if options.group:
        opened.set_labels(group=options.group)
    opened.log_config(extra={"command": mask_arguments(words)})
    session = opened._session  # noqa: SLF001 - ours
    recorders = {number: Recorder(session, number, options.progress_bars) for number in (1, 2)}
    environment = {supervised.VARIABLE: str(opened.run_dir)}
    take = {number: each.record for number, each in recorders.items()}
    code = _started(words, opened, environment, take).wait()
    opened.finish(*_ending(code, str(opened.run_dir)))
    with suppress(OSError):  # nobody reads it: the exit code is still the program's
        print(f"runicorn run: run {opened.id} is in {shlex.quote(str(opened.run_dir))}", file=sys.stderr)
    return code


def _started(
    words: list[str], opened: Run | NoOpRun, environment: dict[str, str], take: Mapping[int, Callable[[str], Any]]
) -> Program:
    """The program; if the system cannot start it, the run has failed.

    Raises:
        LookupError: it cannot be started: it is neither a binary nor a script that names an interpreter which is there.
    """
    try:
        return Program(words, environment, take)
    except OSError as error:
        reason = f"the program {words[0]!r} was not started: {error.strerror}"
        opened.finish("failed", reason)
        raise NotFoundError(f"{reason}. Its run has failed. {_FOR_SCRIPTS}") from error


def _open_standard_streams() -> None:
    """Where one is closed, nothing of ours may get its number: we would write there what the program prints."""
    fd = 0
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)


def _ending(code: int, run_dir: str) -> tuple[str, str | None]:
    """Status and reason of the run.

    They are those of the program's own ``finish()``. If it made no such call, or said ``finished`` and ended with
    another code than 0, they are those of the exit code.
    """
    status, reason = end_status.of_exit_code(code)
    said = _word_of_script(run_dir)
    if said is None or (code != 0 and said[0] == statuses.FINISHED):
        return status, reason
    return said[0], said[1] if said[1] is not None or code == 0 else reason


def _word_of_script(run_dir: str) -> tuple[str, str | None] | None:
    try:
        files = RunDir(run_dir)
    except OSError:  # the storage is gone: that changes nothing of how the program has ended
        return None
    try:
        return supervised.word_of(files.read_or_empty(run_files.META))
    except OSError:
        return None
    finally:
        files.close()
