"""What a person does on the pages: find, sort, select, zoom, hover, save, read logs; all of it is in the address."""

from __future__ import annotations

import json
import re

import pytest
from mouse import drag, point_on
from playwright.sync_api import expect
from reading import card, figures, row_names
from storages import few_runs, write_run

import runicorn as rn


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A storage of 30 runs."""
    storage = tmp_path_factory.mktemp("several")
    few_runs(storage)
    return storage


@pytest.fixture
def viewer(several, viewer_of):
    """A viewer of 30 runs."""
    return viewer_of(several)


def test_first_screen_shows_twenty_runs(viewer, open_page):
    """At 1280x800 at least 20 whole rows of runs are on the first screen, each with what a person asks first."""
    page = open_page(viewer.at())
    expect(page.locator("[role=row] a.name").first).to_be_visible()
    boxes = [row.bounding_box() for row in page.locator(".body [role=row]").all()]
    assert sum(box["y"] + box["height"] <= 800 for box in boxes) >= 20
    expect(page.locator(".body [role=row]").first).to_contain_text("finished")
    expect(page.locator(".body [role=row]", has_text="failed").first).to_contain_text("ValueError: loss is nan")
    expect(page.locator("svg.spark").first).to_be_visible()


def test_the_head_of_the_table_stays(viewer, open_page):
    """However far down the table is, the names of its columns stand above the rows."""
    page = open_page(viewer.at(), height=400)
    expect(page.locator("[role=row] a.name").first).to_be_visible()
    head = page.locator("[role=columnheader]", has_text="Started")
    before = head.bounding_box()
    page.locator(".table").evaluate("(table) => table.scrollTo(0, 200)")
    expect(page.locator(".table")).to_have_js_property("scrollTop", 200)
    assert head.bounding_box() == before
    at = {"x": before["x"] + 8, "y": before["y"] + 8}
    assert head.evaluate("(cell, { x, y }) => cell.contains(document.elementFromPoint(x, y))", at)


def test_token_leaves_the_address(viewer, open_page):
    """The token is taken out of the address at once, and a reload goes on without it."""
    page = open_page(viewer.at())
    expect(page.locator("[role=row] a.name").first).to_be_visible()
    assert page.url == viewer.root
    page.reload()
    expect(page.locator("[role=row] a.name").first).to_be_visible()


def test_page_without_token_says_what_to_do(viewer, open_page):
    """Without the token nothing of the runs is shown, and the page says where the link is; a second tab is told it."""
    open_page.watched.allowed.append("401")
    page = open_page(viewer.root)
    expect(page.get_by_text("This page needs its link")).to_be_visible()
    page.get_by_label("Link or token").fill(viewer.link)
    page.get_by_role("button", name="Open").click()
    expect(page.locator("[role=row] a.name").first).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{viewer.root}problems")
    expect(other.get_by_text("Status checker")).to_be_visible()


def test_an_answer_that_comes_late_takes_no_column_away(viewer, open_page):
    """Rows that were asked for before the columns were known come after those with them: the columns stay."""
    page, held = open_page(viewer.at("problems")), []
    without = re.compile(r"/runs$|/runs\?(?!.*cols?=)")
    page.route(without, lambda route, _: held.append(route))
    page.goto(f"{viewer.root}?cols=config.args.lr")
    values = page.locator(".body [role=row] .cell.right").get_by_text(re.compile(r"^(0\.0001|1e-4)$"))
    expect(values.first).to_be_visible()
    with page.expect_response(without):
        held[0].continue_()
    page.get_by_role("button", name="Keys and help").click()  # something else that the page does after it
    page.get_by_role("button", name="Close").click()
    expect(values.first).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")


def test_runs_are_found_sorted_and_filtered(viewer, open_page):
    """Search, conditions, path, status and order choose rows, and are kept in the address."""
    page = open_page(viewer.at())
    expect(page.get_by_text("30 runs")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("lr<1e-2 trial")
    expect(page.get_by_text("of 30 runs")).to_be_visible()
    expect(page.locator(".body [role=row]")).to_have_count(7)
    assert "q=lr%3C1e-2+trial" in page.url
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("navigation", name="Paths").get_by_text("vit").click()
    expect(page.get_by_text("10 of 30 runs")).to_be_visible()
    assert "path=cv/vit" in page.url
    page.get_by_role("button", name="failed").click()
    expect(page.locator(".body [role=row]").first).to_contain_text("failed")
    with page.expect_response("**/runs/columns"):  # a summary has a field of this name too
        page.goto(f"{viewer.root}?sort=best")
    cells = page.locator(".body [role=row] .cell.right:nth-child(5)")
    expect(cells.first).to_have_text(re.compile(r"^0(\.0*)?$"))
    best = [float(text) for text in cells.all_inner_texts()]
    assert best == sorted(best)
    page.get_by_role("button", name=re.compile("^loss")).click()
    expect(page).to_have_url(re.compile("sort=-best"))


def test_columns_of_the_configuration_are_chosen_and_kept(viewer, open_page):
    """A column of the configuration is shown if it is chosen, and is there again at the next visit."""
    page = open_page(viewer.at())
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("config.args.lr").check()
    page.keyboard.press("Escape")
    expect(page.get_by_role("columnheader", name="lr")).to_be_visible()
    expect(page.get_by_role("row").nth(1)).to_contain_text(re.compile(r"0\.\d"))
    page.goto(viewer.root)
    expect(page.get_by_role("columnheader", name="lr")).to_be_visible()


def test_keys_move_select_and_open(viewer, open_page):
    """``j`` and ``k`` move through the rows, ``x`` selects, Enter opens, ``g`` comes back, ``?`` tells."""
    page = open_page(viewer.at())
    expect(page.locator("[role=row] a.name").first).to_be_visible()
    names = row_names(page)
    for key in "jjkx":
        page.keyboard.press(key)
    expect(page.get_by_text("1 selected")).to_be_visible()
    assert names[0] in page.locator(".row.chosen").inner_text()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(names[0])
    page.keyboard.press("g")
    expect(page.get_by_text("30 runs")).to_be_visible()


def test_first_screen_of_a_run_shows_six_charts(tmp_path, viewer_of, open_page):
    """At 1280x800 at least six whole charts are on the first screen of a run, each with its line."""
    names = ["loss", "lr", "grad", "acc", "speed", "val/loss", "val/acc"]
    write_run(tmp_path, "seven", [{"step": step, **dict.fromkeys(names, 1.0 / step)} for step in range(1, 100)])
    page = open_page(viewer_of(tmp_path).at("run/seven"))
    for name in names:
        figures(page, name)
    boxes = [each.bounding_box() for each in page.locator("figure.card").all()]
    assert sum(box["y"] + box["height"] <= 800 for box in boxes) >= 6


def test_zoom_and_crosshair_are_those_of_all_charts(viewer, open_page):
    """A drag on one chart zooms all, the crosshair of one stands on all, and a double-click shows everything again."""
    page = open_page(viewer.at("run/20260101_000000_000000"))
    count = figures(page, "loss")[0]["n"]
    page.mouse.move(*point_on(page, "loss", 0.5))
    expect(card(page, "val/acc").locator(".read")).to_contain_text("at step")
    drag(page, "loss", 0.5, 0.75)
    expect(page).to_have_url(re.compile(r"from=[\d.]+&to=[\d.]+"))
    for metric in ("loss", "val/acc"):
        expect(card(page, metric).locator("figcaption")).to_contain_text(f"in view of {count} points")
    page.mouse.dblclick(*point_on(page, "loss", 0.2))
    expect(card(page, "loss").locator("figcaption")).to_have_text(f"{count} points, each shown")
    assert "from=" not in page.url


def test_crosshair_moves_by_keys(viewer, open_page):
    """The arrow keys move the crosshair of the chart that has the focus."""
    page = open_page(viewer.at("run/20260101_000000_000000"))
    figures(page, "loss")
    card(page, "loss").locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(card(page, "loss").locator(".read")).to_contain_text("at step 2")


def test_zoomed_chart_stays_where_it_is_when_it_is_loaded_again(viewer, open_page):
    """The address holds zoom, axes and search: a new page of it shows the same."""
    page = open_page(viewer.at("run/20260101_000000_000000?m=loss&logy=1&from=5&to=14"))
    assert figures(page, "loss")[0]["n"] == 10
    expect(page.locator("figure.card")).to_have_count(1)
    expect(page.get_by_role("button", name="Log y", exact=True)).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("kind", ["PNG", "SVG", "CSV"])
def test_chart_is_saved(viewer, open_page, kind):
    """A chart is saved as PNG, SVG or CSV."""
    page = open_page(viewer.at("run/20260101_000000_000000"))
    count = figures(page, "loss")[0]["n"]
    card(page, "loss").get_by_role("button", name="Menu of loss").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {kind}").click()
    content = download.value.path().read_bytes()
    assert content.startswith({"PNG": b"\x89PNG", "SVG": b"<svg", "CSV": b"x,y\n"}[kind])
    if kind == "CSV":
        assert len(content.splitlines()) == count + 1
    if kind == "SVG":
        assert content.count(b"<path") >= 2


def test_charts_are_pinned_hidden_and_shown_alone(viewer, open_page):
    """A chart can be hidden, shown alone and pinned to the top."""
    page = open_page(viewer.at("run/20260101_000000_000000"))
    figures(page, "loss")

    def choose(metric, item):
        card(page, metric).get_by_role("button", name=f"Menu of {metric}").click()
        page.get_by_role("button", name=item).click()

    choose("val/acc", "Pin to the top")
    expect(page.locator("figure.card h3").first).to_have_text("val/acc")
    choose("val/acc", "Only this chart")
    expect(page.locator("figure.card")).to_have_count(1)
    page.go_back()
    choose("loss", "Hide")
    expect(page.locator("figure.card h3")).to_have_text(["val/acc"])
    page.get_by_role("button", name="1 hidden: show").click()
    expect(page.locator("figure.card")).to_have_count(2)


def test_summary_and_config_are_searched(viewer, open_page):
    """The tab of fields shows summary, config and facts of the run, and finds one of them."""
    page = open_page(viewer.at("run/20260101_000001_000001/summary"))
    expect(page.get_by_role("region", name="Config")).to_contain_text("args.lr")
    expect(page.get_by_role("region", name="Summary")).to_contain_text("best_metric_value")
    page.keyboard.press("/")
    page.keyboard.type("batch")
    expect(page.get_by_role("region", name="Config").locator("tr")).to_have_count(1)


def test_copied_number_has_all_its_digits(tmp_path, viewer_of, open_page):
    """A number is shown with four digits, and with all of them on hover and in a copy."""
    write_run(tmp_path, "exact", [{"step": 1, "loss": 1.0}], summary={"acc": 0.123456789})
    page = open_page(viewer_of(tmp_path).at("run/exact/summary"))
    number = page.get_by_text("0.1235")
    expect(number).to_have_attribute("title", "0.123456789")
    copied = number.evaluate(
        "(element) => { getSelection().selectAllChildren(element); const data = new DataTransfer();"
        " element.dispatchEvent(new ClipboardEvent('copy', { clipboardData: data, bubbles: true, cancelable: true }));"
        " return data.getData('text/plain'); }"
    )
    assert copied == "0.123456789"


def test_log_is_read_searched_and_linked(tmp_path, viewer_of, open_page):
    """A long log opens at its end, goes on upwards, is searched on the server, and a link leads to a line."""
    lines = [f"\x1b[32m[2026-01-01 00:00:00]\x1b[0m line {number} {'x' * 40}" for number in range(20_000)]
    write_run(tmp_path, "long", [{"step": 1, "loss": 1.0}], log="\n".join(lines) + "\n")
    page = open_page(viewer_of(tmp_path).at("run/long/logs"))
    expect(page.get_by_text("line 19999 ")).to_be_visible()
    expect(page.locator(".log-line .f2").first).to_be_attached()
    before = page.locator(".log-line").count()
    page.get_by_role("log").evaluate("(view) => { view.scrollTop = 10; }")
    expect(page.locator(".log-line").nth(before + 100)).to_be_attached()
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    page.get_by_label("Search the whole log").fill("line 12345 ")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Lines found").get_by_text("line 12345").click()
    expect(page.locator(".log-line.at")).to_contain_text("line 12345 ")
    expect(page.locator(".log-line.at")).to_be_in_viewport()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator(".log-line.at")).to_contain_text("line 12345 ")


def test_machine_metrics_have_a_tab(tmp_path, viewer_of, open_page):
    """Metrics of the machine are charts of a tab of their own, and not among the others."""
    write_run(tmp_path, "machine", [{"step": step, "loss": 1.0, "system/cpu": 50.0} for step in range(1, 9)])
    page = open_page(viewer_of(tmp_path).at("run/machine"))
    figures(page, "loss")
    expect(page.locator("figure.card")).to_have_count(1)
    page.get_by_role("link", name="System").click()
    assert figures(page, "system/cpu")[0]["last"] == 50.0


def test_the_system_tab_has_what_the_writer_has_sampled(tmp_path, viewer_of, open_page):
    """Over the time, for a machine has no steps; with what is plain of it in words."""
    write_run(tmp_path, "sampled", [{"step": step, "loss": 1.0} for step in range(1, 9)])
    (run_dir,) = (path.parent for path in tmp_path.rglob("meta.json"))
    lines = [json.dumps({"time": 1000.0 + 10 * n, "tree/cpu_percent": 50.0 + n}) + "\n" for n in range(5)]
    (run_dir / "system.jsonl").write_text("".join(lines))
    machine = {"sampled_s": 100.0, "gpus": {"gpu0": {"idle_percent": 61.0}}}
    (run_dir / "summary.json").write_text(json.dumps({"runicorn": {"machine": machine}}))
    page = open_page(viewer_of(tmp_path).at("run/sampled/system"))
    assert figures(page, "system/tree/cpu_percent")[0]["last"] == 54.0
    expect(page.get_by_text("GPU 0 was idle 61 % of the time.")).to_be_visible()


def test_empty_storage_shows_the_lines_that_fill_it(tmp_path, viewer_of, open_page):
    """A storage without runs shows Python that makes one."""
    page = open_page(viewer_of(tmp_path).at())
    expect(page.get_by_text("No runs here yet")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("rn.init(")


def test_unknown_run_and_page_say_so(viewer, open_page):
    """An address that leads nowhere is told in words."""
    open_page.watched.allowed.append("404")
    page = open_page(viewer.at("run/nobody"))
    expect(page.get_by_role("alert")).to_be_visible()
    page.evaluate("history.pushState(null, '', '/nowhere'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_scroll_through_many_runs_keeps_few_rows(tmp_path, viewer_of, open_page):
    """Of 2,000 runs only the rows in view exist, and a scroll shows others."""
    for number in range(2000):
        write_run(tmp_path, f"20260101_{number:06}_{number:06x}", path=f"p{number % 50}")
    page = open_page(viewer_of(tmp_path).at())
    expect(page.get_by_text("2,000 runs")).to_be_visible()
    assert page.locator(".body [role=row]").count() < 60
    first = row_names(page)[0]
    page.locator(".table").evaluate("(table) => { table.scrollTop = 26 * 1500; }")
    expect(page.get_by_text(first, exact=True)).to_have_count(0)
    assert page.locator(".body [role=row]").count() < 60


def test_a_group_is_a_column_and_a_click_on_it_filters(viewer_of, open_page, storage):
    """Only if a run has one; the address names it, so that a link shows the same runs."""
    rn.init(storage=str(storage), alias="alone").finish()
    viewer = viewer_of(storage)
    page = open_page(viewer.at())
    expect(page.locator("a.name", has_text="alone")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Group")).to_have_count(0)
    for number in range(2):
        with rn.init(storage=str(storage), alias=f"trial-{number}") as run:
            run.set_labels(group="my sweep")
    expect(page.get_by_role("columnheader", name="Group")).to_be_visible()
    page.get_by_role("link", name="my sweep").first.click()
    expect(page.locator("a.name")).to_have_text(["trial-1", "trial-0"])
    assert "my+sweep" in page.url or "my%20sweep" in page.url
