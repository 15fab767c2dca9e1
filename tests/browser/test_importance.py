"""Rank correlations of the page against the definitions, worked out here value by value."""

from __future__ import annotations

import itertools
import math
import random

import pytest

CASES = 60


@pytest.fixture
def counted(tmp_path, viewer_of, open_page):
    """What the page's module says of fields and a result."""
    viewer = viewer_of(tmp_path)
    page = open_page(viewer.at())
    script = """async (cases) => {
      const m = await import('ROOT/static/importance.js'.replace('ROOT/', document.documentElement.dataset.root));
      return cases.map(({ fields, result }) => {
        const count = m.importanceCount(result);
        for (const [name, cells] of Object.entries(fields)) count.add(name, cells);
        return count.all();
      });
    }""".replace("document.documentElement.dataset.root", repr(viewer.root))
    return lambda cases: page.evaluate(script, cases)


def ranks(values):
    """One more than how many are less, and half a place for each other one that is equal."""
    return [
        1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]


def spearman(first, second):
    """Pearson's correlation of the ranks."""
    left, right = ranks(first), ranks(second)
    mean = (len(left) + 1) / 2
    covered = sum((one - mean) * (other - mean) for one, other in zip(left, right, strict=True))
    squares = [sum((rank - mean) ** 2 for rank in each) for each in (left, right)]
    return covered / math.sqrt(squares[0] * squares[1]) if all(squares) else None


def epsilon(groups, results):
    """Of H of Kruskal and Wallis, with its correction for ties: (H - k + 1) / (n - k), at least 0; and its root."""
    found, count, kinds = ranks(results), len(results), sorted(set(groups))
    sums = [sum(rank for rank, group in zip(found, groups, strict=True) if group == kind) for kind in kinds]
    sizes = [groups.count(kind) for kind in kinds]
    h = 12 / (count * (count + 1)) * sum(s**2 / n for s, n in zip(sums, sizes, strict=True)) - 3 * (count + 1)
    ties = [len(list(each)) for _, each in itertools.groupby(sorted(results))]
    correction = 1 - sum(t**3 - t for t in ties) / (count**3 - count)
    if correction == 0 or count == len(kinds):
        return None
    return math.sqrt(max(0.0, (h / correction - len(kinds) + 1) / (count - len(kinds))))


@pytest.mark.parametrize("seed", [1, 2])
def test_correlations_are_as_defined(counted, seed):
    """Numbers with ties, infinities, NaN and gaps by Spearman; texts by Kruskal and Wallis; each over its own runs."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    cases = []
    for _ in range(CASES):
        count = draw.randrange(4, 30)
        few = draw.choice([2, 5, 1000])
        value = lambda few=few: draw.choice([float(draw.randrange(few)), draw.random(), None, "NaN", "Infinity"])  # noqa: E731
        fields = {
            "number": [value() for _ in range(count)],
            "plain": [draw.gauss(0, 1) for _ in range(count)],
            "flag": [draw.choice([True, False, None]) for _ in range(count)],
            "text": [draw.choice(["a", "b", "c", None]) for _ in range(count)],
        }
        cases.append({"fields": fields, "result": [value() for _ in range(count)]})
    for case, found in zip(cases, counted(cases), strict=True):
        listed = {each["name"]: each for each in found["listed"]}
        left_out = 0
        for name, cells in case["fields"].items():
            pairs = [
                (cell if isinstance(cell, str) and name == "text" else float(cell), float(result))
                for cell, result in zip(cells, case["result"], strict=True)
                if cell is not None and result is not None and cell != "NaN" and result != "NaN"
            ]
            expected = None
            if len(pairs) >= 5 and len({pair[0] for pair in pairs}) > 1:
                first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
                expected = epsilon(first, second) if name == "text" else spearman(first, second)
            if expected is None:
                assert name not in listed, (name, case)
                left_out += 1
                continue
            shown = listed[name]["strength"] if name == "text" else listed[name]["rho"]
            assert shown == pytest.approx(expected, abs=1e-9), (name, case)
            assert listed[name]["runs"] == len(pairs)
        assert found["few"] + found["constant"] + found["own"] + found["level"] == left_out


def test_order_and_what_is_left_out(counted):
    """The strongest comes first, whatever its sign; too few, constant, and a text of its own in each are counted."""
    result = [float(number) for number in range(10)]
    fields = {
        "weak": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3],
        "against": [-value for value in result],
        "few": [1, 2, 3, 4] + [None] * 6,
        "one": [7] * 10,
        "notes": [f"note {number}" for number in range(10)],
        "words": ["auto"] + [1.5 * value for value in result[1:]],
        "huge": [1e308, -1e308, "Infinity", "-Infinity", 0, 5e-324, -5e-324, 1, 2, 3],
    }
    (found,) = counted([{"fields": fields, "result": result}])
    assert [each["name"] for each in found["listed"]][:2] == ["against", "words"]
    assert found["listed"][0]["rho"] == -1
    assert found["listed"][1] == {"name": "words", "kind": "number", "strength": 1, "rho": 1, "runs": 9}
    assert (found["few"], found["constant"], found["own"], found["runs"]) == (1, 1, 1, 10)
    (nothing,) = counted([{"fields": fields, "result": [1.0] * 10}])
    assert (nothing["listed"], nothing["level"]) == ([], 4)
    (empty,) = counted([{"fields": {}, "result": []}])
    assert empty == {"listed": [], "few": 0, "constant": 0, "own": 0, "level": 0, "runs": 0}
