"""Each page is accessible, light and dark; works behind a prefix; and shows hostile text as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from prefix_proxy import prefix_proxy
from reading import figures
from storages import few_runs, write_run

RUN = "20260101_000000_000000"
PAGES = {
    "runs": ("", ".body [role=row] a.name"),
    "charts": (f"run/{RUN}", "table.figures tbody tr"),
    "summary": (f"run/{RUN}/summary", "table.fields"),
    "logs": (f"run/{RUN}/logs?q=line", ".log-line"),
    "problems": ("problems", "main h2"),
}
PAYLOADS = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "${alert(5)}{{7*7}}",
    "<a href='javascript:alert(6)'>x</a>",
]


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """A storage of 30 runs, one of which cannot be read in full."""
    storage = tmp_path_factory.mktemp("accessible")
    few_runs(storage)
    write_run(storage, "damaged", ["{half a line\n"])
    return storage


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible(several, viewer_of, open_page, name, scheme):
    """The rules of axe find nothing to object to, in both colour schemes."""
    place, mark = PAGES[name]
    page = open_page(viewer_of(several).at(place), scheme=scheme)
    expect(page.locator(mark).first).to_be_attached()
    assert _violations(page) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert _violations(page) == []


@pytest.mark.parametrize("opener", ["Columns", "Axes", "Menu of loss"])
def test_popover_is_accessible(several, viewer_of, open_page, opener):
    """Settings and menus are accessible while they are open."""
    page = open_page(viewer_of(several).at("" if opener == "Columns" else f"run/{RUN}"))
    page.get_by_role("button", name=opener).click()
    assert _violations(page) == []


def _violations(page: Any) -> list[Any]:
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]


@pytest.mark.parametrize("prefix", ["/a/", "/user/jane doe/proxy/23300/"])
def test_pages_work_behind_a_prefix(several, viewer_of, open_page, prefix):
    """Behind a proxy that takes a prefix away every page, link and stream works, without a setting."""
    viewer = viewer_of(several)
    with prefix_proxy(viewer.root, prefix) as root:
        page = open_page(f"{root}#t={viewer.token}")
        page.locator(".body [role=row] a.name", has_text="trial 1").first.click()
        figures(page, "loss")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.get_by_role("link", name="Logs").click()
        expect(page.locator(".log-line").first).to_be_visible()
        page.reload()
        expect(page.locator(".log-line").first).to_be_visible()
        page.get_by_role("link", name="Assets").click()
        with page.expect_download() as got:
            page.get_by_role("button", name="Download logs.txt").click()
        assert "line 0 of run" in Path(got.value.path()).read_text()
        page.get_by_role("link", name="Problems").click()
        expect(page.get_by_text("Status checker")).to_be_visible()
        assert page.url == f"{root}problems"
        page.close()


def test_hostile_text_is_shown_as_text(tmp_path, viewer_of, open_page):
    """Names, tags, metrics, config, log and reasons that are markup open no dialog and are read as they are."""
    for number, payload in enumerate(PAYLOADS):
        write_run(
            tmp_path,
            f"run{number}",
            [
                {"step": 1, "stage": payload, payload: 1.0, f"{payload}/a": 1.0},
                {"step": 2, payload: 2.0, f"{payload}/a": 1.0},
            ],
            path="p",
            status="failed",
            reason=payload,
            alias=payload,
            tags=[payload],
            notes=payload,
            config={payload: payload},
            summary={
                payload: payload,
                "best_metric_name": payload,
                "best_metric_value": 1.0,
                "best_metric_step": 1,
                "best_metric_mode": "min",
            },
            log=f"{payload}\n\x1b]0;{payload}\x07\x1b[31m{payload}\x1b[0m\n",
        )
        run_dir = tmp_path / "runs" / "p" / f"run{number}"
        image = {"key": payload, "caption": payload, "path": "media/none.png", "step": 1, "stage": payload}
        with (run_dir / "events.jsonl").open("a") as file:
            file.write(json.dumps({"ts": 1.0, "type": "image", "data": image}) + "\n")
        dataset = {"name": payload, "uri": payload, "description": payload, "saved": True, "archive_path": payload}
        (run_dir / "assets.json").write_text(
            json.dumps({"config": {"args": {payload: payload}}, "datasets": [dataset]})
        )
    (tmp_path / "runs" / "p" / "run0" / "status.json").write_text(json.dumps({"status": PAYLOADS[0]}))
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at())
    for payload in PAYLOADS:
        expect(page.get_by_role("link", name=payload, exact=True)).to_be_visible()
    for number, payload in enumerate(PAYLOADS):
        for place in ("", "/summary", "/logs", "/images", "/assets"):
            page.goto(f"{viewer.root}run/run{number}{place}")
            expect(page.locator("h1")).to_have_text(payload)
            expect(page.locator("main").get_by_text(payload).nth(1)).to_be_attached()
    for query in (
        "?q=<img src=x onerror=alert(1)>",
        "?path=<svg onload=alert(1)>&sort=<b>&cols=<i>",
        "run/run0?m=(&regex=1&x=metric:<b>",
        "run/run0/images?key=<b>&step=<i>&q=<u>",
        "run/run0/assets?asset=<b>&member=<i>&q=<u>",
    ):
        page.goto(f"{viewer.root}{query}")
        expect(page.locator("main")).to_be_visible()
    page.goto(f"{viewer.root}problems")
    expect(page.locator("main")).to_be_visible()


ESCAPES = [
    "\x1b]8;;javascript:alert(1)\x07a link\x1b]8;;\x07",
    "\x1b]0;a title that never ends",
    "\x1b]52;c;YWxlcnQoMSk=\x07",
    "\x1b[31",
    "\x1b[" + "38;" * 20_000 + "m",
    "\x1b[31mx" * 8_000,
    "\x1b[38;2;999;-1;1e9m",
    "\x1b[38;5;99999999999999999999m",
    "\x1bP+q544e\x1b\\",
    "\x9b31m\x85\x00\x07\x08\x7f",
    "\r" * 50_000 + "after",
    "\u202e\u2066<script>alert(7)</script>\u2069",
    "e" + "\u0301" * 5_000,
]


def test_escape_codes_of_a_log_are_colours_and_nothing_else(tmp_path, viewer_of, open_page):
    """Links, titles, the clipboard, codes that never end, or thousands of them: the lines around are shown."""
    for number, escape in enumerate(ESCAPES):
        log = f"before\n{escape} <b>within</b>\n\x1b[0mbehind {number}\n".encode() + b"\xff\xfe\xed\xa0\x80 last\n"
        write_run(tmp_path, f"run{number:02}", [{"step": 1, "loss": 1.0}], log=log)
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at())
    expect(page.locator(".body [role=row]")).to_have_count(len(ESCAPES))
    for number in range(len(ESCAPES)):
        page.goto(f"{viewer.root}run/run{number:02}/logs")
        expect(page.get_by_text(f"behind {number}", exact=True)).to_be_visible()
        expect(page.locator(".log-line").last).to_contain_text("last")
        assert page.title() != "a title that never ends"
        assert page.locator(".log-line b, .log-line script").count() == 0
        assert page.locator(".log-line a:not([href^='?'], [href^='./'], [href*='at='])").count() == 0
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
