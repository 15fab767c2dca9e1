"""What a page shows of storages that are not of this version, or may not be written; and on a narrow screen."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from pictures import png
from playwright.sync_api import expect
from published_viewer import installed_viewer
from reading import card, figures, foot
from storages import few_runs, write_run

PUBLISHED = """
import sys
import runicorn as rn

for number in range(3):
    run = rn.init(path="cv/yolo", alias=f"published {number}", storage=sys.argv[1])
    run.set_primary_metric("acc", mode="max")
    for step in range(1, 41):
        run.log({"loss": 1 / step, "acc": step / 40 + number, "note": "text"}, stage="train" if step < 21 else "val")
    run.log({"loss": float("nan")})
    run.log_text("a line of 0.7.2")
    run.summary({"final": 0.5})
    run.log_config(args={"lr": 0.1})
    run.log_image("sample", bytes.fromhex(sys.argv[2]), step=40, caption="a picture")
    run.log_dataset("folder", "data", save=True)
    if number < 2:
        run.finish()
print("logged", flush=True)
input()
"""
PLACES = {
    "runs": ("", ".body [role=row] a.name"),
    "charts": ("run/{run}", "table.figures tbody tr"),
    "two": ("run/{run}?m=loss", "table.figures tbody tr"),
    "summary": ("run/{run}/summary", "table.fields"),
    "logs": ("run/{run}/logs?q=line", ".log-line"),
    "images": ("run/{run}/images", ".images"),
    "assets": ("run/{run}/assets", ".asset-table"),
    "system": ("run/{run}/system", "main"),
    "problems": ("problems", "main h2"),
}
LONG = "a_metric_whose_name_is_longer_than_a_narrow_screen_is_wide_as_those_of_some_frameworks_are/" * 3


@pytest.fixture
def published(tmp_path):
    """A storage of Runicorn 0.7.2: two runs that are finished, and one that its process is still in."""
    storage = tmp_path / "published"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2\n")
    process = subprocess.Popen(
        [str(installed_viewer()), "-I", "-c", PUBLISHED, str(storage), png(8, 8, (200, 100, 0)).hex()],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "RUNICORN_DISABLE_MODERN_STORAGE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while process.stdout.readline() != "logged\n":
        assert process.poll() is None
    process.storage = storage
    yield process
    process.kill()
    process.communicate()


def test_a_storage_of_0_7_2_is_shown(published, viewer_of, open_page):
    """Its runs, their primary metric, curves, NaN, config, summary, log, image and data; the one that died is lost."""
    page = open_page(viewer_of(published.storage, RUNICORN_VIEWER_CHECK_S="0.1").at())
    row = page.locator(".body [role=row]")
    expect(row).to_have_count(3)
    expect(row.filter(has_text="published 1")).to_contain_text("finished")
    expect(row.filter(has_text="published 1")).to_contain_text("2")
    expect(row.filter(has_text="published 2")).to_contain_text("running")
    page.get_by_text("published 1").click()
    (loss,) = figures(page, "loss")
    assert (loss["min"], loss["max"], loss["n"]) == (1 / 40, 1.0, 41)
    assert "1 NaN" in foot(page, "loss")
    assert figures(page, "acc")[0]["last"] == 2.0
    expect(page.locator("figure.card h3").first).to_have_text("acc")
    expect(card(page, "acc").locator("canvas")).to_be_visible()
    page.get_by_role("link", name="Summary and config").click()
    expect(page.get_by_role("region", name="Config")).to_contain_text("args.lr")
    expect(page.get_by_role("region", name="Summary")).to_contain_text("final")
    page.get_by_role("link", name="Logs").click()
    expect(page.get_by_text("a line of 0.7.2")).to_be_visible()
    page.get_by_role("link", name="Images 1").click()
    expect(page.locator("figure.image img")).to_be_visible()
    expect(page.locator("figcaption")).to_contain_text("a picture")
    page.get_by_role("link", name="Assets").click()
    expect(page.get_by_role("region", name="Data")).to_contain_text("1 file")
    page.get_by_role("button", name="Members of folder").click()
    with page.expect_download() as got:
        page.get_by_role("button", name="a.csv").click()
    assert Path(got.value.path()).read_text() == "1,2\n"
    page.get_by_role("button", name="Runs with the same content").click()
    expect(page.get_by_role("link", name="published 0")).to_be_visible()
    published.send_signal(signal.SIGKILL)
    published.wait()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(row.filter(has_text="published 2")).to_contain_text("lost")


def files_of(storage):
    found = {}
    for path in sorted(Path(storage).rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def test_read_only_shows_everything_and_writes_nothing(tmp_path, viewer_of, open_page):
    """Each page of a storage with a lost run: it is shown as lost, long enough to be ended, and no file changes."""
    storage = tmp_path / "storage"
    few_runs(storage, 3)
    write_run(storage, "gone", [{"step": 1, "loss": 1.0}], status="running", pid=2**22 - 1)
    before = files_of(storage)
    times = {"RUNICORN_VIEWER_CHECK_S": "0.05", "RUNICORN_VIEWER_END_AFTER_S": "0.05"}
    viewer = viewer_of(storage, "--read-only", **times)
    page = open_page(viewer.at())
    expect(page.locator(".body [role=row]").filter(has_text="gone")).to_contain_text("lost")
    for place, mark in PLACES.values():
        page.goto(viewer.root + place.format(run="20260101_000000_000000"))
        expect(page.locator(mark).first).to_be_attached()
    page.goto(f"{viewer.root}problems")
    expect(page.get_by_text("Status checker")).to_be_visible()
    expect(page.get_by_text("Off: nothing is ended by this viewer.")).to_be_visible()
    expect(page.get_by_text("(read-only)")).to_be_visible()
    assert files_of(storage) == before
    assert json.loads((storage / "runs" / "gone" / "status.json").read_text())["status"] == "running"


@pytest.fixture(scope="module")
def wide_storage(tmp_path_factory):
    """Names, values, tags and lines that are longer than any screen is wide."""
    storage = tmp_path_factory.mktemp("wide")
    few_runs(storage)
    names = {f"{LONG}{number}": 0.5 for number in range(6)}
    curve = [{"step": step, "loss": 1e-300 / step, "acc": 0.5, **names} for step in range(1, 2000)]
    write_run(
        storage, "wide", curve, path=LONG.replace("/", "-")[:120], alias=LONG, tags=[LONG, LONG], status="failed",
        reason=LONG, config={LONG: LONG}, summary={LONG: LONG}, log=f"line {LONG * 20}\n" * 50,
    )  # fmt: skip
    write_run(storage, "torn", ["{half a line\n"], alias=LONG)
    return storage


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 568)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("run", ["wide", "20260101_000000_000000"])
def test_no_page_scrolls_sideways(wide_storage, viewer_of, open_page, size, name, run):
    """On a desk, on a telephone, and on a small one: what is longer is cut or goes on in the next line."""
    place, mark = PLACES[name]
    page = open_page(viewer_of(wide_storage).at(place.format(run=run)), width=size[0], height=size[1])
    expect(page.locator(mark).first).to_be_attached()
    assert page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")[0] <= size[0]
