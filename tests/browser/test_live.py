"""A page that is open sees what happens: new values, new runs, new lines, and the end of a run."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from prefix_proxy import prefix_proxy
from reading import card, figures, foot, wait_for_count
from storages import event, write_run
from support.trainers import Trainer

pytestmark = pytest.mark.usefixtures("trainers_end")

VISIBILITY = """(hidden) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
STEPWISE = """
    run = rn.init(path="live", run_id="20260101_000000_00000c")
    opened(run)
    step = 0
    while True:
        line = sys.stdin.readline().strip()
        if not line or line == "end":
            break
        if line == "log":
            run.log_text("a line of text")
            continue
        for value in line.split(","):
            step += 1
            run.log(loss=float(value), step=step)
        returned(step)
    run.finish()
"""


def _tell(trainer: Trainer, line: str) -> None:
    trainer.process.stdin.write(line + "\n")
    trainer.process.stdin.flush()


def test_values_come_to_the_chart_and_leave_the_zoom_alone(tmp_path, viewer_of, open_page):
    """What is logged comes to the chart without a reload, spikes too; a zoom stays, and the layout does not move."""
    trainer = Trainer(tmp_path, STEPWISE)
    viewer = viewer_of(tmp_path / "storage")
    page = open_page(viewer.at("run/20260101_000000_00000c"))
    expect(page.get_by_text("Waiting for the first log()")).to_be_visible()
    _tell(trainer, ",".join(["1.0"] * 100))
    wait_for_count(page, "loss", 100)
    before = card(page, "loss").bounding_box()
    _tell(trainer, ",".join(["1.0"] * 5000 + ["50.0"] + ["1.0"] * 899))
    wait_for_count(page, "loss", 6000)
    assert figures(page, "loss")[0]["max"] == 50.0
    _tell(trainer, ",".join(["1.0"] * 999 + ["60.0"]))
    wait_for_count(page, "loss", 7000)
    assert figures(page, "loss")[0] == {
        "name": "20260101_000000_00000c",
        "last": 60.0,
        "min": 1.0,
        "max": 60.0,
        "n": 7000,
    }
    assert card(page, "loss").bounding_box() == before
    page.goto(f"{viewer.root}run/20260101_000000_00000c?from=5000&to=5200")
    wait_for_count(page, "loss", 201)
    _tell(trainer, "2.0,3.0")
    expect(card(page, "loss").locator("figcaption")).to_contain_text("of 7,002 points")
    assert figures(page, "loss")[0]["n"] == 201
    assert "from=5000&to=5200" in page.url
    _tell(trainer, "end")
    expect(page.locator(".run-head .status")).to_have_text("finished")
    trainer.end()


@contextmanager
def growing(run_dir, first):
    """Lines come to a run all the time, faster than a page asks for them."""
    ended = threading.Event()

    def append():
        with (run_dir / "events.jsonl").open("a", buffering=1) as file:
            for step in range(first, 100_000):
                file.write(event(step, loss=1.0 / step))
                if ended.wait(0.01):
                    return

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_chart_follows_a_run_that_never_pauses(tmp_path, viewer_of, open_page):
    """News that come faster than the page asks again do not put its asking off, and it is never asked for the whole."""
    curve = [{"step": step, "loss": 1.0 / step} for step in range(1, 2000)]
    run_dir = write_run(tmp_path, "busy", curve, status="running", pid=os.getpid())
    viewer = viewer_of(tmp_path, RUNICORN_VIEWER_RUN_S="0.05")
    with growing(run_dir, 2000):
        page = open_page(viewer.at("run/busy"))
        bodies = []
        page.on("request", lambda request: bodies.append(request.post_data) if "curves" in request.url else None)
        count = figures(page, "loss")[0]["n"]
        for more in (100, 200, 300):
            cell = card(page, "loss").locator("table.figures tbody tr td").last
            page.wait_for_function(
                "([cell, least]) => Number(cell.textContent) > least", arg=[cell.element_handle(), count + more]
            )
            assert "indexed" not in foot(page, "loss")
        tails = [body for body in bodies if '"width"' in body]
        assert len(tails) >= 3
        assert len(bodies) - len(tails) <= 2


