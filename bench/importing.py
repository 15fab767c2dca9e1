"""What does an import cost beside the readers of TensorBoard and wandb themselves: CPU time and memory?

::

    python bench/importing.py            # the environments of TensorBoard and wandb are made at the first run
    python bench/importing.py --large    # writes an event file of 5 GB too: histograms, texts and scalars
"""

from __future__ import annotations

import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import harness

from runicorn.exporting import wandb_frames
from runicorn.exporting.wandb_frames import message as field
from runicorn.importing.checksums import masked_crcs

sys.path.insert(1, str(Path(__file__).parent / "peers"))

import environments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

LOADER_NAME = "TensorBoard's file loader"
FRAMES_NAME = "its frames alone, by us"
BOUNDS = {"tfevents": (LOADER_NAME, 0.5), "wandb": (FRAMES_NAME, 2.0)}
OURS = """
import sys
from runicorn.importing import import_runs
print(*(each.points for each in import_runs(sys.argv[1], [sys.argv[2]], storage=sys.argv[3])))
"""
LOADER = """
import sys
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util
import glob
count = 0
for path in glob.glob(sys.argv[2] + "/*"):
    for event in EventFileLoader(path).Load():
        for value in event.summary.value:
            count += 1
            tensor_util.make_ndarray(value.tensor).item()
print(count)
"""
ACCUMULATOR = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
accumulator = EventAccumulator(sys.argv[2], {"tensors": 0, "scalars": 0})
accumulator.Reload()
tags = accumulator.Tags()
read = {"tensors": accumulator.Tensors, "scalars": accumulator.Scalars}
print(sum(len(values(tag)) for kind, values in read.items() for tag in tags[kind]))
"""
TBPARSE = """
import sys
from tbparse import SummaryReader
print(len(SummaryReader(sys.argv[2]).scalars))
"""
FRAMES = """
import sys, glob
from runicorn.importing import log_blocks
from runicorn.importing.source_runs import Told
print(sum(1 for path in glob.glob(sys.argv[2] + "/*") for _ in log_blocks.records(open(path, "rb"), path, Told())))
"""
FLOOR = """
import sys, glob, hashlib, msgspec
from runicorn.importing import log_blocks
from runicorn.importing.source_runs import Told
decode, encoder, lines, out = msgspec.json.decode, msgspec.json.Encoder(), [], open(sys.argv[3], "wb")
row = b'{"loss":33333.333333333336,"acc":14285.714285714286,"lr":0.0001,"epoch":100,"_step":100000,"_timestamp":1.7e9}'
for path in glob.glob(sys.argv[2] + "/*"):
    hashlib.sha256(open(path, "rb").read())
    for number, _ in enumerate(log_blocks.records(open(path, "rb"), path, Told())):
        if not number % 3:
            lines.append(decode(row))
            if len(lines) == 500:
                out.write(encoder.encode_lines(lines))
                lines = []
