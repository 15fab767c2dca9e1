"""Numbers and times are shown in words that people use, and the search of the table means what it says."""

from __future__ import annotations

import pytest

NUMBERS = {
    "0": "0",
    "12345": "12,345",
    "-1234567": "-1.235e6",
    "0.1": "0.1",
    "0.123456789": "0.1235",
    "1234.5678": "1,235",
    "41010.3": "41,010",
    "0.00012345": "1.234e-4",
    "1e300": "1e300",
    "NaN": "NaN",
    "-Infinity": "-∞",
}
SPANS = {0.25: "0.3 s", 12: "12 s", 61: "1 min 1 s", 3600: "1 h", 7300: "2 h 1 min", 200_000: "2 d 7 h"}
RUNS = [
    {"key": "a", "id": "a", "path": "cv/resnet", "status": "failed", "tags": ["sweep"], "config.args.lr": 0.1},
    {"key": "b", "id": "b", "path": "cv/vit", "status": "finished", "tags": [], "config.args.lr": 0.001},
    {"key": "c", "id": "c", "path": "nlp", "status": "finished", "tags": ["sweep", "best"], "alias": "big one"},
]
SEARCHES = {
    "": "abc",
    "cv": "ab",
    "CV vit": "b",
    "lr<1e-2": "b",
    "lr>=0.1": "a",
    "status=finished tag=sweep": "c",
    "tag!=sweep": "b",
    "status!=failed": "bc",
    '"big one"': "c",
    "path~RES": "a",
    "age<2h": "bc",
    "no-such=1": "",
}


@pytest.fixture
def module(tmp_path, viewer_of, open_page):
    """Call a function of a module of the page."""
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at())

    def call(name: str, script: str, given: object) -> object:
        loaded = f"const m = await import('{viewer.root}static/{name}.js');"
        return page.evaluate(f"async (given) => {{ {loaded} return ({script})(given); }}", given)

    return call


def test_numbers_have_four_digits_and_times_two_units(module):
    """Integers are whole below a million, others have four significant digits; a span has its two largest units."""
    shown = module("format", "(given) => given.map((text) => m.shortNumber(Number(text)))", list(NUMBERS))
    assert dict(zip(NUMBERS, shown, strict=True)) == NUMBERS
    assert module("format", "(given) => given.map(m.spanText)", list(SPANS)) == list(SPANS.values())


def test_search_takes_words_and_conditions(module):
    """Words are looked for in what is text, whatever the case; conditions compare columns, by short names too."""
    runs = [{**run, "created_at": 1000.0 * number} for number, run in enumerate(RUNS, start=1)]
    script = """({ runs, searches }) => searches.map((text) => runs.filter((run) =>
      m.isWanted(run, m.parseFilter(text), ['config.args.lr'], 9000)).map((run) => run.key).join(''))"""
    found = module("filter", script, {"runs": runs, "searches": list(SEARCHES)})
    assert dict(zip(SEARCHES, found, strict=True)) == SEARCHES


def test_a_field_does_not_take_the_place_of_a_column(module):
    """The table's own columns go before fields of config and summary of the same name, which go by a longer one."""
    others = [
        "config.args.lr",
        "config.args.status",
        "config.extra.group",
        "summary.best_metric_value",
        "config.args.b",
    ]
    names = {
        "status": "status",
        "group": "group",
        "best": "best_metric_value",
        "args.status": "config.args.status",
        "lr": "config.args.lr",
        "config.lr": "config.args.lr",
        "config.group": "config.extra.group",
        "config.nothing": "config.nothing",
    }
    script = "({ names, others }) => names.map((name) => m.columnOf(name, others))"
    assert module("filter", script, {"names": list(names), "others": others}) == list(names.values())


def test_half_a_character_does_not_stop_a_link(module):
    """A text that ends in the middle of a character can be in a link, and so can any text as the name of a member."""
    links = module(
        "address", "(given) => given.map((text) => m.hrefOf('explore', { [text]: text }))", ["\ud83d", "a&b=c"]
    )
    assert [link.split("?")[1] for link in links] == ["%EF%BF%BD=%EF%BF%BD", "a%26b%3Dc=a%26b%3Dc"]


def test_best_runs_come_first_by_the_mode_of_their_metric(module):
    """Lowest first or highest first, as the mode of the metric says; a run without a value comes last either way."""
    runs = [
        {"key": key, "best_metric_name": name, "best_metric_value": value, "best_metric_mode": mode}
        for key, name, value, mode in (
            ("a", "acc", 0.5, "max"),
            ("b", "acc", 0.9, "max"),
            ("c", "loss", 2.0, "min"),
            ("d", "loss", 1.0, "min"),
            ("e", None, None, None),
        )
    ]
    script = "({ runs, order }) => m.inOrder(runs, order, []).map((run) => run.key).join('')"
    assert module("filter", script, {"runs": runs, "order": "best"}) == "badce"
    assert module("filter", script, {"runs": runs, "order": "-best"}) == "abcde"
    assert module("filter", script, {"runs": runs, "order": "-key"}) == "edcba"
