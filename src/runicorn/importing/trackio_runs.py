"""trackio: a database for each project, with the media in a folder beside it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from runicorn.importing import databases, source_files
from runicorn.importing.foreign_values import as_step, flattened
from runicorn.importing.source_runs import (
    Head,
    Numbers,
    Sample,
    SourceImage,
    SourceRun,
    TextLine,
    Told,
    UnreadableSourceError,
    found_in,
)
from runicorn.importing.table_values import as_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_TABLES = {"metrics", "configs"}
_LEFT_OUT = {"traces": "traces", "run_artifact_links": "artifacts"}
_IMAGE = "trackio.image"


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs of one project's database, or of all in a directory."""
    if os.path.isfile(top):
        paths = [top]
    else:
        names = sorted(name for name in os.listdir(top) if name.endswith(".db"))
        paths = [os.path.join(top, name) for name in names if not os.path.islink(os.path.join(top, name))]
    return found_in(form, [path for path in paths if databases.tables(path) >= _TABLES], _in_database)


def _in_database(form: str, path: str) -> list[SourceRun]:
    with databases.opened(path) as connection:
        columns = {row["name"] for row in connection.execute("PRAGMA table_info(metrics)")}
        if not {"run_name", "metrics", "step"} <= columns:
            return []
        key = "run_id" if "run_id" in columns else "run_name"  # the first versions had names alone
        what = f"{key}, run_name, count(*), max(id), max(timestamp)"
        counts = f"SELECT {what} FROM metrics GROUP BY {key} ORDER BY min(id)"  # noqa: S608 - one of two words
        configs = {row.get(key): row for row in databases.rows(connection, "configs")}
        found = []
        for row in connection.execute(counts):
            run_id, name, *numbers = tuple(row)
            config = configs.get(run_id, {})
            state = repr((path if key == "run_name" else "", run_id, name, numbers, config.get("config")))
            found.append(_run(form, path, key, str(run_id), str(name), state))
    return found


def _run(form: str, path: str, key: str, run_id: str, name: str, state: str) -> SourceRun:
    head, told = Head(), Told()
    project = os.path.basename(path).removesuffix(".db")
    head.name = name
    head.path = [project]
    head.reason = "trackio stores no status"
    digest = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
    return SourceRun(
        form,
        run_id if key == "run_id" else f"{path}#{run_id}",
        f"{path}#{name}",
        lambda: digest,
        lambda: _items(path, key, run_id, head, told),
        head,
        told,
    )


def _items(path: str, key: str, run_id: str, head: Head, told: Told) -> Iterator[Item]:
    where = f"WHERE {key} = ?"
    with databases.opened(path) as connection:
        for row in databases.rows(connection, "configs", where, run_id):
            _read_config(row, head, told)
        for row in databases.rows(connection, "metrics", where, run_id):
            step, time_s = as_step(row.get("step")), as_time(row.get("timestamp"))
            content = _object(row.get("metrics"), told)
            if step is None or time_s is None or content is None:
                told.leave_out("rows that are no points")
                continue
            yield from _row(content, step, time_s, os.path.join(os.path.dirname(path), "media"), told)
        for row in databases.rows(connection, "system_metrics", where, run_id):
            time_s, content = as_time(row.get("timestamp")), _object(row.get("metrics"), told)
            if time_s is not None and content:
                yield Sample(time_s, flattened(content, told, names=True))
        for row in databases.rows(connection, "alerts", where, run_id):
            text = f"[alert {row.get('level')}] {row.get('title')}: {row.get('text') or ''}"
            yield TextLine(as_time(row.get("timestamp")), text)
        for table, what in _LEFT_OUT.items():
            count = sum(1 for _ in databases.rows(connection, table, where, run_id))
            if count:
                told.leave_out(what, count)


def _row(content: dict[str, Any], step: int, time_s: float, media: str, told: Told) -> Iterator[Item]:
    numbers: dict[str, Any] = {}
    images: list[SourceImage] = []
    for name, value in content.items():
        kind = value.get("_type") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            numbers[name] = value
            continue
        file = source_files.media_file(media, value.get("file_path")) if kind == _IMAGE else None
        if file is not None:
            caption = value.get("caption")
            text = caption if isinstance(caption, str) else None
            images.append(SourceImage(name, step, time_s, text, lambda file=file: source_files.read_whole(file)))  # type: ignore[misc]
        elif kind == _IMAGE:
            told.leave_out("images whose files are not there, or lie elsewhere")
        else:
            told.leave_out(f"values of type {kind}")
    flat = flattened(numbers, told, names=True)
    if flat:
        yield Numbers(step, time_s, flat)
    yield from images


def _read_config(row: dict[str, Any], head: Head, told: Told) -> None:
    config = _object(row.get("config"), told) or {}
    head.config = {name: value for name, value in config.items() if not name.startswith("_")}
    head.created_at = head.started_at = as_time(config.get("_Created")) or as_time(row.get("created_at"))
    group = config.get("_Group")
    head.group = group if isinstance(group, str) else None
    hidden = {name: value for name, value in config.items() if name.startswith("_") and value is not None}
    head.other = {"config": hidden} if hidden else {}


def _object(content: Any, told: Told) -> dict[str, Any] | None:
    """A JSON object in a cell."""
    if not isinstance(content, (bytes, str)):
        return None
    try:
        found = source_files.decode_json(content, "a cell")
    except UnreadableSourceError as error:
        told.problem(f"{error}; it was left out")
        return None
    return found if isinstance(found, dict) else None
