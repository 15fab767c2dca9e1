"""wandb: offline runs, ``offline-run-*/run-*.wandb``; each file is a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.importing import log_blocks, source_files
from runicorn.importing.source_runs import Head, SourceRun, Told, UnreadableSourceError
from runicorn.importing.wandb_records import WandbRecords

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from runicorn.importing.source_runs import Item

_MAGIC = b":W&B"
_ENDING = ".wandb"

_SEARCHED = 50
"""The run's own record is among the first ones."""


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The offline runs in a directory, at any depth; or that of one file."""
    if os.path.isfile(top):
        return [_run(form, top)] if top.endswith(_ENDING) and _begins_right(top) else []
    files = [
        os.path.join(directory, name)
        for directory, names in source_files.below(top)
        for name in names
        if name.endswith(_ENDING)
    ]
    return [_run(form, file) for file in files]


def _begins_right(path: str) -> bool:
    with source_files.open_source(path) as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _run(form: str, path: str) -> SourceRun:
    head, told = Head(), Told()
    return SourceRun(
        form,
        _key(path),
        path,
        lambda: source_files.digest([path]),
        lambda: _items(path, head, told),
        head,
        told,
    )


def _key(path: str) -> str:
    """Project, id and start of the run; of a file that does not say so its name and that of its folder."""
    records = WandbRecords(os.path.dirname(path), Head(), Told())
    try:
        with source_files.open_source(path) as file:
            for number, _ in enumerate(_decoded(file, path, records, Told())):
                if records.run_id or number > _SEARCHED:
                    break
    except UnreadableSourceError:
        pass
    if records.run_id:
        return f"{records.entity}/{records.project}/{records.run_id}@{records.started_at}"
    return "/".join(path.split(os.sep)[-2:])


def _items(path: str, head: Head, told: Told) -> Iterator[Item]:
    records = WandbRecords(os.path.dirname(path), head, told)
    with source_files.open_source(path) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UnreadableSourceError(f"{path} does not begin as a file of wandb does")
        file.seek(0)
        for found in _decoded(file, path, records, told):
            yield from found
    yield from records.rest()
    records.finish()


def _decoded(file: BinaryIO, path: str, records: WandbRecords, told: Told) -> Iterator[list[Item]]:
    name = os.path.basename(path)
    for record in log_blocks.records(file, name, told):
        try:
            yield records.decode(record)
        except (ValueError, IndexError, RecursionError, OverflowError) as error:
            told.problem(f"{name}: a record cannot be decoded ({error}) and was left out")
            yield []
