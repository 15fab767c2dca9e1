"""A part as a file of the cache.

It is a header (its length as eight bytes, then MessagePack) and behind it the arrays of each group, one after the
other, at the offsets that the header has: raw, eight bytes a value in this machine's order. What are not floats or 64
bit integers (text, booleans, null) is a JSON list.
"""

from __future__ import annotations

import json
import struct
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.reading.part import FLOATS, INTS, OTHERS, Group, Header, Part, extend

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIGNMENT = 8


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
    return [struct.pack("=q", len(encoded)), encoded, bytes(-len(encoded) % _ALIGNMENT), *pieces]


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
        part.groups[group.names, group.kinds] = group
    return part


def read_header(content: memoryview) -> tuple[Header, memoryview]:
    """The header of a part's file, and its arrays.

    Raises:
        ValueError: it is not whole.
    """
    try:
        (length,) = struct.unpack_from("=q", content)
        header = _decode_header(content[8 : 8 + length])
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    arrays = content[8 + length + -length % _ALIGNMENT :]
    if arrays.nbytes != header.size_bytes:
        raise ValueError("it was cut")
    return header, arrays


def groups_in(header: Header, content: memoryview, name: str | None = None) -> Iterator[Group]:
    """The groups of a part's file, or those with a name; only that name's values are decoded then."""
    for names, kinds, numbers, origins, offsets in header.groups:
        if name is not None and name not in names:
            continue
        group = Group(tuple(names), kinds)
        group.numbers, group.origins = array("q", numbers), array("q", origins)
        count = sum(numbers[1::2])
        views: list[Any] = [content[at:until] for at, until in pairwise(offsets)]
        group.steps, group.times = views[0].cast(INTS), views[1].cast(FLOATS)
        group.columns = [
            view.cast(kind)
            if kind != OTHERS
            else (json.loads(bytes(view).rstrip(b"\0")) if name in {None, each} else [])
            for each, kind, view in zip(names, kinds, views[2:], strict=True)
        ]
        if len(group.steps) != count:
            raise ValueError("its header and its arrays are not of one part")
        yield group


_decode_header = msgspec.msgpack.Decoder(Header).decode
