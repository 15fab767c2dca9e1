"""Whose run an adapter logs into, and when that run ends.

The run is the one that the adapter was given; else the one that the program has opened; else one that the adapter opens
by itself. Only the last is ended here: at the end of each phase (``fit``, ``test``, ...), so that its status is true
also in a notebook and in a sweep. A later phase of the same adapter opens it again and goes on in it.

Few frameworks tell that an exception has ended a training. So a training that has begun and not ended is noted, and its
run becomes ``failed`` or ``interrupted`` as soon as that can be known: when the notebook's cell has ended, when the
adapter is thrown away, or when the interpreter ends.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import logging
import os
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec

from runicorn.errors import MissingPackageError, WrongTypeError
from runicorn.host import identity, ranks
from runicorn.lifecycle import job_script, opening
from runicorn.lifecycle.init import init
from runicorn.noop import NoOpRun
from runicorn.refusals import LOGGER
from runicorn.run import Run
from runicorn.session import active_runs, at_exit, exit_status, supervised
from runicorn.settings import Settings
from runicorn.storage import paths, statuses

if TYPE_CHECKING:
    from collections.abc import Callable

_LEFT = "training did not come to its end"
_NAMED = frozenset({"path", "alias", "storage"})
"""Arguments that say which run is meant; an open run takes the place of the run that they mean."""
_AGAIN = ("capture_console", "tqdm_mode")
"""Arguments of ``init()`` that hold for each session of a run, and not for its beginning alone."""

_by_adapters: weakref.WeakSet[Run] = weakref.WeakSet()
"""The runs that adapters have opened: no other adapter takes them for one that the program has opened."""
runs_of_many: weakref.WeakSet[Run] = weakref.WeakSet()
"""Those of trials and jobs, which end with them: adapters inside take them, those of another thread do not."""
_in_training: weakref.WeakSet[RunHolder] = weakref.WeakSet()
_watching_pid: int | None = None
_told: set[tuple[str, str]] = set()

_Arguments = ParamSpec("_Arguments")


class RunHolder:
    """The run of one adapter; copies of the adapter in this process share it.

    Pickled, it opens the run, so that all processes that it is sent to log into that one and none of them ends it.

    Attributes:
        is_training: between ``begin()`` and ``end()``.
    """

    def __init__(self, adapter: str, run: Any = None, *, all_ranks: bool = False, **arguments: Any) -> None:
        """Note what was asked for; nothing is opened yet.

        Args:
            adapter: what the user knows it as, for messages.
            run: what ``init()`` has returned; None = the run that is open, else one of its own.
            all_ranks: whether ranks above 0 log as well. Then the run stays open until the process ends, for ranks do
                not come to an end together.
            **arguments: of ``init()``, for a run of its own.

        Raises:
            TypeError, ValueError: an argument is wrong.
        """
        if run is not None and not isinstance(run, (Run, NoOpRun)):
            raise WrongTypeError(
                f"{adapter}(): run={run!r} is of type {type(run).__name__}. Write what runicorn.init() has returned, "
                "or a path as the first argument."
            )
        self.is_training = False
        self._adapter = adapter
        self._given = run
        self._all_ranks = all_ranks
        self._arguments = _checked(arguments)
        self._run: Run | NoOpRun | None = None
        self._owning_pid: int | None = None
        self._errors_before: set[int] = set()
        self._lock = threading.RLock()

    @property
    def is_ours(self) -> bool:
        """Whether the adapter has opened the run itself, in this process."""
        return self._owning_pid == os.getpid()

    def open(self, path: str | None = None, alias: str | None = None, rank: int | None = None) -> Run | NoOpRun:
        """The run, which is opened if it is not; never raises, unless strict.

        The job script's variables come before what the framework says, and after what the adapter was given.

        Args:
            path: what the framework calls the experiment, for a run of its own without a ``path``.
            alias: likewise.
            rank: this process's, if the framework knows it; None = as the environment says.
        """
        run = self._run
        if run is not None and not run.is_finished:
            return run
        with self._lock:
            self._run = or_none(self._adapter, lambda: self._opened({"path": path, "alias": alias}, rank))
            self._errors_before = _errors_now()
            return self._run

    def begin(self, path: str | None = None, alias: str | None = None, rank: int | None = None) -> Run | NoOpRun:
        """``open()`` at the beginning of a training whose end the framework will tell, unless an exception ends it."""
        if not self.is_training and not self.is_ours and opened_by_program() not in {None, self._run}:
            self._run = None  # the program has opened another one since
        run = self.open(path, alias, rank)
        self.is_training = True
        self._errors_before = _errors_now()
        if self.is_ours:
            _in_training.add(self)
            _watch_exit()
            _watch_cell(self)
        return run

    def end(self, status: str | None = None, reason: str | None = None) -> None:
        """A phase has ended: end the run if it is the adapter's own.

        Args:
            status: a word of the framework; None = as the exception says that is being handled, if there is one.
            reason: for ``exit_reason``; None = of that exception.
        """
        self.is_training = False
        _in_training.discard(self)
        ending = self._ending(status, reason)
        if not (self._all_ranks and ending[0] == statuses.FINISHED):
            self._finish(*ending)

    def forget(self) -> None:
        """The next training gets a run of its own; the one before is ended if it is not."""
        self.let_go()
        self._run = self._owning_pid = None

    def let_go(self) -> None:
        """Nobody will tell any more how this ended; a training that has not come to its end has failed."""
        if not self.is_training:
            self._finish(statuses.FINISHED, None)
            return
        self.is_training = False
        error = getattr(sys, "last_value", None)
        if error is None or id(error) in self._errors_before:
            self._finish(statuses.FAILED, _LEFT)
        else:
            self._finish(*exit_status.of_exception(error))

    def ended_by(self, error: BaseException) -> None:
        """An exception has ended the training."""
        self.is_training = False
        self._finish(*exit_status.of_exception(error))

    def __del__(self) -> None:
        # Not by suppress(): at the end of the interpreter, which has ended the run before, this module may be empty.
        try:  # noqa: SIM105
            self.let_go()
        except Exception:  # noqa: BLE001, S110
            pass

    def __copy__(self) -> RunHolder:
        return self

    def __deepcopy__(self, memo: Any) -> RunHolder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._adapter, self.open(), self._all_ranks, self._arguments)

    def _opened(self, suggested: dict[str, str | None], rank: int | None) -> Run | NoOpRun:
        if not self._all_ranks and (_rank_of_environment() if rank is None else rank) > 0:
            return NoOpRun()
        if self._given is not None and not self._given.is_finished:
            return self._given
        running = None if self._given is not None or "run_id" in self._arguments else opened_by_program()
        if running is not None:
            self._tell_unused(running)
            self._owning_pid = None
            return running
        before = self._run or self._given
        if isinstance(before, Run):
            return self._continued(before)
        run = self._own({**job_script.named(suggested), **self._arguments})
        if self.is_ours:
            run.set_labels(group=job_script.decides("group"))
        return run

    def _continued(self, run: Run) -> Run | NoOpRun:
        """The run of an earlier phase, which has ended; its owner alone opens it again."""
        session = run._session  # noqa: SLF001 - ours
        if not session.is_owner or session.queue.forked_here:
            return run
        kept = {name: self._arguments[name] for name in _AGAIN if name in self._arguments}
        where = {"path": run.path or "/", "storage": str(run.storage_root), "run_id": run.id}
        return self._own({**kept, **where})

    def _own(self, arguments: dict[str, Any]) -> Run | NoOpRun:
        open_before = active_runs.open_runs()
        run = init(**arguments)
        if isinstance(run, Run) and run not in open_before:
            self._owning_pid = os.getpid()
            _by_adapters.add(run)
        return run

    def _tell_unused(self, run: Run) -> None:
        unused = ", ".join(f"{name}=" for name in sorted(_NAMED & self._arguments.keys()))
        if unused:
            tell(
                self._adapter,
                "unused",
                f"run {run.id} is open and is used, so {unused} had no effect. Leave it out, or end that run first.",
            )

    def _ending(self, status: str | None, reason: str | None) -> tuple[str, str | None]:
        try:
            stored = None if status is None else statuses.normalise_status(status)
        except (TypeError, ValueError):  # a word that a framework has come up with since
            return statuses.FAILED, reason or str(status)
        error = sys.exc_info()[1]
        if stored in {None, statuses.FAILED} and reason is None and error and id(error) not in self._errors_before:
            return exit_status.of_exception(error)
        return stored or statuses.FINISHED, reason or (None if status is None else statuses.reason_of(status))

    def _finish(self, status: str, reason: str | None) -> None:
        run = self._run
        if run is not None and self.is_ours and not run.is_finished:
            run.finish(status, reason)


def or_none(adapter: str, opened: Callable[[], Run | NoOpRun]) -> Run | NoOpRun:
    """The run; one that stores nothing if it cannot be opened, which is told once. Strict, that raises.

    Args:
        adapter: who wants it.
        opened: opens it.
    """
    try:
        return opened()
    except Exception as error:
        if is_strict():
            raise
        tell(adapter, "open", f"no run could be opened, so nothing is stored: {error}")
        return NoOpRun()


def harmless(hook: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """Have an exception inside a hook of an adapter told once, and not end the training; strict, it raises."""

    @functools.wraps(hook)
    def guard(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except Exception as error:
            if is_strict():
                raise
            text = f"{type(error).__name__}: {error}. What it had to store may be missing; the training goes on."
            tell(type(args[0]).__name__, hook.__name__, f"{hook.__name__}() failed: {text}")

    return guard


def tell(adapter: str, kind: str, text: str) -> None:
    """Warn once of a kind."""
    if (adapter, kind) not in _told:
        _told.add((adapter, kind))
        with suppress(Exception):  # a handler of the program's own
            logging.getLogger(LOGGER).warning("%s: %s", adapter, text)


def needed(module: str, package: str) -> Any:
    """The framework's module.

    Args:
        module: what is imported.
        package: what ``pip`` calls it.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        if error.name != root:  # it is installed, and lacks something itself
            raise
        raise MissingPackageError(
            f"This adapter of runicorn needs {root}, which is not installed. Install it with: pip install {package}",
            name=root,
        ) from error


