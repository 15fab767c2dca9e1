"""Hydra: ``hydra.callbacks.runicorn._target_: runicorn.integrations.hydra.RunicornCallback`` in the configuration."""

from __future__ import annotations

from typing import Any

import runicorn
from runicorn.integrations import _run

_Callback: Any = _run.needed("hydra.experimental.callback", "hydra-core").Callback
_omegaconf = _run.needed("omegaconf", "hydra-core")


class RunicornCallback(_Callback):  # type: ignore[misc]
    """A callback that gives each job a run; the job gets it by ``runicorn.get_active_run()``, and adapters find it.

    Its configuration is the job's, and its status the job's. The jobs of one ``--multirun`` are in one group.

    Args:
        path: path of the runs; None = the job's name.
        **init: more arguments of ``runicorn.init()``.
    """

    def __init__(self, path: str | None = None, **init: Any) -> None:
        self._path = path
        self._arguments = init
        self._run: Any = None

    @_run.harmless
    def on_job_start(self, config: Any, **_: Any) -> None:
        """Open a run."""
        job = config.hydra.job
        named = {"path": self._path or runicorn.slug(job.name), "alias": job.override_dirname or None}
        arguments: dict[str, Any] = {**named, **self._arguments}
        self._run = _run.or_none("RunicornCallback", lambda: runicorn.init(**arguments))
        own = [name for name in config if name != "hydra"]
        self._run.log_config(
            args=_omegaconf.OmegaConf.masked_copy(config, own),
            extra={"hydra": {"job": job.name, "overrides": list(config.hydra.overrides.task)}},
        )
        if not _omegaconf.OmegaConf.is_missing(job, "num"):
            self._run.set_labels(group=config.hydra.sweep.dir)

    @_run.harmless
    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:  # noqa: ARG002 - Hydra's
        """End the run, as the job has ended."""
        error = getattr(job_return, "_return_value", None) if job_return.status.name == "FAILED" else None
        if not self._run.is_finished:
            self._run.__exit__(type(error), error, None)
