"""What a person wants who has five runs: the best of them, why it is the best, and a file for somebody else."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import expect
from reading import card, figures, row_names
from storages import write_run

RATES = (0.05, 0.5, 0.2, 1.0, 0.1)
LOSSES = (2.7, 2.5, 2.3, 2.6, 2.4)
BAND_ALPHA = """(figure) => {
  const canvas = figure.querySelector('canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const drawn = [];
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 20) drawn.push(data[at + 3]);
  return drawn.sort((first, second) => first - second)[Math.floor(drawn.length / 2)];
}"""


def seed(number):
    """The id of a run."""
    return f"20260103_{number:06}_{number:06x}"


def address(count=5, **query):
    """The place of the comparison of the runs."""
    members = "".join(f"&{name}={value}" for name, value in query.items())
    return f"compare?runs={','.join(map(seed, range(count)))}{members}"


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A storage of five runs with seeds and learning rates of their own; the third is the best."""
    storage = tmp_path_factory.mktemp("my runs")
    for number, (rate, loss) in enumerate(zip(RATES, LOSSES, strict=True)):
        lines = [
            {"step": step, "val_loss": loss + 1 / step, "noise": (step * 7919 + number) % 997 / 997}
            for step in range(1, 1501)
        ]
        best = {"best_metric_name": "val_loss", "best_metric_value": loss, "best_metric_step": 1500}
        write_run(
            storage,
            seed(number),
            [*lines, {"step": 1501, "system/host/cpu_percent": 97.0, "system/host/memory_bytes": 79_316_992}],
            alias=f"seed {number}",
            config={"lr": rate, "seed": number},
            summary=best | {"best_metric_mode": "min"},
        )
    return storage


def legend(page):
    """The names in the legend, from the top on."""
    return page.get_by_role("region", name="Legend").locator("tbody th").all_inner_texts()


def test_legend_says_which_run_is_the_best(five, viewer_of, open_page):
    """Its head names the metric, and one value is told to be the best, to eyes and to screen readers."""
    page = open_page(viewer_of(five).at(address()))
    expect(page.get_by_role("button", name="Best val_loss")).to_be_visible()
    best = page.locator(".legend td b")
    expect(best).to_have_count(1)
    expect(best).to_have_text("2.3 (the best)")
    expect(page.locator(".legend tr", has=page.locator("td b"))).to_contain_text("seed 2")


def test_legend_is_sorted_by_its_heads(five, viewer_of, open_page):
    """A click on Best has the best first, one more the worst; the address holds it, and colours stay."""
    page = open_page(viewer_of(five).at(address()))
    lines = page.locator(".legend tbody tr", has_text="seed 2").locator("line")
    expect(lines).to_have_count(1)
    before = lines.get_attribute("stroke")
    page.get_by_role("button", name="Best val_loss").click()
    expect(page.locator(".legend tbody th").first).to_have_text("seed 2")
    assert [name.strip() for name in legend(page)] == ["seed 2", "seed 4", "seed 1", "seed 3", "seed 0"]
    assert lines.get_attribute("stroke") == before
    assert "order=best" in page.url
    page.get_by_role("button", name="Best val_loss").press("Enter")
    expect(page.locator(".legend tbody th").first).to_have_text("seed 0")
    page.get_by_role("columnheader", name="lr").get_by_role("button").click()
    expect(page.locator(".legend tbody th").nth(1)).to_have_text("seed 4")
    expect(page.locator(".legend tbody th").last).to_have_text("seed 3")


def test_explore_has_the_best_run_first(five, viewer_of, open_page):
    """Its table begins with the best result, unless another order is chosen."""
    page = open_page(viewer_of(five).at("explore"))
    expect(page.locator(".body [role=row] a.name")).to_have_count(5)
    assert row_names(page, 5)[0] == "seed 2"
    assert row_names(page)[-1] == "seed 0"


