"""A run's alias, tags and notes: in ``meta.json``, and in its row of a 0.7.2 viewer's database if it has one.

``meta.json`` is read and replaced under the lock under which ``init()`` does that when it resumes a run or joins a
job, so neither loses what the other has written; the writer process only reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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

_NONE: Mapping[str, str | None] = {}

MOST_NOTES = 20_000
"""Characters of notes that are written by hand; every list of runs carries them."""


class Labels(NamedTuple):
    """What a run is called now.

    Attributes:
        alias: None if it has none.
        tags: in their order.
        notes: None if it has none.
        trouble: why the viewer's row was not changed; None if it was, or if there is no row.
    """

    alias: str | None
    tags: list[str]
    notes: str | None = None
    trouble: str | None = None


class ChangedMeanwhileError(RefusedChangeError):
    """Somebody else has changed this field since the caller read it."""


def set_alias(info: RunInfo, alias: str | None, settings: Settings, *, force: bool = False) -> Labels:
    """Give a run another alias; see ``change()``."""
    return change(info, settings, texts={"alias": alias}, force=force)


def set_notes(info: RunInfo, notes: str | None, settings: Settings, *, force: bool = False) -> Labels:
    """Give a run other notes; see ``change()``."""
    return change(info, settings, texts={"notes": notes}, force=force)


def change_tags(
    info: RunInfo, add: Iterable[str], remove: Iterable[str], settings: Settings, *, force: bool = False
) -> Labels:
    """Add tags to a run and take some away; see ``change()``."""
    return change(info, settings, add=add, remove=remove, force=force)


def change(
    info: RunInfo,
    settings: Settings,
    *,
    texts: Mapping[str, str | None] = _NONE,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    was: Mapping[str, str | None] = _NONE,
    force: bool = False,
) -> Labels:
    """Change labels of a run, all of them or none.

    Args:
        info: of the run, from ``targets.find()``.
        settings: where shared memory is.
        texts: a new ``alias``, new ``notes``, or both; None = none from now on.
        add: tags that come behind those that it has; one that is there already is no error.
        remove: tags that are taken away; one that is not there is no error.
        was: what ``alias`` or ``notes`` were when they were read; if they are something else now, nothing is changed.
        force: change the run even if another host may have it open.

    Raises:
        ChangedMeanwhileError: ``was`` does not hold any more.
        OSError: it cannot be written; nothing was changed.
        RefusedChangeError: ``meta.json`` is damaged, or another host may have the run open.
        ValueError: the alias is blank, the notes are too long, or a tag is blank or has a comma.
    """
    given = {name: _checked_text(name, text) for name, text in texts.items()}
    wanted, unwanted = [_checked_tag(tag) for tag in add], {_checked_tag(tag) for tag in remove}
    both = sorted(unwanted.intersection(wanted))
    if both:
        raise WrongValueError(
            f"the tag {both[0]!r} would be both added and removed. Nothing was changed. Write one of the two."
        )

    def apply(meta: dict[str, Any], rows: viewer_database.DatabaseRows) -> None:
        _check_unchanged(meta, was)
        meta.update(given)
        if meta.get("notes", "") is None:  # a run that has none has no such member
            del meta["notes"]
        if "alias" in given:
            rows.set_alias(info.id, given["alias"])
        if wanted or unwanted:
            before = meta.get("tags")
            there = before if isinstance(before, list) else []
            kept = [tag for tag in there if not (isinstance(tag, str) and tag in unwanted)]
            meta["tags"] = kept + [tag for tag in dict.fromkeys(wanted) if tag not in kept]
            rows.set_tags(info.id, _tags(meta))

    return _relabel(info, apply, settings, force=force)


def _checked_text(name: str, text: str | None) -> str | None:
    """An alias or notes, as they are stored.

    Raises:
        ValueError: they are none.
    """
    if text is None:
        return None
    if name == "notes":
        clean = escape(text).replace("\r\n", "\n").rstrip()
        if len(clean) > MOST_NOTES:
            raise WrongValueError(
                f"the notes have {len(clean):,} characters, and {MOST_NOTES:,} are the most. Nothing was changed. "
                "Write less, or keep the text in a file of your own."
            )
        return clean or None
    clean = escape(text).strip()
    if not clean:
        raise WrongValueError("the alias is empty. Nothing was changed. Write --clear to remove the alias.")
    return clean


def _check_unchanged(meta: dict[str, Any], was: Mapping[str, str | None]) -> None:
    for name, before in was.items():
        if (meta.get(name) or None) != (before or None):
            raise ChangedMeanwhileError(
                f"somebody else has changed the {name} meanwhile. Nothing was changed. Look at what is there now, and "
                "save again to replace it."
            )


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
    return Labels(now.alias, now.tags, now.notes, trouble)


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
        place = os.path.join(run_dir, run_files.META)
        with targets.worded(f"{place} cannot be written: {{reason}}. Nothing was changed.", place):
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
