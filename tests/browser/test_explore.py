"""The Explore page: points, lines and correlations of a sweep; brushes by mouse, keys and address choose its runs."""

from __future__ import annotations

import json
import math
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from prefix_proxy import prefix_proxy
from reading import row_names
from storages import BEGUN, few_runs, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
OPTIMIZERS = ["adam", "rmsprop", "sgd"]


def best(metric: str, value: float) -> dict[str, Any]:
    """A summary with a best value."""
    return {
        "best_metric_name": metric,
        "best_metric_value": value,
        "best_metric_step": 1,
        "best_metric_mode": "max",
    }


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """18 finished runs over rates and optimizers, one failed without a result, one that a running process has."""
    storage = tmp_path_factory.mktemp("sweep")
    for number in range(18):
        rate, optimizer = RATES[number % 6], OPTIMIZERS[number // 6]
        acc = 0.5 + 0.05 * (number % 6) + 0.01 * (number // 6)
        config = {"lr": rate, "optimizer": optimizer, "amp": number % 2 == 0, "epochs": 10}
        if number != 4:
            config["dropout"] = number / 40
        summary = {**best("acc", acc), "val_loss": 1 - acc}
        write_run(storage, f"run{number:02}", path="cv" if number < 9 else "nlp", config=config, summary=summary)
    write_run(storage, "broken", status="failed", config={"lr": float("nan"), "optimizer": "sgd"})
    write_run(storage, "going", status="running", config={"lr": 0.1}, hostname="elsewhere", summary=best("acc", 0.9))
    return storage


@pytest.fixture
def explore(sweep, viewer_of, open_page):
    """Open the page of the sweep at a query."""
    viewer = viewer_of(sweep)

    def open_at(query: str = "", **options: Any) -> Page:
        page = open_page(viewer.at(f"explore{query}"), **options)
        expect(page.locator(".explore table.figures tbody tr")).not_to_have_count(0)
        expect(page.locator(".body [role=row] a.name").first).to_be_visible()
        return page

    open_at.viewer = viewer
    return open_at


def axes(page: Page) -> dict[str, list[str]]:
    """The rows of the table for screen readers, by axis."""
    rows = page.locator(".explore table.figures tbody tr").all()
    return {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}


def points(page: Page) -> Locator:
    """The plot of points."""
    return page.locator(".explore-plot.scatter")


def lines(page: Page) -> Locator:
    """The plot of lines."""
    return page.get_by_role("group", name="Parallel coordinates")


def middle(found: Locator) -> tuple[float, float]:
    """Where something is on the screen."""
    box = found.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def ends(plot: Locator, name: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an axis has its low end and its high end on the screen."""
    low, high = (plot.get_by_role("slider", name=f"{name}: {end} bound") for end in ("lower", "upper"))
    return middle(low), middle(high)


def point_of(page: Page, x: tuple[str, float], y: tuple[str, float]) -> tuple[float, float]:
    """Where the point of two shares of axes is."""
    (left, _), (right, _) = ends(points(page), x[0])
    (_, bottom), (_, top) = ends(points(page), y[0])
    return left + (right - left) * x[1], bottom + (top - bottom) * y[1]


def test_axes_say_what_they_show(explore):
    """Each axis has its scale, ends and counts: a rate over two decades is log by itself, NaN and none are counted."""
    found = axes(explore("?x=lr&y=best&axes=lr,optimizer,amp,dropout,best"))
    assert found["lr"] == ["log, automatic", "0.0001", "0.03", "18", "1 NaN or infinite", ""]
    assert found["optimizer"][:4] == ["categories", "adam", "sgd", "19"]
    assert found["amp"][:5] == ["categories", "false", "true", "18", "1 without a value"]
    assert found["dropout"] == ["linear", "0", "0.425", "17", "2 without a value", ""]
    assert found["best acc"][3:5] == ["18", "1 without a value"]


def test_page_begins_with_what_differs(explore):
    """Without a choice the lines have the fields that differ and the result; a field of one value is not among them."""
    page = explore()
    expect(lines(page).get_by_role("button", name="Axis lr")).to_be_visible()
    heads = lines(page).locator(".axis-head").all_inner_texts()
    assert heads == ["lr", "optimizer", "amp", "dropout", "best acc"]
    expect(page.get_by_role("combobox", name="y")).to_have_value("best_metric_value")
    expect(page.locator(".explore-points .foot")).to_contain_text("18 of 19 runs")
    expect(page.get_by_text("1 running run left out")).to_be_visible()


def test_running_runs_are_shown_by_choice(explore):
    """A run that goes on has no result yet: it is left out, until it is asked for."""
    page = explore("?axes=lr,best")
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()
    page.get_by_role("button", name="running").click()
    expect(page.get_by_text("20 runs", exact=True)).to_be_visible()
    assert "status=finished,failed,running" in page.url
    assert axes(page)["best acc"][3] == "19"
    page.get_by_role("button", name="All runs").click()
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()


def test_the_address_brushes(explore):
    """A range of an axis in the address keeps its runs, in the table too; the brush is said, and can be taken away."""
    page = explore("?axes=lr,optimizer,best&b.config.lr=0.001..0.01&b.optimizer=rmsprop..")
    expect(page.get_by_text("6 of 19 runs")).to_be_visible()
    assert sorted(row_names(page, 6)) == ["run08", "run09", "run10", "run14", "run15", "run16"]
    assert axes(page)["lr"][5] == "0.001 to 0.01"
    assert axes(page)["optimizer"][5] == "from rmsprop"
    page.get_by_role("button", name="Remove the brush of optimizer").click()
    expect(page.get_by_text("9 of 19 runs")).to_be_visible()
    expect(page).not_to_have_url(re.compile(r"b\.optimizer"))
    page.get_by_role("button", name="Clear brushes").click()
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("brush", "count"),
    [
        ("b.lr=..0.001", 9),
        ("b.lr=0.01..", 6),
        ("b.lr=0.01..0.001", 9),
        ("b.lr=0.001", 3),
        ("b.lr=abc", 19),
        ("b.lr=1..2..3", 19),
        ("b.lr=..", 19),
        ("b.lr=5..6", 0),
        ("b.optimizer=adam", 6),
        ("b.optimizer=nadam..sh", 13),
        ("b.dropout=0..1", 17),
        ("b.nothing=1..2", 19),
        ("b.=1..2", 19),
        ("b.amp=true..true", 9),
    ],
)
def test_every_spelling_of_a_brush(explore, brush, count):
    """Open ends, turned round, one value, names between names; what is no brush keeps everything."""
    page = explore("?axes=lr,best") if count == 0 else explore(f"?{brush}")
    if count == 0:
        page.goto(f"{explore.viewer.root}explore?{brush}")
        expect(page.get_by_text("No run is like that.")).to_be_visible()
    expect(page.get_by_text("19 runs" if count == 19 else f"{count} of 19 runs", exact=True)).to_be_visible()


def test_a_drag_on_an_axis_brushes(explore):
    """A drag along an axis of the lines keeps the runs between; the address has it, and a click on the axis ends it."""
    page = explore("?axes=optimizer,lr,best")
    low, high = ends(lines(page), "lr")
    height = low[1] - high[1]
    page.mouse.move(low[0], low[1] - 0.30 * height)
    page.mouse.down()
    page.mouse.move(low[0], low[1] - 0.60 * height, steps=3)
    page.mouse.move(low[0], low[1] - 0.70 * height, steps=3)
    page.mouse.up()
    expect(page.get_by_text("6 of 19 runs")).to_be_visible()
    assert {name[-2:] for name in row_names(page, 6)} == {"02", "03", "08", "09", "14", "15"}
    page.wait_for_url("**b.config.args.lr=**")
    page.reload()
    expect(page.get_by_text("6 of 19 runs")).to_be_visible()
    page.mouse.click(low[0], low[1] - 0.9 * height)
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()
    expect(page).not_to_have_url(re.compile(r"[?&]b\."))


def test_a_drag_on_the_points_brushes_both_axes(explore):
    """A rectangle on the points keeps what is in it; a double click on the plot takes it away."""
    page = explore("?x=lr&y=best&axes=optimizer,amp")
    from_x, from_y = point_of(page, ("lr", 0.5), ("best acc", 0.5))
    to_x, to_y = point_of(page, ("lr", 1), ("best acc", 1))
    page.mouse.move(from_x, from_y)
    page.mouse.down()
    page.mouse.move(to_x + 8, to_y - 8, steps=4)
    page.mouse.up()
    expect(page.get_by_text("9 of 19 runs")).to_be_visible()
    assert {int(name[-2:]) % 6 for name in row_names(page, 9)} == {3, 4, 5}
    expect(page).to_have_url(re.compile(r"b\.config\.args\.lr=.*b\.best="))
    page.mouse.dblclick(from_x - 40, from_y - 60)
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()


def test_keys_move_the_bounds_of_an_axis(explore):
    """Each axis has two sliders: arrows, page keys, Home and End move them, Escape ends the brush."""
    page = explore("?axes=lr,optimizer,best")
    low = lines(page).get_by_role("slider", name="lr: lower bound")
    high = lines(page).get_by_role("slider", name="lr: upper bound")
    low.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    expect(page.get_by_text("12 of 19 runs")).to_be_visible()
    page.keyboard.press("ArrowUp")
    expect(low).to_have_attribute("aria-valuenow", "32")
    high.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("9 of 19 runs")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_text("12 of 19 runs")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()
    optimizer = lines(page).get_by_role("slider", name="optimizer: lower bound")
    optimizer.focus()
    page.keyboard.press("ArrowUp")
    expect(optimizer).to_have_attribute("aria-valuetext", "rmsprop")
    page.wait_for_url("**b.config.args.optimizer=rmsprop..**")
    page.reload()
    expect(page.get_by_text("13 of 19 runs")).to_be_visible()


def test_an_end_takes_the_other_one_along(explore):
    """The lower bound moved past the upper one takes it along: a brush is never turned inside out."""
    page = explore("?axes=lr,best&b.lr=0.0005..0.002")
    low = lines(page).get_by_role("slider", name="lr: lower bound")
    low.focus()
    page.keyboard.press("End")
    expect(low).to_have_attribute("aria-valuenow", "100")
    expect(page.get_by_text("3 of 19 runs")).to_be_visible()


def test_axes_are_moved_by_drag_and_by_keys(explore):
    """The name of an axis is dragged to another place, or moved by arrows; the address has the order."""
    page = explore("?axes=lr,optimizer,best")
    heads = lines(page).locator(".axis-head")
    from_x, from_y = middle(heads.nth(0))
    to_x, _ = middle(heads.nth(1))
    page.mouse.move(from_x, from_y)
    page.mouse.down()
    page.mouse.move(to_x + 20, from_y, steps=4)
    page.mouse.up()
    expect(heads.nth(1)).to_have_text("lr")
    assert "axes=config.args.optimizer,config.args.lr,best" in page.url
    lines(page).get_by_role("button", name="Axis lr").focus()
    page.keyboard.press("ArrowRight")
    expect(heads.nth(2)).to_have_text("lr")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(heads.nth(0)).to_have_text("lr")


def test_the_menu_of_an_axis(explore):
    """An axis is moved, made linear, taken away, or made that of the points, from its menu."""
    page = explore("?axes=lr,optimizer,dropout,best")
    for item in ("Move right", "Linear axis", "As x of the points", "As colour"):
        lines(page).get_by_role("button", name="Axis lr").click()
        lines(page).get_by_role("button", name=item).click()
    expect(lines(page).locator(".axis-head").nth(1)).to_have_text("lr")
    assert axes(page)["lr"][0] == "linear"
    expect(page.get_by_role("combobox", name="x", exact=True)).to_have_value("config.args.lr")
    expect(page.get_by_role("combobox", name="colour")).to_have_value("config.args.lr")
    lines(page).get_by_role("button", name="Axis dropout").click()
    lines(page).get_by_role("button", name="Take away").click()
    expect(lines(page).locator(".axis-head")).to_have_count(3)
    page.get_by_role("button", name="Axes of the lines").click()
    page.get_by_label("Find an axis").fill("val_")
    page.get_by_label("summary.val_loss").check()
    expect(lines(page).locator(".axis-head")).to_have_count(4)


def test_a_log_axis_counts_what_it_cannot_show(explore):
    """A log axis by choice leaves out what is 0 or below, and says how many runs that are; the address keeps it."""
    page = explore("?x=dropout&y=best")
    expect(page.locator(".explore-points .foot")).to_contain_text("17 of 19 runs")
    page.get_by_label("log x").check()
    expect(page.locator(".explore-points .foot")).to_contain_text("16 of 19 runs")
    expect(page.locator(".explore-points .foot")).to_contain_text("1 at 0 or below, which a log axis cannot show")
    assert "log=config.args.dropout" in page.url
    assert axes(page)["dropout"][:2] == ["log", "0.025"]
    page.get_by_label("log x").uncheck()
    expect(page.locator(".explore-points .foot")).to_contain_text("17 of 19 runs")


def test_hover_names_the_run_everywhere_and_a_click_opens_it(explore):
    """Over a point or a line there is the run's name with its values, its row is lit; a click opens the run."""
    page = explore("?x=lr&y=best&axes=lr,best")
    page.mouse.move(*point_of(page, ("lr", 0), ("best acc", 0)))
    expect(page.locator(".explore-tip")).to_contain_text("run00")
    expect(page.locator(".explore-tip")).to_contain_text("1e-4")
    expect(page.locator(".row.lit a.name")).to_have_text("run00")
    expect(page.locator(".row.lit")).to_be_in_viewport(ratio=1)
    low, _ = ends(lines(page), "lr")
    (right, bottom), (_, top) = ends(lines(page), "best acc")
    last = (0.77 - 0.5) / (0.77 - 0.5)
    page.mouse.move(low[0] + (right - low[0]) * 0.9, top + (bottom - top) * (1 - last) + 0.0)
    expect(page.locator(".explore-tip")).to_contain_text("run17")
    expect(page.locator(".row.lit a.name")).to_have_text("run17")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("h1")).to_have_text("run17")
    page.go_back()
    page.mouse.click(*point_of(page, ("lr", 0), ("best acc", 0)))
    expect(page.locator("h1")).to_have_text("run00")


def test_a_pale_run_does_not_move_the_table(explore):
    """What the brushes leave out can be hovered as well, and the table, which does not have it, stays where it is."""
    page = explore("?x=lr&y=best&axes=lr,best&b.dropout=0.1..", height=500)
    table = page.locator(".table")
    table.evaluate("(table) => table.scrollTo(0, 60)")
    page.mouse.move(*point_of(page, ("lr", 0), ("best acc", 0)))
    expect(page.locator(".explore-tip")).to_contain_text("run00")
    expect(table).to_have_js_property("scrollTop", 60)


def test_keys_light_runs_and_open_them(explore):
    """With j and k a row of the table is lit in the plots as well, and Enter opens its run."""
    page = explore("?axes=lr,best&sort=key")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".row.lit a.name")).to_have_text("run00")
    ring = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    assert points(page).locator("canvas").last.evaluate(ring)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("run00")


