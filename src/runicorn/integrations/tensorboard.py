"""``SummaryWriter``, in the place of that of ``torch.utils.tensorboard`` and of ``tensorboardX``; needs neither."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from runicorn.integrations import _names, _run
from runicorn.storage.slugs import slug

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OF_FILES = frozenset(
    {"purge_step", "max_queue", "flush_secs", "filename_suffix", "write_to_disk", "log_dir", "comet_config"}
)
"""Arguments that say how event files are written."""


class SummaryWriter:
    """Scalars, texts, images, figures and hyperparameters go into a run; a warning names what is not stored.

    ``close()``, or leaving ``with``, ends the run if the writer has opened it. What is written later opens it again.
    A call without ``global_step`` has step 0, as in TensorBoard.

    Args:
        log_dir: becomes the run's path: ``runs/exp1``; an absolute path gives its last segment. None = ``runs``.
        comment: the run's alias, if there is no ``log_dir``.
        *_of_files: ``purge_step`` and what follows it have no effect.
        logdir: as ``log_dir``.
        run: log into this run.
        **arguments: more arguments of ``runicorn.init()``; those of event files have no effect.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        *_of_files: Any,
        logdir: Any = None,
        run: Any = None,
        **arguments: Any,
    ) -> None:
        directory = log_dir or logdir
        of_run = {name: value for name, value in arguments.items() if name not in _OF_FILES}
        self._suggested: dict[str, Any] = {
            "path": _path_of(directory),
            "alias": None if directory or not comment else comment,
        }
        self._holder = _run.RunHolder("SummaryWriter", run, **of_run)
        self._not_stored: Counter[str] = Counter()
        self._open()

    @property
    def log_dir(self) -> str:
        """The run's directory: a program may write files of its own into it."""
        return str(self._open().run_dir)

    logdir = log_dir

    def get_logdir(self) -> str:
        """The run's directory."""
        return self.log_dir

    @_run.harmless
    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, walltime: float | None = None, *_: Any, **__: Any
    ) -> None:
        """Log a number."""
        self._log({tag: scalar_value}, global_step, walltime)

    @_run.harmless
    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Log numbers as ``<main_tag>/<tag>``, into this run."""
        self._log(_names.flat(tag_scalar_dict, f"{main_tag}/"), global_step, walltime)

    @_run.harmless
    def add_text(self, tag: str, text_string: Any, global_step: Any = None, walltime: Any = None) -> None:  # noqa: ARG002
        """Write a text into ``logs.txt``."""
        step = "" if global_step is None else f" [step {global_step}]"
        self._open().log_text(f"{tag}{step}: {text_string}")

    @_run.harmless
    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: Any = None,  # noqa: ARG002 - TensorBoard's
        dataformats: str = "CHW",
    ) -> None:
        """Log an image."""
        self._open().log_image(tag, _rows_first(_array(img_tensor), dataformats), step=global_step or 0)

    @_run.harmless
    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: Any = None,  # noqa: ARG002 - TensorBoard's
        dataformats: str = "NCHW",
    ) -> None:
        """Log several images, as ``<tag>/0`` and so on."""
        images = _array(img_tensor)
        place = dataformats.upper().index("N")
        each_format = dataformats[:place] + dataformats[place + 1 :]
        for index in range(images.shape[place]):
            image = _rows_first(images.take(index, axis=place), each_format)
            self._open().log_image(f"{tag}/{index}", image, step=global_step or 0)

    @_run.harmless
    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        close: bool = True,
        walltime: Any = None,  # noqa: ARG002 - TensorBoard's
    ) -> None:
        """Log a figure of matplotlib, or several, and close them."""
        several = list(figure) if isinstance(figure, (list, tuple)) else None
        for index, each in enumerate([figure] if several is None else several):
            self._open().log_image(tag if several is None else f"{tag}/{index}", each, step=global_step or 0)
            if close:
                import matplotlib.pyplot as plt

                plt.close(each)

    @_run.harmless
    def add_hparams(self, hparam_dict: Any, metric_dict: Any, *_: Any, **__: Any) -> None:
        """Hyperparameters become the configuration, their metrics fields of the summary."""
        self._open().log_config(args=hparam_dict, merge=True)
        self._open().summary(metric_dict)

    @_run.harmless
    def flush(self) -> None:
        """Wait until all of it is on disk."""
        self._open().flush()

    @_run.harmless
    def close(self) -> None:
        """End the run if it is the writer's own."""
        if self._not_stored:
            self._open().summary({"tensorboard_not_stored": dict(self._not_stored)})
        self._holder.end()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Another method of TensorBoard's writer: its calls are counted, and the first one warns."""
        if not name.startswith("add_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def not_stored(*_args: Any, **_kwargs: Any) -> None:
            self._not_stored[name] += 1
            _run.tell("SummaryWriter", name, f"runicorn does not store {name}(); summary.json counts the calls.")

        return not_stored

    def _open(self) -> Any:
        return self._holder.open(**self._suggested)

    def _log(self, metrics: dict[str, Any], step: Any, walltime: float | None) -> None:
        self._open().log(metrics, step=0 if step is None else step, wall_time=walltime)


def _path_of(directory: Any) -> str:
    if not directory:
        return "runs"
    parts = os.path.normpath(os.fspath(directory)).split(os.sep)
    if os.path.isabs(directory):
        parts = parts[-1:]
    return "/".join(slug(part) for part in parts if part not in {"", ".", ".."}) or "runs"


def _array(image: Any) -> Any:
    """As an array of numpy, wherever it is."""
    import numpy as np

    return np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)


def _rows_first(image: Any, dataformats: str) -> Any:
    """Turn ``CHW`` and the like into ``HWC`` or ``HW``."""
    given = dataformats.upper()
    return image.transpose([given.index(axis) for axis in "HWC" if axis in given])
