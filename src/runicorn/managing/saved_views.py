"""Views of the table of runs under a name: a query of its address, each in ``<storage>/views/<name>.json``.

A folder of that name may be the user's own, if the storage is a project's directory. So a file is listed, replaced or
removed only if it is one that this module has written.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runicorn.errors import MissingPathError, PathExistsError, RefusedChangeError, WrongValueError
from runicorn.managing import targets
from runicorn.storage import directory_kinds, modes
from runicorn.storage.plain_json import UnfitFileError, read_object
from runicorn.storage.removal import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "views"
MOST_VIEWS = 200
MOST_QUERY = 8000
_MOST_BYTES = 64 * 1024
_MOST_OF_NAME, _MOST_NAME_BYTES = 60, 200
_NAME = re.compile(r"[^\W_](?:[\w .-]*[^\W_])?")
_ENDING = ".json"
_KIND = "runicorn view"


class SavedView(NamedTuple):
    """A view.

    Attributes:
        name: of it.
        query: of the address of the table of runs, without the question mark.
        saved_at: epoch seconds.
    """

    name: str
    query: str
    saved_at: float | None


def listed(storage: str) -> list[SavedView]:
    """The views of a storage, by name; a file that is none is passed over.

    Raises:
        OSError: their folder cannot be read.
    """
    with suppress(FileNotFoundError), Directory(os.path.join(storage, FOLDER), directory_kinds.VIEWS) as folder:
        return list(_views_in(folder))
    return []


def save(storage: str, name: str, query: str) -> SavedView:
    """Keep a view, in place of the one of that name.

    Raises:
        OSError: it cannot be written; the one before stays.
        PathExistsError: a file of that name is there, and is no view.
        RefusedChangeError: there are too many.
        ValueError: name or query are not allowed.
    """
    made = SavedView(checked_name(name), _checked_query(query), time.time())
    place = os.path.join(storage, FOLDER)
    with targets.worded(f"{place} cannot be written: {{reason}}. Nothing was saved.", place):
        _save(place, made)
    return made


def _save(place: str, made: SavedView) -> None:
    with suppress(FileExistsError):
        modes.make_directory(place)
    with Directory(place, directory_kinds.VIEWS) as folder:
        file = made.name + _ENDING
        if folder.status(file) is not None:
            _of_file(folder, file)
        elif sum(1 for _ in _views_in(folder)) >= MOST_VIEWS:
            raise RefusedChangeError(
                f"The storage has {MOST_VIEWS} views, and cannot have more. Nothing was saved. Remove one first."
            )
        _replace(folder, file, msgspec.json.encode({"kind": _KIND, **made._asdict()}))


def remove(storage: str, name: str) -> SavedView:
    """Remove a view; what it was.

    Raises:
        OSError: it cannot be removed, or is not there.
        PathExistsError: the file of that name is no view.
        ValueError: the name is none.
    """
    file = checked_name(name) + _ENDING
    place = os.path.join(storage, FOLDER)
    try:
        with (
            targets.worded(f"{place} cannot be written: {{reason}}. Nothing was removed.", place),
            Directory(place, directory_kinds.VIEWS) as folder,
        ):
            found = _of_file(folder, file)
            folder.remove(file)
            return found
    except FileNotFoundError:
        raise MissingPathError(f"No view has the name {name!r}. It may have been removed.") from None


def checked_name(name: str) -> str:
    """A name as it is kept.

    Raises:
        ValueError: it is none.
    """
    clean = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(clean) or len(clean) > _MOST_OF_NAME or len(os.fsencode(clean)) > _MOST_NAME_BYTES:
        raise WrongValueError(
            f"{name[:80]!r} is not a name for a view. Nothing was changed. Write letters and digits, with spaces, "
            f"dots, - and _ between them, {_MOST_OF_NAME} characters at most."
        )
    return clean


def _checked_query(query: str) -> str:
    if len(query) > MOST_QUERY or not query.isprintable() or query.startswith(("?", "/", "#")):
        raise WrongValueError(
            f"{query[:80]!r} is not a query of a view. Nothing was changed. Write what follows the question mark in an "
            f"address, {MOST_QUERY:,} characters at most."
        )
    return query


def _views_in(folder: Directory) -> Iterator[SavedView]:
    names = sorted(name for name in folder.names() if folder.has_shape(name) and name.endswith(_ENDING))
    count = 0
    for name in names:
        with suppress(OSError):
            yield _of_file(folder, name)
            count += 1
        if count == MOST_VIEWS:
            return


def _of_file(folder: Directory, file: str) -> SavedView:
    """The view in a file.

    Raises:
        FileNotFoundError: it is not there.
        PathExistsError: it holds something else.
    """
    try:
        content: dict[str, Any] = read_object(folder.name(file), dir_fd=folder.fd, most_bytes=_MOST_BYTES)
        if content.get("kind") == _KIND:
            name = checked_name(file.removesuffix(_ENDING))
            at = content.get("saved_at")
            return SavedView(name, _checked_query(str(content.get("query"))), at if isinstance(at, float) else None)
    except (UnfitFileError, WrongValueError):
        pass
    raise PathExistsError(
        f"{os.path.join(folder.path, file)} is not a view that was saved here. It was left as it is. "
        "Choose another name."
    )


def _replace(folder: Directory, file: str, content: bytes) -> None:
    temporary = f".view.{os.urandom(8).hex()}.new"
    try:
        with os.fdopen(folder.new_file(temporary), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        folder.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            folder.remove(temporary)
        raise
