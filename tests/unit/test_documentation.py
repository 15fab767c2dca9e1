"""The pages point at what is there, and their pictures show what the results say."""

import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]


def anchors_of(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """Each link of a page is to a file of the repository, and to a heading of it if it names one."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_the_picture_of_the_cost_is_that_of_the_results(monkeypatch):
    """``docs/images/cost.svg`` is what ``bench/cost_picture.py`` makes of ``bench/RESULTS.md`` now."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import cost_picture

    sys.modules.pop("cost_picture")
    made = cost_picture.svg(cost_picture.RESULTS.read_text(encoding="utf-8"))
    assert (ROOT / "docs/images/cost.svg").read_text(encoding="utf-8") == made + "\n"
