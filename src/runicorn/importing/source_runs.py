"""A run of another tracker as a stream: what every format is turned into, and all that is written of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runicorn.errors import RunicornError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_PROBLEMS = 100


class UnreadableSourceError(RunicornError):
    """Nothing of a run can be imported; the message says why."""


def unreadable(path: str, error: OSError) -> UnreadableSourceError:
    """The error for a source that the operating system does not let us read."""
    return UnreadableSourceError(f"{path} cannot be read: {error.strerror or error}")


class Numbers(msgspec.Struct, gc=False):
    """Values that were logged together.

    Attributes:
        step: of 64 bit.
        time: epoch seconds.
        data: value by metric: numbers, truth, text or None.
        stage: as ``log()`` has it.
    """

    step: int
    time: float
    data: dict[str, Any]
    stage: str | None = None


class TextLine(NamedTuple):
    """One line for ``logs.txt``; a time of None adds nothing before the text."""

    time: float | None
    text: str


class SourceImage(NamedTuple):
    """An image file: its metric, step, epoch seconds, caption, and what gives its bytes when they are wanted."""

    key: str
    step: int
    time: float
    caption: str | None
    content: Callable[[], bytes]


class Restart(NamedTuple):
    """From here on a later session logs: what it logs at a step replaces what was logged there before."""

    time: float


class Sample(NamedTuple):
    """What the machine did at a time: numbers by the names of the source."""

    time: float
    data: dict[str, Any]


Item = Numbers | TextLine | SourceImage | Restart | Sample


class Head(msgspec.Struct):
    """What a source says of a run beside its values. It may be filled while the items are read.

    Attributes:
        name: becomes the alias.
        path: segments of the run's path, of any text.
        created_at: epoch seconds; None = the time of the first value.
        started_at: epoch seconds; None = the time of the first value.
        ended_at: epoch seconds; None = the time of the last value.
        status: ``finished``, ``failed`` or ``interrupted``.
        reason: why it ended, or what the source does not say.
        tags: in their order.
        notes: free text.
        group: name of the group that the run belongs to.
        parent: key of the source's run that has started it.
        hostname: where it ran.
        python: version of Python.
        platform: operating system.
        config: arguments.
        summary: results.
        primary: name of the metric that counts, and ``max`` or ``min``.
        other: what a run has no place for; it goes into ``assets.json``.
    """

    name: str | None = None
    path: list[str] = []
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    status: str = "finished"
    reason: str | None = None
    tags: list[str] = []
    notes: str | None = None
    group: str | None = None
    parent: str | None = None
    hostname: str | None = None
    python: str | None = None
    platform: str | None = None
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    primary: tuple[str, str] | None = None
    other: dict[str, Any] = {}


class Told:
    """What of a source is not in the run, and why.

    Attributes:
        left_out: how many of each kind, by the kind in the plural.
        problems: what could not be read, in words.
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.problems: list[str] = []

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count what has no place here."""
        self.left_out[what] += count

    def problem(self, text: str) -> None:
        """Note what could not be read; of very many the first ones."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)
        else:
            self.left_out["further problems"] += 1


class SourceRun(msgspec.Struct):
    """One run in the files of another tracker.

    Attributes:
        form: the format's name.
        key: names the run among all runs of the format; the same at every import.
        location: path of its files, for people.
        state: returns a text that changes if the source changes.
        items: reads the run from its beginning, and fills ``head`` meanwhile.
        head: what the source says beside its values.
        told: what of the source is not in the run.
        skipped: why it is not imported; None = it is.
    """

    form: str
    key: str
    location: str
    state: Callable[[], str]
    items: Callable[[], Iterator[Item]]
    head: Head = msgspec.field(default_factory=Head)
    told: Told = msgspec.field(default_factory=Told)
    skipped: str | None = None

    def read_state(self) -> str:
        """The state.

        Raises:
            UnreadableSourceError: the source cannot be read.
        """
        try:
            return self.state()
        except OSError as error:
            raise unreadable(self.location, error) from error

    def read_items(self) -> Iterator[Item]:
        """The items. An ``OSError`` while one is read is an error of the source, and not of the storage.

        Raises:
            UnreadableSourceError: the source cannot be read.
        """
        try:
            yield from self.items()
        except OSError as error:
            raise unreadable(self.location, error) from error


def found_in(form: str, places: Iterable[str], find: Callable[[str, str], list[SourceRun]]) -> list[SourceRun]:
    """The runs at several places; one that cannot be read is a run that says so when it is asked for."""
    found: list[SourceRun] = []
    for place in places:
        try:
            found += find(form, place)
        except UnreadableSourceError as error:
            found.append(_unreadable(form, place, error))
    return found


def _unreadable(form: str, place: str, error: UnreadableSourceError) -> SourceRun:
    def refuse() -> Any:
        raise error

    return SourceRun(form, place, place, refuse, refuse)
