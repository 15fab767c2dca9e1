"""How soon has a browser drawn a page? It needs Chromium and Playwright; without them nothing is measured."""

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
"""Checks each frame: a chart has a row in its table for each curve, and is painted in the same frame."""


def drawn_s(address: str, curves: int, *, times: int, height: int = 800) -> list[float]:
    """Time from the opening of a page until all curves are drawn, by the page's clock; empty if there is no browser.

    Args:
        address: of the page.
        curves: number of curves that the page draws at once.
        times: how often the page is opened, each time with an empty cache.
        height: of the window, in pixels.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if not os.path.exists(CHROMIUM):
        return []
    # The path of Chromium's socket must be short, even if the benchmark runs in a long path.
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