def test_runs_of_the_table_are_sorted_selected_and_compared(explore):
    """The table below has the axes as columns and sorts by them; what is selected is compared, or all there is."""
    page = explore("?axes=lr,dropout,best")
    page.get_by_role("columnheader").get_by_role("button", name="dropout").click()
    expect(page.locator(".body [role=row] a.name").first).to_have_text("run00")
    page.get_by_label("Select run00").check()
    page.get_by_label("Select run02").check()
    assert page.get_by_role("link", name="Compare").get_attribute("href").endswith("/compare?runs=run00,run02")
    page.get_by_role("button", name="Only these").click()
    expect(page.get_by_text("2 runs", exact=True)).to_be_visible()
    assert "runs=run00,run02" in page.url


def test_only_the_runs_of_the_address(explore):
    """With ``runs`` exactly those are shown, running ones too; what is not there is said."""
    page = explore("?runs=run01,going,run01,nowhere")
    expect(page.get_by_text("2 runs", exact=True)).to_be_visible()
    expect(page.get_by_text("1 run of the address not found")).to_be_visible()
    assert sorted(row_names(page, 2)) == ["going", "run01"]


def test_the_filter_of_the_runs_goes_along(explore):
    """Explore on the page of runs takes its search and path; and the header has it on every page."""
    page = explore()
    page.goto(f"{explore.viewer.root}?q=lr<0.002&path=cv")
    expect(page.get_by_text("of 20 runs")).to_be_visible()
    page.get_by_role("search").get_by_role("link", name="Explore").click()
    expect(page.get_by_text("6 runs", exact=True)).to_be_visible()
    assert "explore?q=lr%3C0.002&path=cv" in page.url
    page.goto(f"{explore.viewer.root}problems")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Explore").click()
    expect(page.get_by_text("19 runs", exact=True)).to_be_visible()


