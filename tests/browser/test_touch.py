"""Fingers zoom a chart, read its values and scroll the page over it, and move the slider of images."""

from __future__ import annotations

import re

import pytest
from mouse import point_on
from pictures import add_image, png
from playwright.sync_api import expect
from reading import card, figures
from storages import write_run

RUN = "20260101_000000_aaaaaa"


@pytest.fixture
def touched(tmp_path, viewer_of, open_page):
    """The page of a run with many charts and some images, on a touch screen."""
    names = [f"m{number}" for number in range(30)]
    run_dir = write_run(tmp_path, RUN, [{"step": step, **dict.fromkeys(names, step)} for step in range(1, 101)])
    for step in range(0, 100, 10):
        add_image(run_dir, "samples", step, png(20, 20, (step, 0, 0)))
    viewer = viewer_of(tmp_path)
    return lambda place="": open_page(viewer.at(f"run/{RUN}{place}"), width=800, touch=True)


class Fingers:
    """Fingers on a page, with the events that a touch screen sends to the browser."""

    def __init__(self, page):
        self._session = page.context.new_cdp_session(page)

    def _tell(self, kind, *points):
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def move(self, *paths):
        """Move all fingers at once, each from one place to another."""
        self._tell("touchStart", *(start for start, _ in paths))
        for part in range(1, 11):
            between = [
                (start[0] + (stop[0] - start[0]) * part / 10, start[1] + (stop[1] - start[1]) * part / 10)
                for start, stop in paths
            ]
            self._tell("touchMove", *between)
        self._tell("touchEnd")


def test_a_finger_zooms(touched):
    """A finger that moves to the side on a chart zooms all charts."""
    page = touched()
    assert figures(page, "m0")[0]["n"] == 100
    Fingers(page).move((point_on(page, "m0", 0.25), point_on(page, "m0", 0.75)))
    expect(page).to_have_url(re.compile(r"from=2\d[.\d]*&to=7\d"))
    for metric in ("m0", "m1"):
        expect(card(page, metric).locator("figcaption")).to_contain_text("in view of 100 points")


def test_a_tap_reads_the_values(touched):
    """After a tap on one chart, all charts show their values at that place, and none is zoomed."""
    page = touched()
    figures(page, "m0")
    page.touchscreen.tap(*point_on(page, "m0", 0.5))
    expect(card(page, "m1").locator(".read")).to_contain_text("at step 5")
    expect(card(page, "m0").locator("figcaption")).to_have_text("100 points, each shown")


def test_a_finger_that_moves_up_scrolls_the_page(touched):
    """A finger that moves up over a chart scrolls the page, and zooms nothing."""
    page = touched()
    figures(page, "m10")
    x, y = point_on(page, "m10", 0.5)
    Fingers(page).move(((x, y), (x + 10, y - 200)))
    page.wait_for_function("scrollY > 50")
    expect(card(page, "m10").locator("figcaption")).to_have_text("100 points, each shown")
    assert "from=" not in page.url


def test_a_finger_moves_the_slider_of_images(touched):
    """The page shows the step to which a finger moves the slider."""
    page = touched("/images")
    expect(page.locator("output")).to_have_text("step 90")
    box = page.get_by_label("Step", exact=True).bounding_box()
    middle = box["y"] + box["height"] / 2
    Fingers(page).move(((box["x"] + box["width"] - 8, middle), (box["x"] + 8, middle)))
    expect(page.locator("output")).to_have_text("step 0")
