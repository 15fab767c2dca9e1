"""What a page shows, read as a screen reader or an eye would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_AT_THE_TOP = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, Math.round(height * 0.25)).data;
  const columns = new Set();
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] > 20 && pixels[at + 2] - pixels[at] > 60) columns.add((at / 4) % width);
  }
  return [...columns].map((column) => (column / devicePixelRatio - 52) / (width / devicePixelRatio - 70));
}"""


def card(page: Page, metric: str) -> Locator:
    """The card of a metric."""
    return page.locator("figure.card").filter(has=page.locator("h3", has_text=re.compile(f"^{re.escape(metric)}$")))


def figures(page: Page, metric: str, count: int | None = None) -> list[dict[str, Any]]:
    """Wait for rows in a chart's table for screen readers, for a given number of them or any; the rows."""
    rows = card(page, metric).locator("table.figures tbody tr")
    _wait_for(rows, count)
    found = []
    for row in rows.all():
        name, *cells = [row.locator("th").inner_text(), *row.locator("td").all_inner_texts()]
        last, low, high, count = cells
        found.append({"name": name, "last": float(last), "min": float(low), "max": float(high), "n": int(count)})
    return found


def wait_for_count(page: Page, metric: str, count: int) -> None:
    """Wait until a chart has so many values."""
    expect(card(page, metric).locator("table.figures tbody tr").first.locator("td").last).to_have_text(str(count))


def peak(page: Page, metric: str) -> tuple[float, float]:
    """What of the curve is in the upper quarter of a chart: from where to where, as shares of its width."""
    shares = card(page, metric).evaluate(_AT_THE_TOP)
    assert shares, f"nothing of {metric} is in the upper quarter of its chart"
    return min(shares), max(shares)


def foot(page: Page, metric: str) -> str:
    """The line below a chart."""
    return card(page, metric).locator("figcaption").inner_text()


def row_names(page: Page, count: int | None = None) -> list[str]:
    """Wait for rows in the table of runs, for a given number of them or any; their names."""
    names = page.locator("[role=row] a.name")
    _wait_for(names, count)
    return names.all_inner_texts()


def _wait_for(found: Locator, count: int | None) -> None:
    if count is None:
        expect(found).not_to_have_count(0)
    else:
        expect(found).to_have_count(count)