def test_importance_says_its_runs(explore):
    """Fields by rank correlation with the result, each with its runs; what is left out is counted; it is no cause."""
    page = explore("?y=best")
    table = page.get_by_role("region", name="Importance")
    expect(table).to_contain_text("Rank correlation over 18 runs. It does not show a cause.")
    rows = [row.all_inner_texts() for row in (each.locator("th, td") for each in table.locator("tbody tr").all())]
    found = {name: (value.strip(), runs) for name, value, runs in rows}
    assert found["lr"] == ("+0.99", "18")
    assert found["dropout"][1] == "17"
    assert found["optimizer"] == ("0.00", "18")
    assert "epochs" not in found
    expect(table).to_contain_text("Left out: 1 with only one value")
    table.get_by_role("button", name="dropout").click()
    expect(page.get_by_role("combobox", name="x", exact=True)).to_have_value("config.args.dropout")


def test_what_runs_do_beside_is_shown(tmp_path, viewer_of, open_page):
    """A run that ends while the page is open comes into its plots and its table."""
    storage = tmp_path / "live"
    few_runs(storage, 8)
    page = open_page(viewer_of(storage).at("explore?x=lr&y=best"))
    expect(page.get_by_text("8 runs", exact=True)).to_be_visible()
    write_run(storage, "late", config={"lr": 0.5, "fresh": 1}, summary={**best("loss", 0.5), "best_metric_mode": "min"})
    expect(page.get_by_text("9 runs", exact=True)).to_be_visible()
    assert axes(page)["lr"][2] == "0.5"
    expect(page.get_by_role("combobox", name="colour").locator("option", has_text="fresh")).to_have_count(1)


