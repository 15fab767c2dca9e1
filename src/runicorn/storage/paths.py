"""Where runs live: rules for run paths and ids, and the order in which the storage root is searched."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.storage import directory_kinds, modes, removal

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = "default"
RUNS = "runs"
_LONGEST_PATH = 200
# Compiled if they are needed: most runs have no path and no id of their own.
_URI = r"[A-Za-z][A-Za-z0-9+.\-]+://"
_SEGMENT = r"[A-Za-z0-9_\-=+,@](?:[A-Za-z0-9_\-.=+,@ ]*[A-Za-z0-9_\-=+,@])?"
_RUN_ID = r"[A-Za-z0-9_\-=][A-Za-z0-9_.\-=]{0,127}"


def normalise_path(path: str | None) -> str:
    """A run path as it is stored: ``None`` is ``default``, ``/`` is the root (the empty string).

    Raises:
        TypeError: not a string.
        ValueError: more than 200 characters, one outside ASCII letters, digits, blanks, ``_-.=+,@`` and ``/``, or a
            segment that begins with a dot or a blank or ends with one.
    """
    if path is None:
        return DEFAULT_PATH
    if not isinstance(path, str):
        raise WrongTypeError(
            f"init(): path={path!r} is of type {type(path).__name__}. Nothing was made. Write a string such as "
            f"'cv/resnet50', or None.{_hint(path)}"
        )
    slashed = path.replace("\\", "/")
    if slashed in {"", "/"}:
        return ""
    normal = re.sub("/+", "/", slashed).strip("/")
    if not all(re.fullmatch(_SEGMENT, part) for part in normal.split("/")):
        raise WrongValueError(
            f"init(): path={path!r} is not a run path. Between '/' it may hold ASCII letters, digits, '_-.=+,@' and "
            "blanks; no part begins with a dot or a blank, or ends with one. Nothing was made. Write for example "
            f"{_nearest(normal)!r}, or '/' for the root; runicorn.slug(text) turns any text into such a part."
        )
    if len(normal) > _LONGEST_PATH:
        raise WrongValueError(f"init(): path has {len(normal)} characters; the limit is {_LONGEST_PATH}. Shorten it.")
    return normal


def _hint(given: Any) -> str:
    return " A configuration goes to run.log_config(args=...)." if isinstance(given, dict) else ""


def _nearest(path: str) -> str:
    from runicorn.storage.slugs import slug

    segments = [slug(each) for each in path.split("/") if each.strip(". ")]
    return "/".join(segments)[:_LONGEST_PATH].rstrip("/. ") or "cv/resnet50/baseline"


def check_run_id(run_id: str) -> str:
    """An explicit run id, as it is.

    Raises:
        TypeError: not a string.
        ValueError: it could not be the name of a directory of ours.
    """
    if not isinstance(run_id, str):
        kind = type(run_id).__name__
        raise WrongTypeError(f"init(): run_id={run_id!r} is of type {kind}. Write a string, or None for a new id.")
    if not re.fullmatch(_RUN_ID, run_id):
        raise WrongValueError(
            f"init(): run_id={run_id!r} is not a run id. It has 1 to 128 letters, digits, '_', '-', '=' and '.', and "
            "does not start with a dot. Leave it out to get a new one."
        )
    return run_id


def new_run_id() -> str:
    """``YYYYmmdd_HHMMSS_`` in local time and six random hex digits, as the 0.7.2 viewer wants it."""
    return f"{time.strftime('%Y%m%d_%H%M%S')}_{os.urandom(3).hex()}"


def storage_root(storage: Any) -> str:
    """The absolute storage root: ``storage``, ``RUNICORN_DIR``, the user's configuration, ``./.runicorn``.

    Raises:
        TypeError: ``storage`` is neither a path nor None.
        ValueError: it is a URI, or has a NUL in it.
    """
    if storage is not None and not isinstance(storage, (str, os.PathLike)):
        kind = type(storage).__name__
        raise WrongTypeError(
            f"init(): storage={storage!r} is of type {kind}. Nothing was made. Write a directory's path, or None."
            f"{_hint(storage)}"
        )
    given = os.fspath(storage) if storage is not None else ""
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    chosen = given or os.environ.get("RUNICORN_DIR") or _configured_root() or ".runicorn"
    if "\0" in chosen or ("://" in chosen and re.match(_URI, chosen)):
        raise WrongValueError(
            f"The storage {chosen!r} is not a directory's path. Nothing was made. Write a local directory, for example "
            'init(storage="~/runicorn") or RUNICORN_DIR=~/runicorn, and copy the runs from there.'
        )
    return os.path.abspath(os.path.expanduser(chosen))


def run_directory(storage: str, path: str, run_id: str) -> str:
    """``<storage>/runs/<path>/<run_id>``."""
    return os.path.join(storage, RUNS, *path.split("/"), run_id) if path else os.path.join(storage, RUNS, run_id)


def locate_run(storage: str, path: str, run_id: str) -> str:
    """The directory of a run of that id: at its path, elsewhere if it was moved, else where to make it."""
    directory = run_directory(storage, path, run_id)
    return directory if os.path.isdir(directory) else find_run(storage, run_id) or directory


def find_run(storage: str, run_id: str) -> str | None:
    """The directory of a run anywhere in a storage; None where there is none of that id."""
    for directory in run_directories(os.path.join(storage, RUNS)):
        if os.path.basename(directory) == run_id:
            return directory
    return None


def run_directories(top: str) -> Iterator[str]:
    """Every run directory below ``top``: one that holds ``meta.json`` or ``status.json``."""
    try:
        with os.scandir(top) as entries:
            listed = [(entry.name, entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    for name, path, is_directory in listed:
        if not is_directory or name == ".recycle":
            continue
        if is_run_directory(path):
            yield path
        else:
            yield from run_directories(path)


def check_location(storage: str, path: str, run_id: str | None) -> None:
    """Make sure that a run at a path would not lie in another run, nor have others in its own directory.

    Raises:
        ValueError: it would.
    """
    at = os.path.join(storage, RUNS)
    for segment in filter(None, path.split("/")):
        at = os.path.join(at, segment)
        if is_run_directory(at):
            raise WrongValueError(
                f"init(): path={path!r} leads into the directory of run {segment}, {at}. Runs inside a run are not "
                "found. Nothing was made. Write another path."
            )
    if run_id is None:
        return
    directory = run_directory(storage, path, run_id)
    below = None if is_run_directory(directory) else next(run_directories(directory), None)
    if below is not None:
        raise WrongValueError(
            f"init(): run_id={run_id!r} at path={path!r} would make {directory} the directory of a run, and there are "
            f"runs below it, such as {below}, that would not be found any more. Nothing was made. Write another run_id."
        )


def run_around(directory: str) -> str | None:
    """The run directory that a directory is, or is inside, as its ``meta.json`` says; None if there is none."""
    from runicorn.storage import plain_json

    at = os.path.realpath(directory)
    while at != os.path.dirname(at):
        meta = os.path.join(at, "meta.json")
        if os.path.exists(meta):
            with suppress(OSError, ValueError):  # a file of the user's
                if plain_json.read_object(meta).get("id") == os.path.basename(at):
                    return at
        at = os.path.dirname(at)
    return None


def storage_of_run(run_dir: str) -> str:
    """The storage of a run directory: the directory above ``runs``; its parent if there is no ``runs``."""
    at = os.path.dirname(run_dir)
    while os.path.basename(at) not in {RUNS, ""}:
        at = os.path.dirname(at)
    return os.path.dirname(at if os.path.basename(at) else run_dir)


def is_run_directory(directory: str) -> bool:
    """Whether a directory is that of a run: it holds ``meta.json`` or ``status.json``."""
    return any(os.path.exists(os.path.join(directory, file)) for file in ("meta.json", "status.json"))


def make_directories(run_dir: str) -> list[str]:
    """Make a run directory exclusively, with its parents; the made ones, outermost first; empty if it was there.

    Raises:
        OSError: one cannot be made; names it.
    """
    missing = []
    parent = os.path.dirname(run_dir)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    made: list[str] = []
    try:
        for directory in reversed(missing):
            try:
                modes.make_directory(directory)
                made.append(directory)
            except FileExistsError:  # another process was faster; or a file is in the way, and the next mkdir says so
                continue
        try:
            modes.make_directory(run_dir)
        except FileExistsError:
            if os.path.isdir(run_dir):
                return []
            raise
    except OSError:
        remove_made(made)
        raise
    return [*made, run_dir]


def remove_made(made: list[str]) -> None:
    """Leave nothing behind of a run that could not be opened."""
    if not made:
        return
    try:
        with removal.Directory(made[-1], directory_kinds.NEW_RUN) as run_dir:
            run_dir.remove_all()
            with suppress(OSError), run_dir.child("media") as media:
                media.remove_all()
            with suppress(OSError):
                run_dir.remove_empty("media")
        for directory in reversed(made):
            removal.remove_empty(directory)
    except OSError:  # another run has moved in
        return


def workspace(workspace_root: Any) -> str:
    """The given workspace root, else the nearest parent of the working directory with ``.git``, else that.

    Empty if the working directory has been removed.

    Raises:
        TypeError: neither a path nor None.
    """
    if workspace_root is not None:
        if not isinstance(workspace_root, (str, os.PathLike)):
            raise WrongTypeError(
                f"init(): workspace_root={workspace_root!r} is of type {type(workspace_root).__name__}. "
                "Write a directory's path, or None."
            )
        return os.path.abspath(os.path.expanduser(os.fsdecode(os.fspath(workspace_root))))
    try:
        here = at = os.getcwd()
    except FileNotFoundError:  # somebody has removed it: only who wants the code archived needs one
        return ""
    while not os.path.exists(os.path.join(at, ".git")):
        parent = os.path.dirname(at)
        if parent == at:
            return here
        at = parent
    return at


def config_directory() -> str:
    """The directory of the user's configuration, as Runicorn 0.7.2 has it."""
    if sys.platform == "win32":
        return os.path.join(os.environ.get("APPDATA") or os.path.expanduser("~"), "Runicorn")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/Runicorn")
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "runicorn")


def configuration() -> dict[str, Any]:
    """The user's configuration file, which may be a link; empty if there is none.

    Raises:
        OSError: it cannot be opened or read.
        ValueError: it is no regular file, is too large, or holds no JSON object.
    """
    from runicorn.storage import plain_json

    try:
        return plain_json.read_object(os.path.realpath(os.path.join(config_directory(), "config.json")))
    except FileNotFoundError:
        return {}


def _configured_root() -> str | None:
    try:
        root = configuration().get("user_root_dir")
    except (OSError, ValueError):  # not readable: as if there were none
        return None
    return root if isinstance(root, str) and root else None
