"""A report is a file that a browser draws alone: no server, no request, no script but its own, whatever a run holds."""

from __future__ import annotations

import html
import json
import math
import random
import re
import zipfile
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from mouse import drag
from pictures import add_image, png
from playwright.sync_api import expect
from reading import card, figures, foot
from storages import BEGUN, SPIKE, few_runs, million_records, write_ranks, write_run

import runicorn as rn
from runicorn.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

RUN = "20260101_000000_aaaaaa"


def report(storage: Path, target: Path, *arguments: str) -> Path:
    """Write a report by the command."""
    assert main(["report", *arguments, "--storage", str(storage), "-o", str(target)]) == 0
    return target


@pytest.fixture(scope="session")
def long_run(tmp_path_factory):
    """The report of a run of a million records with one outlier."""
    storage = tmp_path_factory.mktemp("long")
    write_run(storage, RUN, million_records(), log="hello\n", config={"lr": 0.1})
    return report(storage, storage / "report.html", RUN)


def test_report_shows_every_outlier_and_says_how_many_points_are_left_out(long_run, open_file):
    """Of a million values the one outlier is in the figures and the picture; when, whence and how many stand above."""
    page = open_file(long_run)
    assert figures(page, "loss")[0]["max"] == SPIKE
    assert figures(page, "loss")[0]["n"] == 1_000_000
    assert figures(page, "val_loss")[0]["n"] == 40
    about = page.get_by_role("region", name="About this report")
    expect(about).to_contain_text(re.compile(r"made \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))
    expect(about).to_contain_text(RUN)
    expect(about).to_contain_text("2 curves of 1,000,040 points; 1,000,000 of them left out")
    expect(about).to_contain_text("without logs, environment, code")
    assert re.search(r"of 1,000,000 points, min to max shown", foot(page, "loss"))
    assert "40 points, each shown" in foot(page, "val_loss")


def test_zoom_goes_as_far_as_the_report_goes_and_says_so(long_run, open_file):
    """A drag zooms all charts into the pieces that are there; the address keeps it, and a double-click undoes it."""
    page = open_file(long_run)
    figures(page, "loss")
    drag(page, "loss", 0.5, 0.55)
    expect(card(page, "loss").locator("figcaption")).to_contain_text("in view of 1,000,000 points")
    expect(card(page, "loss").locator("figcaption")).to_contain_text("the report holds no more")
    assert "from=" in page.url
    assert page.url.startswith(long_run.as_uri() + "#/run/")
    page.reload()
    expect(card(page, "loss").locator("figcaption")).to_contain_text("in view of 1,000,000 points")
    card(page, "loss").locator(".u-over").dblclick()
    expect(card(page, "loss").locator("figcaption")).not_to_contain_text("in view")
    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Log y")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Summary and config").click()
    expect(page.get_by_role("region", name="Config")).to_contain_text("lr")
    page.go_back()
    expect(card(page, "loss")).to_be_visible()
    assert page.get_by_role("link", name="Logs").count() == 0


def saved_columns(page: Page, metric: str) -> tuple[list[str], list[list[str]]]:
    """The names and the rows of what a chart saves as CSV."""
    with page.expect_download() as download:
        card(page, metric).get_by_role("button", name=f"Menu of {metric}").click()
        page.get_by_role("button", name="Save as CSV").click()
    head, *lines = download.value.path().read_text().splitlines()
    return head.split(","), [line.split(",") for line in lines]


@pytest.mark.parametrize("count", [300, 20_000])
def test_curves_of_a_report_are_those_of_the_values(tmp_path, open_file, count):
    """Each bucket that a chart of a report draws has least, greatest, mean, last and count of its values."""
    seed = random.randrange(1000)
    print("seed", seed)
    draw = random.Random(seed)
    values = [draw.gauss(0, 10.0 ** draw.randrange(-3, 3)) for _ in range(count)]
    values[7], values[70] = math.nan, math.inf
    write_run(tmp_path, RUN, ({"step": step, "loss": value} for step, value in enumerate(values)))
    path = report(tmp_path, tmp_path / "report.html", RUN)
    for place in ("", f"#/run/{RUN}?from={count // 10}&to={count // 2}"):
        page = open_file(path, place)
        figures(page, "loss")
        names, lines = saved_columns(page, "loss")
        rows = [dict(zip(names, map(float, line), strict=True)) for line in lines]
        width = rows[1]["x"] - rows[0]["x"]
        if "y" in rows[0]:
            assert [repr(row["y"]) for row in rows] == [repr(values[int(row["x"])]) for row in rows]
            continue
        for row in rows[1:-1] if place else rows:  # at the ends of a range they are not whole
            inside = values[int(row["x"]) : int(row["x"] + width)]
            finite = [value for value in inside if math.isfinite(value)]
            assert row["count"] == len(inside)
            wanted = (min(finite), max(finite), inside[-1])
            assert (row["min"], row["max"], row["last"]) == pytest.approx(wanted, rel=1e-6, nan_ok=True)
            assert row["mean"] == pytest.approx(math.fsum(finite) / len(finite), rel=1e-5, abs=1e-5)


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]></style><img src=x onerror=alert(1)>",
    "\u2028\u2029{{}}${alert(1)}",
    "\"'><iframe srcdoc='<script>alert(1)</script>'>",
    "\ud800 half",
]


