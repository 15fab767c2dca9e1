"""What an import has written, read from its files by nothing of the package."""

import json
import math
import os
import struct
from pathlib import Path

from runicorn import importing

SAMPLES = Path(os.environ.get("RUNICORN_SAMPLES") or Path(__file__).parent / "samples")
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
NOT_METRICS = {"global_step", "time", "stage"}


def bits(value):
    """A value that is equal to another one only if all its bits are; NaN is NaN."""
    if type(value) is float:
        return "NaN" if math.isnan(value) else struct.pack("<d", value)
    return type(value).__name__, value


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def lines_of(run_dir):
    """The lines of ``events.jsonl``, each of which is strict JSON."""
    path = Path(run_dir, "events.jsonl")
    text = path.read_text("utf-8") if path.exists() else ""
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def points_of(run_dir):
    """By metric its points, in the order of the file: time, step, value."""
    found = {}
    for line in lines_of(run_dir):
        data = line["data"]
        if line["type"] != "metrics":
            continue
        for name, value in data.items():
            if name not in NOT_METRICS:
                word = line.get("nonfinite", {}).get(name)
                number = NONFINITE[word] if word else value
                found.setdefault(name, []).append((data["time"], data["global_step"], number))
    return found


def samples_of(run_dir):
    """The lines of ``system.jsonl``, each of which is strict JSON: time, and numbers without the interval."""
    text = Path(run_dir, "system.jsonl").read_text("utf-8")
    found = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [
        (each["time"], {name: value for name, value in each.items() if name not in {"time", "interval_s"}})
        for each in found
    ]


def comparable(points):
    """Points that are equal only if they are bit for bit."""
    return {name: [(time, step, bits(value)) for time, step, value in each] for name, each in points.items()}


def load(form, *sources, storage, **options):
    """Import, and return what became of each run."""
    return list(importing.import_runs(form, map(str, sources), storage=str(storage), **options))


def content_of(top):
    """Every file below a directory with its bytes; links by where they lead."""
    return {
        path.relative_to(top).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(Path(top).rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def json_of(run_dir, name):
    return json.loads(Path(run_dir, name).read_text("utf-8"))


def expected_of(sample):
    return json.loads((SAMPLES / sample / "expected.json").read_text("utf-8"))


def varint(value):
    """A number as protocol buffers write it."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number, content):
    """A field of bytes, or of a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content
