"""One metric: its values with their steps and times, and where each comes from."""

from __future__ import annotations

from array import array
from itertools import chain, compress, groupby, islice, repeat
from operator import lt
from typing import TYPE_CHECKING, Any, NoReturn

from runicorn.errors import WrongTypeError
from runicorn.reading.part import FLOATS, INTS, OTHERS, Group, extend
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runicorn.reading.lenient import Origin, Scalar


class Column:
    """The values of a metric; ``step``, ``time``, ``value``, ``stage``, ``rank`` and ``producer`` have equal length.

    Attributes:
        name: name of the metric.
        step: step of each value; an array of 64 bit integers.
        time: time of each value in epoch seconds; an array of floats.
        value: each value as it was logged; an array if all are floats or all are 64 bit integers, else a list.
    """

    def __init__(
        self,
        name: str,
        step: array[int],
        time: array[float],
        value: array[Any] | list[Scalar],
        origins: list[tuple[Origin, int]],
    ) -> None:
        """Put it together; ``origins`` are pairs of stage, rank, producer, and how many values in a row have them."""
        self.name = name
        self.step = step
        self.time = time
        self.value: Sequence[Scalar] = value
        self._origins = origins

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, position: object) -> NoReturn:
        raise WrongTypeError(f"A column has no items of its own. Write column.value[{position!r}], or column.step.")

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {counted(len(self), 'value')})"

    @property
    def stage(self) -> list[str | None]:
        """Stage of each value; None if it has none."""
        return list(chain.from_iterable(repeat(origin[0], count) for origin, count in self._origins))

    @property
    def rank(self) -> list[int | None]:
        """Rank of each value; None if its process was not part of a distributed job."""
        return list(chain.from_iterable(repeat(origin[1], count) for origin, count in self._origins))

    @property
    def producer(self) -> list[str | None]:
        """Process of each value, as ``<host>-<pid>``; None for the run's owner."""
        return list(chain.from_iterable(repeat(origin[2], count) for origin, count in self._origins))

    def of(self, *, rank: int | None = None, producer: str | None = None, stage: str | None = None) -> Column:
        """Return the values of one rank, process or stage; rank 0 includes processes without a rank."""

        def is_wanted(origin: Origin) -> bool:
            return (
                (rank is None or (origin[1] or 0) == rank)
                and (producer is None or origin[2] == producer)
                and (stage is None or origin[0] == stage)
            )

        wanted = [is_wanted(origin) for origin, _ in self._origins]
        if all(wanted):
            return self
        kept = list(chain.from_iterable(repeat(is_kept, count) for is_kept, (_, count) in self._with(wanted)))
        return Column(
            self.name,
            array(INTS, compress(self.step, kept)),
            array(FLOATS, compress(self.time, kept)),
            _like(self.value, compress(self.value, kept)),
            list(compress(self._origins, wanted)),
        )

    def by_step(self, *, later_wins: bool = True) -> Column:
        """Return one value for each step, sorted by step: the last one of the step, or the first one."""
        # In order already: most are.
        if all(map(lt, self.step, islice(self.step, 1, None))):
            return self
        positions: Iterable[int] = range(len(self.step))
        steps: Iterable[int] = self.step
        if not later_wins:
            positions, steps = reversed(range(len(self.step))), reversed(self.step)
        position_of = dict(zip(steps, positions, strict=True))
        ordered = sorted(position_of)
        chosen = [position_of[step] for step in ordered]
        origins = list(chain.from_iterable(repeat(origin, count) for origin, count in self._origins))
        return Column(
            self.name,
            array(INTS, ordered),
            array(FLOATS, map(self.time.__getitem__, chosen)),
            _like(self.value, map(self.value.__getitem__, chosen)),
            _runs(map(origins.__getitem__, chosen)),
        )

    def _with(self, wanted: list[bool]) -> Iterator[tuple[bool, tuple[Origin, int]]]:
        return zip(wanted, self._origins, strict=True)


class ColumnBuilder:
    """Puts a column together from parts, in their order.

    Args:
        name: of the metric.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._step: array[int] = array(INTS)
        self._time: array[float] = array(FLOATS)
        self._value: Any = None
        self._kind = ""
        self._origins: list[tuple[Origin, int]] = []

    def add(self, of_name: list[tuple[Group, int]], origins: Sequence[Origin]) -> None:
        """Append what a part has of the metric, in the order of its lines: groups, each with the number of a column."""
        if len(of_name) == 1 and of_name[0][0].is_in_order():
            group, number = of_name[0]
            self._append(group.kinds[number], group.steps, group.times, group.columns[number])
            pairs = zip(group.origins[::2], group.origins[1::2], strict=True)
            self._origins += [(origins[origin], count) for origin, count in pairs]
        elif of_name:
            self._merge(of_name, origins)

    def column(self) -> Column:
        """The column; it shares its arrays with the builder, which is done with."""
        value = array(FLOATS) if self._value is None else self._value
        return Column(self._name, self._step, self._time, value, _joined(self._origins))

    def _merge(self, of_name: list[tuple[Group, int]], origins: Sequence[Origin]) -> None:
        lines = list(chain.from_iterable(group.line_numbers() for group, _ in of_name))
        order = sorted(range(len(lines)), key=lines.__getitem__)
        kinds = {group.kinds[number] for group, number in of_name}
        steps = list(chain.from_iterable(group.steps for group, _ in of_name))
        times = list(chain.from_iterable(group.times for group, _ in of_name))
        values = list(chain.from_iterable(group.columns[number] for group, number in of_name))
        origin_numbers = list(chain.from_iterable(group.origin_numbers() for group, _ in of_name))
        kind = kinds.pop() if len(kinds) == 1 else OTHERS
        chosen: Any = map(values.__getitem__, order)
        self._append(
            kind,
            array(INTS, map(steps.__getitem__, order)),
            array(FLOATS, map(times.__getitem__, order)),
            list(chosen) if kind == OTHERS else array(kind, chosen),
        )
        self._origins += _runs(origins[origin_numbers[position]] for position in order)

    def _append(self, kind: str, steps: Any, times: Any, values: Any) -> None:
        extend(self._step, steps)
        extend(self._time, times)
        if self._value is None:
            self._kind, self._value = kind, [] if kind == OTHERS else array(kind)
        if self._kind not in {kind, OTHERS}:
            self._kind, self._value = OTHERS, list(self._value)
        if self._kind == OTHERS:
            self._value.extend(values)
        else:
            extend(self._value, values)


def _like(value: Sequence[Scalar], chosen: Iterable[Any]) -> Any:
    return array(value.typecode, chosen) if isinstance(value, array) else list(chosen)


def _runs(origins: Iterable[Origin]) -> list[tuple[Origin, int]]:
    return [(origin, sum(1 for _ in those)) for origin, those in groupby(origins)]


def _joined(runs: list[tuple[Origin, int]]) -> list[tuple[Origin, int]]:
    return [(origin, sum(count for _, count in those)) for origin, those in groupby(runs, key=lambda run: run[0])]
