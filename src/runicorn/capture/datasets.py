"""What a run was made of: the arguments of ``log_dataset()`` and ``log_pretrained()``, checked."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from runicorn.errors import MissingPathError, WrongTypeError, WrongValueError
from runicorn.queue.asset_records import InputAsset
from runicorn.storage.escaping import escape
from runicorn.validation.json_values import LEFT_OUT, jsonable
from runicorn.validation.metrics import shown

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


class MissingError(MissingPathError):
    """What was to be recorded is not there: nothing was stored."""


def dataset(
    name: str,
    root_or_uri: Any,
    *,
    context: str,
    save: bool,
    description: str | None,
    limits: Limits | None,
    time_s: float,
) -> InputAsset:
    """The record of one ``log_dataset()``.

    Raises:
        TypeError, ValueError: an argument is wrong, or too much is to be archived.
        MissingError: there is no such file or directory.
    """
    call = "log_dataset()"
    _check_texts(call, name=name, context=context, description=description)
    uri, source = _location(call, root_or_uri)
    if source and not os.path.exists(source):
        raise MissingError(
            f"{call}: {name!r}: there is no file or directory {source}. Nothing was recorded. Write a path that "
            "exists, or a URI such as s3://bucket/data."
        )
    if save and not source:
        raise WrongValueError(
            f"{call}: save=True needs a local file or directory, and {shown(root_or_uri)} is "
            "not one. Nothing was recorded."
        )
    if save and limits is not None:
        limits.check(call, source)
    entry = {"name": escape(name), "context": escape(context), "uri": uri}
    return InputAsset(time_s, "datasets", _described(entry, "uri", description), os.fsencode(source), save)


def pretrained(
    name: str,
    path_or_uri: Any,
    *,
    save: bool,
    source_type: str,
    description: str | None,
    limits: Limits | None,
    time_s: float,
) -> InputAsset:
    """The record of one ``log_pretrained()``; a text that is no path here is kept as it is (``"org/model"``).

    Raises:
        TypeError, ValueError: an argument is wrong, or too much is to be archived.
        MissingError: what is to be archived is not there.
    """
    call = "log_pretrained()"
    _check_texts(call, name=name, source_type=source_type, description=description)
    given, source = (None, "") if path_or_uri is None else _location(call, path_or_uri)
    if save and not source:
        raise WrongValueError(
            f"{call}: save=True needs path_or_uri to be a local file or directory. Nothing was recorded."
        )
    if source and not os.path.exists(source):
        if save or not isinstance(path_or_uri, str) or os.path.isabs(path_or_uri):
            raise MissingError(
                f"{call}: {name!r}: there is no file or directory {source}. Nothing was recorded. Write a path that "
                "exists, or a URI."
            )
        given, source = escape(path_or_uri), ""
    if save and limits is not None:
        limits.check(call, source)
    entry = {"name": escape(name), "source_type": escape(source_type), "path_or_uri": given}
    return InputAsset(time_s, "pretrained", _described(entry, "path_or_uri", description), os.fsencode(source), save)


def _described(entry: dict[str, Any], place: str, description: str | None) -> dict[str, Any]:
    """An entry with its description, and with text in a place that may hold a dict: the viewer of 0.7.2 needs that."""
    if isinstance(entry[place], dict):
        entry |= {place: msgspec.json.encode(entry[place]).decode(), "described": entry[place]}
    return entry | {"description": description and escape(description)}


class Limits:
    """How much one call may have archived."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.max_bytes = max_bytes
        self.max_files = max_files

    def check(self, call: str, source: str) -> None:
        """Measure a file or directory.

        Raises:
            ValueError: it is too large; says what was found.
        """
        total_bytes = 0
        for files, path in enumerate(walk(source), start=1):
            total_bytes += os.stat(path).st_size
            if files > self.max_files or total_bytes > self.max_bytes:
                raise WrongValueError(
                    f"{call}: {source} is too large to archive: the limits are {self.max_files:,} files and "
                    f"{self.max_bytes:,} bytes, and it has at least {files:,} files with {total_bytes:,} bytes. "
                    "Nothing was recorded. Write save=False or force_save=True, or raise max_archive_bytes or "
                    "max_archive_files."
                )


def walk(source: str) -> list[str]:
    """The files of a directory in a fixed order; a file is its own.

    Links are followed, for datasets are often made of them; each directory is gone into once. What is neither a file
    nor a directory, a link to nothing included, is passed over.

    Raises:
        OSError: a directory cannot be read.
    """
    if not os.path.isdir(source):
        return [source]
    found: list[str] = []
    done: set[tuple[int, int]] = set()
    stack = [source]
    while stack:
        directory = stack.pop()
        status = os.stat(directory)
        if (status.st_dev, status.st_ino) in done:
            continue
        done.add((status.st_dev, status.st_ino))
        deeper = []
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if entry.is_dir():
                deeper.append(entry.path)
            elif entry.is_file():
                found.append(entry.path)
        stack += reversed(deeper)
    return found


def _check_texts(call: str, **texts: Any) -> None:
    for name, text in texts.items():
        if not isinstance(text, str) and not (name == "description" and text is None):
            raise WrongTypeError(f"{call}: {name}={shown(text)} is of type {type(text).__name__}. Write a string.")
    if not texts["name"]:
        raise WrongValueError(f"{call}: name is empty. Nothing was recorded. Write a name.")


def _location(call: str, given: Any) -> tuple[Any, str]:
    """What is recorded as its location; and where it lies on this host, or the empty string."""
    if isinstance(given, dict):
        left_out: list[str] = []
        cleaned = jsonable(given, lambda path, _: left_out.append(path))
        if cleaned is LEFT_OUT or left_out:
            raise WrongTypeError(
                f"{call}: JSON cannot hold {', '.join(left_out)} of the dict. Nothing was recorded. Convert it first."
            )
        return cleaned, ""
    try:
        text = os.fsdecode(os.fspath(given))
    except TypeError:
        raise WrongTypeError(
            f"{call}: {shown(given)} is of type {type(given).__name__}. Write a path, a URI, or a dict that "
            "describes it."
        ) from None
    if not text:
        raise WrongValueError(f"{call}: the path is empty. Nothing was recorded. Write a path or a URI.")
    if _URI.match(text) and not text.lower().startswith("file://"):
        return escape(text), ""
    if text.lower().startswith("file://"):
        from urllib.parse import unquote

        text = unquote(text[7:].removeprefix("localhost"))
    source = os.path.abspath(os.path.expanduser(text))
    return escape(source), source
