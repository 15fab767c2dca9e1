"""Experiment tracking whose ``log()`` never waits and never loses a point.

::

    import runicorn as rn

    with rn.init(path="cv/resnet50") as run:
        run.log({"loss": 0.42, "acc": 0.88})

Importing this has no effect beside the import: every name below is loaded when it is first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than everything else here: 13 ms
if TYPE_CHECKING:
    from typing import Any

    from runicorn import errors
    from runicorn.commands.notebook import show
    from runicorn.lifecycle.init import init
    from runicorn.noop import NoOpRun
    from runicorn.reading import load, runs
    from runicorn.run import Run
    from runicorn.storage.slugs import slug
    from runicorn.switch import enabled, is_enabled, reset_enabled, set_enabled

    __version__: str

    def get_active_run() -> Run | None:
        """The newest run that is not finished, of this context or else of this process; None if there is none."""


__all__ = [
    "NoOpRun",
    "Run",
    "__version__",
    "enabled",
    "errors",
    "get_active_run",
    "init",
    "is_enabled",
    "load",
    "reset_enabled",
    "runs",
    "set_enabled",
    "show",
    "slug",
]

_HOME_OF = {
    "NoOpRun": "noop",
    "Run": "run",
    "enabled": "switch",
    "errors": "errors",
    "get_active_run": "session.active_runs",
    "init": "lifecycle.init",
    "is_enabled": "switch",
    "load": "reading",
    "reset_enabled": "switch",
    "runs": "reading",
    "set_enabled": "switch",
    "show": "commands.notebook",
    "slug": "storage.slugs",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("runicorn")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'runicorn' has no attribute {name!r}{_hint(name)}")
    from importlib import import_module

    module = import_module(f"runicorn.{_HOME_OF[name]}")
    value = module if name == "errors" else getattr(module, name)
    globals()[name] = value
    return value


def _hint(name: str) -> str:
    if name.startswith("_") or name in _HOME_OF.values():  # asked by Python and its tools, not by a person
        return ""
    from runicorn.lifecycle.foreign_keywords import hint_of_module

    return hint_of_module(name)


def __dir__() -> list[str]:
    return sorted(__all__)
