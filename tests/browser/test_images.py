"""The images of a run in a browser: by key and step, large, as they come, and why one of them is not shown."""

from __future__ import annotations

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from pictures import add_image, png
from playwright.sync_api import expect
from storages import event, write_run

RUN = "20260101_000000_000000"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="80" height="40"><script>alert(1)</script><rect width="80" height="40" fill="teal"/></svg>'  # noqa: E501 - one line


def colour(step: int) -> tuple[int, int, int]:
    """Another one for each step."""
    return (40 * step) % 256, (90 + 20 * step) % 256, 200 - (30 * step) % 200


@pytest.fixture
def run_dir(tmp_path):
    """A run with images of three keys at different steps."""
    storage = tmp_path / "storage"
    made = write_run(storage, RUN, [{"step": step, "loss": 1 / step, "stage": "train"} for step in range(1, 50)])
    for step in (10, 20, 30, 40):
        add_image(made, "samples", step, png(160, 120, colour(step // 10)), caption=f"after {step} steps")
    for step in (5, 25):
        add_image(made, "attention/head 0", step, png(28, 28, colour(step)))
    add_image(made, "diagram", 12, SVG, "d.svg", caption="<b>not bold</b>")
    return made


@pytest.fixture
def viewer(run_dir, viewer_of):
    """A viewer of it."""
    return viewer_of(run_dir.parents[1])


def cells(page):
    """The words below each image."""
    return page.locator("figure.image figcaption").all_inner_texts()


def test_images_are_shown_by_key_at_a_step(viewer, open_page):
    """Of each key there is the image of the nearest step at or below the slider's; the address says the step."""
    page = open_page(viewer.at(f"run/{RUN}"))
    page.get_by_role("link", name="Images 7").click()
    expect(page.locator("figure.image img")).to_have_count(3)
    expect(page.get_by_label("Step", exact=True)).to_have_attribute("aria-valuetext", "step 40")
    facts = [re.sub(r" · [0-9.]+ K?i?B$", "", text.split("\n")[1]) for text in cells(page)]
    assert facts == [
        "step 25 · train · 28 \u00d7 28",
        "step 12 · train · 80 \u00d7 40",
        "step 40 · train · 160 \u00d7 120",
    ]
    for _ in range(3):
        page.keyboard.press("[")
    expect(page).to_have_url(re.compile(r"images\?step=20$"))
    expect(page.locator("figcaption").get_by_text("after 20 steps")).to_be_visible()
    expect(page.locator("figcaption").get_by_text("step 5 ·")).to_be_visible()
    page.get_by_label("Step", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).to_have_text("step 25")
    page.keyboard.press("End")
    expect(page).to_have_url(re.compile(r"images$"))
    page.get_by_role("button", name="Step before").click()
    expect(page.locator("output")).to_have_text("step 30")


def test_address_names_key_and_step(viewer, open_page):
    """A link with key and step shows all images of the key and marks one: that of the step or below."""
    page = open_page(viewer.at(f"run/{RUN}/images?key=samples&step=29"))
    expect(page.locator("figure.image img")).to_have_count(4)
    expect(page.locator("figure.image.at")).to_have_count(1)
    expect(page.locator("figure.image.at")).to_contain_text("after 20 steps")
    page.keyboard.press("]")
    expect(page.locator("figure.image.at")).to_contain_text("after 30 steps")
    expect(page).to_have_url(re.compile("key=samples&step=30$"))
    page.get_by_label("Key", exact=True).select_option("")
    expect(page.locator("figure.image img")).to_have_count(3)
    page.get_by_role("link", name="attention/head 0").click()
    expect(page.locator("figure.image img")).to_have_count(2)


def test_one_image_is_shown_large(viewer, open_page):
    """A click shows an image large; arrows go on, brackets change the step, Escape closes, and it can be saved."""
    page = open_page(viewer.at(f"run/{RUN}/images"))
    page.get_by_role("button", name=re.compile("Show large: attention")).click()
    dialog = page.get_by_role("dialog", name="attention/head 0, step 25")
    expect(dialog.locator("img")).to_be_visible()
    assert dialog.locator("img").bounding_box()["width"] > 600
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    dialog = page.get_by_role("dialog", name=re.compile("samples, step 40: after 40 steps"))
    expect(dialog).to_be_visible()
    page.keyboard.press("[")
    expect(page.get_by_role("dialog", name=re.compile("samples, step 30"))).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    with page.expect_download() as got:
        page.get_by_role("button", name="Download").click()
    assert got.value.suggested_filename == "samples_step30.png"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("Show large: attention"))).to_be_focused()
    page.goto(page.url.split("?")[0] + "?key=samples")
    page.get_by_role("button", name=re.compile("Show large: samples, step 30")).click()
    expect(page.get_by_role("dialog", name=re.compile("samples, step 30"))).to_be_visible()
    page.keyboard.press("]")
    expect(page.get_by_role("dialog", name=re.compile("samples, step 40"))).to_be_visible()


def test_large_image_stays_that_of_its_key(tmp_path, viewer_of, open_page):
    """A key before it has fewer images at the step before: the one that is shown large is still of its own key."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}])
    for step, count in ((1, 1), (2, 3)):
        for _ in range(count):
            add_image(run_dir, "before", step, png(8, 8, colour(step)))
        add_image(run_dir, "mine", step, png(8, 8, colour(step)))
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images"))
    page.get_by_role("button", name="Show large: mine").click()
    page.keyboard.press("[")
    expect(page.get_by_role("dialog", name="mine, step 1")).to_be_visible()


def test_images_that_a_resume_replaced_come_on_demand(tmp_path, viewer_of, open_page):
    """Those of an earlier session are left out where a later one has logged again, and come with a click."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}])
    for step in (1, 2):
        add_image(run_dir, "k", step, png(8, 8, colour(step)), caption=f"old {step}")
    size = (run_dir / "events.jsonl").stat().st_size
    meta = json.loads((run_dir / "meta.json").read_text())
    meta["resumed"] = [{"time": 1.0, "events": {"events.jsonl": size}, "session": "abc"}]
    (run_dir / "meta.json").write_text(json.dumps(meta))
    add_image(run_dir, "k", 2, png(8, 8, colour(3)), caption="new 2")
    add_image(run_dir, "", 2, png(8, 8, colour(3)), caption="without a key")
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images?key=k"))
    expect(page.locator("figcaption").get_by_text("new 2")).to_be_visible()
    expect(page.locator("figure.image")).to_have_count(2)
    page.get_by_role("button", name="1 replaced by a resume").click()
    expect(page.locator("figcaption").get_by_text("old 2")).to_be_visible()
    assert "old=1" in page.url
    page.get_by_label("Key", exact=True).select_option("")
    expect(page.locator("figcaption").get_by_text("(no key)")).to_be_visible()


def test_file_that_comes_later_is_shown_when_it_is_there(tmp_path, viewer_of, open_page):
    """A line whose file is not there yet, as in a copy that is under way: the image is shown once it has come."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}], status="running")
    add_image(run_dir, "k", 1, None, "late.png")
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images"))
    expect(page.get_by_text("its file is not there")).to_be_visible()
    (run_dir / "media" / "late.png").write_bytes(png(8, 8, colour(1)))
    with (run_dir / "events.jsonl").open("a") as file:
        file.write(event(2, loss=1.0))
    expect(page.locator("figure.image img")).to_be_visible()


def test_slider_may_be_dragged_over_many_steps(tmp_path, viewer_of, open_page):
    """Some hundred steps in a moment: the browser takes all of it, and the address has the step at which it rests."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}])
    for step in range(1, 500):
        add_image(run_dir, "k", step, None, "one.png")
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images"))
    expect(page.locator("output")).to_have_text("step 499")
    for _ in range(300):
        page.keyboard.press("[")
    expect(page.locator("output")).to_have_text("step 199")
    expect(page).to_have_url(re.compile("step=199$"))


def test_new_images_come_and_the_slider_stays_unless_it_was_at_the_end(tmp_path, viewer_of, open_page):
    """At the end the newest image is shown as it comes; at a step that was chosen that one stays."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}], status="running")
    add_image(run_dir, "samples", 1, png(8, 8, colour(1)), caption="first")
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images"))
    expect(page.locator("figcaption").get_by_text("first")).to_be_visible()
    add_image(run_dir, "samples", 2, png(8, 8, colour(2)), caption="second")
    expect(page.locator("figcaption").get_by_text("second")).to_be_visible()
    page.keyboard.press("[")
    expect(page.locator("figcaption").get_by_text("first")).to_be_visible()
    add_image(run_dir, "samples", 3, png(8, 8, colour(3)), caption="third")
    expect(page.get_by_text("1 of 3 steps")).to_be_visible()
    expect(page.locator("figcaption").get_by_text("first")).to_be_visible()
    page.keyboard.press("]")
    page.keyboard.press("]")
    expect(page.locator("figcaption").get_by_text("third")).to_be_visible()


def test_image_that_cannot_be_shown_is_told_in_its_place(tmp_path, viewer_of, open_page):
    """Missing, empty, a text, a link, outside, a TIFF, cut: each says so in its place, and the others are shown."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}])
    (tmp_path / "secret.png").write_bytes(png(8, 8, colour(1)))
    add_image(run_dir, "good", 1, png(8, 8, colour(1)))
    add_image(run_dir, "missing", 1, None, "missing.png")
    add_image(run_dir, "empty", 1, b"")
    add_image(run_dir, "text", 1, b"<html><script>alert(1)</script>")
    add_image(run_dir, "outside", 1, None, path="../../../secret.png")
    add_image(run_dir, "absolute", 1, None, path=str(tmp_path / "secret.png"))
    add_image(run_dir, "tiff", 1, b"II*\0" + bytes(100))
    add_image(run_dir, "huge", 1, png(1, 1, colour(1))[:16] + b"\0\1\0\0\0\1\0\0" + bytes(50))
    add_image(run_dir, "cut", 1, png(8, 8, colour(1))[:40])
    (run_dir / "media" / "link.png").symlink_to(tmp_path / "secret.png")
    add_image(run_dir, "link", 1, None, "link.png")
    page = open_page(viewer_of(storage).at(f"run/{RUN}/images"))
    for words in (
        "its file is not there",
        "its file is empty",
        "its file does not begin as an image does",
        "it lies outside of the directory that it belongs to",
        "its format is TIFF, which browsers do not show",
        "65536 x 65536 pixels",
        "it is a link",
        "the browser cannot draw this image",
    ):
        expect(page.get_by_text(words).first).to_be_visible()
    expect(page.locator("figure.image img")).to_have_count(1)
    page.get_by_role("button", name="Show large: tiff").click()
    with page.expect_download() as got:
        page.get_by_role("button", name="Download").click()
    assert got.value.suggested_filename == "tiff_step1.tiff"


def test_only_images_near_the_view_are_loaded(tmp_path, viewer_of, open_page):
    """Of 3,000 images those near the view are loaded, also after a jump to the end, and what is held stays bounded."""
    storage = tmp_path / "storage"
    run_dir = write_run(storage, RUN, [{"step": 1, "loss": 1.0}])
    (run_dir / "media").mkdir()
    (run_dir / "media" / "one.png").write_bytes(png(8, 8, colour(1)))
    line = '{"ts": 1.0, "type": "image", "data": {"key": "k", "path": "media/one.png", "step": %d, "caption": null}}\n'
    with (run_dir / "events.jsonl").open("a") as file:
        file.writelines(line % step for step in range(1, 3001))
    asked = []
    page = open_page(viewer_of(storage).at("problems"))
    page.on("request", lambda request: asked.append(request.url) if re.search(r"/images/\d+$", request.url) else None)
    page.evaluate("""() => {
      window.live = 0;
      const make = URL.createObjectURL, drop = URL.revokeObjectURL;
      URL.createObjectURL = (blob) => { window.live += 1; return make.call(URL, blob); };
      URL.revokeObjectURL = (url) => { window.live -= 1; drop.call(URL, url); };
    }""")
    page.evaluate(f"() => history.pushState(null, '', '{viewer_place(page, 'run')}/{RUN}/images?key=k&step=3000')")
    page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.locator("figure.image.at img")).to_be_visible()
    expect(page.get_by_text("3,000 of 3,000 steps")).to_be_visible()
    for step in range(2900, 0, -400):
        page.evaluate(f"() => scrollTo(0, document.body.scrollHeight * {step} / 3000)")
        expect(page.locator("figure.image img").first).to_be_visible()
    assert 10 < len(asked) < 700
    page.wait_for_function("() => window.live < 150")
    assert page.locator("figure.image").count() < 150


def viewer_place(page, name):
    """The path of a page of the viewer."""
    return page.evaluate(
        f"() => new URL('{name}', new URL(document.documentElement.dataset.root, location.href)).pathname"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_images_are_accessible(viewer, open_page, scheme):
    """The rules of axe find nothing to object to: the grid, one key, and one image large."""
    page = open_page(viewer.at(f"run/{RUN}/images"), scheme=scheme)
    expect(page.locator("figure.image img")).to_have_count(3)
    assert violations(page) == []
    page.get_by_role("button", name=re.compile("Show large: samples")).click()
    expect(page.get_by_role("dialog").locator("img")).to_be_visible()
    assert violations(page) == []


def violations(page):
    """What axe objects to."""
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in Axe().run(page).response["violations"]]
