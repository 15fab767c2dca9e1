"""What runs of other trackers have and ours does not: a call does what it means, if we can, and says what to write.

Each name is an attribute of the class, because a ``__getattr__`` would slow down every other attribute of a run.
``run.summary`` alone is a call here and a dict elsewhere: it takes items as well.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

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


def _conclude(run: Any, key: Any, value: Any) -> None:
    run.summary({key: value})


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
    "log_other": (_conclude, (_KEY, _VALUE), "run.summary({name: value})"),
    "log_params log_parameters log_hyperparams": (_configure_all, (_VALUES,), "run.log_config(args=params)"),
    "end close stop": (_finish, (), "run.finish()"),
}
_NOTHING_DONE = {
    "watch unwatch": "run.log({...}) with the numbers of the model that matter",
    "define_metric": 'run.set_primary_metric(name, mode="min") for the metric that decides which run is best',
    "alert": "run.log_text(text)",
    "log_artifact log_artifacts save log_model log_file log_asset log_asset_folder upload upload_files track_files "
    "link_artifact": "run.watch_outputs(output_dirs=[...]), or run.log_dataset(name, path, save=True) for data",
    "use_artifact use_model": "run.log_dataset(name, path) or run.log_pretrained(name, path_or_uri=...)",
    "log_code": "init(snapshot_code=True)",
    "add_histogram add_figure add_graph add_images log_figure": "run.log_image(name, figure) for a picture",
    "add_hparams log_hparams": "run.log_config(args=...), and run.summary({...}) for its results",
    "set_tag set_tags add_tag add_tags": "run.set_labels(tags=[...])",
    "set_name": 'init(alias="...")',
    "log_dict log_others": "run.summary({...}), or run.log_config(extra={...})",
    "log_table log_histogram": "run.log({...}) with numbers",
    "mark_preempting": 'run.finish("preempted")',
    "sync wait": "run.flush()",
}
_NOT_HERE = {
    "config hparams params": "run.log_config(args=...) to record it; runicorn.load(run).config to read it",
    "name display_name run_name": 'init(alias="...") to set it; run.alias to read it',
    "notes tags group description job_type": "run.set_labels(tags=[...], notes=..., group=...)",
    "project experiment entity": 'init(path="...") to set it; run.path to read it',
    "run_id hash": "run.id; init(run_id=...) opens a run once more",
    "dir": "run.run_dir",
    "step": "run.global_step, or log(..., step=...)",
    "status state": 'run.finish("failed") to set it; run.is_finished, or runicorn.load(run).info.status, to read it',
    "url": "run.run_dir: runs are plain files on this machine",
}
_ITEM_OF_RUN = "Write run.log({name: value}) for a metric, run.log_config(args={name: value}) for a setting"


class Foreign:
    """One name of another tracker's run."""

    def __init__(self, name: str, instead: str, does: Callable[..., None] | None, arguments: Any) -> None:
        self.__doc__ = f"Not a part of runicorn: write {instead}."
        self._name, self._instead, self._does, self._arguments = name, instead, does, arguments

    def __get__(self, run: Any, _owner: type | None = None) -> Any:
        if run is None:
            return self
        return partial(self._call, run)

    def _call(self, run: Any, /, *given: Any, **named: Any) -> None:
        refusals = getattr(run, "_refusals", None)
        if refusals is None:  # tracking is switched off
            return
        if self._does is None:
            _refuse(run, f"run.{self._name}()", f"Write {self._instead}")
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


