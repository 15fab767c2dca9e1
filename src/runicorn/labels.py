"""A run's alias and tags: in ``meta.json``, and in the row of a 0.7.2 viewer's database where there is one.

``meta.json`` is read and replaced under the lock under which ``init()`` does that when it resumes a run or joins a
job, so neither loses what the other has written; the writer process only reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn import changeable, reading, rundir, viewer_database
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.rundir import RunDir
from runicorn.values import escape
from runicorn.writer import opening_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
        RefusedError: ``meta.json`` is damaged, or another host may have the run open.
        ValueError: the alias is blank.
    """
    given = None if alias is None else escape(alias).strip()
    if given == "":
        raise ValueError("an alias has at least one letter. Nothing was changed. Write --clear to have none.")

    def change(meta: dict[str, Any], rows: viewer_database.Rows) -> None:
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
        RefusedError: ``meta.json`` is damaged, or another host may have the run open.
        ValueError: a tag is blank or has a comma.
    """
    wanted, unwanted = [_checked_tag(tag) for tag in add], {_checked_tag(tag) for tag in remove}
    both = sorted(unwanted.intersection(wanted))
    if both:
        raise ValueError(f"the tag {both[0]!r} is to be added and removed. Nothing was changed. Say one of them.")

    def change(meta: dict[str, Any], rows: viewer_database.Rows) -> None:
        before = meta.get("tags")
        there = before if isinstance(before, list) else []
        kept = [tag for tag in there if not (isinstance(tag, str) and tag in unwanted)]
        meta["tags"] = kept + [tag for tag in dict.fromkeys(wanted) if tag not in kept]
        rows.set_tags(info.id, [tag for tag in meta["tags"] if isinstance(tag, str)])

    return _relabel(info, change, settings, force=force)


def _relabel(
    info: RunInfo, change: Callable[[dict[str, Any], viewer_database.Rows], None], settings: Settings, *, force: bool
) -> Labels:
    with opening_lock.alone_with(info.run_dir, settings):
        changeable.check_not_elsewhere(reading.find(info), force=force)
        try:
            meta = read_object(info.run_dir, rundir.META)
        except DamagedError as error:
            raise changeable.RefusedError(
                f"{rundir.META} in {info.run_dir} cannot be read ({error}), and would lose what is in it. Nothing was "
                "changed. Repair it first."
            ) from error
        with viewer_database.changing(info.storage) as rows:
            change(meta, rows)
            files = RunDir(info.run_dir, sole=False)
            try:
                files.replace(rundir.META, meta)
                files.sync()
            finally:
                files.close()
    now = reading.find(info)
    return Labels(now.alias, now.tags, rows.trouble)


def _checked_tag(tag: str) -> str:
    clean = escape(tag).strip()
    if not clean or "," in clean:
        raise ValueError(f"{tag!r} is no tag. Nothing was changed. A tag is not empty, and has no comma in it.")
    return clean
