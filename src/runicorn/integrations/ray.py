"""Ray Tune: ``RunConfig(callbacks=[RunicornLoggerCallback()])``."""

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


class RunicornLoggerCallback(_Callback):  # type: ignore[misc]
    """A callback of the driver that gives each trial a run, whose id is that of the trial; its step is the trial's.

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


def _reason(trial: Any) -> str:
    """The last line of what the trial has raised, without the traceback; Ray has it in a file by now, not in memory."""
    lines: list[str] = []
    if trial.error_file:
        with suppress(OSError), open(trial.error_file, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
    return lines[-1] if lines else "the trial has failed"
