"""How soon has a browser drawn a page? Chromium, driven by Playwright; without one of the two nothing is measured."""

from __future__ import annotations

import os
import tempfile

CHROMIUM = "/usr/bin/chromium"
_WATCH = """
  window.drawnAt = new Promise((tell) => {
    const look = () => {
      const curves = document.querySelectorAll("figure.card table.figures tbody tr").length;
      requestAnimationFrame(curves >= CURVES ? () => tell(performance.now()) : look);
    };
    requestAnimationFrame(look);
  });
"""
"""Looks at each frame: a chart has a row for each of its curves, and is painted in that frame."""


def drawn_s(address: str, curves: int, *, times: int, height: int = 800) -> list[float]:
    """From the opening of a page until it has drawn so many curves, by its own clock; empty if there is no browser.

    Args:
        address: of the page.
        curves: how many it draws at once.
        times: how often it is opened, each time by a browser that knows nothing of it.
        height: of the window, in pixels.
    """
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
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": height})
            page.add_init_script(_WATCH.replace("CURVES", str(curves)))
            page.goto(address)
            found.append(page.evaluate("drawnAt") / 1000)
            page.close()
        browser.close()
    return found
