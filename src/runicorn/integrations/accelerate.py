"""Accelerate: ``register()``, then ``Accelerator(log_with="runicorn")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.integrations import _names, _run

if TYPE_CHECKING:
    from runicorn.noop import NoOpRun
    from runicorn.run import Run

_tracking = _run.needed("accelerate.tracking", "accelerate")
_Tracker: Any = _tracking.GeneralTracker


class RunicornTracker(_Tracker):  # type: ignore[misc]
    """A tracker for ``Accelerator``; ``end_training()`` ends the run if the tracker has opened it.

    Arguments come by ``init_trackers("my project", init_kwargs={"runicorn": {...}})``: ``run``, or arguments of
    ``runicorn.init()``. Accelerate makes trackers in the main process alone.

    Args:
        project_name: what ``init_trackers()`` was given; the path is made of it if none is given.
        path: path of the run, if the program has not opened one.
        run: log into this run.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    name = "runicorn"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self, project_name: str | None = None, *, path: str | None = None, run: Any = None, **init: Any
    ) -> None:
        super().__init__()
        self._project_name = project_name
        self._holder = _run.RunHolder("RunicornTracker", run, path=path, **init)

    @property
    def tracker(self) -> Run | NoOpRun:
        """The run."""
        from runicorn.storage.slugs import slug

        return self._holder.open(path=slug(self._project_name) if self._project_name else None, rank=0)

    @_run.harmless
    def start(self) -> None:
        """Open the run."""
        self.tracker  # noqa: B018 - it opens it

    @_run.harmless
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Add to the run's configuration."""
        self.tracker.log_config(args=values, merge=True)

    @_run.harmless
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Log a point; ``log_kwargs={"runicorn": {...}}`` may have ``stage`` and ``wall_time``."""
        points, texts = _names.without_long_texts(_names.flat(values))
        self.tracker.log(points, step=step, **kwargs)
        for text in texts:
            self.tracker.log_text(text)

    @_run.harmless
    def finish(self) -> None:
        """The training has ended; in a ``finally`` the exception says how."""
        self._holder.end()


def register() -> None:
    """Make ``Accelerator(log_with="runicorn")`` use this tracker; call it before you make the ``Accelerator``.

    Raises:
        AttributeError: Accelerate is older than 1.15: write ``log_with=RunicornTracker(...)``.
    """
    if _tracking.LOGGER_TYPE_TO_CLASS.get(RunicornTracker.name) is not RunicornTracker:
        _tracking.register_tracker_class(RunicornTracker)
