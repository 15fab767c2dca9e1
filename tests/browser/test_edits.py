"""What a person changes on the pages: labels, deleted runs, views; by mouse and by keys, and what fails is told."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from reading import row_names
from storages import few_runs, write_run
from support.trainers import Trainer

RUN = "20260101_000001_000001"
PAYLOAD = "<img src=x onerror=alert(1)>"
LIVE = """
    run = rn.init(path="live", run_id="20260101_000000_00000c")
    opened(run)
    for line in sys.stdin:
        if line.strip() == "label":
            run.set_labels(tags=["of the script"], group="a sweep")
        run.log(loss=1.0)
        print("logged", flush=True)
    run.finish()
"""

pytestmark = pytest.mark.usefixtures("trainers_end")


@pytest.fixture
def few(tmp_path):
    """A storage of 12 runs, for this test alone."""
    few_runs(tmp_path / "few", 12)
    return tmp_path / "few"


def meta_of(storage, run_id=RUN):
    (path,) = storage.rglob(f"{run_id}/meta.json")
    return json.loads(path.read_text())


def run_page(viewer, open_page, run_id=RUN, **options):
    """The page of a run, once it can be edited."""
    page = open_page(viewer.at(f"run/{run_id}"), **options)
    expect(page.get_by_role("button", name="Folder as zip")).to_be_visible()
    return page


def runs_page(viewer, open_page, count=12, **options):
    """The table, once its runs are there."""
    page = open_page(viewer.at(), **options)
    expect(page.locator("[role=row] a.name")).to_have_count(count)
    return page


def notice(page):
    """The line at the foot."""
    return page.locator(".notice")


def violations(page: Any) -> list[Any]:
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]


def test_alias_is_edited_in_place(few, viewer_of, open_page):
    """By mouse and by key: Enter saves, Escape leaves it as it was, and nothing leaves the run without a name."""
    page = run_page(viewer_of(few), open_page)
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("textbox", name="Alias")
    expect(field).to_be_focused()
    expect(field).to_have_value("trial 1")
    field.fill("größe 1")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("größe 1")
    expect(page.get_by_role("button", name="Rename")).to_be_focused()
    assert meta_of(few)["alias"] == "größe 1"
    page.keyboard.press("a")
    page.keyboard.type("another")
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("größe 1")
    page.keyboard.press("a")
    page.keyboard.press("Delete")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text(RUN)
    assert meta_of(few)["alias"] is None


def test_an_alias_that_another_run_has_is_saved_and_told(few, viewer_of, open_page):
    """As ``init()`` gives it too; the line at the foot goes with the next change."""
    page = run_page(viewer_of(few), open_page)
    for alias, told in (("trial 3", "Another run has the alias trial 3 too."), ("own", "")):
        page.keyboard.press("a")
        page.keyboard.type(alias)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(alias)
        expect(page.get_by_role("status").filter(has_text="too.")).to_have_count(int(bool(told)))
        if told:
            expect(notice(page)).to_contain_text(told)


def test_tags_are_edited_in_place(few, viewer_of, open_page):
    """A list with commas: what is new is added, what is gone is removed, and what came meanwhile stays."""
    page = open_page(viewer_of(few).at("run/20260101_000000_000000"))
    page.get_by_role("button", name="Tag", exact=True).click()
    field = page.get_by_role("textbox", name="Tags, with commas between them")
    expect(field).to_have_value("sweep")
    (path,) = few.rglob("20260101_000000_000000/meta.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tags": ["sweep", "of another"]}))
    field.fill("paper, dark side, paper")
    page.keyboard.press("Enter")
    expect(page.locator(".run-head .tag")).to_have_text(["of another", "paper", "dark side"])
    page.keyboard.press("t")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    expect(page.get_by_role("button", name="Tag", exact=True)).to_be_focused()


def test_notes_are_written_shown_and_removed(few, viewer_of, open_page):
    """Several lines: Enter is a new line, Ctrl+Enter saves; they are shown below the head, and found by the search."""
    viewer = viewer_of(few)
    page = run_page(viewer, open_page)
    page.keyboard.press("n")
    field = page.get_by_role("textbox", name="Notes")
    expect(field).to_be_focused()
    page.keyboard.type("first line")
    page.keyboard.press("Enter")
    page.keyboard.type("a second")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("note", name="Notes")).to_have_text("first line\na second")
    assert meta_of(few)["notes"] == "first line\na second"
    page.goto(f"{viewer.root}?q=second")
    expect(page.locator(".body [role=row]")).to_have_count(1)
    page.get_by_role("link", name="trial 1").click()
    page.get_by_role("button", name="Edit notes").click()
    field.fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Add notes")).to_be_focused()
    expect(page.get_by_role("note", name="Notes")).to_have_count(0)
    assert "notes" not in meta_of(few)


def test_a_failing_save_keeps_the_text_and_says_why(few, viewer_of, open_page):
    """A damaged file, then no viewer at all: the text stays in the field, with the reason; later it is saved."""
    open_page.watched.allowed += ["409", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE"]
    viewer = viewer_of(few)
    page = run_page(viewer, open_page)
    page.keyboard.press("n")
    field = page.get_by_role("textbox", name="Notes")
    field.fill("precious")
    (path,) = few.rglob(f"{RUN}/meta.json")
    content = path.read_text()
    path.write_text("{")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("cannot be read")
    expect(field).to_have_value("precious")
    path.write_text(content)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("note", name="Notes")).to_have_text("precious")
    page.keyboard.press("n")
    field.fill("more precious")
    viewer.end()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("The viewer does not answer. Nothing was changed.")
    expect(field).to_have_value("more precious")


def test_two_who_edit_the_notes_of_one_run_see_each_other(few, viewer_of, open_page, tmp_path):
    """With a viewer each: the second is shown what the first has saved, and replaces it only if they save again."""
    open_page.watched.allowed.append("409")
    pages = []
    for number in range(2):
        links = tmp_path / f"links-{number}"
        links.mkdir(mode=0o700)
        pages.append(run_page(viewer_of(few, RUNICORN_VIEWER_DIR=str(links)), open_page))
    first, second = pages
    for page, text in ((first, "of the first"), (second, "of the second")):
        page.get_by_role("button", name="Add notes").click()
        page.get_by_role("textbox", name="Notes").fill(text)
    first.keyboard.press("Control+Enter")
    expect(first.get_by_role("note", name="Notes")).to_have_text("of the first")
    second.keyboard.press("Control+Enter")
    expect(second.get_by_role("alert")).to_contain_text("It is now: of the first")
    assert meta_of(few)["notes"] == "of the first"
    second.keyboard.press("Control+Enter")
    expect(second.get_by_role("note", name="Notes")).to_have_text("of the second")
    expect(first.get_by_role("note", name="Notes")).to_have_text("of the second")


def test_a_live_run_is_labelled_and_logs_on(tmp_path, viewer_of, open_page):
    """By its script and by the page in turn: neither loses what the other has written, and no value is lost."""
    trainer = Trainer(tmp_path, LIVE)
    page = open_page(viewer_of(tmp_path / "storage").at("run/20260101_000000_00000c"))

    def say(line):
        trainer.process.stdin.write(f"{line}\n")
        trainer.process.stdin.flush()
        assert trainer.process.stdout.readline() == "logged\n"

    expect(page.get_by_role("button", name="Name", exact=True)).to_be_visible()
    page.keyboard.press("a")
    page.keyboard.type("alive")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("alive")
    say("label")
    expect(page.locator(".run-head .tag")).to_have_text(["of the script"])
    page.keyboard.press("t")
    page.keyboard.press("End")
    page.keyboard.type(", of the page")
    page.keyboard.press("Enter")
    expect(page.locator(".run-head .tag")).to_have_text(["of the script", "of the page"])
    say("label")
    page.keyboard.press("n")
    page.keyboard.type("looks good")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("note", name="Notes")).to_have_text("looks good")
    trainer.end()
    expect(page.locator(".run-head .status")).to_have_text("finished")
    meta = json.loads((trainer.run_dir / "meta.json").read_text())
    assert (meta["alias"], meta["tags"], meta["notes"]) == ("alive", ["of the script", "of the page"], "looks good")
    assert meta["group"] == "a sweep"
    events = (trainer.run_dir / "events.jsonl").read_text().splitlines()
    assert len([line for line in events if '"metrics"' in line]) == 2


def test_selected_runs_are_tagged_deleted_and_brought_back_by_keys(few, viewer_of, open_page):
    """``x`` selects, ``t`` tags, ``d`` deletes, ``u`` undoes; the line at the foot says what was done."""
    page = runs_page(viewer_of(few), open_page)
    names = row_names(page, 12)
    for key in "jxjxjx":
        page.keyboard.press(key)
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.keyboard.press("t")
    page.keyboard.type("chosen, paper")
    page.keyboard.press("Enter")
    expect(notice(page)).to_contain_text("chosen, paper added to 3 runs.")
    expect(page.locator(".body [role=row]").filter(has_text="chosen")).to_have_count(3)
    page.keyboard.press("u")
    expect(notice(page)).to_contain_text("The tags are as they were.")
    expect(page.locator(".body [role=row]").filter(has_text="chosen")).to_have_count(0)
    assert meta_of(few, "20260101_000009_000009")["tags"] == ["sweep"]
    page.keyboard.press("d")
    expect(notice(page)).to_contain_text("3 runs moved to the recycle bin.")
    expect(page.locator("[role=row] a.name")).to_have_text(names[3:])
    expect(page.get_by_text("3 selected")).to_have_count(0)
    page.keyboard.press("u")
    expect(notice(page)).to_contain_text("3 runs restored.")
    expect(page.locator("[role=row] a.name")).to_have_text(names)


def test_selected_runs_are_tagged_and_deleted_by_mouse(few, viewer_of, open_page):
    """The bar of a selection has the same, and each tag of the selected can be taken from them."""
    page = runs_page(viewer_of(few), open_page)
    for name in ("trial 11", "20260101_000010_00000a", "trial 9"):
        page.get_by_label(f"Select {name}").click()
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_role("button", name="Remove sweep").click()
    expect(notice(page)).to_contain_text("sweep removed from 1 run.")
    assert meta_of(few, "20260101_000009_000009")["tags"] == []
    notice(page).get_by_role("button", name="Undo").click()
    expect(notice(page)).to_contain_text("The tags are as they were.")
    assert meta_of(few, "20260101_000009_000009")["tags"] == ["sweep"]
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("[role=row] a.name")).to_have_count(9)
    notice(page).get_by_role("link", name="Recycle bin").click()
    expect(page.get_by_role("row")).to_have_count(4)
    expect(notice(page)).to_contain_text("3 runs moved to the recycle bin.")
    page.get_by_role("button", name="Restore trial 11").click()
    expect(notice(page)).to_contain_text("1 run restored.")
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Select all").click()
    page.keyboard.press("r")
    expect(page.get_by_text("The recycle bin is empty.")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("[role=row] a.name")).to_have_count(12)


def test_what_could_not_be_deleted_is_told_run_by_run(few, viewer_of, open_page):
    """Live, of another host, its place taken, gone: the others go, and those that stay are selected still."""
    trainer = Trainer(few.parent, LIVE, RUNICORN_DIR=str(few))
    write_run(few, "elsewhere", status="running", hostname="node7")
    (few / "runs" / ".recycle" / RUN).mkdir(parents=True)
    page = runs_page(viewer_of(few), open_page, 14)
    page.keyboard.press("j")
    page.get_by_role("table", name="Runs").focus()
    page.get_by_role("checkbox").first.click()
    page.get_by_role("checkbox").last.click(modifiers=["Shift"])
    expect(page.get_by_text("14 selected")).to_be_visible()
    (few / "runs" / "nlp" / "20260101_000002_000002").rename(few / "away")
    page.keyboard.press("d")
    expect(notice(page)).to_contain_text("10 of 14 runs moved to the recycle bin.")
    told = notice(page).get_by_role("listitem")
    expect(told).to_have_count(4)
    for text in ("is live", "may be open on the host node7", "is in the recycle folder already", "000002"):
        expect(told.filter(has_text=text)).to_have_count(1)
    expect(page.locator(".row.chosen")).to_have_count(3)
    page.keyboard.press("u")
    expect(notice(page)).to_contain_text("10 runs restored.")
    trainer.end()


def test_a_run_that_another_host_may_have_open_is_labelled_on_demand(few, viewer_of, open_page):
    """As on a cluster: the page says why it refuses, and a second click does it, for one run and for many."""
    open_page.watched.allowed.append("409")
    write_run(few, "elsewhere", [{"step": 1, "loss": 1.0}], status="running", hostname="node7")
    viewer = viewer_of(few)
    page = run_page(viewer, open_page, "elsewhere")
    page.keyboard.press("a")
    page.keyboard.type("on the cluster")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("may be open on the host node7")
    page.get_by_role("button", name="Save anyway").click()
    expect(page.locator("h1")).to_have_text("on the cluster")
    page.keyboard.press("g")
    page.get_by_label("Select on the cluster").click()
    page.get_by_label("Select trial 11").click()
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.keyboard.press("t")
    page.keyboard.type("both")
    page.keyboard.press("Enter")
    expect(notice(page)).to_contain_text("both added to 1 of 2 runs.")
    notice(page).get_by_role("button", name="Do it anyway").click()
    expect(notice(page)).to_contain_text("both added to 1 run.")
    expect(page.locator(".body [role=row]").filter(has_text="both")).to_have_count(2)
    assert meta_of(few, "elsewhere")["tags"] == ["both"]


def test_views_are_saved_opened_replaced_and_removed(few, viewer_of, open_page):
    """A view is a name for what the address says; the address is that of the view after it was opened."""
    viewer = viewer_of(few)
    page = runs_page(viewer, open_page)
    page.goto(f"{viewer.root}?q=lr<1e-2&sort=best&hide=trend")
    expect(page.get_by_text(" of 12 runs")).to_be_visible()
    shown = row_names(page, 6)
    page.keyboard.press("v")
    page.keyboard.type("small rates")
    page.keyboard.press("Enter")
    view = page.get_by_role("link", name="small rates")
    expect(view).to_have_attribute("aria-current", "true")
    page.goto(viewer.root)
    expect(page.get_by_text("12 runs", exact=True)).to_be_visible()
    page.get_by_role("button", name="Saved views").click()
    view.click()
    expect(page.locator("[role=row] a.name")).to_have_text(shown)
    expect(page).to_have_url(re.compile("sort=best"))
    expect(view).to_have_count(0)
    page.get_by_role("button", name="failed").click()
    page.keyboard.press("v")
    page.keyboard.type("small rates")
    page.get_by_role("button", name="Replace").click()
    expect(view).to_have_attribute("title", re.compile("status=failed"))
    page.get_by_role("button", name="Remove the view small rates").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    page.keyboard.press("Escape")
    notice(page).get_by_role("button", name="Undo").click()
    expect(notice(page)).to_contain_text("The view small rates is back.")
    page.keyboard.press("v")
    expect(view).to_be_visible()
    assert [path.name for path in (few / "views").iterdir()] == ["small rates.json"]


def test_a_name_that_is_none_is_told(few, viewer_of, open_page):
    """The name of a view has no slash; it stays in its field."""
    open_page.watched.allowed += ["400", "404"]
    page = runs_page(viewer_of(few), open_page)
    page.keyboard.press("v")
    page.keyboard.type("a:b")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("is not a name for a view")
    expect(page.get_by_role("textbox", name="Name of the view")).to_have_value("a:b")


def exported(page, act):
    with page.expect_download() as download:
        act()
    assert download.value.suggested_filename == "runs.csv"
    return list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"), newline="")))


def test_the_table_is_exported_as_csv(tmp_path, viewer_of, open_page):
    """All runs that pass the filter, in their order, with every digit; or the selected ones. A formula is none."""
    storage = tmp_path / "exported"
    for number in range(300):
        write_run(
            storage,
            f"20260101_{number:06}_{number:06x}",
            path="a" if number % 2 else "b",
            config={"lr": 0.1 + number / 3e9, "seed": 2**63 + number, "note": "=1+1"},
            summary={"best_metric_name": "loss", "best_metric_value": number / 7, "best_metric_mode": "min"},
            alias=f"=HYPERLINK({number})",
            tags=["+a", "b"],
            notes='say "no", then\nno',
            created_at=1_790_000_000.123456,
        )
    viewer = viewer_of(storage)
    page = open_page(viewer.at())
    expect(page.get_by_text("300 runs")).to_be_visible()
    page.goto(f"{viewer.root}?path=a&sort=-best&cols=lr,seed,note")
    expect(page.get_by_text("150 of 300 runs")).to_be_visible()
    expect(page.get_by_role("columnheader", name="seed")).to_be_visible()
    expect(page.locator(".body [role=row]").first).to_contain_text("=1+1")
    rows = exported(page, lambda: page.keyboard.press("e"))
    assert len(rows) == 150
    assert [float(row["best_metric_value"]) for row in rows] == [number / 7 for number in range(299, 0, -2)]
    first = rows[0]
    assert first["id"] == "20260101_000299_00012b"
    assert first["config.args.seed"] == str(2**63 + 299)
    assert float(first["config.args.lr"]) == 0.1 + 299 / 3e9
    assert (first["alias"], first["config.args.note"], first["tags"]) == ("'=HYPERLINK(299)", "'=1+1", "'+a, b")
    assert first["notes"] == 'say "no", then\nno'
    assert first["created_at"] == "2026-09-21T14:13:20.123456Z"
    page.keyboard.press("j")
    page.keyboard.press("x")
    rows = exported(page, lambda: page.get_by_role("button", name="Export").click())
    assert [row["id"] for row in rows] == ["20260101_000299_00012b"]


def test_a_run_s_folder_is_asked_for_as_a_zip(few, viewer_of, open_page):
    """The button asks for a ticket of the folder, and then for the file of that ticket, below the viewer's address."""
    page = run_page(viewer_of(few), open_page)
    asked = []

    def ticket(route):
        asked.append((route.request.method, json.loads(route.request.post_data)))
        route.fulfill(json={"ticket": "abc"})

    page.route("**/api/v1/tickets", ticket)
    page.context.route(
        "**/api/v1/files/abc",
        lambda route: route.fulfill(body="PK", headers={"Content-Disposition": f"attachment; filename={RUN}.zip"}),
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Folder as zip").click()
    assert download.value.suggested_filename == f"{RUN}.zip"
    assert asked == [("POST", {"run": RUN, "kind": "folder"})]


def test_read_only_has_no_control_that_changes_anything(few, viewer_of, open_page, tmp_path):
    """No button, no field, and no key: views and the recycle bin are shown, and no request changes anything."""
    writer = viewer_of(few)
    page = runs_page(writer, open_page)
    page.get_by_label(re.compile("Select ")).first.click()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("d")
    expect(notice(page)).to_contain_text("1 run moved")
    page.get_by_role("button", name="loss").click()
    expect(page).to_have_url(re.compile("sort="))
    page.keyboard.press("v")
    page.keyboard.type("best")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="best", exact=True)).to_be_visible()
    page.close()
    links = tmp_path / "read-only"
    links.mkdir(mode=0o700)
    viewer = viewer_of(few, "--read-only", RUNICORN_VIEWER_DIR=str(links))
    page = open_page(viewer.at())
    sent = []
    page.on("request", lambda request: request.method != "GET" and sent.append((request.method, request.url)))
    expect(page.locator("[role=row] a.name")).to_have_count(11)
    for key in "jxtdu":
        page.keyboard.press(key)
    expect(page.get_by_text("1 selected")).to_be_visible()
    for name in ("Tag", "Delete"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    page.keyboard.press("v")
    expect(page.get_by_role("link", name="best", exact=True)).to_be_visible()
    expect(page.get_by_role("textbox", name="Name of the view")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("Remove"))).to_have_count(0)
    page.goto(f"{viewer.root}deleted")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("Restore|Select"))).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.goto(f"{viewer.root}run/{RUN}")
    expect(page.get_by_role("button", name="Folder as zip")).to_be_visible()
    for key in "atn":
        page.keyboard.press(key)
    expect(page.locator("form.in-place")).to_have_count(0)
    for name in ("Rename", "Tag", "Add notes"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    assert all(url.endswith("curves") for _, url in sent), sent


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_edits_is_accessible(few, viewer_of, open_page, scheme):
    """Selection, its popover, the line at the foot, the recycle bin, views, and each field of a run's head."""
    write_run(few, "noted", [{"step": 1, "loss": 1.0}], notes="a note", tags=["a"])
    viewer = viewer_of(few)
    page = open_page(viewer.at(), scheme=scheme)
    expect(page.locator("[role=row] a.name")).to_have_count(13)
    for key in "jjxjx":
        page.keyboard.press(key)
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.keyboard.press("t")
    expect(page.get_by_label("Tags to add, with commas between them")).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("Escape")
    (few / "runs" / ".recycle" / "20260101_000010_00000a").mkdir(parents=True)
    page.keyboard.press("d")
    expect(notice(page).get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("v")
    page.keyboard.type("a view")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="a view")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{viewer.root}deleted")
    expect(page.get_by_role("row")).to_have_count(2)
    assert violations(page) == []
    page.goto(f"{viewer.root}run/noted")
    expect(page.get_by_role("note", name="Notes")).to_be_visible()
    for part in ("Name", "Tag", "Edit notes"):
        page.get_by_role("button", name=part, exact=True).click()
    expect(page.locator("form.in-place")).to_have_count(3)
    assert violations(page) == []


def test_hostile_text_is_edited_and_shown_as_text(few, viewer_of, open_page):
    """Markup as alias, tag, notes, in the bin, and in a file that says that it is a view."""
    page = run_page(viewer_of(few), open_page)
    for key, text in (("a", PAYLOAD), ("t", PAYLOAD), ("n", PAYLOAD)):
        page.keyboard.press(key)
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
        page.keyboard.press("Control+Enter" if key == "n" else "Enter")
        expect(page.locator("form.in-place")).to_have_count(0)
    expect(page.locator("h1")).to_have_text(PAYLOAD)
    expect(page.locator(".run-head .tag")).to_have_text([PAYLOAD])
    expect(page.get_by_role("note", name="Notes")).to_have_text(PAYLOAD)
    (few / "views").mkdir()
    evil = {"kind": "runicorn view", "query": "javascript:alert(1)&q=<b>&path=//evil.example/"}
    (few / "views" / "evil.json").write_text(json.dumps(evil))
    page.keyboard.press("g")
    page.get_by_label(f"Select {PAYLOAD}").click()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("t")
    expect(page.get_by_role("button", name=f"Remove {PAYLOAD}")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(notice(page)).to_contain_text("1 run moved")
    page.keyboard.press("v")
    page.get_by_role("link", name="evil").click()
    expect(page.get_by_text("No run is like that.")).to_be_visible()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Recycle bin").click()
    expect(page.get_by_role("cell", name=PAYLOAD).first).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_that_edits_scrolls_a_page_sideways(few, viewer_of, open_page, width):
    """Alias, tags, notes and reasons longer than a screen is wide: in their fields, in the bin, at the foot."""
    long = "a_word_that_is_longer_than_a_narrow_screen_is_wide/" * 3
    for run_id in ("wide", "gone"):
        labels = {"alias": long, "tags": [long, long], "notes": f"{long}\n{long}"}
        write_run(few, run_id, [{"step": 1, "loss": 1.0}], path=long[:100].replace("/", "-"), **labels)
    (few / "runs" / ".recycle" / "wide").mkdir(parents=True)
    viewer = viewer_of(few)
    page = open_page(viewer.at("run/wide"), width=width, height=800)

    def is_narrow():
        return page.evaluate("document.scrollingElement.scrollWidth") <= width

    expect(page.get_by_role("note", name="Notes")).to_be_visible()
    assert is_narrow()
    for key in "atn":
        page.keyboard.press(key)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.blur()")
    expect(page.locator("form.in-place")).to_have_count(3)
    assert is_narrow()
    page.goto(f"{viewer.root}?q=is_longer")
    expect(page.locator("[role=row] a.name")).to_have_count(2)
    if width == 1280:
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.get_by_text("2 selected")).to_be_visible()
        page.keyboard.press("d")
        expect(notice(page)).to_contain_text("1 of 2 runs moved to the recycle bin.")
    else:
        (few / "runs" / "away").mkdir()
        source = next(few.rglob("gone/meta.json")).parent
        source.rename(few / "runs" / ".recycle" / "gone")
    page.goto(f"{viewer.root}deleted")
    expect(page.get_by_role("cell", name=long).first).to_be_visible()
    assert is_narrow()
