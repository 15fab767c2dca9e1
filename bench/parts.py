"""Where each tenth of a microsecond of ``run.log()`` goes; ``log_latency.py --parts`` prints it.

Each part is the statement that stands in ``log()``, timed alone: the best of several repeats, with the loop's own cost
in its first row and in every other. The parts do not add up to the whole exactly: alone, each has warm caches.
"""

from __future__ import annotations

import contextlib
import mmap
import timeit
import zlib
from time import time
from typing import TYPE_CHECKING, Any

import harness

from runicorn.queue.records import Metrics, encode
from runicorn.queue.segment import pack_frame_header
from runicorn.validation.metrics import AS_THEY_ARE, known_names

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS, REPEATS = 20_000, 9
SMALL_BYTES, LARGE_BYTES = 73, 900
KEYWORDS = "loss=0.6931, accuracy=0.8125, lr=3e-4, grad_norm=1.732"


class Shape:
    """Something with a method of the signature of ``log()``."""

    def log(self, data: Any = None, *, step: Any = None, stage: Any = None, **kwargs: Any) -> None:
        """Do nothing."""


def statements() -> list[tuple[str, str]]:
    """Name each part, with its statement."""
    return [
        ("(the loop itself)", "pass"),
        ("call of a method with this signature", "shape.log(four)"),
        ("the same with four keywords", f"shape.log({KEYWORDS})"),
        ("clock", "time()"),
        ("names check, 4", "are_known(four)"),
        ("names check, 50", "are_known(fifty)"),
        ("types check, 4", "need_no_look(map(type, four.values()))"),
        ("types check, 50", "need_no_look(map(type, fifty.values()))"),
        ("next step", "shape.step = step = shape.step + 1"),
        ("Metrics()", "Metrics(now, 1, four, None)"),
        ("encode, 4", "encode(four_record)"),
        ("encode, 50", "encode(fifty_record)"),
        (f"adler32, {SMALL_BYTES} bytes", "adler32(small)"),
        (f"crc32, {SMALL_BYTES} bytes", "crc32(small)"),
        (f"adler32, {LARGE_BYTES} bytes", "adler32(large)"),
        (f"crc32, {LARGE_BYTES} bytes", "crc32(large)"),
        (f"frame header and concatenation, {SMALL_BYTES} bytes", "pack(73, 1) + small"),
        (f"frame header and concatenation, {LARGE_BYTES} bytes", "pack(900, 1) + large"),
        (f"mmap.write, {SMALL_BYTES} + 8 bytes", "small_map.write(small_frame)"),
        (f"mmap.write, {LARGE_BYTES} + 8 bytes", "large_map.write(large_frame)"),
        ("closed look", "closed[0]"),
        ("time to look at the writer?", "0.0 <= now < later"),
        ("the whole log(), 4", "run.log(four)"),
        ("the whole log(), 4 keywords", f"run.log({KEYWORDS})"),
        ("the whole log(), 50", "run.log(fifty)"),
    ]


def measure(*, quick: bool) -> dict[str, float]:
    """Time each part alone, in nanoseconds."""
    loops, repeats = (200, 2) if quick else (LOOPS, REPEATS)
    with harness.live_run() as run, names(run, loops) as given:
        return {name: _best_ns(statement, given, loops, repeats) for name, statement in statements()}


def table(parts_ns: dict[str, float]) -> harness.Table:
    """Tell the parts apart."""
    return harness.Table(
        title="Where the time of a call goes",
        columns=["part", "ns"],
        rows=[[name, f"{value:.0f}"] for name, value in parts_ns.items()],
        note="Each alone, best of several repeats; the loop's own cost is in every row.",
    )


def _best_ns(statement: str, given: dict[str, Any], loops: int, repeats: int) -> float:
    # The maps are as long as one repeat needs: each begins at their start.
    timer = timeit.Timer(statement, "small_map.seek(0); large_map.seek(0); import gc; gc.enable()", globals=given)
    return min(timer.repeat(repeats, loops)) / loops * 1e9


@contextlib.contextmanager
def names(run: Any, loops: int) -> Iterator[dict[str, Any]]:
    """Make what the statements name."""
    four = {"loss": 0.6931, "accuracy": 0.8125, "lr": 3e-4, "grad_norm": 1.732}
    fifty = {f"layer{index:02d}/grad_norm": index / 7 for index in range(50)}
    run.log(four)
    run.log(fifty)
    shape = Shape()
    shape.step = 0
    small, large = bytes(range(SMALL_BYTES)), bytes(index % 251 for index in range(LARGE_BYTES))
    with _map(loops * (SMALL_BYTES + 8)) as small_map, _map(loops * (LARGE_BYTES + 8)) as large_map:
        yield {
            "run": run,
            "shape": shape,
            "time": time,
            "now": time(),
            "later": time() + 3600,
            "four": four,
            "fifty": fifty,
            "small": small,
            "large": large,
            "small_frame": bytes(8) + small,
            "large_frame": bytes(8) + large,
            "small_map": small_map,
            "large_map": large_map,
            "closed": memoryview(bytes(1)),
            "are_known": known_names.issuperset,
            "need_no_look": AS_THEY_ARE.issuperset,
            "Metrics": Metrics,
            "encode": encode,
            "pack": pack_frame_header,
            "four_record": Metrics(time(), 1, four, None),
            "fifty_record": Metrics(time(), 1, fifty, None),
            "adler32": zlib.adler32,
            "crc32": zlib.crc32,
        }


@contextlib.contextmanager
def _map(size_bytes: int) -> Iterator[mmap.mmap]:
    mapped = mmap.mmap(-1, size_bytes)
    mapped.write(bytes(size_bytes))  # faults its pages in, as a segment's are
    try:
        yield mapped
    finally:
        mapped.close()
