"""Moves of a mouse on a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reading import card

if TYPE_CHECKING:
    from playwright.sync_api import Page


def point_on(page: Page, metric: str, share: float) -> tuple[float, float]:
    """The point on a chart at a share of its width and at half its height."""
    box = card(page, metric).locator(".u-over").bounding_box()
    return box["x"] + box["width"] * share, box["y"] + box["height"] / 2


def drag(page: Page, metric: str, start: float, stop: float) -> None:
    """Drag over a part of a chart in several moves, as a user does."""
    page.mouse.move(*point_on(page, metric, start))
    page.mouse.down()
    page.mouse.move(*point_on(page, metric, stop), steps=5)
    page.mouse.up()
