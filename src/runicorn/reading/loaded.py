"""``load()``: a run with its numbers, which can be read on while it grows."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from runicorn.errors import MetricNotFoundError, WrongTypeError, WrongValueError
from runicorn.reading import foreign_names, sessions, text
from runicorn.reading import table as tables
from runicorn.reading.cache import Cache
from runicorn.reading.call_rows import lines_table
from runicorn.reading.column import Column, ColumnBuilder
from runicorn.reading.events import EventsFile
from runicorn.reading.info import LOST, RunInfo
from runicorn.reading.listing import find
from runicorn.reading.pace import pace
from runicorn.reading.plain_files import DamagedError, Problem, is_inside, read_object
from runicorn.reading.system_metrics import SystemMetrics
from runicorn.storage import run_files, statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runicorn.reading.listing import LoggedRun

_JSON = (run_files.ASSETS, run_files.SUMMARY, run_files.ENVIRONMENT)
_CONFIG = ("args", "extra", "config_files")
_MARKED = "events."
_MOST_RESUMES = 3


class LoggedImage(NamedTuple):
    """An image of a run.

    Attributes:
        step: at which it was logged; None where none was.
        key: its name.
        caption: None where it has none.
        path: of its file, absolute; None where what is stored would lead out of the run's directory.
        time: epoch seconds.
    """

    step: int | None
    key: str
    caption: str | None
    path: str | None
    time: float


class LoadedRun:
    """A run with its numbers. They are read when they are asked for, and stay as they are until ``refresh()``.

    Use it in one thread at a time. Several processes may load the same run.

    Args:
        info: metadata of the run.
        cache: cache of columns.

    Attributes:
        info: metadata of the run, from its JSON files.
    """

    def __init__(self, info: RunInfo, cache: Cache) -> None:
        self.info = info
        self._cache = cache
        self._files: dict[str, EventsFile] | None = None
        self._objects: dict[str, tuple[dict[str, Any], Problem | None]] = {}
        self._columns: dict[tuple[str, bool], Column] = {}

    def __repr__(self) -> str:
        return f"LoadedRun({self.info.id!r}, {self.info.status}, {self.info.run_dir!r})"

    def __getitem__(self, name: str) -> Column:
        return self.metric(name)

    def __setitem__(self, name: str, value: object) -> NoReturn:
        raise WrongTypeError(f"run[{name!r}] = ...: a run that was loaded cannot be changed. {foreign_names.GO_ON}.")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"'LoadedRun' object has no attribute {name!r}{foreign_names.hint(name)}")

    def __contains__(self, name: object) -> bool:
        return any(name in file.names for file in self.events_files())

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, sorted."""
        return sorted({name for file in self.events_files() for name in file.names})

    def metric(
        self,
        name: str,
        *,
        rank: int | None = None,
        producer: str | None = None,
        stage: str | None = None,
        superseded: bool = False,
    ) -> Column:
        """Values of a metric, in the order of the files: the main file, those of ranks, those of other hosts.

        Of a run that went on from an earlier step than it had reached, the later session's values count: what earlier
        sessions logged at steps from its first one on is left out.

        Args:
            name: name of the metric.
            rank: only values of this rank; rank 0 includes processes without a rank.
            producer: only values of this process, ``<host>-<pid>``.
            stage: only values of this stage.
            superseded: True = also values that a later session has superseded.

        Raises:
            KeyError: the run has no such metric; the message names some that it has.
        """
        column = self._columns.get((name, superseded))
        if column is None:
            column = self._columns[name, superseded] = self._build(name, self.events_files(), superseded=superseded)
            if not len(column):
                del self._columns[name, superseded]
                raise MetricNotFoundError(f"run {self.info.id} has no metric {name!r}. It has {_some(self.metrics)}.")
        return column.of(rank=rank, producer=producer, stage=stage)

    def superseded_count(self, name: str) -> int:
        """How many values of a metric a later session has superseded."""
        return sum(sessions.superseded_count(file, name) for file in self.events_files() if name in file.names)

    @property
    def ranks(self) -> list[int]:
        """Ranks that have logged numbers."""
        return sorted({rank for _, rank, _ in self._origins() if rank is not None})

    @property
    def producers(self) -> list[str]:
        """Processes other than the owner that have logged numbers, each as ``<host>-<pid>``."""
        return sorted({producer for _, _, producer in self._origins() if producer is not None})

    @property
    def images(self) -> list[LoggedImage]:
        """Images, in the order of the files."""
        return [
            LoggedImage(each.step, each.key, each.caption, self._inside(each.path), each.time)
            for file in self.events_files()
            for each in file.images
        ]

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        return self._object(run_files.SUMMARY)

    @property
    def assets(self) -> dict[str, Any]:
        """Content of ``assets.json``."""
        return self._object(run_files.ASSETS)

    @property
    def config(self) -> dict[str, Any]:
        """Configuration given to ``log_config()``: ``args``, ``extra`` and ``config_files``, each if there is one."""
        config = self.assets.get("config")
        return {name: config[name] for name in _CONFIG if name in config} if isinstance(config, dict) else {}

    @property
    def environment(self) -> dict[str, Any]:
        """Content of ``environment.json``."""
        return self._object(run_files.ENVIRONMENT)

    @property
    def system(self) -> SystemMetrics:
        """What the machines of the run did: the samples of its writers, by name."""
        return SystemMetrics(self.info.run_dir, self._cache, self.summary)

    def steps_per_second(self) -> Column:
        """Steps per second over time, computed from the times of the records."""
        return pace(self.events_files())

    @property
    def problems(self) -> list[Problem]:
        """List of what could not be read: file, byte offset, reason; at most 1,000 for every 32 MiB of a file."""
        found = [Problem(name, 0, "could not be read") for name in self.info.damaged if name != run_files.SUMMARY]
        found += [problem for name in _JSON for problem in [self._object_and_problem(name)[1]] if problem]
        found += [each for file in self.events_files() for each in file.problems(is_live=self._is_live)]
        return found

    @property
    def problem_count(self) -> int:
        """Number of problems, also of those that ``problems`` does not list."""
        others = [each for each in self.problems if not each.file.startswith(_MARKED)]
        return len(others) + sum(file.problem_count(is_live=self._is_live) for file in self.events_files())

    def text(self, last: int | None = None) -> Iterator[str]:
        """Lines of ``logs.txt`` as it is now; then lines of other hosts, each with ``[host]`` before it.

        Args:
            last: return only this many lines, the last ones; None = all.
        """
        return text.lines_of_run(self.info.run_dir, last, is_live=self._is_live)

    def table(
        self,
        names: Iterable[str] | None = None,
        *,
        by_step: bool = True,
        ranks: Literal["main", "all"] = "main",
        superseded: bool = False,
    ) -> tables.Table:
        """Metrics side by side; a cell is None if there is no value.

        Args:
            names: names of the metrics; None = all.
            by_step: True = one row for each step, with the last value of the step; False = one row for each line.
            ranks: ``main`` = ``events.jsonl`` alone; ``all`` = files of ranks and other hosts too, each with its own
                rows, and with the columns ``rank`` and ``file``.
            superseded: True = also values that a later session has superseded; by step, the last one of a step.

        Raises:
            KeyError: the run has no metric of one of the names.
            ValueError: ``ranks`` is neither.
        """
        if ranks not in {"main", "all"}:
            raise WrongValueError(f'table(): ranks={ranks!r} is neither "main" nor "all".')
        wanted = self.metrics if names is None else list(dict.fromkeys(names))
        if missing := [name for name in wanted if name not in self]:
            raise MetricNotFoundError(f"run {self.info.id} has no metric {missing[0]!r}. It has {_some(self.metrics)}.")
        made = []
        for file in self._files_of(ranks):
            if by_step:
                those = [name for name in wanted if name in file.names or names]
                table = tables.joined([self._build(name, [file], superseded=superseded) for name in those])
            else:
                table = lines_table(file, wanted, all_lines=names is None, superseded=superseded)
            made.append((_rank_of(file.name), file.name, table))
        if ranks == "all":
            return tables.stacked(made)
        return made[0][2] if made else tables.joined([])

    def to_pandas(self) -> Any:
        """Return ``table()`` as a ``pandas.DataFrame``.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.table().to_pandas()

    def to_polars(self) -> Any:
        """Return ``table()`` as a ``polars.DataFrame``.

        Raises:
            ImportError: polars is not installed.
        """
        return self.table().to_polars()

    def to_arrow(self) -> Any:
        """Return ``table()`` as a ``pyarrow.Table``.

        Raises:
            ImportError: pyarrow is not installed.
        """
        return self.table().to_arrow()

    def refresh(self) -> bool:
        """Read what is new since the last reading.

        Returns:
            Whether anything has changed.

        Raises:
            LookupError: the run is gone.
        """
        before, self.info = self.info, find(self.info)
        changed = _without_clock(before) != _without_clock(self.info)
        for name, (content, _) in list(self._objects.items()):
            del self._objects[name]
            changed = self._object(name) != content or changed
        if self._files is None:
            self._files = {}
        return self._read_on() or changed

    def columns_by_file(
        self, name: str, *, ranks: Literal["main", "all"] = "main", superseded: bool = False
    ) -> dict[str, Column]:
        """Values of a metric by the name of their events file; files without a value are left out.

        Args:
            name: name of the metric.
            ranks: ``main`` = ``events.jsonl`` alone; ``all`` = files of ranks and other hosts too.
            superseded: True = also values that a later session has superseded.
        """
        files = [file for file in self._files_of(ranks) if name in file.names]
        return {file.name: self._build(name, [file], superseded=superseded) for file in files}

    def _files_of(self, ranks: str) -> list[EventsFile]:
        return [file for file in self.events_files() if ranks == "all" or file.name == run_files.EVENTS]

    @property
    def _is_live(self) -> bool:
        return self.info.status == statuses.RUNNING

    def events_files(self) -> list[EventsFile]:
        """Its events files, as far as they were read: those of ranks and of other hosts behind the main one."""
        if self._files is None:
            self._files = {}
            self._read_on()
        return list(self._files.values())

    def _read_on(self) -> bool:
        """Read what has come; again if the run was resumed meanwhile, for what is new may be of another session."""
        changed, resumed = False, sessions.entries(self.info.run_dir)
        for _ in range(_MOST_RESUMES):
            changed = self._read_once(resumed) or changed
            now = sessions.entries(self.info.run_dir)
            if now == resumed:
                break
            resumed = now
        return changed

    def _read_once(self, resumed: list[dict[str, Any]]) -> bool:
        files = self._files or {}
        names = events_files(self.info.run_dir)
        ordered = {name: files.get(name) or EventsFile(self.info.run_dir, name, self._cache) for name in names}
        changed = ordered.keys() != files.keys()
        sessions.tell(ordered, resumed)
        for file in ordered.values():
            changed = file.read() or changed
        self._files = ordered
        if changed:
            self._columns.clear()
        return changed

    def _build(self, name: str, files: list[EventsFile], *, superseded: bool = False) -> Column:
        builder = ColumnBuilder(name)
        for file in files:
            for header, of_name in file.of_metric(name) if superseded else sessions.current(file, name):
                builder.add(of_name, header.origins)
        return builder.column()

    def _origins(self) -> set[tuple[str | None, int | None, str | None]]:
        return {origin for file in self.events_files() for header in file.headers for origin in header.origins}

    def _object(self, name: str) -> dict[str, Any]:
        return self._object_and_problem(name)[0]

    def _object_and_problem(self, name: str) -> tuple[dict[str, Any], Problem | None]:
        found = self._objects.get(name)
        if found is None:
            try:
                found = read_object(self.info.run_dir, name), None
            except DamagedError as error:
                found = {}, Problem(name, 0, str(error))
            self._objects[name] = found
        return found

    def _inside(self, stored: str) -> str | None:
        path = os.path.join(self.info.run_dir, stored)
        return path if "\0" not in path and is_inside(self.info.run_dir, path) else None


def load(run: str | os.PathLike[str] | RunInfo | LoggedRun, storage: str | os.PathLike[str] | None = None) -> LoadedRun:
    """A run with its numbers.

    Args:
        run: its id, the beginning of its id, its alias, its directory (in any storage), its ``RunInfo``, or a ``Run``.
        storage: the storage root to search for ids and aliases; None = the one that ``init()`` would use.

    Raises:
        LookupError: no run matches, or several do; the message names them. Or the ``Run`` was opened while
            tracking was switched off, so nothing is stored.
        TypeError: ``run`` is of another type.
    """
    return LoadedRun(find(run, storage), Cache.of_user())


def events_files(run_dir: str) -> list[str]:
    """The events files that there are: the main one, those of ranks, those of other hosts."""
    try:
        names = [name for name in os.listdir(run_dir) if name.startswith(_MARKED) and name.endswith(".jsonl")]
    except OSError:
        names = []
    ranks = sorted((name for name in names if run_files.is_events_of_rank(name)), key=lambda name: _rank_of(name) or 0)
    hosts = sorted(name for name in names if name != run_files.EVENTS and not run_files.is_events_of_rank(name))
    return [*(name for name in names if name == run_files.EVENTS), *ranks, *hosts]


def _rank_of(name: str) -> int | None:
    return int(name.split(".")[1].removeprefix("rank")) if run_files.is_events_of_rank(name) else None


def _without_clock(info: RunInfo) -> tuple[Any, ...]:
    return tuple(
        None if name == "duration_s" and info.status in {statuses.RUNNING, LOST} else _comparable(getattr(info, name))
        for name in info.__struct_fields__
    )


def _comparable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict) else None if isinstance(value, float) and math.isnan(value) else value


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "none"
