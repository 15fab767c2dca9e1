"""Runs of trials and jobs: one adapter opens several, which are in one group, below one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.integrations import _run
from runicorn.lifecycle import job_script
from runicorn.lifecycle.init import init
from runicorn.managing import labels
from runicorn.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.noop import NoOpRun


def one_of_many(
    adapter: str, group: str, suggested: dict[str, Any], given: dict[str, Any], above: Run | None = None
) -> Run | NoOpRun:
    """A new run for a trial or a job: adapters inside of it log into it; never raises, unless strict.

    Args:
        adapter: who opens it.
        group: that of all of them, unless the job script has decided.
        suggested: path and alias as the framework has them; the job script decides on the path, an alias is one's own.
        given: arguments of ``init()`` that the user has given.
        above: their parent; None = the run that the program has open.
    """
    above = above or _run.opened_by_program()
    return _new(adapter, lambda: {**job_script.named(suggested, ["path"]), **given}, group, above)


def one_alone(adapter: str, suggested: dict[str, Any], given: dict[str, Any]) -> Run | NoOpRun:
    """The run of a job that is the only one: the one that the program has open, else a new one.

    Args:
        adapter: who opens it.
        suggested: path and alias as the framework has them; the job script decides on both.
        given: arguments of ``init()`` that the user has given.
    """
    running = _run.opened_by_program()
    if running is not None:
        return running
    return _new(adapter, lambda: {**job_script.named(suggested), **given}, None, None)


def _new(adapter: str, arguments: Callable[[], dict[str, Any]], group: str | None, above: Run | None) -> Run | NoOpRun:
    run = _run.or_none(adapter, lambda: init(**arguments()))
    if isinstance(run, Run):
        _run.runs_of_many.add(run)
    set_place(run, group, above)
    return run


def set_place(run: Run | NoOpRun, group: str | None, above: Run | None) -> None:
    """Note what a run of a trial or a job belongs to.

    Args:
        run: of the trial.
        group: unless the job script has decided.
        above: its parent, if it has one.
    """
    run.set_labels(group=job_script.decides("group") or group, parent=None if above is run else above)


def adopt(run: Run, above: Run) -> None:
    """Note the parent of a run that has ended.

    Args:
        run: of the trial.
        above: its parent.
    """
    address = run._session.address  # noqa: SLF001 - ours
    labels.merge(address.run_dir, address.storage, address.settings, {"parent": above.id}, ())