def test_bands_of_several_runs_are_no_block(five, viewer_of, open_page):
    """Five bands over each other let the lines be seen: what they cover is paler than half."""
    open_page.watched.allowed.append("willReadFrequently")  # what this test does, and not the page
    page = open_page(viewer_of(five).at(address()))
    figures(page, "noise", 5)
    assert card(page, "noise").evaluate(BAND_ALPHA) < 128


def test_report_for_a_colleague_is_one_command(five, tmp_path, viewer_of, open_page):
    """The page of a run and a comparison tell the command that writes them as a file, and it does."""
    viewer = viewer_of(five)
    for place, count in ((f"run/{seed(1)}", 1), (address(3), 3)):
        page = open_page(viewer.at(place))
        page.get_by_role("button", name="Report for a colleague").click()
        command = page.locator("code.command").inner_text()
        words = shlex.split(command)
        assert words[:2] == ["runicorn", "report"]
        assert words[2 : 2 + count] == [seed(number) for number in (range(count) if count > 1 else [1])]
        done = subprocess.run(
            [sys.executable, "-m", *words[:-1], str(tmp_path / f"{count}.html")], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{count}.html").stat().st_size > 0


def test_report_has_no_command_for_one(five, tmp_path, open_file):
    """In a report there is no button that needs a viewer."""
    file = tmp_path / "report.html"
    words = ["report", seed(0), seed(1), "--storage", str(five), "-o", str(file)]
    subprocess.run([sys.executable, "-m", "runicorn", *words], check=True, capture_output=True)
    page = open_file(file)
    expect(page.locator(".legend td b")).to_contain_text("2.5")
    expect(page.get_by_role("button", name="Report for a colleague")).to_have_count(0)


def test_sizes_and_shares_of_the_machine_are_in_words_people_use(five, viewer_of, open_page):
    """Bytes are MiB, and not 7.932e7; what was not recorded is told with the call that records it."""
    viewer = viewer_of(five)
    page = open_page(viewer.at(f"run/{seed(0)}/system"))
    expect(card(page, "system/host/memory_bytes").locator(".read")).to_have_text("75.64 MiB")
    page = open_page(viewer.at(address(tab="differences")))
    expect(page.get_by_text("init(capture_env=True)").first).to_be_visible()


@pytest.mark.parametrize("width", [800, 1280])
def test_bars_of_a_comparison_fit(five, viewer_of, open_page, width):
    """At no width is the page wider than its window, and every button of the bars is in it."""
    page = open_page(viewer_of(five).at(address()), width=width)
    expect(page.get_by_role("button", name="Report for a colleague")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in page.locator("header button, header a, .tabs button, .tabs a, .tabs select").all():
        box = button.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_shift_selects_from_the_last_one_by_key_too(five, viewer_of, open_page):
    """``x`` and, some rows below, Shift with it: all rows between them are selected, as the help says."""
    page = open_page(viewer_of(five).at("?sort=name"))
    expect(page.locator(".body [role=row] a.name")).to_have_count(5)
    for number, key in enumerate(("x", "", "", "Shift+X"), 1):
        page.keyboard.press("j")
        expect(page.locator(".row.at")).to_have_attribute("aria-rowindex", str(number + 1))
        if key:
            page.keyboard.press(key)
            expect(page.get_by_text("1 selected" if key == "x" else "4 selected")).to_be_visible()


def test_percentages_of_the_machine_are_seen_against_all_of_it(five, viewer_of, open_page):
    """A core that is busy for 97 % is near the top of its chart: the axis goes from 0 to 100."""
    page = open_page(viewer_of(five).at(f"run/{seed(0)}/system"))
    assert figures(page, "system/host/cpu_percent")[0]["last"] == 97
    with page.expect_download() as saved:
        page.get_by_role("button", name="Menu of system/host/cpu_percent").click()
        page.get_by_role("button", name="Save as SVG").click()
    texts = re.findall(r">([\d.,]+)</text>", saved.value.path().read_text(encoding="utf-8"))
    assert {"50", "100"} <= set(texts)
