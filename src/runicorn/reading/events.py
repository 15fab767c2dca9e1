"""One events file, followed as it grows: what is new is decoded once, kept as columns, and shared by the cache."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from runicorn.reading import cache as caches
from runicorn.reading.blocks import FilePiece, blocks, read_at
from runicorn.reading.decoding import Decoder
from runicorn.reading.part import Header, Part
from runicorn.reading.part_file import Mapped, StoredPart, bare_groups, pieces_of, read_header, stored_part, thawed
from runicorn.reading.plain_files import DamagedError, Problem, open_inside

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from runicorn.reading.cache import Cache
    from runicorn.reading.column import ColumnBuilder
    from runicorn.reading.lenient import ImageLine
    from runicorn.reading.part import Group

_FOLDER = "columns-3"
_KIB = 1024
_PART_BYTES = 32 * _KIB * _KIB
_LEAST_KEPT_BYTES = _KIB * _KIB
_HEAD_BYTES, _SEAL_BYTES = _KIB, 64


class EventsFile:
    """An events file of a run.

    Args:
        run_dir: the run's directory.
        name: of the file.
        cache: where its columns are kept.

    Attributes:
        headers: of its parts, in their order.
        size: of the file when it was read last, bytes.
        late: the run's main file, and the number of the session that has left this one; None for all other files.
        has_more: the last ``read()`` was told to stop before that.
        edges: where later sessions begin, byte offsets; each begins a part. May be set anew before ``read()``.
    """

    def __init__(self, run_dir: str, name: str, cache: Cache, edges: Sequence[int] = ()) -> None:
        self.name = name
        self.size = 0
        self.has_more = False
        self.edges = edges
        self.late: tuple[EventsFile, int] | None = None
        self._run_dir = run_dir
        self._cache = cache
        self._trouble: Problem | None = None
        self._torn: Problem | None = None
        self._forget()

    def _forget(self) -> None:
        self.headers: list[Header] = []
        self._growing: Part | None = None
        self._in_memory: dict[int, Part] = {}
        self._stored: dict[int, StoredPart] = {}
        self._names: set[str] | None = None
        self._kept_bytes = 0
        self._file: tuple[int, int] | None = None
        self._edges: list[int] = []
        self._folder = ""
        self._decoder = self._new_decoder([])

    def _new_decoder(self, names: Sequence[str]) -> Decoder:
        return Decoder(list(names))

    @property
    def end(self) -> int:
        """How far it was read, bytes."""
        return self.headers[-1].end if self.headers else 0

    @property
    def names(self) -> set[str]:
        """The names of its metrics."""
        if self._names is None:
            stored = {name for header in self.headers for names, *_ in header.groups for name in names}
            self._names = stored.union(*(part.columns_by_name for part in self._in_memory.values()))
        return self._names

    @property
    def images(self) -> list[ImageLine]:
        """Its lines of type ``image``."""
        return [image for header in self.headers for image in header.images]

    def problems(self, *, is_live: bool) -> Iterator[Problem]:
        """What of it could not be read; while the run is live, a last line that is half there is none."""
        if self._trouble is not None:
            yield self._trouble
        for header in self.headers:
            for offset, reason in header.problems:
                yield Problem(self.name, offset, reason)
        if self._torn is not None and not is_live:
            yield self._torn

    def problem_count(self, *, is_live: bool) -> int:
        """How many those are, those that are not listed one by one included."""
        unlisted = sum(header.problem_count - len(header.problems) for header in self.headers)
        return unlisted + sum(1 for _ in self.problems(is_live=is_live))

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file that was read; None if there is none."""
        return self._file

    def read(self, most_bytes: int | None = None) -> bool:
        """Read what is new; whether there was anything, or another file is there now.

        Args:
            most_bytes: about so much of it; a longer line is read whole. None = all.
        """
        before = (self._file, self.end, self._trouble, self._torn)
        self._trouble = self._names = None
        self.has_more = False
        try:
            with open_inside(self._run_dir, self.name) as file:
                self._read(file, most_bytes)
        except FileNotFoundError:
            self._forget()
            self._torn = None
            self.size = 0
        except (OSError, DamagedError) as error:
            self._trouble = Problem(self.name, self.end, str(error))
        return before != (self._file, self.end, self._trouble, self._torn)

    def _read(self, file: BinaryIO, most_bytes: int | None) -> None:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        edges = _usable_edges(file, self.edges, status.st_size)
        is_other = self._file != identity or status.st_size < self.end or not _has_seal(file, self.headers[-1:])
        if is_other or any(_spans(header, edges) for header in self.headers):
            self._forget()
            self._file = identity
        self._edges, self.size = edges, status.st_size
        if not self._folder and status.st_size >= _HEAD_BYTES:
            head = hashlib.sha256(read_at(file, 0, _HEAD_BYTES)).hexdigest()[:32]
            self._folder = f"{identity[0]:x}-{identity[1]:x}-{head}"
            if not self.headers:
                self._take_from_cache(file, status.st_size)
        self._torn = None
        limit = self.size if most_bytes is None else min(self.size, self.end + most_bytes)
        begun = self.end
        self._read_to(file, limit)
        if self.end == begun and limit < self.size:  # a line that is longer
            limit = self.size
            self._read_to(file, limit)
        self.has_more = limit < self.size
        if self._growing is not None and not self.has_more:
            grown = self.end - max(self._kept_bytes, self._growing.header.start)
            if grown >= max(_LEAST_KEPT_BYTES, (self.end - self._growing.header.start) // 4):
                self._keep(file)

    def _read_to(self, file: BinaryIO, limit: int) -> None:
        for stop in [*(edge for edge in self._edges if self.end < edge < limit), limit]:
            is_edge = stop in self._edges
            for piece in blocks(file, self.end, stop):
                if piece.torn and not is_edge:
                    if stop == self.size:
                        self._torn = Problem(self.name, self.end, piece.trouble)
                    break
                self._add(self._part_to_grow(), piece)
                if self.end - self.headers[-1].start >= _PART_BYTES:
                    self._keep(file)
                    self._growing = None
            if is_edge and self._growing is not None and self.size >= _LEAST_KEPT_BYTES:
                self._keep(file)

    def _part_to_grow(self) -> Part:
        if self._growing is not None and self._growing.header.start < self.end and self.end in self._edges:
            self._growing = None
        if self._growing is None:
            part = self._thawed()
            if part is None:
                part = Part(self.end)
                self.headers.append(part.header)
            self.headers[-1] = part.header
            self._growing = self._in_memory[part.header.start] = part
        return self._growing

    def _add(self, part: Part, piece: FilePiece) -> None:
        if piece.trouble:
            part.skip(piece.size_bytes, piece.trouble)
        else:
            part.add(self._decoder.decode(piece.lines), piece.size_bytes)
            part.header.seal = (part.header.seal + piece.lines[-_SEAL_BYTES:])[-_SEAL_BYTES:]

    def _thawed(self) -> Part | None:
        """The last part, where it is in the cache alone and may still grow."""
        if not self.headers or self.end - self.headers[-1].start >= _PART_BYTES or self.end in self._edges:
            return None
        header = self.headers[-1]
        try:
            with Mapped(self._path(header)) as content:
                part = thawed(*read_header(content))
        except (OSError, ValueError):
            part = self._decoded_again(header)
        self._kept_bytes = header.end
        return part

    def _take_from_cache(self, file: BinaryIO, size: int) -> None:
        """Take the longest chain of parts that others, or we, have kept of this file."""
        folder = self._cache.path(_FOLDER, self._folder)
        if folder is None:
            return
        try:
            names = os.listdir(folder)
        except OSError:
            return
        longest: dict[int, list[int]] = {}
        for name in names:
            start, _, end = name.removesuffix(".part").partition("-")
            if name.endswith(".part") and start.isdecimal() and end.isdecimal():
                longest.setdefault(int(start), []).append(int(end))
        while any(self._take_part(file, end) for end in sorted(longest.get(self.end, ()), reverse=True) if end <= size):
            continue
        self._kept_bytes = self.end
        self._decoder = self._new_decoder(sorted(self.names))

    def _take_part(self, file: BinaryIO, end: int) -> bool:
        path = self._path(Header(self.end, end))
        try:
            with Mapped(path) as content:
                header, _ = read_header(content)
        except (OSError, ValueError):
            return False
        if (header.start, header.end) != (self.end, end) or end <= self.end or not _has_seal(file, [header]):
            return False
        if _spans(header, self._edges):
            return False
        self.headers.append(header)
        caches.touch(path)
        return True

    def _keep(self, file: BinaryIO) -> None:
        """Have the growing part in the cache; the shorter one that it was before is not needed any more."""
        part = self._growing
        if part is None or not self._folder or not _has_seal(file, [part.header]):
            return
        header = part.header
        before = self._kept_bytes
        if before == header.end:
            return
        try:
            pieces = pieces_of(part)
        except (OverflowError, UnicodeEncodeError):
            return
        if not self._cache.write(pieces, _FOLDER, self._folder, _file_name(header)):
            header.groups = []
            return
        self._kept_bytes = header.end
        if header.start < before < header.end:
            caches.remove(self._path(Header(header.start, before)))
        if header.end - header.start >= _PART_BYTES:
            del self._in_memory[header.start]

    def let_go(self) -> None:
        """Have what is in memory in the cache alone, if the cache takes it; it comes back when the file grows."""
        part = self._growing
        if part is None or self.end - part.header.start < _LEAST_KEPT_BYTES:
            return
        with suppress(OSError, DamagedError), open_inside(self._run_dir, self.name) as file:
            self._keep(file)
        if self._kept_bytes == self.end:
            self._in_memory.pop(part.header.start, None)
            self._growing = None

    def add_to(self, builder: ColumnBuilder, name: str) -> None:
        """Append what the file has of a metric."""
        for header, of_name in self.of_metric(name):
            builder.add(of_name, header.origins)

    def of_metric(self, name: str) -> Iterator[tuple[Header, list[tuple[Group, int]]]]:
        """What each part has of a metric: groups, each with the number of a column; parts without it are left out.

        The columns of a part that is in the cache are views of its file; those of one in memory grow with it.
        """
        for number, header in enumerate(self.headers):
            part = self._in_memory.get(header.start)
            if part is None:
                known = self._stored.get(header.start)
                if known is not None and known.header.end == header.end and name not in known.columns_by_name:
                    continue
                try:
                    with Mapped(self._path(header)) as content:
                        stored, arrays = stored_part(content, known)
                        if stored.header.start == header.start and stored.header.end == header.end:
                            self._stored[header.start] = stored
                            of_name = stored.groups_of(arrays, name)
                            if of_name:
                                yield stored.header, of_name
                            continue
                except (OSError, ValueError):
                    pass
                part = self._decoded_again(header)  # somebody has cleaned up the cache
                self._in_memory[header.start] = part
                self.headers[number] = part.header
            if name in part.columns_by_name:
                yield part.header, part.columns_by_name[name]

    def kept(self, name: str) -> bytes | None:
        """What is kept beside the parts by that name; None if nothing is."""
        return self._cache.read(_FOLDER, self._folder, name) if self._folder else None

    def keep_beside(self, pieces: list[bytes | memoryview], name: str) -> None:
        """Keep a file beside the parts, if the cache takes it."""
        if self._folder:
            self._cache.write(pieces, _FOLDER, self._folder, name)

    @property
    def has_sessions(self) -> bool:
        """Whether several sessions have logged to it, of which later ones supersede what earlier ones have."""
        return self.late is not None or any(0 < edge < self.end for edge in self._edges)

    def session_of(self, header: Header) -> int:
        """In which session of the run a part was logged: how many edges are at or before its beginning."""
        return sum(1 for edge in self._edges if edge <= header.start)

    def bare_groups(self, known: Container[tuple[int, int]]) -> Iterator[tuple[Header, list[Group]]]:
        """The groups of each part, for their steps and origins; those in the cache have no columns.

        Args:
            known: beginnings and ends of parts that are not opened; their groups are left out.
        """
        for number, header in enumerate(self.headers):
            if (header.start, header.end) in known:
                yield header, []
                continue
            part = self._in_memory.get(header.start)
            if part is None:
                try:
                    with Mapped(self._path(header)) as content:
                        yield header, bare_groups(content)
                        continue
                except (OSError, ValueError):
                    part = self._in_memory[header.start] = self._decoded_again(header)
                    self.headers[number] = part.header
            yield part.header, list(part.groups.values())

    def all_parts(self) -> Iterator[Part]:
        """Every part, with all of its groups in memory, one at a time."""
        for header in self.headers:
            part = self._in_memory.get(header.start)
            if part is None:
                try:
                    with Mapped(self._path(header)) as content:
                        part = thawed(*read_header(content))
                except (OSError, ValueError):
                    part = self._decoded_again(header)
            yield part

    def _decoded_again(self, header: Header) -> Part:
        part = Part(header.start)
        try:
            with open_inside(self._run_dir, self.name) as file:
                for piece in blocks(file, header.start, header.end):
                    self._add(part, piece)
        except (OSError, DamagedError) as error:
            self._trouble = Problem(self.name, header.start, str(error))
        part.header.end, part.header.seal = header.end, header.seal
        return part

    def _path(self, header: Header) -> str:
        return self._cache.path(_FOLDER, self._folder, _file_name(header)) or ""


def _file_name(header: Header) -> str:
    return f"{header.start}-{header.end}.part"


def _has_seal(file: BinaryIO, headers: list[Header]) -> bool:
    """Whether the file has, where the last of these parts ends, what it had when that was read."""
    if not headers:
        return True
    seal, end = headers[-1].seal, headers[-1].end
    return read_at(file, end - len(seal), len(seal)) == seal


def _spans(header: Header, edges: Sequence[int]) -> bool:
    return any(header.start < edge < header.end for edge in edges)


def _usable_edges(file: BinaryIO, edges: Sequence[int], size: int) -> list[int]:
    """Those at which lines begin or end."""
    return [
        edge
        for edge in sorted(set(edges))
        if edge in {0, size} or (0 < edge < size and b"\n" in read_at(file, edge - 1, 2))
    ]
