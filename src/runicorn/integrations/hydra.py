"""Hydra: ``hydra.callbacks.runicorn._target_: runicorn.integrations.hydra.RunicornCallback`` in the configuration."""

from __future__ import annotations

from typing import Any

import runicorn
from runicorn.integrations import _many, _run

_Callback: Any = _run.needed("hydra.experimental.callback", "hydra-core").Callback
_omegaconf = _run.needed("omegaconf", "hydra-core")


class RunicornCallback(_Callback):  # type: ignore[misc]
    """A callback that gives each job a run; the job gets it by ``runicorn.get_active_run()``, and adapters find it.

    Its configuration is the job's, and its status the job's. The jobs of one ``--multirun`` are in one group; a run
    that is open around them is their parent. A job alone uses that run, and does not end it.

    Args:
        path: path of the runs; None = the job's name.
        **init: more arguments of ``runicorn.init()``.
    """

    def __init__(self, path: str | None = None, **init: Any) -> None:
        self._given = init if path is None else {"path": path, **init}
        self._run: Any = None

    @_run.harmless
    def on_job_start(self, config: Any, **_: Any) -> None:
        """Open a run."""
        job = config.hydra.job
        suggested = {"path": runicorn.slug(job.name), "alias": job.override_dirname or None}
        if _omegaconf.OmegaConf.is_missing(job, "num"):
            self._run = _many.one_alone("RunicornCallback", suggested, self._given)
        else:
            self._run = _many.one_of_many("RunicornCallback", config.hydra.sweep.dir, suggested, self._given)
        own = [name for name in config if name != "hydra"]
        self._run.log_config(
            args=_omegaconf.OmegaConf.masked_copy(config, own),
            extra={"hydra": {"job": job.name, "overrides": list(config.hydra.overrides.task)}},
        )

    @_run.harmless
    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:  # noqa: ARG002 - Hydra's
        """End the run, as the job has ended."""
        error = getattr(job_return, "_return_value", None) if job_return.status.name == "FAILED" else None
        if self._run in _run.runs_of_many and not self._run.is_finished:
            self._run.__exit__(type(error), error, None)
