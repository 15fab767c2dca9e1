"""The comparison of runs: their curves, what differs, groups, code and images; by mouse, by key and by address."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import statistics
import zipfile
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from mouse import drag, point_on
from pictures import add_image, png
from playwright.sync_api import expect
from reading import card, figures
from storages import write_ranks, write_run
from support.trainers import Trainer

RATES = (0.1, 0.01, 0.001)
PAYLOADS = ["<img src=x onerror=alert(1)>", "<script>alert(2)</script>", "a,b%2C;'\"&=#?+", "__proto__", "\u202eevil"]
STEPWISE = """
    run = rn.init(path="live", run_id="20260102_000000_00000b")
    opened(run)
    step = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            step += 1
            run.log(loss=float(step), step=step)
        returned(step)
    run.finish()
"""
STYLES = """() => [...document.querySelectorAll('.legend tbody tr')].map((row) => {
  const line = row.querySelector('.swatch line');
  const style = ['stroke', 'stroke-dasharray'].map((name) => line.getAttribute(name)).join(' ');
  return [row.querySelector('th').innerText.trim(), style];
})"""
SOLID_PIXELS = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let solid = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at] === 255) solid++;
  return solid;
}"""
INK_ABOVE = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const width = canvas.width / devicePixelRatio;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height * 0.3).data;
  const columns = new Set();
  for (let at = 0; at < data.length; at += 4) {
    const column = ((at / 4) % canvas.width) / devicePixelRatio;
    if (data[at + 3] > 60 && data[at] < 190 && column > 60 && column < width - 20) columns.add(column);
  }
  return [...columns].map((column) => (column - 52) / (width - 70));
}"""


def trial(number):
    """The id of a run."""
    return f"20260101_{number:06}_{number:06x}"


@pytest.fixture(scope="session")
def trials(tmp_path_factory):
    """A storage of 12 runs: three learning rates, four seeds each; code, packages and images differ."""
    storage = tmp_path_factory.mktemp("trials")
    for number in range(12):
        draw = random.Random(number).random
        rate = RATES[number % 3]
        lines = [{"step": step, "loss": rate + number, "val/acc": draw(), "time/s": 1.0} for step in range(1, 41)]
        best = {"best_metric_name": "loss", "best_metric_value": number / 10, "best_metric_step": 9}
        run_dir = write_run(
            storage,
            trial(number),
            lines,
            path=["cv", "nlp"][number % 2],
            alias=f"trial {number}",
            status="failed" if number == 5 else "finished",
            tags=["odd"] if number % 2 else ["even", "both"],
            config={"lr": rate, "seed": number // 3, "model": {"depth": 12, "width": 64 if number else 32}},
            summary={**best, "best_metric_mode": "min", "note": f"note {number}"},
        )
        packages = ["numpy==1.26", f"torch==2.{number % 2}"]
        (run_dir / "environment.json").write_text(json.dumps({"python_version": "3.12", "pip_packages": packages}))
        if number != 7:
            with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
                archive.writestr("train.py", f"import x\nlr = {rate}\nprint(lr)\n")
                archive.writestr("same.py", "pass\n")
                if number == 1:
                    archive.writestr("new.py", "print('<b>new</b>')\n")
        for step in (10, 20 + number):
            add_image(run_dir, "samples", step, png(60, 40, (20 * number, step, 90)), caption=f"{number} at {step}")
    return storage


def address(*numbers, **query):
    """The place of a comparison."""
    members = "".join(f"&{name}={value}" for name, value in query.items())
    return f"compare?runs={','.join(map(trial, numbers))}{members}"


def names(page, metric="loss"):
    """The names of the curves of a chart, without order."""
    return {row["name"] for row in figures(page, metric)}


def wait_for_curves(page, metric, count):
    """Wait until a chart has so many curves."""
    expect(card(page, metric).locator("table.figures tbody tr")).to_have_count(count)


def legend(page):
    """The rows of the legend."""
    return page.get_by_role("region", name="Legend").locator("tbody tr")


def test_runs_are_selected_and_compared(trials, viewer_of, open_page):
    """Rows that were selected by ``x`` or their box are compared by ``c`` or the button; the address names them."""
    viewer = viewer_of(trials)
    page = open_page(viewer.at("?sort=name"))
    expect(page.locator(".body [role=row] a.name")).to_have_count(12)
    page.keyboard.press("c")
    assert "compare" not in page.url
    for count in (1, 2):
        page.keyboard.press("j")
        expect(page.locator(".row.at")).to_have_attribute("aria-rowindex", str(count + 1))
        page.keyboard.press("x")
        expect(page.get_by_text(f"{count} selected")).to_be_visible()
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile(r"/compare\?runs=[^,]+,[^,&]+$"))
    wait_for_curves(page, "loss", 2)
    expect(page.locator("h1")).to_have_text("2 runs")
    page.go_back()
    for number in (3, 4, 8):
        page.get_by_label(f"Select trial {number}", exact=True).click()
    page.get_by_role("button", name="Compare", exact=True).click()
    wait_for_curves(page, "loss", 3)
    assert names(page) == {"trial 3", "trial 4", "trial 8"}
    assert all(trial(number) in page.url for number in (3, 4, 8))


def test_legend_is_a_table_of_what_differs(trials, viewer_of, open_page):
    """It has a column for each setting that differs, and none for one that does not."""
    page = open_page(viewer_of(trials).at(address(0, 1, 2)))
    expect(legend(page)).to_have_count(3)
    heads = [head.strip() for head in page.locator(".legend thead th").all_inner_texts()]
    assert list(filter(None, heads)) == ["Run", "Status", "lr", "width", "Best loss", "Step", "Menu"]
    assert legend(page).nth(1).inner_text().split() == ["trial", "1", "finished", "0.01", "64", "0.1", "⋯"]


def test_curves_are_hidden_singled_out_pinned_and_taken_out(trials, viewer_of, open_page):
    """Each by its row of the legend; the address holds it, and the other runs keep their colours."""
    viewer = viewer_of(trials)
    page = open_page(viewer.at(address(0, 1, 2, 3)))
    wait_for_curves(page, "loss", 4)
    before = dict(page.evaluate(STYLES))
    page.get_by_label("Show trial 1").click()
    wait_for_curves(page, "loss", 3)
    assert names(page, "val/acc") == {"trial 0", "trial 2", "trial 3"}
    page.get_by_role("button", name="Menu of trial 2").click()
    page.get_by_role("button", name="Only this").click()
    wait_for_curves(page, "loss", 1)
    assert names(page) == {"trial 2"}
    page.reload()
    wait_for_curves(page, "loss", 1)
    page.get_by_role("button", name="show all 4").click()
    wait_for_curves(page, "loss", 4)
    page.get_by_role("button", name="Menu of trial 3").click()
    page.get_by_role("button", name="Pin to the top").click()
    expect(legend(page).first).to_contain_text("trial 3")
    assert f"top={trial(3)}" in page.url
    page.get_by_role("button", name="Menu of trial 1").click()
    page.get_by_role("button", name="Remove from the comparison").click()
    wait_for_curves(page, "loss", 3)
    expect(page.locator("h1")).to_have_text("3 runs")
    page.reload()
    wait_for_curves(page, "loss", 3)
    after = dict(page.evaluate(STYLES))
    assert after == {name: style for name, style in before.items() if name != "trial 1"}
    page.go_back()
    wait_for_curves(page, "loss", 4)


def test_curves_are_told_apart_by_more_than_colour(trials, viewer_of, open_page):
    """Of twelve runs no two have the same colour and dashes; a row that is hovered lights its curve alone."""
    page = open_page(viewer_of(trials).at(address(*range(12))))
    wait_for_curves(page, "loss", 12)
    styles = [style for _, style in page.evaluate(STYLES)]
    assert len(set(styles)) == 12
    open_page.watched.allowed.append("willReadFrequently")  # what this test does, and not the page
    lit = card(page, "loss").evaluate(SOLID_PIXELS)
    legend(page).nth(2).hover()
    assert card(page, "loss").evaluate(SOLID_PIXELS) < lit
    page.mouse.move(640, 20)
    assert card(page, "loss").evaluate(SOLID_PIXELS) == lit


def test_zoom_and_crosshair_go_over_all_charts(trials, viewer_of, open_page):
    """The crosshair of one chart stands on all, values sorted at the one that is hovered; a drag zooms all."""
    page = open_page(viewer_of(trials).at(address(0, 1, 2)))
    wait_for_curves(page, "loss", 3)
    page.mouse.move(*point_on(page, "loss", 0.5))
    expect(card(page, "val/acc").locator(".read")).to_contain_text("at step")
    rows = card(page, "loss").locator(".tip-row").all_inner_texts()
    assert [row.split("\n")[0] for row in rows] == ["trial 2", "trial 1", "trial 0"]
    expect(card(page, "val/acc").locator(".tip")).to_have_count(0)
    drag(page, "loss", 0.5, 0.75)
    expect(page).to_have_url(re.compile(r"from=[\d.]+&to=[\d.]+"))
    for metric in ("loss", "val/acc"):
        expect(card(page, metric).locator("figcaption")).to_contain_text("in view of 120 points of 3 curves")
    page.keyboard.press("r")
    expect(card(page, "loss").locator("figcaption")).to_have_text("120 points of 3 curves, each shown")
    page.keyboard.press("j")  # the drag has given the focus to the first chart
    page.keyboard.press("ArrowRight")
    expect(card(page, "time/s").locator(".tip")).to_be_visible()
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile("logy=1"))


def test_settings_of_the_address(trials, viewer_of, open_page):
    """Axis, smoothing, log, range, metrics, hidden and pinned runs come from the address alone."""
    place = address(
        0, 1, 2, m="loss", x="time", smooth=0.9, logy=1, **{"from": 0.095, "to": 0.305}, off=trial(1), top=trial(2)
    )
    page = open_page(viewer_of(trials).at(place))
    wait_for_curves(page, "loss", 2)
    assert names(page) == {"trial 0", "trial 2"}
    expect(page.locator("figure.card")).to_have_count(1)
    expect(card(page, "loss").locator("figcaption")).to_contain_text("42 in view of 80 points of 2 curves")
    expect(page.get_by_role("button", name="Log y")).to_have_attribute("aria-pressed", "true")
    expect(legend(page).first).to_contain_text("trial 2")


def test_groups_have_one_curve_each(trials, viewer_of, open_page):
    """Runs grouped by a setting: the mean of each group, its members in the legend; by choice and by address."""
    viewer = viewer_of(trials)
    page = open_page(viewer.at(address(*range(12))))
    wait_for_curves(page, "loss", 12)
    page.get_by_label("Group").select_option("config.args.lr")
    wait_for_curves(page, "loss", 3)
    found = {row["name"]: row for row in figures(page, "loss")}
    assert set(found) == {"lr = 0.1 (4)", "lr = 0.01 (4)", "lr = 0.001 (4)"}
    low = found["lr = 0.1 (4)"]
    assert (low["last"], low["min"], low["max"], low["n"]) == (pytest.approx(4.6), 0.1, 9.1, 160)
    assert [row.split()[:4] for row in legend(page).all_inner_texts()] == [
        ["lr", "=", rate, "4"] for rate in ("0.001", "0.01", "0.1")
    ]
    expect(card(page, "loss").locator("figcaption")).to_have_text("3 curves: mean of 12 runs, ± standard deviation")
    page.get_by_label("Band").select_option("minmax")
    expect(card(page, "loss").locator("figcaption")).to_have_text("3 curves: mean of 12 runs, least to greatest")
    page.goto(f"{viewer.root}{address(*range(12), group='config.lr', band='minmax', off='lr+=+0.1')}")
    wait_for_curves(page, "loss", 2)
    expect(card(page, "loss").locator("figcaption")).to_have_text("2 curves: mean of 8 runs, least to greatest")


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("path", {"path = cv (6)", "path = nlp (6)"}),
        ("status", {"status = failed (1)", "status = finished (11)"}),
        ("tags", {"tags = odd (6)", "tags = even (6)", "tags = both (6)"}),
        ("config.args.model.width", {"width = 32 (1)", "width = 64 (11)"}),
        ("summary.note", {f"note = note {number} (1)" for number in range(12)}),
        ("group", {"no group (12)"}),
        ("config.nothing", {"all runs (12)"}),
        ("__proto__", {"all runs (12)"}),
    ],
)
def test_groups_by_any_column(trials, viewer_of, open_page, by, groups):
    """Path, status, tags (a run is in the group of each), config and summary; what no run has is one group."""
    page = open_page(viewer_of(trials).at(address(*range(12), group=by)))
    wait_for_curves(page, "loss", len(groups))
    assert names(page) == groups


def test_band_over_a_hundred_seeds(tmp_path, viewer_of, open_page):
    """Its mean and its bounds are those over all hundred members, and not over some of them."""
    seeds = [[math.sin(step / 50) + random.Random(seed).gauss(0, 1) for step in range(300)] for seed in range(100)]
    for seed, values in enumerate(seeds):
        lines = [{"step": step, "loss": value} for step, value in enumerate(values)]
        write_run(tmp_path, trial(seed), lines, config={"seed": seed, "lr": 0.1})
    page = open_page(viewer_of(tmp_path).at(address(*range(100), group="config.lr")))
    wait_for_curves(page, "loss", 1)
    (row,) = figures(page, "loss")
    assert (row["name"], row["n"]) == ("all runs (100)", 30_000)
    every = [value for values in seeds for value in values]
    assert (row["min"], row["max"]) == (min(every), max(every))
    width = 2 if row["last"] != pytest.approx(statistics.fmean(values[-1] for values in seeds)) else 1
    last = [statistics.fmean(values[-width:]) for values in seeds]
    assert row["last"] == pytest.approx(statistics.fmean(last))
    expect(legend(page).first).to_contain_text("100")


def test_a_spike_of_one_of_many_runs_is_seen(tmp_path, viewer_of, open_page):
    """One value of 50.0 in one of twelve runs: it is in the table, and the band around all reaches it."""
    for number in range(12):
        lines = [
            {"step": step, "loss": 50.0 if (number, step) == (4, 3210) else random.Random(step).random()}
            for step in range(5000)
        ]
        write_run(tmp_path, trial(number), lines)
    open_page.watched.allowed.append("willReadFrequently")  # what this test does, and not the page
    page = open_page(viewer_of(tmp_path).at(address(*range(12))))
    wait_for_curves(page, "loss", 12)
    assert sorted(row["max"] for row in figures(page, "loss"))[-2:] == [pytest.approx(1, abs=0.01), 50.0]
    shares = card(page, "loss").evaluate(INK_ABOVE)
    assert shares
    assert all(abs(share - 3210 / 5000) < 0.05 for share in shares)


@pytest.mark.parametrize(
    ("rank", "count", "names_in"),
    [("", 2, {"one", "two"}), ("each", 6, {"one, rank 2", "two, rank 0"}), ("mean", 2, {"one, mean"}),
     ("minmax", 2, {"two, minmax"}), ("slowest", 2, {"one, slowest"}), ("1", 2, {"two, rank 1"})],
)  # fmt: skip
def test_ranks_are_a_dimension(tmp_path, viewer_of, open_page, rank, count, names_in):
    """Each rank its curve, or one over all of them: mean, least to greatest, slowest."""
    for number, alias in enumerate(("one", "two")):
        run_dir = write_run(tmp_path, trial(number), [], alias=alias)
        lines = [[{"step": at, "loss": 10.0 * place + number} for at in range(1, 21)] for place in range(3)]
        write_ranks(run_dir, lines)
    page = open_page(viewer_of(tmp_path).at(address(0, 1, rank=rank)))
    wait_for_curves(page, "loss", count)
    found = {row["name"]: row for row in figures(page, "loss")}
    assert names_in <= set(found)
    expected = {"": (0, 0), "each": (0, 20), "mean": (0, 20), "minmax": (0, 20), "slowest": (20, 20), "1": (10, 10)}
    rows = [row for name, row in found.items() if name.startswith("one")]
    assert (min(row["min"] for row in rows), max(row["max"] for row in rows)) == expected[rank]
    if rank in {"mean", "minmax"}:
        assert found[f"one, {rank}"]["last"] in {10.0, 20.0}
        expect(card(page, "loss").locator("figcaption")).to_contain_text("40 of 120 points of 2 curves")


def test_what_differs_is_a_table(trials, viewer_of, open_page):
    """Only what differs, until the switch is turned; names and values are searched; all of it is in the address."""
    page = open_page(viewer_of(trials).at(address(0, 1, 2, tab="differences")))
    rows = page.get_by_role("table", name="What differs").locator(".values-body > [role=row]")
    expect(rows.filter(has_text="args.lr")).to_have_count(1)
    texts = [row.split("\n") for row in rows.all_inner_texts()]
    assert ["args.lr", "0.1", "0.01", "0.001"] in texts
    assert ["args.model.width", "32", "64", "64"] in texts
    assert ["torch", "2.0", "2.1", "2.0"] in texts
    assert not [row for row in texts if row[0] == "args.model.depth"]
    expect(rows.filter(has_text="Config")).to_contain_text("2 of 4 differ")
    page.get_by_label("Only what differs").click()
    expect(rows.filter(has_text="args.model.depth")).to_contain_text("12")
    expect(page).to_have_url(re.compile("all=1"))
    page.keyboard.press("/")
    page.keyboard.type("numpy")
    expect(page.get_by_text("1 shown")).to_be_visible()
    expect(rows.filter(has_text="numpy")).to_contain_text("1.26")
    page.reload()
    expect(page.get_by_text("1 shown")).to_be_visible()


def test_fifty_runs_of_three_hundred_settings(tmp_path, viewer_of, open_page):
    """The table has all of them, of which only the cells in view exist; the last is reached by scrolling."""
    for number in range(50):
        config = {f"key{at:03}": at * number if at % 2 else at for at in range(300)}
        write_run(tmp_path, trial(number), [{"step": 1, "loss": 1.0}], alias=f"run {number}", config=config)
    page = open_page(viewer_of(tmp_path).at(address(*range(50), tab="differences", all=1)))
    table = page.get_by_role("table", name="What differs")
    expect(page.get_by_text("Config 150 of 300 differ")).to_be_visible()
    assert table.get_attribute("aria-colcount") == "51"
    assert page.locator(".values [role=cell]").count() < 1000
    table.evaluate("(element) => element.scrollTo(1e6, 1e6)")
    expect(page.get_by_role("link", name="run 49", exact=True)).to_be_visible()
    last = page.locator(".values-body > [role=row]", has_text="args.key299")
    expect(last.locator("[role=cell]").last).to_have_text(f"{299 * 49:,}")
    page.get_by_label("Only what differs").click()
    expect(page.get_by_text("150 shown")).to_be_visible()
    page.get_by_role("link", name="Charts").click()
    wait_for_curves(page, "loss", 50)
    expect(page.get_by_role("link", name="134 more")).to_be_attached()


def test_code_is_compared_by_member(trials, viewer_of, open_page):
    """The files that differ are listed; one is shown as a unified difference between runs that can be chosen."""
    page = open_page(viewer_of(trials).at(address(0, 1, 7, tab="code")))
    files = page.get_by_role("navigation", name="Files of the code")
    expect(files.get_by_role("link")).to_have_count(2)
    expect(page.get_by_text("trial 7: no code was kept")).to_be_visible()
    expect(page.locator(".difference h2")).to_contain_text("new.py trial 0 → trial 1 +1 \u22120")
    expect(page.locator(".difference pre .added")).to_have_text("+print('<b>new</b>')")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile("member=2"))
    expect(page.locator(".difference pre .removed")).to_have_text("-lr = 0.1")
    page.get_by_label("From").select_option(label="trial 1")
    expect(page.locator(".difference pre .removed")).to_have_text("-lr = 0.01")
    page.reload()
    expect(page.locator(".difference pre .removed")).to_have_text("-lr = 0.01")
    page.get_by_label("Only what differs").click()
    files.get_by_role("link", name="same.py").click()
    expect(page.get_by_text("The file is the same in both.")).to_be_visible()


def test_images_are_side_by_side(trials, viewer_of, open_page):
    """One step for all runs: of each the image at it or the last before; by slider, by brackets and by address."""
    page = open_page(viewer_of(trials).at(address(0, 1, 2, tab="images")))
    captions = page.locator(".side-by-side figcaption")
    expect(page.locator(".side-by-side img")).to_have_count(3)
    assert captions.all_inner_texts() == ["0 at 20", "1 at 21", "2 at 22"]
    page.keyboard.press("[")
    expect(page.locator("output")).to_have_text("step 21")
    expect(captions).to_have_text(["0 at 20", "1 at 21", "2 at 10"])
    page.get_by_role("button", name="Step before").click()
    expect(captions).to_have_text(["0 at 20", "1 at 10", "2 at 10"])
    expect(page).to_have_url(re.compile("step=20"))
    page.reload()
    expect(captions).to_have_text(["0 at 20", "1 at 10", "2 at 10"])


def test_runs_that_are_not_there_are_told(trials, viewer_of, open_page):
    """Unknown ids in the address are named and the others shown; none at all, one alone and many are no fault."""
    viewer = viewer_of(trials)
    page = open_page(viewer.at(f"{address(0, 1)},nowhere,<b>x</b>"))
    wait_for_curves(page, "loss", 2)
    expect(page.get_by_text("2 runs of the address were not found: nowhere, <b>x</b>.")).to_be_visible()
    for tab in ("differences", "code", "images"):
        page.goto(f"{viewer.root}{address(0, 1)},nowhere&tab={tab}")
        expect(page.get_by_text("One run of the address was not found: nowhere.")).to_be_visible()
    page.goto(f"{viewer.root}compare?runs=nowhere")
    expect(page.get_by_text("None of these runs was found.")).to_be_visible()
    for place in ("compare", "compare?runs=", "compare?runs=,,,"):
        page.goto(f"{viewer.root}{place}")
        expect(page.get_by_text("No runs are chosen")).to_be_visible()
    page.goto(f"{viewer.root}{address(3)}")
    wait_for_curves(page, "loss", 1)
    page.goto(f"{viewer.root}{address(3, tab='differences')}")
    expect(page.get_by_text("all 4 are equal")).to_be_visible()
    many = ",".join([trial(0), *(f"n{number}" for number in range(600)), trial(1)])
    page.goto(f"{viewer.root}compare?runs={many}")
    expect(page.get_by_text("602 runs are named; the first 500 are compared.")).to_be_visible()
    wait_for_curves(page, "loss", 1)


def test_a_run_that_is_removed_meanwhile_is_told(trials, tmp_path, viewer_of, open_page):
    """It goes from the charts, the page says so, and the others stay; it comes back when it is put back."""
    storage = tmp_path / "copy"
    shutil.copytree(trials, storage)
    page = open_page(viewer_of(storage).at(address(0, 1, 2)))
    wait_for_curves(page, "loss", 3)
    (gone,) = storage.rglob(trial(1))
    gone.rename(tmp_path / "aside")
    wait_for_curves(page, "loss", 2)
    told = page.get_by_text(f"One run of the address was not found: {trial(1)}.")
    expect(told).to_be_visible()
    (tmp_path / "aside").rename(gone)
    wait_for_curves(page, "loss", 3)
    expect(told).to_be_hidden()


@pytest.mark.usefixtures("trainers_end")
def test_live_runs_grow(trials, tmp_path, viewer_of, open_page):
    """A run that goes on adds to its curve, the zoom stays, and the curves of the others are not asked for again."""
    storage = tmp_path / "storage"
    shutil.copytree(trials, storage)
    trainer = Trainer(tmp_path, STEPWISE)
    trainer.process.stdin.write("100\n")
    trainer.process.stdin.flush()
    page = open_page(viewer_of(storage).at(f"{address(0)},20260102_000000_00000b"))
    row = card(page, "loss").locator("table.figures tbody tr", has_text="20260102")
    expect(row.locator("td").last).to_have_text("100")
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    for count in (1, 5000, 3):
        before = int(row.locator("td").last.inner_text())
        trainer.process.stdin.write(f"{count}\n")
        trainer.process.stdin.flush()
        expect(row.locator("td").last).to_have_text(str(before + count))
        expect(row.locator("td").first).to_have_text(str(before + count))
    curves = [json.loads(text) for text in asked if text]
    assert curves
    assert all(each["runs"] == ["20260102_000000_00000b"] for each in curves)
    trainer.process.stdin.close()
    expect(legend(page).last).to_contain_text("finished")
    trainer.end()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab", ["charts", "group", "differences", "code", "images", "none"])
def test_page_is_accessible(trials, viewer_of, open_page, tab, scheme):
    """The rules of axe find nothing to object to, in both colour schemes."""
    marks = {
        "charts": "table.figures tbody tr", "group": "table.figures tbody tr", "differences": ".values [role=cell]",
        "code": ".difference pre div", "images": ".side-by-side img", "none": "main h2",
    }  # fmt: skip
    place = address(0, 1, 2, 7, **({"group": "path"} if tab == "group" else {"tab": tab}))
    page = open_page(viewer_of(trials).at("compare" if tab == "none" else place), scheme=scheme)
    expect(page.locator(marks[tab]).first).to_be_attached()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found] == []


def test_hostile_text_is_shown_as_text(tmp_path, viewer_of, open_page):
    """Aliases, metrics, settings, tags, files and code that are markup or odd characters are read as they are."""
    for number, payload in enumerate(PAYLOADS):
        run_dir = write_run(
            tmp_path,
            f"run{number}",
            [{"step": 1, payload: 1.0}, {"step": 2, payload: 2.0}],
            alias=payload,
            tags=[payload],
            config={payload: payload, "same": payload},
            summary={payload: payload},
        )
        (run_dir / "environment.json").write_text(json.dumps({payload: payload, "pip_packages": [payload]}))
        with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
            archive.writestr(f"{payload}.py", f"{payload}\n")
    viewer = viewer_of(tmp_path)
    keys = ",".join(f"run{number}" for number in range(len(PAYLOADS)))
    page = open_page(viewer.at(f"compare?runs={keys}"))
    for payload in PAYLOADS:
        wait_for_curves(page, payload, 1)
        expect(legend(page).get_by_role("link", name=payload, exact=True)).to_be_visible()
    for by in ("tags", "config.same", f"config.{PAYLOADS[0]}"):
        page.goto(f"{viewer.root}compare?runs={keys}&{urlencode({'group': by})}")
        expect(page.locator("figure.card table.figures tbody tr").first).to_be_attached()
    page.goto(f"{viewer.root}compare?runs={keys}&group=tags")
    for payload in PAYLOADS:
        box = page.get_by_label(f"Show tags = {payload} (1)", exact=True)
        box.click()
        expect(box).not_to_be_checked()
    page.reload()
    for payload in PAYLOADS:
        expect(page.get_by_label(f"Show tags = {payload} (1)", exact=True)).not_to_be_checked()
    page.goto(f"{viewer.root}compare?runs={keys}&tab=differences")
    for payload in PAYLOADS:
        expect(page.locator(".values").get_by_text(payload, exact=True).first).to_be_attached()
    page.goto(f"{viewer.root}compare?runs={keys}&tab=code")
    expect(page.get_by_role("navigation", name="Files of the code").get_by_role("link")).to_have_count(len(PAYLOADS))
    for link in page.get_by_role("navigation", name="Files of the code").get_by_role("link").all():
        link.click()
        expect(page.locator(".difference pre div").last).to_have_text(re.compile("^[+-]"))
    for place in (f"compare?runs={keys}&group=%F0%9F&off=%25&top=%25zz&x=metric:<b>", f"compare?runs={keys}&tab=<b>"):
        page.goto(f"{viewer.root}{place}")
        expect(legend(page).first).to_be_attached()
