"""Ignite: ``RunicornLogger().attach_output_handler(...)``, as with the loggers that Ignite has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.integrations import _names, _run

if TYPE_CHECKING:
    from runicorn.noop import NoOpRun
    from runicorn.run import Run

_base: Any = _run.needed("ignite.handlers.base_logger", "pytorch-ignite")
_distributed: Any = _run.needed("ignite.distributed", "pytorch-ignite")
_Logger: Any = _base.BaseLogger
_OutputHandler: Any = _base.BaseOutputHandler
_ParamsHandler: Any = _base.BaseOptimizerParamsHandler


class RunicornLogger(_Logger):  # type: ignore[misc]
    """A logger; ``close()``, or leaving ``with``, ends the run if the logger has opened it. Ignite does neither.

    Args:
        path: path of the run, if the program has not opened one.
        run: log into this run.
        all_ranks: have ranks above 0 log as well.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, *, run: Any = None, all_ranks: bool = False, **init: Any) -> None:
        self._holder = _run.RunHolder("RunicornLogger", run, all_ranks=all_ranks, path=path, **init)

    @property
    def run(self) -> Run | NoOpRun:
        """The run; on ranks above 0 one that stores nothing."""
        return self._holder.open(rank=_distributed.get_rank())

    @_run.harmless
    def close(self) -> None:
        """The training has ended; in ``with`` the exception says how."""
        self._holder.end()

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> OutputHandler:
        return OutputHandler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> OptimizerParamsHandler:
        return OptimizerParamsHandler(*args, **kwargs)


class OutputHandler(_OutputHandler):  # type: ignore[misc]
    """Logs an engine's metrics, output and attributes of its state as ``<tag>/<name>``."""

    @_run.harmless
    def __call__(self, engine: Any, logger: RunicornLogger, event_name: Any) -> None:
        """Log a point; values on a device are not waited for."""
        found = _chosen(engine.state.metrics, self.metric_names)
        if self.output_transform is not None:
            output = self.output_transform(engine.state.output)
            found.update(output if isinstance(output, dict) else {"output": output})
        found.update({name: getattr(engine.state, name, None) for name in self.state_attributes or ()})
        logger.run.log(_names.flat(found, f"{self.tag}/"), step=self.global_step_transform(engine, event_name))


class OptimizerParamsHandler(_ParamsHandler):  # type: ignore[misc]
    """Logs a parameter of an optimizer, such as its learning rate, as ``<tag>/<name>/group_<n>``."""

    @_run.harmless
    def __call__(self, engine: Any, logger: RunicornLogger, event_name: Any) -> None:
        """Log a point."""
        prefix = f"{self.tag}/" if self.tag else ""
        groups = enumerate(self.optimizer.param_groups)
        found = {f"{self.param_name}/group_{index}": group[self.param_name] for index, group in groups}
        logger.run.log(_names.flat(found, prefix), step=engine.state.get_event_attrib_value(event_name))


def _chosen(metrics: dict[str, Any], names: list[str] | str | None) -> dict[str, Any]:
    if names == "all":
        return dict(metrics)
    return {name: metrics[name] for name in names or () if name in metrics}
