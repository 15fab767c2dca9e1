"""What other trackers call the arguments of their ``init()``, and what we have instead; asked for an error alone."""

from __future__ import annotations

from typing import Any

from runicorn.errors import WrongTypeError

_ALIAS = 'alias="..."'
_PATH = 'path="a/b"'
_STORAGE = 'storage="directory"'
_CONFIG = "run.log_config(args=...) after init()"
_LOCAL = "leave it out: runs are plain files on this machine, and there is no account and no server"

_INSTEAD = {
    "project project_name experiment experiment_name": _PATH,
    "name run_name display_name title": _ALIAS,
    "config hparams hyperparameters params args configuration": _CONFIG,
    "tags tag job_type": "run.set_labels(tags=[...]) after init()",
    "notes description": 'run.set_labels(notes="...") after init()',
    "group": 'run.set_labels(group="...") after init()',
    "parent parent_run_id nested": 'run.set_labels(parent="...") after init()',
    "dir logdir log_dir save_dir output_dir root repo tracking_uri storage_root": _STORAGE,
    "id run": 'run_id="..."',
    "resume": "run_id= of the run: it is resumed if it has ended",
    "reinit": "leave it out: several runs may be open at once",
    "mode": 'rn.set_enabled(False) before init() for mode="disabled", else leave it out',
    "disabled enabled disable": "rn.set_enabled(False) before init()",
    "save_code log_code": "snapshot_code=True",
    "console log_console capture_output capture_terminal_logs": "capture_console=True",
    "log_system_params log_env_details": "capture_env=True",
    "entity team user workspace": f"{_LOCAL}; or make it the first part of path",
    "api_key api_token token host anonymous sync_tensorboard allow_val_change force settings": _LOCAL,
}
_INSTEAD_OF = {name: instead for names, instead in _INSTEAD.items() for name in names.split()}


_OF_MODULE = {
    "start_run new_run init_run Task SummaryWriter Experiment": "run = runicorn.init(path=...)",
    "set_experiment set_project create_experiment": "runicorn.init(path=...)",
    "login set_tracking_uri autolog": "runicorn.init(storage=...): runs are plain files on this machine",
    "active_run last_active_run": "runicorn.get_active_run()",
    "Settings": "environment variables RUNICORN_...",
    "Image": "run.log_image(name, image)",
    "Table Histogram Artifact Audio Video Html Object3D": "run.log({...}) with numbers, or run.log_image(name, image)",
    "Api MlflowClient search_runs get_run": "runicorn.runs() and runicorn.load(run)",
    "config": "run.log_config(args=...), on the run that runicorn.init() returns",
    "sweep agent": "a loop that opens one run for each set of arguments: with runicorn.init(...) as run",
    "log log_text log_image log_config log_dataset log_pretrained summary finish flush set_labels set_primary_metric "
    "watch_outputs log_metric log_metrics log_param log_params log_artifact log_artifacts log_model log_dict log_table "
    "log_figure use_artifact set_tag set_tags watch unwatch define_metric alert save track end end_run "
    "add_scalar": "run = runicorn.init(path=...) once, then run.log({...}), run.finish()",
}
_INSTEAD_OF_MODULE = {name: instead for names, instead in _OF_MODULE.items() for name in names.split()}


def hint_of_module(name: str) -> str:
    """What to write for a name that the package does not have, as the end of a message; empty if we cannot know."""
    return f". Write {_INSTEAD_OF_MODULE[name]}." if name in _INSTEAD_OF_MODULE else ""


def error(unknown: list[Any], known: frozenset[str]) -> TypeError:
    """The error for keywords that ``init()`` does not have.

    Args:
        unknown: their names.
        known: those that it has.
    """
    told = "; ".join(f"{name!r}: {_advice(name, known)}" for name in unknown)
    return WrongTypeError(f"init() got an unexpected keyword argument. Nothing was made. Write instead: {told}.")


def _advice(name: str, known: frozenset[str]) -> str:
    import difflib

    instead = _INSTEAD_OF.get(name.lower().replace("-", "_"))
    if instead is not None:
        return instead
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"{near[0]}=..." if near else f"one of {', '.join(sorted(known))}"