def test_nothing_to_plot(tmp_path, viewer_of, open_page):
    """No runs, runs without a field or a result, a field of one value: the page says so, and a drag does nothing."""
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at("explore"))
    expect(page.get_by_text("No runs here yet")).to_be_visible()
    for number in range(6):
        write_run(tmp_path, f"run{number}", config={"lr": 0.1, "seed": number}, ended_at=BEGUN)
    page.goto(f"{viewer.root}explore?x=lr&y=best&axes=lr,best,group")
    expect(page.locator(".explore-points .foot")).to_contain_text("0 of 6 runs")
    expect(page.locator(".explore-points .foot")).to_contain_text("best: 6 without a value")
    expect(page.get_by_role("region", name="Importance")).to_contain_text("over 0 runs")
    box = lines(page).bounding_box()
    for share in (0.05, 0.5, 0.95):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + 120, steps=3)
        page.mouse.up()
    box = points(page).bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 160, steps=3)
    page.mouse.up()
    expect(page.locator("[aria-live=polite]")).to_have_text("6 runs")


def test_results_of_several_metrics_are_not_mixed(tmp_path, viewer_of, open_page):
    """The best value is that of the metric that most runs have; runs with another one count as without a value."""
    for number in range(5):
        summary = best("acc" if number < 3 else "loss", number / 10)
        write_run(tmp_path, f"run{number}", config={"lr": number}, summary=summary)
    page = open_page(viewer_of(tmp_path).at("explore?x=lr"))
    expect(page.locator(".explore-points .foot")).to_have_text("3 of 5 runs · best acc: 2 without a value")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(explore, scheme):
    """The rules of axe find nothing to object to, with brushes, a selection, and each menu open."""
    page = explore("?b.lr=0.001..0.01&colour=optimizer&x=lr", scheme=scheme)
    assert violations(page) == []
    page.locator(".body [role=row] input").first.check()
    lines(page).get_by_role("button", name="Axis lr").click()
    assert violations(page) == []
    page.get_by_role("button", name="Axes of the lines").click()
    assert violations(page) == []


