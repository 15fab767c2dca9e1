"""The images that a run's events tell of, by key and step; what a later session has superseded is apart."""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.storage import run_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.reading.events import EventsFile
    from runicorn.reading.lenient import ImageLine
    from runicorn.viewer.open_runs import OpenRun

BEFORE_ALL = -(2**63)
"""In the place of the step of an image that has none."""
_MOST_STEPS = 10_000
_OF_FILE = 24
"""Bits of a number that count the images of one events file; those above tell the file."""


class Listed(NamedTuple):
    """An image as the events tell of it, in the order of steps; one without a step is before all of them."""

    at: int
    place: int
    number: int
    step: int | None
    key: str
    caption: str | None
    path: str
    time: float
    rank: int | None
    is_superseded: bool


class ImageIndex:
    """The images of a run.

    Args:
        opened: the run; its lock is held.

    Attributes:
        by_key: the images of each key, by step, without what a later session has superseded.
        with_superseded: all of them.
        by_number: each.
        superseded: how many a later session has superseded.
        stamp: as ``stamp_of()`` was.
    """

    def __init__(self, opened: OpenRun) -> None:
        self.stamp = stamp_of(opened)
        self.by_number: dict[int, Listed] = {}
        self.with_superseded: dict[str, list[Listed]] = {}
        firsts = {name: _first_steps(file) for name, file in opened.files.items()}
        for name, file in opened.files.items():
            number = 0 if name == run_files.EVENTS else (1 + zlib.crc32(name.encode()) % 2**28) << _OF_FILE
            for session, image in _by_session(file):
                self._add(number, image, is_superseded=_is_superseded(file, firsts, name, session, image))
                number += 1
        for found in self.with_superseded.values():
            found.sort()
        self.superseded = sum(each.is_superseded for each in self.by_number.values())
        self.by_key = self.with_superseded
        if self.superseded:
            kept = {key: [each for each in found if not each.is_superseded] for key, found in self.by_key.items()}
            self.by_key = {key: found for key, found in kept.items() if found}

    def _add(self, number: int, image: ImageLine, *, is_superseded: bool) -> None:
        step, key, caption, path, time, rank = image
        at, place = BEFORE_ALL if step is None else step, len(self.by_number)
        listed = Listed(at, place, number, step, key, caption, path, time, rank, is_superseded)
        self.by_number[number] = listed
        self.with_superseded.setdefault(key, []).append(listed)

    def keys(self) -> list[dict[str, Any]]:
        """Each key, how many images it has, and the first and last step of them."""
        return [
            {"key": key, "count": len(found), "first_step": found[0].step, "last_step": found[-1].step}
            for key, found in sorted(self.by_key.items())
        ]

    def steps(self) -> list[int]:
        """The steps at which there are images; of very many, evenly taken ones with the last."""
        found = sorted({each.step for listed in self.by_key.values() for each in listed if each.step is not None})
        if len(found) <= _MOST_STEPS:
            return found
        return [*found[:: math.ceil(len(found) / (_MOST_STEPS - 1))], found[-1]]


Images = dict[str, list[Listed]]


def stamp_of(opened: OpenRun) -> tuple[Any, ...]:
    """What is another one if there are other images: numbers alone do not change it."""
    return tuple(
        (name, file.identity, sum(len(header.images) for header in file.headers), tuple(file.edges))
        for name, file in opened.files.items()
    )


def _by_session(file: EventsFile) -> Iterator[tuple[int, ImageLine]]:
    for header in file.headers:
        session = file.session_of(header) if header.images and file.has_sessions else 0
        yield from ((session, image) for image in header.images)


def _first_steps(file: EventsFile) -> dict[str, dict[int, int]]:
    """Of each key the first step of each session."""
    found: dict[str, dict[int, int]] = {}
    for session, image in _by_session(file) if file.has_sessions else ():
        if image.step is not None:
            found.setdefault(image.key, {}).setdefault(session, image.step)
    return found


def _is_superseded(
    file: EventsFile, firsts: dict[str, dict[str, dict[int, int]]], name: str, session: int, image: ImageLine
) -> bool:
    """Whether a later session has images of the key at that step or before: as it is with numbers."""
    if image.step is None or not file.has_sessions:
        return False
    if file.late is not None:
        main, session = file.late
        name = main.name
    later = firsts.get(name, {}).get(image.key, {})
    return any(number > session and first <= image.step for number, first in later.items())


def of_key(images_by_key: Images, key: str, first: int, last: int) -> list[Listed]:
    """The images of a key from a step to another one, both included."""
    found = images_by_key.get(key, [])
    begin = bisect_left(found, first, key=lambda each: each.at)
    return found[begin : bisect_right(found, last, key=lambda each: each.at)]


def around(images_by_key: Images, step: int) -> list[Listed]:
    """Of each key those of the nearest step at or below one; what begins later is left out."""
    nearest: list[Listed] = []
    for _, found in sorted(images_by_key.items()):
        end = bisect_right(found, step, key=lambda each: each.at)
        if end:
            nearest += found[bisect_left(found, found[end - 1].at, key=lambda each: each.at) : end]
    return nearest
