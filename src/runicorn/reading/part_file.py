"""A part as a file of the cache.

It is a header (its length as eight bytes, a mark of 16 random bytes, then MessagePack) and behind it the arrays of
each group, one after the other, at the offsets that the header has: raw, eight bytes a value in this machine's order.
What are not floats or 64 bit integers (text, booleans, null) is a JSON list.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.reading.part import FLOATS, INTS, OTHERS, Group, GroupEntry, Header, Part, extend
from runicorn.storage import plain_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ALIGNMENT = 8
_MARK_BYTES = 16
_HEADER_AT = 8 + _MARK_BYTES


class Mapped:
    """The content of a file of the cache, mapped into memory while it is looked at.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        with os.fdopen(plain_json.open_regular(path), "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> memoryview:
        return memoryview(self._map)

    def __exit__(self, *_: object) -> None:
        """Nothing: it is unmapped with the last view of it."""


def pieces_of(part: Part) -> list[bytes | memoryview]:
    """The pieces of its file."""
    header = part.header
    header.groups = []
    pieces: list[bytes | memoryview] = []
    at = 0
    for group in part.groups.values():
        offsets = []
        for values in (group.steps, group.times, *group.columns):
            piece = memoryview(values) if isinstance(values, array) else json.dumps(values).encode()
            size = piece.nbytes if isinstance(piece, memoryview) else len(piece)
            offsets.append(at)
            pieces.append(piece)
            at += size
            if at % _ALIGNMENT:
                pieces.append(bytes(_ALIGNMENT - at % _ALIGNMENT))
                at += _ALIGNMENT - at % _ALIGNMENT
        offsets.append(at)
        header.groups.append((list(group.names), group.kinds, list(group.numbers), list(group.origins), offsets))
    header.size_bytes = at
    encoded = msgspec.msgpack.encode(header)
    head = struct.pack("=q", len(encoded)) + os.urandom(_MARK_BYTES)
    return [head, encoded, bytes(-len(encoded) % _ALIGNMENT), *pieces]


def thawed(header: Header, content: memoryview) -> Part:
    """A part that can grow again, from its file."""
    part = Part(header.start)
    part.header = msgspec.structs.replace(
        header, origins=[*header.origins], images=[*header.images], problems=[*header.problems], groups=[]
    )
    part.origin_numbers = {origin: number for number, origin in enumerate(header.origins)}
    for frozen in groups_in(header, content):
        group = Group(frozen.names, frozen.kinds)
        group.numbers, group.origins = frozen.numbers, frozen.origins
        extend(group.steps, frozen.steps)
        extend(group.times, frozen.times)
        for kind, values, more in zip(group.kinds, group.columns, frozen.columns, strict=True):
            if kind == OTHERS:
                values.extend(more)
            else:
                extend(values, more)
        part.add_group(group)
    return part


def read_header(content: memoryview) -> tuple[Header, memoryview]:
    """The header of a part's file, and its arrays.

    Raises:
        ValueError: it is not whole.
    """
    try:
        header = _decode_header(content[_HEADER_AT : _HEADER_AT + _header_bytes(content)])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    return header, _arrays(content, header)


class StoredPart:
    """Where each metric lies in a part's file.

    Args:
        header: of the file.
        mark: tells the file from any other one.

    Attributes:
        columns_by_name: of each name the numbers of the groups that have it, each with the number of its column there.
    """

    def __init__(self, header: Header, mark: bytes) -> None:
        self.header = header
        self.mark = mark
        self.columns_by_name: dict[str, list[tuple[int, int]]] = {}
        for group_number, (names, *_) in enumerate(header.groups):
            for number, name in enumerate(names):
                self.columns_by_name.setdefault(name, []).append((group_number, number))

    def groups_of(self, arrays: memoryview, name: str) -> list[tuple[Group, int]]:
        """Of each group that has a metric, what it has of that one alone.

        Raises:
            ValueError: its header and its arrays are not of one part.
        """
        found = self.columns_by_name.get(name, ())
        return [(_group(self.header.groups[number], arrays, [column]), 0) for number, column in found]


def stored_part(content: memoryview, known: StoredPart | None) -> tuple[StoredPart, memoryview]:
    """A part's file and its arrays; of the one that is known already, if it is that.

    Raises:
        ValueError: it is not whole.
    """
    mark = bytes(content[8:_HEADER_AT])
    if known is None or known.mark != mark:
        known = StoredPart(read_header(content)[0], mark)
    return known, _arrays(content, known.header)


def groups_in(header: Header, arrays: memoryview) -> Iterator[Group]:
    """The groups of a part's file.

    Raises:
        ValueError: its header and its arrays are not of one part.
    """
    for entry in header.groups:
        yield _group(entry, arrays, range(len(entry[0])))


def bare_groups(content: memoryview) -> list[Group]:
    """The groups of a part's file with steps, times and origins alone; they are views of it.

    Raises:
        ValueError: it is not whole.
    """
    header, arrays = read_header(content)
    return [_group(entry, arrays, ()) for entry in header.groups]


def _group(entry: GroupEntry, arrays: memoryview, columns: Sequence[int]) -> Group:
    """Some columns of a group; only their values are decoded."""
    names, kinds, numbers, origins, offsets = entry
    group = Group(tuple(names[column] for column in columns), "".join(kinds[column] for column in columns))
    group.numbers, group.origins = array("q", numbers), array("q", origins)
    views: list[Any] = [arrays[offsets[at] : offsets[at + 1]] for at in (0, 1, *(column + 2 for column in columns))]
    group.steps, group.times = views[0].cast(INTS), views[1].cast(FLOATS)
    group.columns = [
        view.cast(kind) if kind != OTHERS else json.loads(bytes(view).rstrip(b"\0"))
        for view, kind in zip(views[2:], group.kinds, strict=True)
    ]
    if len(group.steps) != sum(numbers[1::2]):
        raise ValueError("its header and its arrays are not of one part")
    return group


def _header_bytes(content: memoryview) -> int:
    try:
        (length,) = struct.unpack_from("=q", content)
    except struct.error as error:
        raise ValueError(str(error)) from error
    return int(length)


def _arrays(content: memoryview, header: Header) -> memoryview:
    length = _header_bytes(content)
    arrays = content[_HEADER_AT + length + -length % _ALIGNMENT :]
    if arrays.nbytes != header.size_bytes:
        raise ValueError("it was cut")
    return arrays


_decode_header = msgspec.msgpack.Decoder(Header).decode
