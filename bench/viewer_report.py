"""How large is the report of a run, and how soon has a browser drawn it?

The run has 20 curves of noise, which packs worst, and 10 images. Chromium, driven by Playwright, opens the file ten
times; without one of the two only the size and the time to write are measured.
"""

from __future__ import annotations

import os
import pathlib
import random
import time
from typing import Any

import harness
import viewer_browser

import runicorn as rn
from runicorn.reading.listing import find
from runicorn.viewer.report import make_report
from runicorn.viewer.report_contents import ReportWishes

CURVES, IMAGES = 20, 10


def reported(root: str, records: int, times: int) -> dict[str, Any]:
    """Size of a report, time to write it, and time from the opening to the last curve."""
    storage = os.path.join(root, "reported")
    _make_run(storage, records)
    begun = time.perf_counter()
    content = make_report([find("reported", storage)], ReportWishes(images=IMAGES)).content
    found: dict[str, Any] = {"report_s": time.perf_counter() - begun, "report_bytes": len(content)}
    file = pathlib.Path(root, "report.html")
    file.write_bytes(content)
    drawn = viewer_browser.drawn_s(file.as_uri(), CURVES, times=times)
    return found | ({"report_drawn_s": harness.median(drawn)} if drawn else {})


def _make_run(storage: str, records: int) -> None:
    draw = random.Random(7)
    with rn.init(storage=storage, run_id="reported") as run:
        for _ in range(records):
            run.log({f"metric{number}": draw.gauss(0, 1) for number in range(CURVES)})
        for step in range(IMAGES):
            pixels = [[[row, column, 20 * step] for column in range(256)] for row in range(256)]
            run.log_image("sample", _array(pixels), step=step)


def _array(pixels: list[list[list[int]]]) -> Any:
    import numpy as np

    return np.asarray(pixels, dtype=np.uint8)