def is_strict() -> bool:
    """Whether refusals raise."""
    return Settings.from_environment().strict


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    known = frozenset(init.__annotations__) - {"return"}
    if not known.issuperset(arguments):
        from runicorn.lifecycle import foreign_keywords

        raise foreign_keywords.error([name for name in arguments if name not in known], known)
    paths.normalise_path(arguments.get("path"))
    return {name: value for name, value in arguments.items() if value is not None}


def _rebuilt(adapter: str, run: Any, all_ranks: bool, arguments: dict[str, Any]) -> RunHolder:
    return RunHolder(adapter, run, all_ranks=all_ranks, **arguments)


def _rank_of_environment() -> int:
    info = ranks.rank_info()
    return 0 if info is None else info.rank


def opened_by_program() -> Run | None:
    """The run that the program has opened, of this context or else of this process; or ``runicorn run`` for it."""
    others = runs_of_many.difference(active_runs.in_context())
    found = (run for run in active_runs.active() if run not in _by_adapters and run not in others)
    return next(found, None) or _of_command()


def _of_command() -> Run | None:
    """The run that ``runicorn run`` has opened for this program, if nobody has asked for it yet."""
    run_dir = os.environ.get(supervised.VARIABLE)
    if not run_dir or any(pid == os.getpid() for pid, _ in opening.opened_before):
        return None
    if supervised.address_of(run_dir, identity.label_of(identity.hostname())) is None:
        return None
    run = or_none("runicorn run", init)
    return run if isinstance(run, Run) else None


def _errors_now() -> set[int]:
    """Exceptions that have to do with something before: one that is being handled, and the last that was shown."""
    return {id(each) for each in (sys.exc_info()[1], getattr(sys, "last_value", None)) if each is not None}


def _watch_exit() -> None:
    global _watching_pid  # noqa: PLW0603 - one hook per process
    if _watching_pid != os.getpid():
        _watching_pid = os.getpid()
        atexit.register(_end_what_was_left)  # after that of the run, so it is called before


def _end_what_was_left() -> None:
    """The interpreter ends well, so an exception has ended a training and was caught."""
    if os.getpid() == _watching_pid and at_exit.how_it_ended()[0] == statuses.FINISHED:
        for holder in list(_in_training):
            holder.let_go()


def _watch_cell(holder: RunHolder) -> None:
    """In a notebook: an exception that ends the cell has ended the training."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    known = weakref.ref(holder)

    def after_cell(result: Any) -> None:
        shell.events.unregister("post_run_cell", after_cell)
        still, error = known(), getattr(result, "error_in_exec", None)
        if still is not None and still.is_training and isinstance(error, BaseException):
            still.ended_by(error)

    shell.events.register("post_run_cell", after_cell)
