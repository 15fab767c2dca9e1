"""LightGBM: ``lgb.train(callbacks=[log_to_runicorn()])``, also ``lgb.cv``, and ``fit(callbacks=...)`` of estimators."""

from __future__ import annotations

from typing import Any

from runicorn.integrations import _names, _run

_run.needed("lightgbm", "lightgbm")


def log_to_runicorn(path: str | None = None, *, run: Any = None, **init: Any) -> LightGBMCallback:
    """A callback that logs ``<data>/<metric>`` after each iteration; in ``cv``, ``<data>/<metric>-mean`` and ``-std``.

    If the callback has opened the run, the run ends at the last iteration. LightGBM does not tell callbacks about early
    stopping: then the run ends when no variable refers to the callback any more.

    Args:
        path: path of the run, if the program has not opened one.
        run: log into this run.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    return LightGBMCallback(_run.RunHolder("log_to_runicorn", run, path=path, **init))


class LightGBMCallback:
    """What ``log_to_runicorn()`` returns."""

    order = 20
    """Below that of early stopping, 30, which raises: the last iteration would be lost."""
    before_iteration = False

    def __init__(self, holder: _run.RunHolder) -> None:
        self._holder = holder

    @_run.harmless
    def __call__(self, env: Any) -> None:
        """Log an iteration."""
        run = self._holder.open()
        if env.iteration == env.begin_iteration:
            run.log_config(extra={"lightgbm": env.params}, merge=True)
        points: dict[str, Any] = {}
        for result in env.evaluation_result_list or []:
            points.update(_point(result))
        run.log(_names.flat(points), step=env.iteration)
        if env.iteration == env.end_iteration - 1:
            self._holder.end()


def _point(result: Any) -> dict[str, Any]:
    """Data, metric, value, and whether more is better; in ``cv``, a fifth member: the deviation."""
    if hasattr(result, "dataset_name"):
        name, value = f"{result.dataset_name}/{result.metric_name}", result.metric_value
        deviation = getattr(result, "metric_std_dev", None)
    else:  # a tuple, in older versions
        name, value = f"{result[0]}/{result[1]}", result[2]
        deviation = result[4] if len(result) > 4 else None
    return {name: value} if deviation is None else {f"{name}-mean": value, f"{name}-std": deviation}
