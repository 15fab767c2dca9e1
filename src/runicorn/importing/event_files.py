"""TensorBoard: a directory of event files is a run, and what its writer has put into sub-directories comes back."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from runicorn.importing import source_files
from runicorn.importing.event_decoding import EventDecoder
from runicorn.importing.record_files import records
from runicorn.importing.source_runs import Head, Numbers, Restart, SourceRun, Told, UnreadableSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_MARK = "tfevents"
_NAME = re.compile(r"tfevents\.(\d+)\.(.+?)(?:\.\d+){0,2}(?:\.v2)?$")
_SERIES = re.compile(r"\d{9,11}(?:\.\d+)?")
NO_STATUS = "TensorBoard stores no status"


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs in a directory, at any depth; or that of one event file."""
    if os.path.isfile(top):
        if _MARK not in os.path.basename(top):
            return []
        return [_run(form, top, {"": [top]}, os.path.dirname(top))]
    directories = {
        directory: [os.path.join(directory, name) for name in names if _MARK in name]
        for directory, names in source_files.below(top)
    }
    directories = {directory: files for directory, files in directories.items() if files}
    parts: dict[str, dict[str, list[str]]] = {}
    for directory, files in directories.items():
        parent = _run_above(directory, directories)
        name = os.path.relpath(directory, parent or directory).replace(os.sep, "/")
        if parent and _belongs_to_parent(name, files):
            parts.setdefault(parent, {})[name] = files
        else:
            parts.setdefault(directory, {})[""] = files
    return [_run(form, directory, of_run, top) for directory, of_run in sorted(parts.items())]


def _run(form: str, location: str, parts: dict[str, list[str]], top: str) -> SourceRun:
    head, told = Head(), Told()
    head.name = os.path.basename(location)
    between = os.path.relpath(os.path.dirname(location), os.path.dirname(top)) if location != top else "."
    head.path = [form if between == "." else os.path.basename(top), *between.split(os.sep)[1:]]
    head.reason = NO_STATUS
    files = [file for name in sorted(parts) for file in parts[name]]
    found = _NAME.search(files[0])
    head.hostname = found[2] if found else None
    return SourceRun(
        form,
        location,
        location,
        lambda: source_files.digest(files),
        lambda: _items(parts, head, told),
        head,
        told,
    )


def _run_above(directory: str, directories: dict[str, list[str]]) -> str:
    """The nearest directory above that has event files; empty if there is none."""
    at = os.path.dirname(directory)
    while at not in directories:
        if at == os.path.dirname(at):
            return ""
        at = os.path.dirname(at)
    return at


def _belongs_to_parent(name: str, files: list[str]) -> bool:
    """Whether ``add_scalars()`` or ``add_hparams()`` of the parent's writer has made a directory."""
    try:
        return any(_is_of_parent(name, file) for file in files)
    except UnreadableSourceError:  # told when the run is read
        return False


def _is_of_parent(name: str, file: str) -> bool:
    decoder = EventDecoder(Head(), Told())
    for item in _of_file(file, decoder, Told(), most_blocks=1):
        if decoder.has_parameters:
            return bool(_SERIES.fullmatch(name))
        if isinstance(item, Numbers):
            return all(_series_of(name, tag) is not None for tag in item.data)
    return False


def _series_of(directory: str, tag: str) -> str | None:
    """The name that ``add_scalars()`` was given for what it has put into a directory of its own.

    That is ``<tag>_<name>`` with torch, which makes slashes to ``_``, and ``<tag>/<name>`` with tensorboardX.
    """
    start = tag.replace("/", "_") + "_"
    is_series = len(directory) > len(start) and directory.replace("/", "_").startswith(start)
    return directory[len(start) :] if is_series else None


def _items(parts: dict[str, list[str]], head: Head, told: Told) -> Iterator[Item]:
    head.config, head.summary, head.other = {}, {}, {}
    for part in sorted(parts):
        decoder = EventDecoder(head, told, lambda tag, part=part: _name_of(part, tag))  # type: ignore[misc]
        has_numbers = False
        last_values: dict[str, Any] = {}
        for file in parts[part]:
            for item in _of_file(file, decoder, told):
                if isinstance(item, Restart):
                    if has_numbers:
                        yield item
                    continue
                has_numbers = True
                if part and isinstance(item, Numbers):
                    last_values.update(item.data)
                yield item
        if decoder.has_parameters:
            head.summary = {**head.summary, **last_values}


def _name_of(part: str, tag: str) -> str:
    series = _series_of(part, tag) if part else None
    return tag if series is None else f"{tag}/{series}"


def _of_file(path: str, decoder: EventDecoder, told: Told, most_blocks: int = 0) -> Iterator[Item]:
    name = os.path.basename(path)
    with source_files.open_source(path) as file:
        for number, batch in enumerate(records(file, name, told), 1):
            yield from decoder.decode(batch, name)
            if number == most_blocks:
                return