def keep_code(run_dir: Path, name: str, text: str) -> None:
    """Keep an archive of code with a run, as ``snapshot_code`` does."""
    with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
        archive.writestr(name, text)
    assets = json.loads((run_dir / "assets.json").read_text())
    snapshot = {"saved": True, "archive_path": str(run_dir / "code_snapshot.zip")}
    (run_dir / "assets.json").write_text(json.dumps({**assets, "code": {"snapshot": snapshot}}))


def hostile_storage(storage: Path) -> None:
    """Each text of two runs is one that would be markup."""
    for number in range(2):
        texts = {f"{name}{each}": each for name in "ab" for each in HOSTILE}
        lines = [{"step": step, **{f"m{each}": step / 7 for each in HOSTILE}} for step in range(1, 20)]
        run_dir = write_run(
            storage, f"20260101_00000{number}_aaaaaa", lines, path="cv", status="failed", log="\n".join(HOSTILE[:5]),
            config=texts, summary={**texts, "best_metric_name": f"m{HOSTILE[0]}", "best_metric_value": 1.0,
            "best_metric_step": 7, "best_metric_mode": "min"}, reason=HOSTILE[0], alias=f"{HOSTILE[0]}{number}",
            tags=HOSTILE, notes=HOSTILE[1], hostname=HOSTILE[2], group=HOSTILE[4],
        )  # fmt: skip
        (run_dir / "environment.json").write_text(json.dumps(texts))
        add_image(run_dir, HOSTILE[0], 5, png(20, 20, (200, 0, 0)), caption=HOSTILE[1])
        keep_code(run_dir, f"{HOSTILE[1]}.py", f"{HOSTILE[0]} {number}\n")


def test_texts_of_a_run_are_texts_in_its_report(tmp_path, open_file):
    """Names, values and logs that look like markup are shown as they are: nothing runs, no policy is broken."""
    hostile_storage(tmp_path)
    target = report(
        tmp_path, tmp_path / "report.html", "20260101_000000_aaaaaa", "20260101_000001_aaaaaa",
        "--with", "logs,environment,code", "--metrics", f"m{HOSTILE[0]}", "--metrics", f"m{HOSTILE[1]}",
    )  # fmt: skip
    for place in ("", "#/", "#/run/20260101_000000_aaaaaa", "#/run/20260101_000001_aaaaaa/summary"):
        page = open_file(target, place)
        expect(page.locator("main")).to_contain_text(HOSTILE[0])
    page = open_file(target, "#/run/20260101_000000_aaaaaa/logs?q=script")
    expect(page.locator(".log-view")).to_contain_text(HOSTILE[2])
    expect(page.get_by_role("region", name="Lines found")).to_contain_text(HOSTILE[0])
    page.get_by_role("link", name="Images 1").click()
    expect(page.locator("figure.image img")).to_have_count(1)
    expect(page.locator("figure.image")).to_contain_text(HOSTILE[1])
    page.get_by_role("link", name="Code").click()
    page.get_by_role("button", name=re.compile("Members|1 member")).first.click()
    page.get_by_role("button", name=f"{HOSTILE[1]}.py").click()
    expect(page.locator("pre")).to_contain_text(HOSTILE[0])
    page = open_file(target, "#/compare?runs=20260101_000000_aaaaaa,20260101_000001_aaaaaa&tab=code")
    expect(page.locator("section.difference")).to_contain_text(f"+{HOSTILE[0]} 1")
    page = open_file(target, "#/explore")
    expect(page.locator("main")).to_be_visible()


