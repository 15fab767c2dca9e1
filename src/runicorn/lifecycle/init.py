"""``init()``: a new run, one that goes on, or one that another process owns."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from runicorn.errors import StorageError, WrongTypeError, WrongValueError
from runicorn.lifecycle.opening import Opening
from runicorn.queue.records import CONSOLE_MODES
from runicorn.refusals import explained
from runicorn.session import active_runs, adopt
from runicorn.settings import Settings
from runicorn.storage import paths
from runicorn.switch import is_enabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.noop import NoOpRun
    from runicorn.run import Run


_DESCRIPTORS = 10
"""What it takes to open a run and log into it; most of them for a moment only."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _explains_keywords(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Have an unknown keyword told with what to write instead; the signature stays what it is."""
    known = frozenset(function.__annotations__)
    called = explained(function)

    @functools.wraps(function)
    def explained_keywords(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if not known.issuperset(kwargs):
            from runicorn.lifecycle import foreign_keywords

            raise foreign_keywords.error([name for name in kwargs if name not in known], known - {"return"})
        return called(*args, **kwargs)

    return explained_keywords


@_explains_keywords
def init(
    path: str | None = None,
    storage: str | None = None,
    run_id: str | None = None,
    alias: str | None = None,
    capture_env: bool = False,
    snapshot_code: bool = False,
    workspace_root: str | None = None,
    snapshot_format: str = "zip",
    force_snapshot: bool = False,
    capture_console: bool = False,
    tqdm_mode: str = "smart",
) -> Run | NoOpRun:
    """Open a run: make a new one, resume one that has ended, or join one that is live on this host.

    The id of a run that this process has open gives that same run once more. In a script that ``runicorn run`` has
    started, the first call gets the run of that command.

    Args:
        path: hierarchical path such as ``"cv/resnet50/baseline"``; None = ``"default"``, ``"/"`` = the root. It must
            not lead into the directory of a run. A run that lies under another path stays there, which is warned about.
        storage: storage root; None = ``RUNICORN_DIR``, the user's configuration, or ``./.runicorn``.
        run_id: id of a run to resume or join, or of the new one; None = a new id.
        alias: short label.
        capture_env: record the environment in ``environment.json``: packages, git, hardware; secrets are masked.
        snapshot_code: archive the workspace without what ``.gitignore`` and ``.rnignore`` name, and without secrets.
        workspace_root: the project's directory; None = the nearest parent with ``.git``, or the working directory.
        snapshot_format: ``"zip"``.
        force_snapshot: override the snapshot's limits of 500 MiB and 200,000 files.
        capture_console: record what is written to ``sys.stdout`` and ``sys.stderr``, until ``finish()``.
        tqdm_mode: what becomes of progress bars: ``"smart"`` = the last state of each, ``"all"`` = every state,
            ``"none"`` = nothing.

    Returns:
        The run; a ``NoOpRun`` while tracking is switched off.

    Raises:
        TypeError, ValueError: an argument is wrong or unknown, or the workspace is too large; nothing was made.
        OSError: the storage cannot be written, or too few descriptors are left; nothing is left behind.
        RuntimeError: the run is open on another host, so nobody here can know whether it lives.
    """
    if not is_enabled():
        from runicorn.noop import NoOpRun  # for a program that does not track

        return NoOpRun(path, alias, workspace_root)
    settings = Settings.from_environment()
    _check_flags(
        capture_env=capture_env,
        snapshot_code=snapshot_code,
        force_snapshot=force_snapshot,
        capture_console=capture_console,
    )
    if snapshot_format != "zip":
        raise WrongValueError(f'init(): snapshot_format={snapshot_format!r} is not supported. Write "zip".')
    if tqdm_mode not in CONSOLE_MODES:
        raise WrongValueError(
            f'init(): tqdm_mode={tqdm_mode!r} is not one of "smart", "all", "none". Write one of them.'
        )
    if alias is not None and not isinstance(alias, str):
        raise WrongTypeError(f"init(): alias={alias!r} is of type {type(alias).__name__}. Write a string, or None.")
    opening = Opening(
        path=paths.normalise_path(path),
        storage=paths.storage_root(storage),
        alias=alias,
        workspace_root=paths.workspace(workspace_root),
        settings=settings,
    )
    if run_id is not None:
        paths.check_run_id(run_id)
    around = paths.run_around(opening.storage)
    if around is not None:
        from runicorn.lifecycle import unusable_storage

        raise unusable_storage.inside_a_run(opening.storage, around)
    paths.check_location(opening.storage, opening.path, run_id)
    if snapshot_code or capture_env:
        from runicorn.lifecycle import capture_at_start

    # Before anything is made: a workspace that is too large is an error here.
    files = capture_at_start.list_code(opening, force=force_snapshot) if snapshot_code else None
    _check_descriptors()
    adopt.adopt_orphans(settings, opening.storage)
    run = _opened(opening, run_id)
    session = run._session  # noqa: SLF001 - ours, not the public's
    if path is not None and run.path != opening.path:
        run._refusals.warn("path", _of_another_path(run, opening.path))  # noqa: SLF001 - ours
    if files is not None:
        capture_at_start.hand_over_code(session, run.workspace_root, files)
    if capture_env:
        capture_at_start.hand_over_environment(session, run.workspace_root)
    if capture_console and not session.is_supervised:  # the command records what the whole script prints
        from runicorn.session import console

        console.start(session, tqdm_mode)
    return run


def _of_another_path(run: Run, asked: str) -> str:
    if run._session.is_supervised:  # noqa: SLF001 - ours
        return (
            f"init(): runicorn run has opened this run under the path {run.path!r}, so path={asked!r} is not used. "
            f"To use it, write runicorn run --path {asked or '/'}."
        )
    return (
        f"init(): run {run.id} already exists under the path {run.path!r}, and was opened there, not under {asked!r}. "
        "Use another run_id for a run of its own."
    )


def _check_descriptors() -> None:
    """At the limit of descriptors nothing is begun: a run that could not take its first record would be no use.

    Raises:
        OSError: there are not enough.
    """
    taken: list[int] = []
    try:
        while len(taken) < _DESCRIPTORS:
            taken += os.pipe()
    except OSError as error:
        raise StorageError(
            error.errno,
            f"init(): {error.strerror}: a run needs {_DESCRIPTORS} descriptors. Nothing was made. Close files, or "
            "raise the limit (ulimit -n).",
        ) from error
    finally:
        for fd in taken:
            os.close(fd)


def _opened(opening: Opening, run_id: str | None) -> Run:
    try:
        return _named(opening, run_id) if run_id is not None else opening.of_this_process()
    except OSError as error:
        from runicorn.lifecycle import unusable_storage

        raise unusable_storage.error(error, opening.storage) from None


def _named(opening: Opening, run_id: str) -> Run:
    with active_runs.naming(run_id):
        run: Run | None = active_runs.named(run_id, opening.storage, opening.host)
        if run is None:
            return opening.named(run_id)
        active_runs.opened(run)
        return run


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise WrongTypeError(f"init(): {name}={value!r} is of type {type(value).__name__}. Write True or False.")