def violations(page: Page) -> list[Any]:
    """What the rules of axe object to."""
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 568)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_page_does_not_scroll_sideways(explore, size):
    """On a desk, on a telephone and on a small one."""
    page = explore("?b.lr=0.001..0.01", width=size[0], height=size[1])
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]


def test_page_works_behind_a_prefix(explore, open_page):
    """Behind a proxy that takes a prefix away its links, its data and its address are those of the prefix."""
    with prefix_proxy(explore.viewer.root, "/user/jane doe/proxy/23300/") as root:
        page = open_page(f"{root}#t={explore.viewer.token}")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Explore").click()
        expect(page.locator(".explore-points .foot")).to_contain_text("18 of 19 runs")
        lines(page).get_by_role("slider", name="lr: lower bound").focus()
        page.keyboard.press("PageUp")
        expect(page.get_by_text("15 of 19 runs")).to_be_visible()
        page.wait_for_url(f"{root}explore?b.config.args.lr=**".replace(" ", "%20"))
        page.reload()
        expect(page.get_by_text("15 of 19 runs")).to_be_visible()
        page.close()


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a,b",
    "a..b",
    "100%2C",
    '"><svg onload=alert(2)>',
    "__proto__",
    "constructor",
    "x" * 600,
    "\u202eabc",
    "a=b&c",
    "a#b?c",
    " ",
    "é\u0301",
]


