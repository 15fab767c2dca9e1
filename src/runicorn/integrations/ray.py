"""Ray Tune: ``RunConfig(callbacks=[RunicornLoggerCallback()])``; Ray Train: ``[RunicornUserCallback()]``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import runicorn
from runicorn.integrations import _many, _names, _run

_Callback: Any = _run.needed("ray.tune.logger", "'ray[tune]'").LoggerCallback
_NO_METRICS = frozenset(
    {"config", "trial_id", "date", "hostname", "node_ip", "pid", "done", "checkpoint_dir_name", "timestamp"}
    | {"experiment_tag", "should_checkpoint"}
)


_UserCallback: Any = getattr(_run.needed("ray.train", "'ray[train]'"), "UserCallback", object)  # since its version 2


class RunicornLoggerCallback(_Callback):  # type: ignore[misc]
    """A callback in the driver that gives each trial a run; the run has the id and the steps of the trial.

    The trials of one experiment are in one group; a run that the driver has open is their parent. A trial that is
    restored goes on in its run.

    Args:
        path: path of the runs; None = the experiment's name.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, **init: Any) -> None:
        super().__init__()
        _run.RunHolder("RunicornLoggerCallback", path=path, **init)  # wrong arguments raise here
        self._arguments = {"path": path, **init}
        self._holders: dict[Any, _run.RunHolder] = {}

    @_run.harmless
    def log_trial_start(self, trial: Any) -> None:
        """Open the trial's run."""
        above = _run.opened_by_program()
        arguments = {"alias": str(trial), **self._arguments, "run_id": runicorn.slug(trial.trial_id)}
        holder = self._holders[trial] = _run.RunHolder("RunicornLoggerCallback", **arguments)
        experiment = trial.storage.experiment_dir_name
        run = holder.begin(path=runicorn.slug(experiment))
        run.log_config(args=trial.config)
        _many.set_place(run, experiment, above)

    @_run.harmless
    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002 - the driver's
        """Log a point."""
        if trial not in self._holders:
            self.log_trial_start(trial)
        metrics = {name: value for name, value in result.items() if name not in _NO_METRICS}
        step = metrics.pop("training_iteration", None)
        self._holders[trial].open().log(_names.flat(metrics), step=step)

    @_run.harmless
    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End the trial's run."""
        holder = self._holders.pop(trial, None)
        if holder is not None:
            holder.end("failed" if failed else "finished", _reason(trial) if failed else None)

    @_run.harmless
    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002 - Tune's
        """End the runs of trials that have not ended: Ctrl-C, or a limit of time, has stopped Tune."""
        for trial in list(self._holders):
            self._holders.pop(trial).end("interrupted", "Ray Tune was stopped")


class RunicornUserCallback(_UserCallback):  # type: ignore[misc]
    """A callback of Ray Train that logs what the workers report; a report is a step, and the first is 1.

    The run belongs to the driver, which gives it to Ray's controller with the callback. Ray tells no end: the run is
    ended as soon as nobody in the driver holds the callback any more, at the latest with the driver.

    Args:
        path: path of the run, if the driver has not opened one.
        run: log into this run.
        all_ranks: have what workers above rank 0 report stored as well, as ``loss/rank1`` and so on.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, *, run: Any = None, all_ranks: bool = False, **init: Any) -> None:
        super().__init__()
        self._holder = _run.RunHolder("RunicornUserCallback", run, path=path, **init)
        self._all_ranks = all_ranks
        self._reports = 0

    @_run.harmless
    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:  # noqa: ARG002
        """Log a point."""
        self._reports += 1
        found = dict(metrics[0])
        if self._all_ranks:
            for rank, reported in enumerate(metrics[1:], 1):
                found.update({f"{name}/rank{rank}": value for name, value in reported.items()})
        run = self._holder.open()
        run.log(_names.flat(found), step=self._reports)
        if checkpoint is not None:
            run.summary({"last_checkpoint": checkpoint.path})

    @_run.harmless
    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
        """Note what workers have raised; Ray may start them again."""
        for rank, error in worker_exceptions.items():
            self._holder.open().log_text(f"worker {rank} raised {error}")


def _reason(trial: Any) -> str:
    """The last line of what the trial has raised, without the traceback; Ray has it in a file by now, not in memory."""
    lines: list[str] = []
    if trial.error_file:
        with suppress(OSError), open(trial.error_file, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
    return lines[-1] if lines else "the trial has failed"
