"""The newest step in a live spool, read by a process that is not its writer."""

from __future__ import annotations

import os

from runicorn.queue import spool, spool_address
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Hello, Metrics, PartialMetrics
from runicorn.queue.segment_reader import SegmentReader


def last_step(address: spool_address.Address) -> int | None:
    """The owner's step in what it has pushed and the writer has not removed yet; None where there is nothing."""
    for path in _newest_first(address):
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        except OSError:  # stored and removed meanwhile
            continue
        reader = SegmentReader(fd)
        try:
            payloads = reader.read(reader.size_bytes) if reader.valid else []
        finally:
            reader.close()
        hello = decode(payloads[0]) if payloads else None
        if not isinstance(hello, Hello) or not hello.is_owner:
            continue
        for payload in reversed(payloads):
            record = decode(payload)
            if isinstance(record, (Metrics, PartialMetrics)):
                return record.step
    return None


def _newest_first(address: spool_address.Address) -> list[str]:
    found = []
    for directory in (address.spool, address.overflow):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        found += [os.path.join(directory, name) for name in names if name.endswith(spool.SEGMENT_SUFFIX)]
    return sorted(found, key=lambda path: path.rpartition("-")[2], reverse=True)