print(number)
"""
WANDB = """
import sys, glob
from wandb.proto import wandb_internal_pb2
import struct, json
count = 0
for path in glob.glob(sys.argv[2] + "/*"):
    data, at, parts = open(path, "rb").read(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            row = {item.key: json.loads(item.value_json) for item in record.history.item}
            count += bool(row)
print(count)
"""


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def write_scalars(path: Path, count: int) -> None:
    """Scalars of four tags as torch writes them."""
    tags = [f"train/metric_{number}" for number in range(4)]
    with path.open("wb") as file:
        for start in range(0, count, 10_000):
            records = []
            for number in range(start, min(start + 10_000, count)):
                value = field(1, tags[number % 4].encode()) + b"\x15" + struct.pack("<f", number / 3)
                head = b"\x09" + struct.pack("<d", 1.7e9 + number / 100) + b"\x10" + varint(number // 4)
                records.append(head + field(5, field(1, value)))
            lengths = [struct.pack("<Q", len(record)) for record in records]
            crcs = zip(masked_crcs(lengths), masked_crcs(records), strict=True)
            for length, record, (of_length, of_record) in zip(lengths, records, crcs, strict=True):
                file.write(length + struct.pack("<I", of_length) + record + struct.pack("<I", of_record))


def write_large(path: Path, size_bytes: int) -> int:
    """Histograms and texts of many sizes, and a scalar behind each; returns how many scalars."""
    filler = os.urandom(1 << 16).hex().encode()
    sizes = (1 << 10, 1 << 12, 1 << 14, 1 << 17)
    histogram = [field(1, field(1, b"weights") + field(5, filler[:size])) for size in sizes]
    plugin = field(9, field(1, field(1, b"text")))
    tensor = b"\x08\x07" + field(8, b"line\n" + filler[: 1 << 10])
    text = field(1, field(1, b"note/text_summary") + field(8, tensor) + plugin)
    count = 0
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            records = []
            for _ in range(100):
                scalar = field(1, field(1, b"loss") + b"\x15" + struct.pack("<f", count / 3))
                head = b"\x09" + struct.pack("<d", 1.7e9 + count) + b"\x10" + varint(count)
                large = text if count % 100 == 0 else histogram[count % 4]
                records += [head + field(5, large), head + field(5, scalar)]
                count += 1
            lengths = [struct.pack("<Q", len(record)) for record in records]
            crcs = zip(masked_crcs(lengths), masked_crcs(records), strict=True)
            for length, record, (of_length, of_record) in zip(lengths, records, crcs, strict=True):
                file.write(length + struct.pack("<I", of_length) + record + struct.pack("<I", of_record))
    return count


def import_large(size_bytes: int, folder: str | None) -> Iterator[Measured]:
    """Import a large event file, and one of a tenth of its size: memory follows the largest record, not the file."""
    for part_bytes in (size_bytes // 10, size_bytes):
        with tempfile.TemporaryDirectory(dir=folder) as top:
            events, storage = os.path.join(top, "events"), os.path.join(top, "storage")
            os.mkdir(events)
            count = write_large(Path(events, "events.out.tfevents.1700000000.host"), part_bytes)
            what = f"tfevents of {part_bytes / 1e9:.1f} GB, {count:,} scalars: import"
            yield measured(what, sys.executable, OURS, "tensorboard", events, storage)


def items_of(values: dict[str, float], order: random.Random) -> bytes:
    """As wandb's core writes them: each with a nested key, in any order."""
    items = [wandb_frames.of_items(1, [(key, repr(value))]) for key, value in values.items()]
    order.shuffle(items)
    return b"".join(items)


def write_rows(path: Path, count: int) -> None:
    """Rows of four metrics, and behind each two changes of the summary, as an offline run of wandb 0.31 has them."""
    order = random.Random(0)
    changes = field(1, field(1, b"_runtime") + b"\x82\x01\x011")
    nested = field(1, field(2, b"_wandb") + field(2, b"runtime") + b"\x82\x01\x011")
    with path.open("wb") as opened:
        file = wandb_frames.WandbFile(opened)
        for number in range(count):
            values = {"loss": number / 3, "acc": number / 7, "lr": 1e-4, "epoch": number // 1000, "_step": number}
            values |= {"_timestamp": 1.7e9 + number / 100, "_runtime": number / 100}
            step = field(2, wandb_frames.of_number(1, number))
            file.add(2, items_of(values, order) + step)
            file.add(3, items_of(values, order))
            file.add(3, nested + changes)


class Measured(NamedTuple):
    """CPU time and memory of a process, and its output: the number of values or records that it has read."""

    what: str
    cpu_s: float
    peak_mib: float
    said: str


def measured(what: str, python: str, program: str, *arguments: str) -> Measured:
    """Run a program; the kernel counts its CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = (
        "import resource, sys; source = sys.argv.pop(1); exec(source); "
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [python, "-c", child, program, *arguments], capture_output=True, text=True, check=False, timeout=3000
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr.strip()}")
    *said, peak = done.stdout.strip().splitlines()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(what, cpu_s, float(peak.split()[1]), " ".join(said))


def import_files(scalars: int, rows: int, tensorboard: str | None, wandb: str | None) -> Iterator[Measured]:
    """Read an event file of scalars and a file of wandb, with our import and with the trackers' own readers.

    Args:
        scalars: number of scalars in the event file.
        rows: number of rows in the file of wandb.
        tensorboard: the interpreter of an environment with TensorBoard and tbparse; None = these are not measured.
        wandb: the same for wandb.
    """
    with tempfile.TemporaryDirectory() as folder:
        events, offline, storage = (os.path.join(folder, name) for name in ("events", "offline", "storage"))
        os.mkdir(events)
        os.mkdir(offline)
        write_scalars(Path(events, "events.out.tfevents.1700000000.host"), scalars)
        write_rows(Path(offline, "run-x.wandb"), rows)
        ours, floor = sys.executable, os.path.join(folder, "floor")
        of_tensorboard = f"tfevents, {scalars:,} scalars:"
        of_wandb = f"wandb, {rows:,} rows:"
        for what, python, program, arguments in (
            (f"{of_tensorboard} import", ours, OURS, ("tensorboard", events, storage)),
            (f"{of_tensorboard} {LOADER_NAME}", tensorboard, LOADER, ("", events)),
            (f"{of_tensorboard} TensorBoard's accumulator", tensorboard, ACCUMULATOR, ("", events)),
            (f"{of_tensorboard} tbparse", tensorboard, TBPARSE, ("", events)),
            (f"{of_wandb} import", ours, OURS, ("wandb", offline, storage)),
            (f"{of_wandb} {FRAMES_NAME}", ours, FRAMES, ("", offline)),
            (f"{of_wandb} frames, digest, JSON in and out", ours, FLOOR, ("", offline, floor)),
            (f"{of_wandb} frames and rows by wandb's classes", wandb, WANDB, ("", offline)),
        ):
            if python is not None:
                yield measured(what, python, program, *arguments)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure small files, and large ones with ``--large``; a quick run needs no other tracker."""
    if arguments.quick:
        found = [*import_files(1_000, 300, None, None)]
    else:
        tensorboard = environments.interpreter(("tensorboard", "tbparse"))
        found = [*import_files(arguments.scalars, arguments.rows, tensorboard, environments.interpreter(("wandb",)))]
    if arguments.large:
        found += import_large(arguments.large_bytes, arguments.folder)
    return {"measured": [each._asdict() for each in found]}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """A row for each process. An import is compared with the program that its target names."""
    found = [Measured(**each) for each in figures["measured"]]
    cpu_s = {each.what.partition(": ")[2]: each.cpu_s for each in found}
    rows = []
    for each in found:
        file, _, program = each.what.partition(": ")
        name, most = BOUNDS.get(file.split(",")[0], ("", 0.0)) if program == "import" else ("", 0.0)
        target = ""
        if name in cpu_s:
            share = each.cpu_s / cpu_s[name]
            target = f"{share:.2f} x {name}; <= {most} {'met' if share <= most else 'missed'}"
        rows.append([each.what, f"{each.cpu_s:.2f}", f"{each.peak_mib:.0f}", each.said, target])
    note = (
        "Each row is a process. The kernel counts its CPU time, including the start of the interpreter. In the file of "
        "wandb, two changes of the summary follow each row, as in a file of wandb 0.31."
    )
    columns = ["", "CPU, s", "memory, MiB", "values or records", "target"]
    return [harness.Table("An import, and the readers of the trackers themselves", columns, rows, note)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes, and whether the large file is imported too."""
    parser.add_argument("--scalars", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--large", action="store_true", help="import an event file of 5 GB too")
    parser.add_argument("--large-bytes", type=int, default=5_000_000_000)
    parser.add_argument("--folder", help="where the large file is made (default: the temp directory)")


if __name__ == "__main__":
    harness.Bench("What does an import cost?", measure, tabulate, add_arguments).main()