class ForeignAttribute(Foreign):
    """One name of another tracker's run that is no call: it can neither be read nor set."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(name, instead, None, ())

    def __get__(self, run: Any, _owner: type | None = None) -> Any:
        return self if run is None else self.__set__(run, None)

    def __set__(self, _run: Any, _value: Any) -> NoReturn:
        raise AttributeError(f"A run has no attribute {self._name!r}. Write {self._instead}.")


class SummaryCall(partial):  # type: ignore[type-arg]
    """``run.summary`` of one run: a call, which also takes what other trackers let one do with a dict."""

    __doc__ = property(lambda self: self.func.__doc__)

    def update(self, *given: Any, **named: Any) -> None:
        """Merge fields, as the call does."""
        self._take("run.summary.update()", "run.summary({...})", *given, **named)

    def __setitem__(self, name: Any, value: Any) -> None:
        self._take(f"run.summary[{name!r}] = ...", f"run.summary({{{name!r}: ...}})", {name: value})

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delitem__(self, name: Any) -> None:
        _refuse(self.args[0], "del run.summary[...]", f"Write run.summary({{{name!r}: None}})")

    def __getitem__(self, name: Any) -> NoReturn:
        raise WrongTypeError(
            f"run.summary[{name!r}] cannot be read: run.summary is a call that stores values. Keep the value in a "
            f"variable, or write runicorn.load(run).summary[{name!r}], which has what is stored by now."
        )

    def __getattr__(self, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__"}:
            return getattr(self.func, name)
        raise AttributeError(
            f"run.summary has no attribute {name!r}: it is a call. Write run.summary({{...}}) to store values, "
            "runicorn.load(run).summary to read them."
        )

    def _take(self, did: str, instead: str, /, *given: Any, **named: Any) -> None:
        refusals = getattr(self.args[0], "_refusals", None)
        if refusals is not None:
            refusals.warn(
                ("foreign", "summary"), f"{did} is not a call of runicorn: it was taken as {instead}. Write that."
            )
            self(*given, **named)


class _Summary:
    """The attribute ``summary`` of a class of runs; asked of the class, it is the function."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __get__(self, run: Any, _owner: type | None = None) -> Any:
        return self._call if run is None else SummaryCall(self._call, run)


def _refuse(run: Any, did: str, instead: str) -> None:
    refusals = getattr(run, "_refusals", None)  # a run has none while tracking is switched off
    if refusals is not None:
        refusals.refuse(
            ("foreign", did), WrongTypeError(f"{did} is not a call of runicorn. Nothing was done. {instead}.")
        )


def _set_item(run: object, _name: object, _value: object) -> None:
    _refuse(run, "run[...] = ...", _ITEM_OF_RUN)


def _get_item(_run: object, name: object) -> NoReturn:
    raise WrongTypeError(
        f"run[{name!r}] is not a call of runicorn. {_ITEM_OF_RUN}, runicorn.load(run)[{name!r}] to read a metric."
    )


def _delete_item(run: object, _name: object) -> None:
    _refuse(run, "del run[...]", "What was logged stays")


def _all() -> dict[str, Foreign]:
    found = {}
    for names, (does, arguments, instead) in _DONE.items():
        found.update({name: Foreign(name, instead, does, arguments) for name in names.split()})
    for names, instead in _NOTHING_DONE.items():
        found.update({name: Foreign(name, instead, None, ()) for name in names.split()})
    for names, instead in _NOT_HERE.items():
        found.update({name: ForeignAttribute(name, instead) for name in names.split()})
    return found


FOREIGN = _all()


def _own_names(run: object) -> list[str]:
    """What ``dir()`` says and editors complete: the names of other trackers are not offered."""
    return sorted(set(object.__dir__(run)) - FOREIGN.keys())


def explain_foreign_verbs(run_class: type) -> type:
    """Give a class of runs the names of other trackers; none takes the place of a name of its own."""
    run_class.__dir__ = _own_names  # type: ignore[assignment, method-assign]
    for name, instead in (("__setitem__", _set_item), ("__getitem__", _get_item), ("__delitem__", _delete_item)):
        setattr(run_class, name, instead)
    run_class.summary = _Summary(run_class.summary)  # type: ignore[attr-defined]
    for name, foreign in FOREIGN.items():
        if not hasattr(run_class, name):
            setattr(run_class, name, foreign)
    return run_class
