"""Runs of other trackers become runs of a storage: offline, without that tracker, and each once.

A format is a module that finds runs in files and gives each as a stream (``source_runs``). ``run_writing`` makes a
run's files of it in a staging directory, and ``landing`` gives them their place by a rename. Nothing goes through
``log()``. The source is only read.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.errors import MissingPathError, WrongValueError
from runicorn.importing import table_options
from runicorn.importing.landing import Imported, Landing, importing_into
from runicorn.importing.refused_storage import worded
from runicorn.importing.run_writing import Writing
from runicorn.importing.source_runs import SourceRun, UnreadableSourceError
from runicorn.queue import opening_lock
from runicorn.settings import Settings
from runicorn.storage import paths
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    _Take = Callable[[str, Imported | None], "ImportOutcome"]
    """Takes a run, by its state and by what was imported of it before."""

AUTO = "auto"
_MODULES = {
    "wandb": "wandb_runs",
    "swanlab": "swanlab_runs",
    "mlflow": "mlflow_runs",
    "trackio": "trackio_runs",
    "sacred": "sacred_runs",
    "dvclive": "dvclive_runs",
    "neptune": "neptune_runs",
    "tensorboard": "event_files",
    "csv": "table_files",
    "jsonl": "table_files",
    "parquet": "table_files",
    "lightning": "table_files",
    "transformers": "table_files",
    "ultralytics": "table_files",
    "timm": "table_files",
}
"""By the name of the format; ``auto`` asks them in this order."""
FORMATS = tuple(_MODULES)
_TABLES = ("csv", "jsonl", "parquet")
_OF_TABLES = "table_files"
NEW, UPDATED, UNCHANGED, CHANGED = "imported", "updated", "unchanged", "changed"
FAILED, SKIPPED = "failed", "skipped"


class ImportOutcome(msgspec.Struct, frozen=True):
    """What became of one run of the source.

    Attributes:
        format: the format's name.
        source: path of its files.
        state: ``imported``, ``updated``, ``unchanged`` (it was imported before), ``changed`` (the source has changed
            since it was imported, and ``update`` was not given), ``skipped`` (the other
            tracker has it as deleted) or ``failed``.
        run: id of the imported run; None if there is none.
        path: path of the run.
        run_dir: directory of the run.
        points: number of values of metrics.
        metrics: names of the metrics.
        images: number of images.
        lines: number of lines of text.
        samples: number of samples of the machine.
        left_out: by kind, how many things were not imported because a run has no place for them.
        problems: what could not be read, in words.
        note: why the state is what it is, in words; None if there is nothing to say.
    """

    format: str
    source: str
    state: str
    run: str | None = None
    path: str | None = None
    run_dir: str | None = None
    points: int = 0
    metrics: list[str] = []
    images: int = 0
    lines: int = 0
    samples: int = 0
    left_out: dict[str, int] = {}
    problems: list[str] = []
    note: str | None = None


def import_runs(
    form: str,
    sources: Iterable[str],
    *,
    storage: str | None = None,
    path: str | None = None,
    update: bool = False,
    dry_run: bool = False,
    options: dict[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Iterator[ImportOutcome]:
    """Import all runs that are found at some paths, one after the other.

    Args:
        form: one of ``FORMATS``, or ``auto``.
        sources: files or directories of the other tracker.
        storage: the storage root; None = the one that ``init()`` would use.
        path: run path to put the runs under; None = named after the source.
        update: also import what is new in a source that was imported before; labels that were set here stay.
        dry_run: read everything, and write nothing.
        options: for tables: ``step``, ``time`` and ``run`` name columns, ``names`` is a dict of metrics by column,
            ``config`` is a list of columns that are settings.
        advance: is called with the number of values that were read.

    Yields:
        What became of each run.

    Raises:
        FileNotFoundError: a path does not exist, or holds no run that can be imported.
        OSError: the storage cannot be written.
        StillBusyError: another process imports into the storage.
        ValueError: the format is unknown, the run path is not allowed, or ``options`` are wrong.
    """
    table_options.check(options or {})
    prefix = None if path is None else paths.normalise_path(path)
    found: list[SourceRun] = []
    for source in sources:
        try:
            found += find_runs(form, source, options or {})
        except UnreadableSourceError as error:
            yield ImportOutcome(form, source, FAILED, note=str(error))
    root = paths.storage_root(storage)
    done = advance or _nothing
    if dry_run:
        landing = Landing(root)
        for run in found:
            yield _counted(run, landing, done, update=update)
    elif found:
        with importing_into(root) as landing:
            for run in found:
                yield _one(run, landing, prefix, done, update=update)


def find_runs(form: str, source: str, options: dict[str, Any]) -> list[SourceRun]:
    """The runs of a source.

    Raises:
        FileNotFoundError: nothing is there, or nothing that can be imported.
        ValueError: the format is unknown, or ``options`` are given and the source is no table.
    """
    if form != AUTO and form not in FORMATS:
        raise WrongValueError(
            f"{form!r} is not a format. Nothing was imported. Write one of {', '.join((AUTO, *FORMATS))}."
        )
    top = os.path.realpath(source)
    if not source or not os.path.exists(top):
        raise MissingPathError(f"{source or 'The empty path'} is not there. Nothing was imported.")
    # A directory may hold tables that are no metrics, such as data sets: these are taken if their format is named.
    tried = [name for name in FORMATS if name not in _TABLES or os.path.isfile(top)] if form == AUTO else [form]
    for name in tried:
        found: list[SourceRun] = import_module(f"runicorn.importing.{_MODULES[name]}").find(name, top, options)
        if found:
            if table_options.are_given(options) and _MODULES[name] != _OF_TABLES:
                raise table_options.refuse_for(name, source)
            return found
    what = "that can be imported" if form == AUTO else f"of the format {form}"
    raise MissingPathError(f"{source} holds no runs {what}. Nothing was imported.")


def _tried(run: SourceRun, landing: Landing, take: _Take, *, update: bool) -> ImportOutcome:
    """What becomes of a run: it is taken, unless it is skipped, here already, or cannot be read."""
    if run.skipped is not None:
        return ImportOutcome(run.form, run.location, SKIPPED, note=run.skipped)
    try:
        state = run.read_state()
        before = landing.find(run.form, run.key) or landing.find_same(run.form, state)
        refused = _refused(run, before, state, update=update) if before else None
        return refused or take(state, before)
    except UnreadableSourceError as error:
        return ImportOutcome(run.form, run.location, FAILED, problems=run.told.problems, note=str(error))


def _one(
    run: SourceRun, landing: Landing, prefix: str | None, advance: Callable[[int], None], *, update: bool
) -> ImportOutcome:
    def take(state: str, before: Imported | None) -> ImportOutcome:
        became = "Nothing of it was imported; what was imported before it is there."
        place = landing.storage if before is None else before.run_dir
        with worded(f"{run.location} cannot be imported", became, place), landing.staging() as files:
            writing = Writing(run, files, advance)
            writing.write_values()
            if before is None:
                landing.check_is_new(run, writing.written.first_s)
                run_dir, what = landing.place(run, writing, files, state, prefix=prefix), NEW
            else:
                # While the source was read somebody may have resumed the run, which has its own records since.
                with opening_lock.hold(before.run_dir, Settings.from_environment()):
                    refused = _refused(run, before, state, update=update)
                    if refused:
                        return refused
                    landing.update(before, run, writing, files, state)
                run_dir, what = before.run_dir, UPDATED
        return _outcome(run, writing, what, run_dir, landing)

    return _tried(run, landing, take, update=update)


def _refused(run: SourceRun, before: Imported, state: str, *, update: bool) -> ImportOutcome | None:
    """Why a run that is here already is left as it is; None if it is to be updated."""
    what, note = UNCHANGED, None
    if before.source.get("source") != run.key:
        note = f"it has the content of {before.source.get('location')}, of which this run was made"
    if before.is_deleted:
        note = "the run is in the recycle bin"
    elif before.source.get("state") != state:
        what, note = CHANGED, "the source has changed, and the run was left as it is; add --update to take what is new"
        if update:
            if not os.path.isdir(before.run_dir):
                note = "the run was deleted or moved while the source was read, so it is not updated"
            elif before.was_resumed:
                note = "the run has been resumed here, so it is not updated"
            else:
                return None
    run_id = os.path.basename(before.run_dir)
    return ImportOutcome(run.form, run.location, what, run_id, before.path, before.run_dir, note=note)


def _counted(run: SourceRun, landing: Landing, advance: Callable[[int], None], *, update: bool) -> ImportOutcome:
    def take(_state: str, before: Imported | None) -> ImportOutcome:
        writing = Writing(run, None, advance)
        writing.write_values()
        if before is None:
            landing.check_is_new(run, writing.written.first_s)
        return _outcome(run, writing, UPDATED if before else NEW, None, landing)

    return _tried(run, landing, take, update=update)


def _outcome(run: SourceRun, writing: Writing, what: str, run_dir: str | None, landing: Landing) -> ImportOutcome:
    written, told = writing.written, run.told
    path = note = None
    if run_dir is not None:
        path = os.path.relpath(os.path.dirname(run_dir), os.path.join(landing.storage, paths.RUNS)).replace(os.sep, "/")
    if what == NEW and landing.damaged:
        count = counted(landing.damaged, "run")
        note = f"the assets.json of {count} in the storage cannot be read: if one is of this source, it is here twice"
    return ImportOutcome(
        run.form,
        run.location,
        what,
        None if run_dir is None else os.path.basename(run_dir),
        "" if path == "." else path,
        run_dir,
        written.points,
        writing.metrics,
        written.images,
        written.texts,
        writing.samples,
        dict(told.left_out),
        told.problems,
        note,
    )


def _nothing(_count: int) -> None:
    """No progress is shown."""
