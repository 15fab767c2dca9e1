"""Charts show what was logged: spikes, sparse values, odd values, resumed runs, thousands of metrics."""

from __future__ import annotations

import math

import pytest
from playwright.sync_api import expect
from reading import card, figures, foot, peak, wait_for_count
from storages import RECORDS, SPIKE, SPIKE_AT, million_records, write_run
from support.trainers import Trainer

RED_PIXELS = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let red = 0;
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 100 && data[at] - data[at + 2] > 100) red += 1;
  return red;
}"""
HAS_COLOUR = """(colour) => {
  const canvas = document.querySelector('figure.card canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] === 255 && colour.every((part, index) => Math.abs(data[at + index] - part) < 3)) return true;
  }
  return false;
}"""
ZOOMS = [(SPIKE_AT - 100_000, SPIKE_AT + 50_000), (SPIKE_AT - 900, SPIKE_AT + 100), (SPIKE_AT - 5, SPIKE_AT + 5)]


@pytest.fixture(scope="session")
def million(tmp_path_factory):
    """A storage with a run of 1,000,000 records."""
    storage = tmp_path_factory.mktemp("million")
    write_run(storage, "20260101_000000_00000a", million_records(), alias="million")
    return storage


@pytest.mark.timeout(400)
def test_spike_is_seen_at_every_zoom_that_contains_it(million, viewer_of, open_page):
    """One value of 50.0 among 1,000,000 below 1.1 is in the chart's table and in its pixels, near and far."""
    viewer = viewer_of(million)
    page = open_page(viewer.at("run/20260101_000000_00000a"))
    wait_for_count(page, "loss", RECORDS)
    assert figures(page, "loss")[0]["max"] == SPIKE
    _assert_peak_at(page, SPIKE_AT / RECORDS)
    assert "of 1,000,000 points, min to max shown" in foot(page, "loss")
    for low, high in ZOOMS:
        page.goto(f"{viewer.root}run/20260101_000000_00000a?from={low}&to={high}")
        wait_for_count(page, "loss", high - low + 1)
        assert figures(page, "loss")[0]["max"] == SPIKE
        _assert_peak_at(page, (SPIKE_AT - low) / (high - low))
    page.goto(f"{viewer.root}run/20260101_000000_00000a?from=1&to=1000")
    wait_for_count(page, "loss", 1000)
    assert figures(page, "loss")[0]["max"] < 1.1


def _assert_peak_at(page, share):
    """Only the spike reaches the top, where its step is."""
    first, last = peak(page, "loss")
    assert share - 0.06 < first <= last < share + 0.06


def test_values_that_were_logged_seldom_are_all_shown(million, viewer_of, open_page):
    """A metric logged 40 times among 1,000,000 records shows each of the 40 points."""
    page = open_page(viewer_of(million).at("run/20260101_000000_00000a"))
    wait_for_count(page, "val_loss", 40)
    assert foot(page, "val_loss") == "40 points, each shown"


def test_odd_values_are_marked_and_counted(tmp_path, viewer_of, open_page):
    """NaN and infinities have marks at the edge of the chart, and are counted below it; the rest is drawn."""
    odd = {3: math.nan, 4: math.nan, 7: math.inf, 9: -math.inf}
    write_run(tmp_path, "odd", [{"step": step, "loss": odd.get(step, 1.0 / step)} for step in range(1, 21)])
    page = open_page(viewer_of(tmp_path).at("run/odd"))
    assert figures(page, "loss") == [{"name": "odd", "last": 0.05, "min": 0.05, "max": 1.0, "n": 20}]
    assert foot(page, "loss") == "20 points, each shown · 2 NaN · 2 infinite"
    assert card(page, "loss").evaluate(RED_PIXELS) > 20


def test_charts_follow_the_system_to_dark_and_back(tmp_path, viewer_of, open_page):
    """When the system turns dark under an open page, its charts are drawn anew in the colours of that."""
    write_run(tmp_path, "run", [{"step": step, "loss": 1.0 / step} for step in range(1, 21)])
    open_page.watched.allowed.append("willReadFrequently")  # what this test does, and not the page
    page = open_page(viewer_of(tmp_path).at("run/run"))
    figures(page, "loss")
    for scheme, colour in (("dark", [86, 180, 233]), ("light", [0, 114, 178])):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(HAS_COLOUR, arg=colour)


def test_log_axis_counts_what_it_cannot_show(tmp_path, viewer_of, open_page):
    """On a log axis values at or below zero are not drawn, and are counted."""
    write_run(tmp_path, "signs", [{"step": step, "loss": float(step - 5)} for step in range(1, 21)])
    page = open_page(viewer_of(tmp_path).at("run/signs"))
    figures(page, "loss")
    page.keyboard.press("l")
    expect(card(page, "loss").locator("figcaption")).to_contain_text("5 ≤ 0 not on a log axis")
    assert "logy=1" in page.url


@pytest.mark.usefixtures("trainers_end")
def test_resumed_run_shows_one_line_and_the_old_branch_on_demand(tmp_path, viewer_of, open_page):
    """A run that went on from an earlier step shows one line; what was replaced is drawn faintly if it is asked for."""
    script = """
        run = rn.init(path="r", run_id="20260101_000000_00000b")
        opened(run)
        for step in range({first}, {last} + 1):
            run.log(loss=float({value}), step=step)
        run.finish()
    """
    for first, last, value in ((1, 500, 1), (401, 600, 2)):
        trainer = Trainer(tmp_path, script.format(first=first, last=last, value=value))
        trainer.end()
    page = open_page(viewer_of(tmp_path / "storage").at("run/20260101_000000_00000b"))
    assert [(row["n"], row["max"]) for row in figures(page, "loss")] == [(600, 2.0)]
    assert "100 replaced by a resume" in foot(page, "loss")
    card(page, "loss").get_by_role("button", name="Menu of loss").click()
    page.get_by_role("button", name="Show what the resume replaced").click()
    expect(card(page, "loss").locator("table.figures tbody tr")).to_have_count(2)
    assert [(row["n"], row["max"]) for row in figures(page, "loss")] == [(600, 2.0), (100, 1.0)]


def test_five_thousand_metrics_are_found_by_name(tmp_path, viewer_of, open_page):
    """Of 5,000 metrics only the cards near the view exist; a search by name or expression leads to any of them."""
    names = [
        f"layer{layer}/block{block}/w{weight}" for layer in range(10) for block in range(25) for weight in range(20)
    ]
    write_run(tmp_path, "wide", [{"step": step, **dict.fromkeys(names, float(step))} for step in range(1, 6)])
    page = open_page(viewer_of(tmp_path).at("run/wide"))
    assert figures(page, "layer0/block0/w0")[0]["n"] == 5
    assert page.locator("figure.card").count() < 40
    page.keyboard.press("/")
    page.keyboard.type("9/block24/w19")
    expect(page.locator("figure.card")).to_have_count(1)
    assert figures(page, "layer9/block24/w19")[0]["last"] == 5.0
    page.goto(f"{page.url.split('?')[0]}?m=^layer3/.*w7$&regex=1")
    expect(page.get_by_text("25 charts")).to_be_visible()
    page.get_by_role("button", name="▾ layer3").click()
    expect(page.locator("figure.card")).to_have_count(0)
    assert "closed=layer3" in page.url
