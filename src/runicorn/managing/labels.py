"""A run's alias and tags: in ``meta.json``, and in the row of a 0.7.2 viewer's database where there is one.

``meta.json`` is read and replaced under the lock under which ``init()`` does that when it resumes a run or joins a
job, so neither loses what the other has written; the writer process only reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn import reading
from runicorn.errors import RefusedChangeError, WrongTypeError, WrongValueError
from runicorn.managing import targets, viewer_database
from runicorn.queue import opening_lock
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.storage import run_files
from runicorn.storage.escaping import escape
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.reading import RunInfo
    from runicorn.settings import Settings


class Labels(NamedTuple):
    """What a run is called now.

    Attributes:
        alias: None where it has none.
        tags: in their order.
        trouble: why the viewer's row was not changed; None where it was, or where there is none.
    """

    alias: str | None
    tags: list[str]
    trouble: str | None = None


def set_alias(info: RunInfo, alias: str | None, settings: Settings, *, force: bool = False) -> Labels:
    """Give a run another alias.

    Args:
        info: of the run, from ``changeable.find()``.
        alias: None = none.
        settings: where shared memory is.
        force: also where another host may have the run open.

    Raises:
        OSError: it cannot be written; nothing was changed.
        RefusedChangeError: ``meta.json`` is damaged, or another host may have the run open.
        ValueError: the alias is blank.
    """
    given = None if alias is None else escape(alias).strip()
    if given == "":
        raise WrongValueError("the alias is empty. Nothing was changed. Write --clear to remove the alias.")

    def change(meta: dict[str, Any], rows: viewer_database.DatabaseRows) -> None:
        meta["alias"] = given
        rows.set_alias(info.id, given)

    return _relabel(info, change, settings, force=force)


def change_tags(
    info: RunInfo, add: Iterable[str], remove: Iterable[str], settings: Settings, *, force: bool = False
) -> Labels:
    """Add tags to a run and take some away; one that is there, or not there, already is no error.

    Args:
        info: of the run, from ``changeable.find()``.
        add: behind those that it has.
        remove: taken away.
        settings: where shared memory is.
        force: also where another host may have the run open.

    Raises:
        OSError: it cannot be written; nothing was changed.
        RefusedChangeError: ``meta.json`` is damaged, or another host may have the run open.
        ValueError: a tag is blank or has a comma.
    """
    wanted, unwanted = [_checked_tag(tag) for tag in add], {_checked_tag(tag) for tag in remove}
    both = sorted(unwanted.intersection(wanted))
    if both:
        raise WrongValueError(
            f"the tag {both[0]!r} would be both added and removed. Nothing was changed. Write one of the two."
        )

    def change(meta: dict[str, Any], rows: viewer_database.DatabaseRows) -> None:
        before = meta.get("tags")
        there = before if isinstance(before, list) else []
        kept = [tag for tag in there if not (isinstance(tag, str) and tag in unwanted)]
        meta["tags"] = kept + [tag for tag in dict.fromkeys(wanted) if tag not in kept]
        rows.set_tags(info.id, [tag for tag in meta["tags"] if isinstance(tag, str)])

    return _relabel(info, change, settings, force=force)


def checked(tags: Any, notes: Any, group: Any, parent: Any, run_id: str) -> dict[str, Any]:
    """The labels that are given, as they are stored.

    Args:
        tags: of the run; None = as they are. So for the others.
        notes: free text.
        group: what the run belongs to.
        parent: id of the run that has started it.
        run_id: its own.

    Raises:
        TypeError, ValueError: one is no label.
    """
    found: dict[str, Any] = {}
    for name, text in (("notes", notes), ("group", group), ("parent", parent)):
        if text is None:
            continue
        if not isinstance(text, str):
            raise WrongTypeError(f"set_labels(): {name}={text!r} is of type {type(text).__name__}. Write a string.")
        found[name] = escape(text)
    if found.get("parent") == run_id:
        raise WrongValueError(f"set_labels(): parent={run_id!r} is the run itself. Nothing was changed.")
    if tags is not None:
        if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
            raise WrongTypeError(
                f"set_labels(): tags={tags!r} is not a list. Nothing was changed. Write a list of strings, such as "
                '["baseline"].'
            )
        tags = list(tags)
        for tag in tags:
            if not isinstance(tag, str):
                raise WrongTypeError(f"set_labels(): the tag {tag!r} is of type {type(tag).__name__}. Write a string.")
        found["tags"] = list(dict.fromkeys(map(_checked_tag, tags)))
    return found


def merge(run_dir: str, storage: str, settings: Settings, labels: dict[str, Any], own_tags: Iterable[str]) -> None:
    """Merge labels into ``meta.json`` of a run that is open; what others change meanwhile is kept.

    Args:
        run_dir: the run's directory.
        storage: the storage root.
        settings: where shared memory is.
        labels: from ``checked()``.
        own_tags: those that were set before by the same caller: they go if they are not set again.

    Raises:
        OSError: it cannot be written, or is damaged; nothing was changed.
    """

    def change(meta: dict[str, Any], rows: viewer_database.DatabaseRows) -> None:
        others = _tags(meta)
        meta.update(labels)
        if "tags" in labels:
            kept = [tag for tag in others if tag not in own_tags or tag in labels["tags"]]
            meta["tags"] = list(dict.fromkeys([*kept, *labels["tags"]]))
            rows.set_tags(os.path.basename(run_dir), meta["tags"])

    if labels:
        with opening_lock.hold(run_dir, settings):
            _change_meta(run_dir, storage, change)


def _tags(meta: dict[str, Any]) -> list[str]:
    tags = meta.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _relabel(
    info: RunInfo,
    change: Callable[[dict[str, Any], viewer_database.DatabaseRows], None],
    settings: Settings,
    *,
    force: bool,
) -> Labels:
    with opening_lock.hold(info.run_dir, settings):
        targets.check_not_elsewhere(reading.find(info), force=force)
        trouble = _change_meta(info.run_dir, info.storage, change)
    now = reading.find(info)
    return Labels(now.alias, now.tags, trouble)


def _change_meta(
    run_dir: str, storage: str, change: Callable[[dict[str, Any], viewer_database.DatabaseRows], None]
) -> str | None:
    """Read ``meta.json``, change it, write it; by one process at a time. Why the viewer's row was not changed."""
    try:
        meta = read_object(run_dir, run_files.META)
    except DamagedError as error:
        raise RefusedChangeError(
            f"{run_files.META} in {run_dir} cannot be read ({error}), and a change would lose its content. Nothing was "
            "changed. Repair the file first."
        ) from error
    with viewer_database.changing(storage) as rows:
        change(meta, rows)
        files = RunDir(run_dir, sole=False)
        try:
            files.replace(run_files.META, meta)
            files.sync()
        finally:
            files.close()
    return rows.trouble


def _checked_tag(tag: str) -> str:
    clean = escape(tag).strip()
    if not clean or "," in clean:
        raise WrongValueError(
            f"{tag!r} is not a tag. Nothing was changed. Write a tag that is not empty and has no comma."
        )
    return clean
