"""``rn.show()``: runs in a notebook, as a report in a frame of its own, or as a link to a viewer."""

from __future__ import annotations

import html
import logging
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.errors import MissingPackageError, RunNotFoundError, StorageError, WrongValueError
from runicorn.noop import NoOpRun
from runicorn.reading.listing import find
from runicorn.storage import paths
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from runicorn.reading import RunInfo
    from runicorn.reading.listing import LoggedRun

_INSTALL = "rn.show() needs the viewer's packages: pip install 'runicorn[viewer]'"
_IDLE_S = 12 * 3600
"""A viewer that show() has started ends after this time without an open page."""
_NOTEBOOKS = ("IPython", "marimo")
_started: list[subprocess.Popen[bytes]] = []
"""Viewers that this process has started. Without a reference to them, Python would warn about them."""


class Shown:
    """What ``show()`` returns. A notebook draws it if it ends a cell, or if it is given to ``display()``.

    Attributes:
        html: the whole file as text if it is a report; the link if ``live`` was true.
    """

    def __init__(self, markup: str, told: str, content: str) -> None:
        self._markup = markup
        self._told = told
        self.html = content

    def _repr_html_(self) -> str:
        return self._markup

    def __repr__(self) -> str:
        return self._told


def show(
    *runs: str | os.PathLike[str] | RunInfo | LoggedRun,
    height: int = 640,
    live: bool = False,
    storage: str | os.PathLike[str] | None = None,
    metrics: str | Iterable[str] = (),
    images: int = 20,
) -> Shown:
    """Show runs in a notebook, as ``runicorn report`` writes them, in a frame that sends no request.

    The frame shows what is stored now. Only notebooks draw it; elsewhere, write a file with ``runicorn report``.

    Args:
        *runs: each is a run, its id or the beginning of its id, its alias, its directory, or its info. Several runs
            are compared. Without a run: the open run of this process, else the newest run of the storage.
        height: height of the frame in pixels, 100 to 10000.
        live: show the link of a viewer instead; its page follows the run. If none of your viewers shows this storage,
            one is started. It ends after 12 hours without an open page, or by ``runicorn viewer --stop``.
        storage: the storage root in which ids and aliases are searched; None = the one that ``init()`` would use.
        metrics: names of the metrics to show; by default all, up to 300 curves.
        images: the largest number of images of each run.

    Returns:
        What a notebook draws. If tracking is switched off and the run stores nothing, it says so.

    Raises:
        ImportError: the packages of ``runicorn[viewer]`` are not installed.
        KeyError: no run has a metric of that name.
        LookupError: no run was found, or a word matches several runs.
        OSError: no viewer could be started.
        TypeError: an argument is none of the kinds that ``runs`` takes.
        ValueError: the height is not a number of pixels, or a run is named twice.
    """
    if not isinstance(height, int) or not 100 <= height <= 10_000:
        raise WrongValueError(
            f"show(): height={height!r} is not a number of pixels from 100 to 10000. Nothing is shown."
        )
    if any(isinstance(run, NoOpRun) for run in runs):
        return _line("Tracking is switched off: this run stores nothing, so there is nothing to show.")
    _check_packages()
    infos = [find(run, storage) for run in runs] or [_meant(storage)]
    if len({info.run_dir for info in infos}) < len(infos):
        raise WrongValueError("show(): a run is named more than once. Nothing is shown. Name each run once.")
    if live:
        return _link(_viewer_link(infos))
    if not any(name in sys.modules for name in _NOTEBOOKS):
        logging.getLogger("runicorn").warning(
            "rn.show() draws only in notebooks, and this is not one. Write a file: runicorn report %s -o report.html",
            " ".join(info.id for info in infos),
        )
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    return _frame(infos, height, names, images)


def _check_packages() -> None:
    try:
        import starlette  # noqa: F401 - whether it is there
        import uvicorn  # noqa: F401 - as above
    except ImportError as error:
        raise MissingPackageError(_INSTALL) from error


def _meant(storage: str | os.PathLike[str] | None) -> RunInfo:
    """The run that is meant if none is named."""
    from runicorn.reading.listing import runs
    from runicorn.session.active_runs import get_active_run

    active = get_active_run()
    if active is not None and storage is None:
        return find(active)
    found = runs(storage)
    if not found:
        raise RunNotFoundError(f"show(): {paths.storage_root(storage)} has no runs. Name one, or another storage.")
    return found[0]


def _frame(infos: list[RunInfo], height: int, metrics: tuple[str, ...], images: int) -> Shown:
    from runicorn.viewer.report import make_report
    from runicorn.viewer.report_contents import ReportWishes

    made = make_report(infos, ReportWishes(metrics=metrics, images=images))
    content = made.content.decode("utf-8")
    title = f"Report of {counted(len(infos), 'run')}"
    look = f"width: 100%; height: {height}px; border: 1px solid #8884; border-radius: 4px"
    markup = f'<iframe sandbox="allow-scripts" title="{title}" style="{look}" srcdoc="{html.escape(content)}"></iframe>'
    told = f"{title}, {len(made.content):,} bytes. Only a notebook draws it. " + ". ".join(made.lines)
    return Shown(markup, told, content)


def _line(text: str) -> Shown:
    return Shown(f"<p>{html.escape(text)}</p>", text, text)


def _link(link: str) -> Shown:
    shown = html.escape(link)
    markup = (
        f'<p>Viewer: <a href="{shown}" target="_blank" rel="noopener noreferrer">{shown.partition("#")[0]}</a> '
        "(on the machine of this notebook)</p>"
    )
    return Shown(markup, link, link)


def _viewer_link(infos: list[RunInfo]) -> str:
    """The link to the page of these runs, of a viewer of mine that shows their storages, or of a new one."""
    from runicorn.viewer import address
    from runicorn.viewer.changes import plain_key

    keys = [plain_key(info) for info in infos]
    page = f"run/{keys[0]}" if len(keys) == 1 else f"compare?runs={','.join(keys)}"
    wanted = list(dict.fromkeys(info.storage for info in infos))
    for entry in address.running():
        if not entry.socket and set(wanted) <= set(entry.storages):
            return entry.link_to(page)
    link = _start(wanted)
    root, _, token = link.partition("#")
    return f"{root}{page}#{token}"


def _start(storages: list[str]) -> str:
    """Start a viewer that goes on beside this process; its link."""
    options = [word for storage in storages for word in ("--storage", storage)]
    command = [sys.executable, "-m", "runicorn", "viewer", "--no-open", "--idle-timeout", str(_IDLE_S), *options]
    process = subprocess.Popen(
        command,
        cwd=storages[0],  # where no module of the user's has the name of one of Python's
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _started.append(process)
    assert process.stdout is not None
    with suppress(OSError), process.stdout as stream:
        link = stream.readline().decode().strip()
        if link:
            return link
    raise StorageError(
        f"The viewer could not be started. To see why: runicorn viewer --storage {storages[0]}. The run is untouched."
    )
