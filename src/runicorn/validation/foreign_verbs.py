"""What runs of other trackers have and ours does not: a call does what it means, if we can, and says what to write.

Each name is an attribute of the class, because a ``__getattr__`` would slow down every other attribute of a run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = ("key", "name", "tag", "metric_name", "main_tag", "title")
_VALUE = ("value", "scalar_value", "tag_scalar_dict", "img_tensor", "image", "image_data", "text_string", "text")
_VALUES = ("metrics", "dic", "params", "parameters", "data", "dictionary")
_STEP = ("step", "global_step", "iteration")


def _log(run: Any, key: Any, value: Any, step: Any) -> None:
    run.log({key: value}, step=step)


def _track(run: Any, value: Any, key: Any, step: Any) -> None:
    run.log({key: value}, step=step)


def _log_all(run: Any, values: Any, step: Any) -> None:
    run.log(values, step=step)


def _log_image(run: Any, key: Any, image: Any, step: Any) -> None:
    run.log_image(key, image, step=step)


def _log_text(run: Any, key: Any, text: Any, _step: Any) -> None:
    run.log_text(f"{key}: {text}")


def _configure(run: Any, key: Any, value: Any) -> None:
    run.log_config(extra={key: value}, merge=True)


def _configure_all(run: Any, values: Any) -> None:
    run.log_config(extra=values, merge=True)


def _finish(run: Any) -> None:
    run.finish()


_ONE, _MANY = (_KEY, _VALUE, _STEP), (_VALUES, _STEP)
_DONE: dict[str, tuple[Callable[..., None], tuple[tuple[str, ...], ...], str]] = {
    "log_metric add_scalar add_scalars log_scalar": (_log, _ONE, "run.log({name: value}, step=step)"),
    "track": (_track, (_VALUE, _KEY, _STEP), "run.log({name: value}, step=step)"),
    "log_metrics": (_log_all, _MANY, "run.log(metrics, step=step)"),
    "add_image": (_log_image, _ONE, "run.log_image(name, image, step=step)"),
    "add_text": (_log_text, _ONE, "run.log_text(text)"),
    "log_param log_parameter": (_configure, (_KEY, _VALUE), "run.log_config(args={name: value})"),
    "log_params log_parameters log_hyperparams": (_configure_all, (_VALUES,), "run.log_config(args=params)"),
    "end close stop": (_finish, (), "run.finish()"),
}
_NOTHING_DONE = {
    "watch": "run.log({...}) with the numbers of the model that matter",
    "define_metric": 'run.set_primary_metric(name, mode="min") for the metric that decides which run is best',
    "alert": "run.log_text(text)",
    "log_artifact log_artifacts save log_model log_file": "run.watch_outputs(output_dirs=[...]), or "
    "run.log_dataset(name, path, save=True) for data",
    "log_code": "init(snapshot_code=True)",
    "add_histogram add_figure add_graph log_figure": "run.log_image(name, figure) for a picture",
    "set_tag set_tags add_tag add_tags": "run.set_labels(tags=[...])",
    "log_table log_histogram": "run.log({...}) with numbers",
}
_NOT_HERE = {
    "config hparams params": "run.log_config(args=...) to record it; runicorn.load(run).config to read it",
    "name display_name": "run.alias, or init(alias=...) to set it",
    "notes tags group": "run.set_labels(tags=[...], notes=..., group=...)",
    "project experiment": "run.path, or init(path=...) to set it",
    "dir": "run.run_dir",
    "step": "run.global_step",
    "url": "run.run_dir: runs are plain files on this machine",
}


class Foreign:
    """One name of another tracker's run."""

    def __init__(self, name: str, instead: str, does: Callable[..., None] | None, arguments: Any) -> None:
        self.__doc__ = f"Not a part of runicorn: write {instead}."
        self._name, self._instead, self._does, self._arguments = name, instead, does, arguments

    def __get__(self, run: Any, _owner: type | None = None) -> Any:
        if run is None:
            return self
        if self._arguments is None:
            raise AttributeError(f"A run has no attribute {self._name!r}. Write {self._instead}.")
        return partial(self._call, run)

    def _call(self, run: Any, /, *given: Any, **named: Any) -> None:
        refusals = getattr(run, "_refusals", None)
        if refusals is None:  # tracking is switched off
            return
        if self._does is None:
            told = f"run.{self._name}() is not a call of runicorn. Nothing was done. Write {self._instead}."
            refusals.refuse(("foreign", self._name), WrongTypeError(told))
            return
        refusals.warn(
            ("foreign", self._name),
            f"run.{self._name}() is not a call of runicorn: it was taken as {self._instead}. Write that.",
        )
        try:
            self._does(run, *(self._argument(n, given, named) for n in range(len(self._arguments))))
        except TypeError as error:
            refusals.refuse(("foreign", self._name), WrongTypeError(f"run.{self._name}(): {error}"))

    def _argument(self, nth: int, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if nth < len(given):
            return given[nth]
        return next((named[name] for name in self._arguments[nth] if name in named), None)


def _all() -> dict[str, Foreign]:
    found = {}
    for names, (does, arguments, instead) in _DONE.items():
        found.update({name: Foreign(name, instead, does, arguments) for name in names.split()})
    for names, instead in _NOTHING_DONE.items():
        found.update({name: Foreign(name, instead, None, ()) for name in names.split()})
    for names, instead in _NOT_HERE.items():
        found.update({name: Foreign(name, instead, None, None) for name in names.split()})
    return found


FOREIGN = _all()


def _own_names(run: object) -> list[str]:
    """What ``dir()`` says and editors complete: the names of other trackers are not offered."""
    return sorted(set(object.__dir__(run)) - FOREIGN.keys())


def explain_foreign_verbs(run_class: type) -> type:
    """Give a class of runs the names of other trackers; none takes the place of a name of its own."""
    run_class.__dir__ = _own_names  # type: ignore[assignment, method-assign]
    for name, foreign in FOREIGN.items():
        if not hasattr(run_class, name):
            setattr(run_class, name, foreign)
    return run_class