def test_hostile_names_and_values(tmp_path, viewer_of, open_page):
    """Names and values that are markup, lists, addresses or nothing are axes, brushes and text as any others."""
    names = [*HOSTILE, "\ud83d half"]
    for number in range(8):
        config = {name: [*HOSTILE, ""][(number + at) % 14] for at, name in enumerate(names)}
        config["number"] = [float("nan"), math.inf, -math.inf, 1e308, -1e308, 5e-324, 0, 2**80][number]
        summary = {**best("<b>acc</b>", 0.1 * number), HOSTILE[0]: HOSTILE[number]}
        write_run(tmp_path, f"run{number}", config=config, summary=summary)
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at("explore"))
    expect(page.get_by_text("8 runs", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Importance").locator("tbody tr").first).to_be_attached()
    for name in HOSTILE:
        lit = page.get_by_role("button", name="Axes of the lines")
        lit.click()
        found = page.get_by_label(f"config.args.{name}" if "." not in name else f'config.args."{name}"', exact=True)
        found.last.evaluate("(box) => box.checked || box.click()")
        page.keyboard.press("Escape")
    expect(lines(page).locator(".axis-head", has_text=HOSTILE[0])).to_have_count(1)
    for name in ("a,b", '"a..b"', "100%2C", "a=b&c", "__proto__"):
        slider = lines(page).get_by_role("slider", name=f"{name}: lower bound", exact=True)
        slider.focus()
        page.keyboard.press("ArrowUp")
        expect(page.get_by_role("button", name=f"Remove the brush of {name}")).to_be_visible()
        page.wait_for_url("**b.config.*")
        told = page.locator("[aria-live=polite]").inner_text()
        page.reload()
        expect(page.locator("[aria-live=polite]")).to_have_text(told)
        page.get_by_role("button", name="Clear brushes").click()
        expect(page.get_by_text("8 runs", exact=True)).to_be_visible()
    page.goto(f"{viewer.root}explore?x=number&y=best&axes=number,best")
    expect(page.locator(".explore-points .foot")).to_contain_text("5 of 8 runs")
    assert axes(page)["number"][3:5] == ["5", "3 NaN or infinite"]


def test_many_fields(tmp_path, viewer_of, open_page):
    """Of 300 fields the page begins with a few; all are in the lists and in the correlations."""
    draw = random.Random(7)
    for number in range(12):
        config = {f"group{at % 7}": {} for at in range(300)}
        for at in range(300):
            config[f"group{at % 7}"][f"field{at}"] = draw.random()
        write_run(tmp_path, f"run{number:02}", config=config, summary=best("acc", draw.random()))
    page = open_page(viewer_of(tmp_path).at("explore"))
    table = page.get_by_role("region", name="Importance")
    expect(table.locator("tbody tr")).to_have_count(300)
    expect(lines(page).locator(".axis-head")).to_have_count(9)
    page.get_by_role("combobox", name="x", exact=True).select_option("config.args.group3.field213")
    expect(points(page).get_by_role("slider", name="group3.field213: lower bound")).to_be_attached()


def test_ten_thousand_runs(tmp_path, viewer_of, open_page):
    """10,000 runs over 10 axes are drawn, brushed by keys and listed."""
    draw = random.Random(11)
    kept = 0
    for number in range(10_000):
        run_dir = tmp_path / "runs" / f"r{number:05}"
        run_dir.mkdir(parents=True)
        config = {f"f{at}": draw.random() for at in range(9)}
        kept += config["f3"] >= 0.9
        told = {"id": run_dir.name, "path": "", "created_at": BEGUN + number, "hostname": "a", "pid": 1}
        files = {
            "meta": told,
            "status": {"status": "finished", "started_at": BEGUN, "ended_at": BEGUN + 1},
            "assets": {"config": {"args": config}},
            "summary": best("acc", config["f3"]),
        }
        for name, content in files.items():
            (run_dir / f"{name}.json").write_text(json.dumps(content))
    page = open_page(viewer_of(tmp_path).at("explore?axes=f0,f1,f2,f3,f4,f5,f6,f7,f8,best&b.f3=0.9.."))
    expect(page.locator(".explore-points .foot")).to_have_text("10,000 of 10,000 runs")
    expect(page.get_by_role("region", name="Importance").locator("tbody tr").first).to_contain_text("f3")
    expect(page.get_by_text(f"{kept:,} of 10,000 runs", exact=True)).to_be_visible()
    lines(page).get_by_role("slider", name="f3: lower bound").focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("10,000 runs", exact=True)).to_be_visible()
