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
"""Viewers that go on beside this process: one that is forgotten would be warned of."""


class Shown:
    """What ``show()`` returns: a notebook draws it if it is the last thing of a cell, or is given to ``display()``.

    Attributes:
        html: of a report, the whole file as text; of a link, the link.
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
    """Show runs in a notebook: their report, as ``runicorn report`` writes it, in a frame that can reach nothing.

    It shows what is stored now. Outside of a notebook nothing is drawn; write a file with ``runicorn report`` there.

    Args:
        *runs: each a run, its id or the beginning of it, its alias, its directory, or its info; several are compared.
            Without one: the run of this process that is open, else the newest of the storage.
        height: of the frame, in pixels.
        live: show the link of a viewer instead, whose page follows the run; one is started if none of yours shows this
            storage. It ends after 12 hours without an open page, or by ``runicorn viewer --stop``.
        storage: the storage root in which ids and aliases are searched; None = as ``init()`` finds it.
        metrics: the only ones to show, by name; by default all, up to 300 curves.
        images: how many at most of each run.

    Returns:
        What a notebook draws. If tracking is switched off and the run stores nothing, it says so.

    Raises:
        ImportError: the packages of ``runicorn[viewer]`` are not there.
        KeyError: no run has a metric of that name.
        LookupError: no run is meant, or a word stands for several.
        OSError: no viewer could be started.
        TypeError: a run is nothing of these.
        ValueError: the height is no number of pixels, or a run is meant twice.
    """
    if not isinstance(height, int) or not 100 <= height <= 10_000:
        raise WrongValueError(f"show(): height={height!r} is no number of pixels from 100 to 10000. Write one.")
    if any(isinstance(run, NoOpRun) for run in runs):
        return _line("Tracking is switched off: this run stores nothing, so there is nothing to show.")
    _check_packages()
    infos = [find(run, storage) for run in runs] or [_meant(storage)]
    if len({info.run_dir for info in infos}) < len(infos):
        raise WrongValueError("show(): a run is meant more than once. Name each run once.")
    if live:
        return _link(_viewer_link(infos))
    if not any(name in sys.modules for name in _NOTEBOOKS):
        logging.getLogger("runicorn").warning(
            "rn.show() draws in notebooks, and this is none. Write a file: runicorn report %s -o report.html",
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
    told = f"{title}, {len(made.content):,} bytes: a notebook draws it. " + ". ".join(made.lines)
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