def test_no_script_runs_but_those_of_the_report(long_run, tmp_path, open_file):
    """What is added to the file, inline or from elsewhere, is refused by its policy, and the report is drawn."""
    open_file.watched.allowed += ["Refused to", "policy:", "violates the following", "Content Security Policy"]
    text = long_run.read_text(encoding="utf-8")
    added = '<script>window.taken = 1</script><script src="other.js"></script><img src="x.png" onerror="taken = 2">'
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace('<div id="app">', f'{added}<div id="app">', 1), encoding="utf-8")
    (tmp_path / "other.js").write_text("window.taken = 3")
    page = open_file(changed)
    assert figures(page, "loss")[0]["max"] == SPIKE
    assert page.evaluate("window.taken") is None
    assert open_file.read == [changed.as_uri()]


def test_report_of_twenty_curves_and_ten_images(tmp_path, open_file):
    """It is less than 3 MB, says how many images are left out, and shows the others by key and step."""
    draw = random.Random(1)
    names = [f"m{number:02}" for number in range(20)]
    run_dir = write_run(
        tmp_path, RUN, ({"step": step, **{name: draw.random() for name in names}} for step in range(1, 20_001))
    )
    for step in range(100):
        add_image(run_dir, "samples", step, png(200, 200, (step, 2 * step, 200)), caption=f"after {step} steps")
    for step in (5, 25):
        add_image(run_dir, "</script><b>heads", step, png(28, 28, (200, step, 9)))
    target = report(tmp_path, tmp_path / "report.html", RUN, "--images", "10")
    assert target.stat().st_size < 3_000_000
    page = open_file(target)
    expect(page.locator("figure.card canvas")).to_have_count(20)
    expect(page.get_by_role("region", name="About this report")).to_contain_text("10 of 102 images")
    page.get_by_role("link", name="Images 10").click()
    expect(page.locator("figure.image img")).to_have_count(2)
    expect(page.locator("figure.image").last).to_contain_text("after 99 steps")
    page.keyboard.press("[")
    expect(page.locator("figure.image").last).to_contain_text("after 85 steps")
    page.get_by_label("Key", exact=True).select_option(label="samples (8)")
    expect(page.locator("figure.image img")).to_have_count(8)
    assert page.locator("figure.image img").first.evaluate("(image) => image.naturalWidth") == 200


def test_report_of_several_runs_is_their_comparison(tmp_path, open_file):
    """It begins with their curves on top of each other and what differs, and leads to each of them."""
    few_runs(tmp_path, 4)
    directories = sorted((tmp_path / "runs").rglob("20260101_*"))
    for directory in directories:
        add_image(directory, "samples", 7, png(40, 30, (200, 100, 0)))
    target = report(tmp_path, tmp_path / "report.html", *(directory.name for directory in directories))
    page = open_file(target)
    expect(page.get_by_role("region", name="About this report")).to_contain_text("4 runs from")
    expect(card(page, "loss").locator("table.figures tbody tr")).to_have_count(4)
    page.get_by_role("button", name="Menu of trial 1").click()
    page.get_by_role("button", name="Remove from the comparison").click()
    expect(card(page, "loss").locator("table.figures tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Images").click()
    expect(page.locator("figure.image img")).to_have_count(3)
    page.get_by_role("link", name="Differences").click()
    expect(page.get_by_role("table", name="What differs")).to_contain_text("left out of this report")
    expect(page.get_by_role("table", name="What differs").get_by_role("columnheader")).to_have_count(4)
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("[role=row] a.name")).to_have_count(4)
    page.goto(f"{target.as_uri()}#/?cols=config.args.lr")
    expect(page.get_by_role("columnheader", name="lr")).to_be_visible()
    page.locator("[role=row] a.name").first.click()
    expect(card(page, "loss")).to_be_visible()
    assert page.get_by_role("link", name="Problems").count() == 0


