"""Optuna: ``study.optimize(objective, callbacks=[RunicornCallback()])``, and a run for each trial by ``@track()``."""

from __future__ import annotations

import functools
import threading
import weakref
from typing import TYPE_CHECKING, Any

from runicorn.integrations import _many, _names, _run
from runicorn.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

_optuna = _run.needed("optuna", "optuna")
_studies: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()
"""The runs of studies, by their names: the trials' parents."""
_in_thread = threading.local()
"""``orphan``: number and run of the trial that this thread has ended last, if the study had no run yet."""


class RunicornCallback:
    """A callback that logs a point for each trial: its values, parameters and state; the step is its number.

    Optuna does not tell callbacks that the study has ended. If the callback has opened the run, the run ends when no
    variable refers to the callback any more.

    Args:
        path: path of the run, if the program has not opened one; None = after the study's name.
        run: log into this run.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, *, run: Any = None, **init: Any) -> None:
        self._holder = _run.RunHolder("RunicornCallback", run, path=path, **init)

    @_run.harmless
    def __call__(self, study: Any, trial: Any) -> None:
        """Log a trial."""
        run = self._holder.open(path=_slug(study.study_name))
        run.log(_names.flat(_point(trial)), step=trial.number)
        if isinstance(run, Run):
            _studies[study.study_name] = run
            number, orphan = getattr(_in_thread, "orphan", (None, None))
            if orphan is not None and number == trial.number:
                _many.adopt(orphan, run)
                del _in_thread.orphan


def track(path: str | None = None, **init: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """A decorator of an objective that gives each trial a run; adapters and ``get_active_run()`` find it.

    The study's name is the runs' group; that of ``RunicornCallback()``, or one that is open around the study, is their
    parent. A pruned trial is ``interrupted`` with the reason ``pruned``.

    Args:
        path: path of the runs; None = the study's name.
        **init: more arguments of ``runicorn.init()``.
    """
    given = init if path is None else {"path": path, **init}

    def decorate(objective: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(objective)
        def tracked(trial: Any) -> Any:
            study = trial.study.study_name
            suggested = {"path": _slug(study), "alias": f"trial-{trial.number}"}
            above = _studies.get(study)
            with _many.one_of_many("track", study, suggested, given, above) as run:
                if above is None and isinstance(run, Run):
                    _in_thread.orphan = (trial.number, run)
                try:
                    value = _with_parameters(objective, trial, run)
                except _optuna.TrialPruned:
                    run.finish("pruned")
                    raise
                run.summary(_named(value))
            return value

        return tracked

    return decorate


def _with_parameters(objective: Callable[[Any], Any], trial: Any, run: Any) -> Any:
    """What the objective returns; the trial's parameters, which it chooses, are the run's configuration."""
    try:
        return objective(trial)
    finally:
        run.log_config(args=trial.params)


def _point(trial: Any) -> dict[str, Any]:
    parameters = {f"params/{name}": value for name, value in trial.params.items()}
    return {**_named(trial.values or ()), **parameters, "state": trial.state.name}


def _named(values: Any) -> dict[str, Any]:
    """What an objective returns: one value, or several."""
    several = list(values) if isinstance(values, (tuple, list)) else [values]
    return {"value": several[0]} if len(several) == 1 else {f"value/{at}": each for at, each in enumerate(several)}


def _slug(text: str) -> str:
    from runicorn.storage.slugs import slug

    return slug(text)
