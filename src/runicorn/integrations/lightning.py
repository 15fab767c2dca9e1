"""Lightning and Fabric, of both packages: ``Trainer(logger=RunicornLogger("cv/resnet"))``."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from runicorn.integrations import _names, _run

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from runicorn.noop import NoOpRun
    from runicorn.run import Run

_BASES = {
    "lightning": "lightning.pytorch.loggers",
    "pytorch_lightning": "pytorch_lightning.loggers",
    "lightning_fabric": "lightning_fabric.loggers",
}


def _base() -> Any:
    """``Logger`` of the package that the program uses; each one's works in the other's ``Trainer``, and in Fabric."""
    installed = (name for name in _BASES if importlib.util.find_spec(name) is not None)
    package = next((name for name in _BASES if name in sys.modules), None) or next(installed, "lightning")
    return _run.needed(_BASES[package], "lightning").Logger


_rank_zero_only = _run.needed("lightning_utilities.core.rank_zero", "lightning").rank_zero_only
_Logger: Any = _base()


class RunicornLogger(_Logger):  # type: ignore[misc]
    """A logger for ``Trainer`` and ``Fabric``; metrics keep their names and steps.

    ``fit``, ``validate`` and ``test`` go into one run. If the logger has opened it, it is ended after each of them, and
    opened again for the next. Checkpoints go to ``<default_root_dir>/<path>/<run id>/checkpoints``; none is copied, and
    ``summary.json`` names the best.

    Args:
        path: path of the run, if the program has not opened one.
        run: log into this run.
        all_ranks: have ranks above 0 log as well; they must all be started with the same environment.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, *, run: Any = None, all_ranks: bool = False, **init: Any) -> None:
        super().__init__()
        self._holder = _run.RunHolder("RunicornLogger", run, all_ranks=all_ranks, path=path, **init)
        self._checkpoints: Any = None

    @property
    def experiment(self) -> Run | NoOpRun:
        """The run; on ranks above 0 one that stores nothing."""
        return self._holder.open(rank=getattr(_rank_zero_only, "rank", None))

    @property
    def name(self) -> str:
        """The run's path."""
        return self.experiment.path

    @property
    def version(self) -> str:
        """The run's id."""
        return self.experiment.id

    @_run.harmless
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log a point."""
        self.experiment.log(_names.flat(metrics), step=step)

    @_run.harmless
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_args: Any, **_kwargs: Any) -> None:
        """Add to the run's configuration."""
        self.experiment.log_config(args=params, merge=True)

    @_run.harmless
    def log_graph(self, model: Any, input_array: Any = None) -> None:  # noqa: ARG002 - Lightning's
        """The trainer has begun; the graph is not stored."""
        self._holder.begin(rank=getattr(_rank_zero_only, "rank", None))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Note which checkpoints there are, without looking at their scores, which may be on a device."""
        self._checkpoints = checkpoint_callback

    @_run.harmless
    def finalize(self, status: str) -> None:
        """One of ``fit``, ``validate``, ``test`` and ``predict`` has ended."""
        if self._checkpoints is not None:
            self.experiment.summary(_summary_of(self._checkpoints))
            self._checkpoints = None
        self._holder.end(status)


def _summary_of(checkpoints: Any) -> dict[str, Any]:
    found = {name: getattr(checkpoints, name, None) for name in ("best_model_path", "last_model_path")}
    score = getattr(checkpoints, "best_model_score", None)
    found["best_model_score"] = None if score is None else float(score)
    return {name: value for name, value in found.items() if value not in {None, ""}}