def test_report_draws_what_the_viewer_draws(tmp_path, viewer_of, open_page, open_file):
    """Curves of runs and of groups, zoomed and smoothed, have the same numbers in a report as in the viewer."""
    draw = random.Random(2)
    names = [f"20260101_00000{number}_aaaaaa" for number in range(4)]
    for number, name in enumerate(names):
        lines = [{"step": 3 * step, "loss": draw.gauss(number, 1)} for step in range(1, 700 + 40 * number)]
        write_run(tmp_path, name, lines, config={"lr": number % 2})
    target, viewer = report(tmp_path, tmp_path / "report.html", *names), viewer_of(tmp_path)
    compared = f"compare?runs={','.join(names)}"
    grouped = f"{compared}&group=config.args.lr"
    for count, place in (
        *((1, f"run/{names[0]}"), (1, f"run/{names[1]}?from=100&to=1000"), (1, f"run/{names[0]}?smooth=0.9")),
        *((4, f"{compared}&from=600"), (2, grouped), (2, f"{grouped}&smooth=0.9"), (2, f"{grouped}&from=300&to=900")),
    ):
        here, there = open_file(target, f"#/{place}"), open_page(viewer.at(place))
        for page in (here, there):
            expect(card(page, "loss").locator("table.figures tbody tr")).to_have_count(count)
        assert (place, figures(here, "loss")) == (place, figures(there, "loss"))
        assert_same_columns(here, there, "loss")


def assert_same_columns(here: Page, there: Page, metric: str) -> None:
    """A chart of a report saves the same CSV as one of the viewer; values of pieces have seven digits in a report."""
    (columns, rows), (known, wanted) = saved_columns(here, metric), saved_columns(there, metric)
    assert columns == known
    for row, other in zip(rows, wanted, strict=True):
        for value, expected in zip(row, other, strict=True):
            is_number = re.fullmatch(r"-?[\d.]+(?:e-?\d+)?", expected)
            assert float(value) == pytest.approx(float(expected), 1e-6, 1e-9) if is_number else value == expected


@pytest.mark.parametrize(
    "query", ["", "rank=each", "rank=mean&stage=hot", "rank=2", "stage=warm", "group=config.args.lr"]
)
def test_ranks_and_stages_of_a_report_are_those_of_the_viewer(tmp_path, viewer_of, open_page, open_file, query):
    """A report draws the ranks and stages that its address chooses, as the viewer does."""
    names = [f"20260101_00000{number}_aaaaaa" for number in range(2)]
    for number, name in enumerate(names):
        steps = [(at, "warm" if at < 30 else "hot") for at in range(99)]
        lines = [
            [{"step": at, "loss": 10.0 * rank + at / 7 + number, "stage": stage} for at, stage in steps]
            for rank in range(3)
        ]
        write_ranks(write_run(tmp_path, name, config={"lr": 1}), lines)
    target = report(tmp_path, tmp_path / "report.html", *names, "--rank", "0,each,mean,2", "--stage", "all,hot,warm")
    place = f"compare?runs={','.join(names)}&{query}"
    here, there = open_file(target, f"#/{place}"), open_page(viewer_of(tmp_path).at(place))
    count = 6 if query == "rank=each" else 1 if "group" in query else 2
    for page in (here, there):
        expect(card(page, "loss").locator("table.figures tbody tr")).to_have_count(count)
    assert figures(here, "loss") == figures(there, "loss")
    assert_same_columns(here, there, "loss")


def test_page_of_a_report_offers_what_it_holds_and_begins_with_the_first(tmp_path, open_file):
    """A report begins with the axis, rank and stage that were named first; *Axes* has the others, if any."""
    lines = [[{"step": at, "loss": 10.0 * rank + at} for at in range(1, 21)] for rank in range(3)]
    write_ranks(write_run(tmp_path, RUN), lines)
    words = ("--x", "time,step", "--rank", "slowest,1")
    page = open_file(report(tmp_path, tmp_path / "report.html", RUN, *words))
    assert figures(page, "loss")[0]["last"] == 40
    page.get_by_role("button", name="Axes").click()
    assert page.get_by_label("Ranks").locator("option").all_inner_texts() == ["slowest", "rank 1"]
    expect(page.get_by_label("x axis")).to_have_value("time")
    expect(page.get_by_label("Stage")).to_have_count(0)
    page.get_by_label("Ranks").select_option(label="rank 1")
    expect(card(page, "loss").locator("table.figures tbody tr")).to_contain_text("30")
    assert figures(page, "loss")[0]["last"] == 30
    page.get_by_label("x axis").select_option(label="Step")
    expect(page).to_have_url(re.compile(r"rank=1&x=step"))
    assert figures(page, "loss")[0]["last"] == 30


