"""How large is the report of a run, and how soon has a browser drawn it?

The run has 20 curves of noise, which packs worst, and 10 images. Chromium, driven by Playwright, opens the file ten
times; without one of the two only the size and the time to write are measured.
"""

from __future__ import annotations

import os
import pathlib
import random
import tempfile
import time
from typing import Any

import harness

import runicorn as rn
from runicorn.reading.listing import find
from runicorn.viewer.report import make_report
from runicorn.viewer.report_contents import ReportWishes

CHROMIUM = "/usr/bin/chromium"
CURVES, IMAGES, TIMES = 20, 10, 10


def reported(root: str, records: int) -> dict[str, Any]:
    """Its bytes, how long it took to write, and how long from the opening to the last curve."""
    storage = os.path.join(root, "reported")
    _make_run(storage, records)
    begun = time.perf_counter()
    content = make_report([find("reported", storage)], ReportWishes(images=IMAGES)).content
    found: dict[str, Any] = {"report_s": time.perf_counter() - begun, "report_bytes": len(content)}
    file = pathlib.Path(root, "report.html")
    file.write_bytes(content)
    drawn = _drawn_s(file.as_uri())
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


def _drawn_s(address: str) -> list[float]:
    """From the opening of the file, by the page's own clock."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if not os.path.exists(CHROMIUM):
        return []
    # Chromium's socket has a path of a hundred characters at most, wherever the benchmark is run.
    with tempfile.TemporaryDirectory(dir="/tmp") as short, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox"], env={**os.environ, "TMPDIR": short}
        )
        found = []
        for _ in range(TIMES):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            page.locator("figure.card canvas").nth(CURVES - 1).wait_for()
            found.append(page.evaluate("performance.now()") / 1000)
            page.close()
        browser.close()
    return found
