"""What a page shows, read as a screen reader or an eye would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_TOP_PIXELS = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, Math.round(canvas.height * 0.25)).data;
  let coloured = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] > 20 && pixels[at + 2] - pixels[at] > 60) coloured += 1;
  }
  return coloured;
}"""


def card(page: Page, metric: str) -> Locator:
    """The card of a metric."""
    return page.locator("figure.card").filter(has=page.locator("h3", has_text=re.compile(f"^{re.escape(metric)}$")))


def figures(page: Page, metric: str) -> list[dict[str, Any]]:
    """The rows of a chart's table for screen readers; waits until there is one."""
    rows = card(page, metric).locator("table.figures tbody tr")
    expect(rows).not_to_have_count(0)
    found = []
    for row in rows.all():
        name, *cells = [row.locator("th").inner_text(), *row.locator("td").all_inner_texts()]
        last, low, high, count = cells
        found.append({"name": name, "last": float(last), "min": float(low), "max": float(high), "n": int(count)})
    return found


def wait_for_count(page: Page, metric: str, count: int) -> None:
    """Wait until a chart has so many values."""
    expect(card(page, metric).locator("table.figures tbody tr").first.locator("td").last).to_have_text(str(count))


def pixels_at_the_top(page: Page, metric: str) -> int:
    """How many pixels of the upper quarter of a chart have the colour of its curve."""
    return card(page, metric).evaluate(_TOP_PIXELS)


def foot(page: Page, metric: str) -> str:
    """The line below a chart."""
    return card(page, metric).locator("figcaption").inner_text()


def row_names(page: Page) -> list[str]:
    """The names in the rows of the table of runs."""
    return page.locator("[role=row] a.name").all_inner_texts()
