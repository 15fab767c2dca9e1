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


SOURCE = ROOT / "src" / "runicorn"
FOUND = re.findall(
    r"^\| [^|]+ \| (`[^|]+) \| ([^|]+) \|$", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE
)


@pytest.mark.parametrize(("modules", "names"), FOUND)
def test_what_the_architecture_page_points_at_is_there(modules, names):
    """Each module of the table "Where do I find" exists, and each name to look for is defined in one of them."""
    sources = [(SOURCE / module).read_text("utf-8") for module in re.findall(r"`([\w/]+\.py)`", modules)]
    for name in re.findall(r"`(?:\w+\.)?(\w+)", names):
        assert any(re.search(rf"^\s*(?:def|class) {name}\b", source, re.MULTILINE) for source in sources), name


def test_the_floor_plan_names_what_is_there():
    """Each folder and module of the floor plan exists, and no folder is missing in it."""
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    plan = page[page.index("| folder | holds |") : page.index("## Where do I find")]
    named = [
        name
        for row in plan.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([\w./]+)`", row.split("|")[1])
    ]
    assert [name for name in named if not (SOURCE / name).exists()] == []
    folders = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    assert folders - set(named) == set()
