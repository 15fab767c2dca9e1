"""XGBoost: ``xgb.train(callbacks=[RunicornCallback()])``, also ``xgb.cv`` and ``XGBClassifier(callbacks=...)``."""

from __future__ import annotations

import json
from typing import Any

from runicorn.integrations import _names, _run

_xgboost = _run.needed("xgboost", "xgboost-cpu")
_Callback: Any = _xgboost.callback.TrainingCallback


class RunicornCallback(_Callback):  # type: ignore[misc]
    """A callback that logs ``<data>/<metric>`` after each round; in ``cv``, ``<data>/<metric>-mean`` and ``-std``.

    All trainings of one callback go into one run. If the callback has opened it, it is ended after each of them, and
    opened again for the next.

    Args:
        path: path of the run, if the program has not opened one.
        run: log into this run.
        all_ranks: have ranks above 0 of a distributed training log as well.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, path: str | None = None, *, run: Any = None, all_ranks: bool = False, **init: Any) -> None:
        super().__init__()
        self._holder = _run.RunHolder("RunicornCallback", run, all_ranks=all_ranks, path=path, **init)

    def before_training(self, model: Any) -> Any:
        """Open the run, and note the model's parameters."""
        self._begin(model)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 - XGBoost's
        """Log a round; True would stop the training."""
        self._log(epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """End the run if it is the callback's own."""
        self._end(model)
        return model

    @_run.harmless
    def _begin(self, model: Any) -> None:
        run = self._holder.begin(rank=_xgboost.collective.get_rank())
        if hasattr(model, "save_config"):  # the models of cv have none
            run.log_config(extra={"xgboost": json.loads(model.save_config())}, merge=True)

    @_run.harmless
    def _log(self, epoch: int, evals_log: Any) -> None:
        points: dict[str, Any] = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                points.update(_point(f"{data}/{metric}", values[-1]))
        self._holder.open().log(_names.flat(points), step=epoch)

    @_run.harmless
    def _end(self, model: Any) -> None:
        best = {name: model.attr(name) for name in ("best_iteration", "best_score") if hasattr(model, "attr")}
        found = {name: json.loads(text) for name, text in best.items() if text is not None}
        if found:
            self._holder.open().summary(found)
        self._holder.end()


def _point(name: str, value: Any) -> dict[str, Any]:
    return {f"{name}-mean": value[0], f"{name}-std": value[1]} if isinstance(value, tuple) else {name: value}
