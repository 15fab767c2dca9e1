"""What does an image cost the training loop?

The call copies the pixels; the writer encodes them. Runicorn 0.7.2, run by the same program in turn, encodes them in
the call. What encoding costs the writer is measured as well: it is paid by another core.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import harness
import published

if TYPE_CHECKING:
    import argparse

TARGET_MS = 2.0

PROGRAM = """
import json, os, sys, time
import numpy as np
from PIL import Image
import runicorn as rn

storage, calls = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(7)
y, x = np.mgrid[0:1024, 0:1024]
base = (np.stack([x % 256, y % 256, (x + y) // 8 % 256], axis=2) + rng.integers(0, 8, (1024, 1024, 3))).astype(np.uint8)
small = np.ascontiguousarray(base[:256, :256])
pictures = {"array_1024": base, "pil_1024": Image.fromarray(base), "array_256": small, "burst": base}
run = rn.init(path="bench", storage=storage)
time.sleep(0.3)
found = {}
for name, picture in pictures.items():
    run.log_image(name, picture, step=0)
    costs = []
    for i in range(calls):
        begun = time.perf_counter_ns()
        run.log_image(name, picture, step=i)
        costs.append((time.perf_counter_ns() - begun) / 1e6)
        time.sleep(0.05 if name == "burst" else 0.5)
    costs.sort()
    found[f"{name}_p50_ms"], found[f"{name}_max_ms"] = costs[len(costs) // 2], costs[-1]
begun = time.perf_counter()
run.finish()
found["finish_s"] = time.perf_counter() - begun
print(json.dumps(found))
"""

PICTURES = {
    "array_1024": "array 1024 x 1024 x 3, uint8",
    "pil_1024": "PIL RGB 1024 x 1024",
    "array_256": "array 256 x 256 x 3, uint8",
    "burst": "array 1024 x 1024 x 3, faster than they are encoded",
}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the calls of each, and our encoding."""
    calls, rounds = ("1", 1) if arguments.quick else ("12", 3)
    told = published.compare(PROGRAM, rounds, [calls], "numpy", "Pillow", quick=arguments.quick)
    packages = {name: {key: published.middle(each, key) for key in each[0]} for name, each in told.items()}
    return {"packages": packages, "encode_ms": _encoding(1 if arguments.quick else 3)}


def _encoding(rounds: int) -> dict[str, float]:
    """What the writer pays for 1024 x 1024 pixels of a gradient with noise, by format."""
    from runicorn.writer.imaging import file_bytes

    row = bytes(range(256)) * 12
    noise = os.urandom(1024)
    data = b"".join(bytes((value + (noise[y] & 7)) & 255 for value in row) for y in range(1024))
    found = {}
    for extension in ("png", "jpg", "webp"):
        took = []
        for _ in range(rounds):
            begun = time.perf_counter()
            file_bytes("RGB", 1024, 1024, data, extension, 90)
            took.append((time.perf_counter() - begun) * 1e3)
        found[extension] = harness.median(took)
    return found


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """The call by package; the encoding by format."""
    rows = []
    for picture, text in PICTURES.items():
        for package, figure in figures["packages"].items():
            p50_ms = figure[f"{picture}_p50_ms"]
            has_target = package == published.OURS and picture.endswith("1024")
            rows.append(
                [
                    f"{text}, {package}",
                    f"{p50_ms:.2f}",
                    f"{figure[f'{picture}_max_ms']:.2f}",
                    f"<= {TARGET_MS:g} {harness.verdict(p50_ms, TARGET_MS)}" if has_target else "",
                ]
            )
    return [
        harness.Table(
            title="log_image(), PNG",
            columns=["image", "p50, ms", "max, ms", "target"],
            rows=rows,
            note="Twelve calls a row and round, half a second apart, in the last rows 50 ms; median of the rounds.",
        ),
        harness.Table(
            title="Encoding 1024 x 1024, in our writer",
            columns=["format", "ms"],
            rows=[[name, f"{ms:.0f}"] for name, ms in figures["encode_ms"].items()],
        ),
    ]


if __name__ == "__main__":
    harness.Bench(question="What does an image cost the training loop?", measure=measure, tabulate=tabulate).main()
