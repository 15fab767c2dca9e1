"""The rows of a table as dicts, one after the other."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.errors import MissingPackageError
from runicorn.importing import source_files
from runicorn.importing.source_runs import UnreadableSourceError
from runicorn.storage.plain_json import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from runicorn.importing.source_runs import Told

_LONGEST_LINE = 64 * 1024 * 1024
_BATCH_ROWS = 8192
_decode = msgspec.json.decode


def rows(kind: str, path: str, told: Told) -> Iterator[dict[str, Any]]:
    """The rows of a file.

    Args:
        kind: ``csv``, ``tsv``, ``jsonl``, ``parquet`` or ``trainer``.
        path: of the file.
        told: what could not be read.

    Raises:
        ImportError: pyarrow is needed, and not installed.
        UnreadableSourceError: nothing can be read.
    """
    return {"csv": _of_csv, "tsv": _of_tsv, "jsonl": _of_json_lines, "parquet": _of_parquet, "trainer": _of_trainer}[
        kind
    ](path, told)


def csv_columns(path: str) -> list[str]:
    """The names in the first row; none if it cannot be read."""
    try:
        with source_files.open_source(path) as file, _text(file) as text:
            first = text.readline(_LONGEST_LINE)
        return [name.strip() for name in next(csv.reader([first]), [])]
    except (UnreadableSourceError, csv.Error):
        return []


def _of_tsv(path: str, told: Told) -> Iterator[dict[str, Any]]:
    return _of_csv(path, told, "\t")


def _of_csv(path: str, told: Told, delimiter: str = ",") -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, _LONGEST_LINE))
    with source_files.open_source(path) as binary:
        text = _text(binary)
        lines = csv.reader(text, delimiter=delimiter)
        try:
            names = [name.strip() for name in next(lines, [])]
            if delimiter == "," and len(names) == 1 and (other := set(names[0]) & {";", "\t"}):
                # With these a comma may be a decimal one: what 1,000 is then nobody knows.
                raise UnreadableSourceError(
                    f"{path} has {min(other)!r} between its columns, and a comma is what is read. Write it again with "
                    "commas between the columns, and dots in the numbers"
                )
            if len(set(names)) < len(names):
                told.problem(f"{path}: several columns have the same name; only the last of them is read")
            for cells in lines:
                if len(cells) > len(names):
                    told.leave_out("cells beyond the last column", len(cells) - len(names))
                yield dict(zip(names, cells, strict=False))
        except csv.Error as error:
            told.problem(f"{path}: line {lines.line_num:,} cannot be read ({error}); what follows was left out")


def _text(binary: BinaryIO) -> io.TextIOWrapper:
    """The text of a file; in UTF-16 if it begins as that does, which spreadsheets write."""
    is_wide = binary.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
    binary.seek(0)
    return io.TextIOWrapper(binary, "utf-16" if is_wide else "utf-8-sig", "backslashreplace", newline="")


def _of_json_lines(path: str, told: Told) -> Iterator[dict[str, Any]]:
    with source_files.open_source(path) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            try:
                row = _decode(line) if line.strip() else {}
            except UNREADABLE:
                try:
                    row = source_files.decode_json(line, f"{path}: line {number:,}")
                except UnreadableSourceError as error:
                    told.problem(f"{error}; it was left out")
                    continue
            if isinstance(row, dict):
                yield row
            else:
                told.problem(f"{path}: line {number:,} is not a JSON object, and was left out")


def _of_parquet(path: str, _told: Told) -> Iterator[dict[str, Any]]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingPackageError(
            "Parquet needs pyarrow, which is not installed. Nothing was imported. Install it: pip install pyarrow"
        ) from error
    with source_files.open_source(path) as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise UnreadableSourceError(f"{path} cannot be read as Parquet: {error}") from error


def _of_trainer(path: str, told: Told) -> Iterator[dict[str, Any]]:
    state = source_files.json_of(path)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise UnreadableSourceError(f"{path} has no log_history")
    for row in history:
        if isinstance(row, dict):
            yield row
        else:
            told.leave_out("entries of log_history that are no objects")