def test_report_has_the_curves_of_the_machine(tmp_path, open_file):
    """The System tab of a report always draws the curves of the machine over time."""
    run_dir = write_run(tmp_path, RUN, [{"step": 1, "loss": 1.0}])
    (run_dir / "system.jsonl").write_text(json.dumps({"time": BEGUN + 2, "host/cpu_percent": 5.0}) + "\n")
    for axes in ("step", "wall", "step,time"):
        path = report(tmp_path, tmp_path / f"{axes}.html", RUN, "--x", axes)
        page = open_file(path, f"#/run/{RUN}/system")
        assert figures(page, "system/host/cpu_percent")[0]["last"] == 5


def test_report_of_a_run_that_goes_on_says_so(tmp_path, open_file):
    """A report of a running run says that it was running when it was made; its times stand still."""
    with rn.init(storage=tmp_path) as run:
        run.log({"loss": 1.0})
        path = report(tmp_path, tmp_path / "report.html", run.id)
    page = open_file(path)
    expect(page.get_by_role("region", name="About this report")).to_contain_text("the run was still running then")
    expect(page.locator(".run-line")).to_contain_text("running")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_can_be_read_by_everybody(tmp_path, open_file, scheme):
    """Axe finds no fault on its pages, light and dark."""
    few_runs(tmp_path, 3)
    names = [path.name for path in sorted((tmp_path / "runs").rglob("20260101_*"))]
    target = report(tmp_path, tmp_path / "report.html", *names, "--with", "logs")
    for place in ("", "#/", f"#/run/{names[0]}", f"#/run/{names[0]}/summary", f"#/run/{names[0]}/logs"):
        page = open_file(target, place, scheme=scheme)
        expect(page.locator("main")).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        found = Axe().run(page).response["violations"]
        assert not found, [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_can_be_printed(tmp_path, open_file, scheme):
    """On paper all charts stand, none is wider than the paper, and what only a screen can do is gone."""
    lines = [{"step": step, **{f"m{number}": step / 7 for number in range(40)}} for step in range(1, 50)]
    write_run(tmp_path, RUN, lines)
    page = open_file(report(tmp_path, tmp_path / "report.html", RUN), scheme=scheme)
    expect(page.locator("canvas")).to_have_count(40)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    rights = "[...document.querySelectorAll('canvas')].map((each) => each.getBoundingClientRect().right)"
    assert max(page.evaluate(rights)) <= 720
    assert page.locator("h1").evaluate("(part) => getComputedStyle(part).color") == "rgb(27, 31, 36)"
    turned = page.locator("canvas").first.evaluate("(part) => getComputedStyle(part).filter")
    assert ("invert" in turned) is (scheme == "dark")
    assert page.get_by_role("button", name="Axes").count() == 0
    expect(page.get_by_role("region", name="About this report")).to_be_visible()
    assert page.pdf().startswith(b"%PDF")


def test_frame_of_a_notebook_draws_the_report(tmp_path, open_file, monkeypatch):
    """What a cell shows is the report in a frame of its own, whose tabs work, and which reaches nothing else."""
    monkeypatch.setitem(__import__("sys").modules, "IPython", object())
    with rn.init(storage=tmp_path, alias="</iframe><script>alert(1)</script>") as run:
        for step in range(500):
            run.log({"loss": 1 / (step + 1)})
    shown = rn.show(run, height=500)
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html><meta charset=utf-8><p id=cell>a cell</p>{shown._repr_html_()}", encoding="utf-8")
    page = open_file(cell)
    frame = page.frames[1]
    expect(frame.locator("figure.card canvas")).to_have_count(1)
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
    assert page.locator("iframe").bounding_box()["height"] == pytest.approx(500, abs=2)
    frame.get_by_role("link", name="Summary and config").click()
    expect(frame.get_by_role("region", name="Run")).to_contain_text(run.id)
    frame.get_by_role("link", name="Charts").click()
    expect(frame.locator("figure.card canvas")).to_have_count(1)
    assert page.url == cell.as_uri()
    assert frame.evaluate("(() => { try { return parent.document.title; } catch { return null; } })()") is None
    assert html.unescape(shown._repr_html_()).count("<script>alert") == 0