def test_new_runs_and_lines_of_text_come_by_themselves(tmp_path, viewer_of, open_page):
    """A run that begins appears in the table that is open, and a line of text in its log."""
    storage = tmp_path / "storage"
    storage.mkdir()
    viewer = viewer_of(storage)
    page = open_page(viewer.at())
    expect(page.get_by_text("No runs here yet")).to_be_visible()
    trainer = Trainer(tmp_path, STEPWISE)
    expect(page.locator(".body [role=row]")).to_contain_text(["running"])
    page.locator("a.name").click()
    page.get_by_role("link", name="Logs").click()
    _tell(trainer, "log")
    expect(page.get_by_text("a line of text")).to_be_visible()
    _tell(trainer, "end")
    expect(page.locator(".run-head .status")).to_have_text("finished")
    trainer.end()


def test_hidden_tab_hears_nothing_and_catches_up(tmp_path, viewer_of, open_page):
    """A tab that is hidden closes its stream; shown again it has what came meanwhile."""
    storage = tmp_path / "storage"
    write_run(storage, "first", path="a")
    viewer = viewer_of(storage)
    page, other = open_page(viewer.at()), open_page(viewer.at())
    expect(page.locator(".link-state")).to_have_text("live")
    page.evaluate(VISIBILITY, True)
    expect(page.locator(".link-state")).to_have_count(0)
    write_run(storage, "second", path="b")
    # The server has told somebody of it, so that it is no news to the stream that is opened next.
    expect(other.locator("a.name")).to_have_count(2)
    expect(page.locator("a.name")).to_have_count(1)
    page.evaluate(VISIBILITY, False)
    expect(page.locator("a.name")).to_have_count(2)
    assert page.locator(".count").all_inner_texts() == ["2", "1", "1"]


@pytest.mark.timeout(300)
def test_killed_run_is_shown_as_lost_then_failed_with_all_its_values(tmp_path, viewer_of, open_page):
    """Trainer and writer are killed under a page: lost, then failed with a reason, the last values on the chart."""
    trainer = Trainer(tmp_path, STEPWISE)
    _tell(trainer, ",".join(["1.0"] * 50))
    trainer.wait_returned(50)
    viewer = viewer_of(
        tmp_path / "storage",
        RUNICORN_VIEWER_END_AFTER_S="8",
        RUNICORN_VIEWER_CHECK_S="0.5",
        RUNICORN_VIEWER_CHECK_WATCHED_S="0.5",
    )
    page = open_page(viewer.at("run/20260101_000000_00000c"))
    wait_for_count(page, "loss", 50)
    expect(page.locator(".run-head .status")).to_have_text("running")
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    _tell(trainer, "5.0,6.0,7.0")
    trainer.wait_returned(53)
    os.kill(writer, signal.SIGKILL)
    trainer.kill()
    expect(page.locator(".run-head .status")).to_have_text("lost")
    expect(page.locator(".run-head .status")).to_have_text("failed")
    wait_for_count(page, "loss", 53)
    assert figures(page, "loss")[0]["last"] == 7.0
    status = json.loads((trainer.run_dir / "status.json").read_text())
    expect(page.locator(".run-head")).to_contain_text(re.compile(re.escape(status["exit_reason"])))
    trainer.end()


def test_page_says_that_it_is_cut_off_and_catches_up(tmp_path, viewer_of, open_page):
    """Cut off, the page keeps what it shows and says so; when it is connected again it shows what it has missed."""
    open_page.watched.allowed.append("ERR_")
    trainer = Trainer(tmp_path, STEPWISE)
    _tell(trainer, "1.0,2.0")
    viewer = viewer_of(tmp_path / "storage")
    with prefix_proxy(viewer.root, "/a/") as root:
        page = open_page(f"{root}run/20260101_000000_00000c#t={viewer.token}")
        wait_for_count(page, "loss", 2)
    expect(page.get_by_text("not connected, trying again")).to_be_visible()
    assert figures(page, "loss")[0]["n"] == 2
    _tell(trainer, "3.0,4.0,5.0")
    with prefix_proxy(viewer.root, "/a/", port=urlsplit(root).port):
        wait_for_count(page, "loss", 5)
        expect(page.locator(".link-state")).to_have_text("live")
        page.close()
    _tell(trainer, "end")
    trainer.end()
