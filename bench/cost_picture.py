"""Draw what one call costs beside other trackers: an SVG, from the figures in ``RESULTS.md``.

::

    python bench/cost_picture.py > docs/images/cost.svg

A bar is the median of one call that logs four floats, on a logarithmic axis of microseconds. A filled bar: every record
was readable after a SIGKILL of the training process. A hollow bar: not every record was. The picture brings its own
background and text colour, for a light and for a dark screen.
"""

from __future__ import annotations

import math
import pathlib
import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
TITLE = "### us a call: four floats a call, flat out"
OURS, NOTHING = "ours", "(a call that does nothing)"

WIDTH, ROW_HEIGHT, TOP, BOTTOM = 860, 27, 96, 40
BARS_LEFT, BARS_RIGHT = 250, 620
LOWEST_US = 0.3
STYLE = """<style>
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.panel { fill: #ffffff; stroke: #d0d7de } .title { font-size: 17px; font-weight: 600 } .ours { font-weight: 700 }
rect { stroke-width: 1.5 } .panel { stroke-width: 1 } .quiet { fill: #59636e }
.kept { fill: #1a7f37; stroke: #1a7f37 } .lost { fill: none; stroke: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .panel { fill: #0d1117; stroke: #30363d } .quiet { fill: #9198a1 }
.kept { fill: #3fb950; stroke: #3fb950 } .lost { stroke: #f85149 } }
</style>"""


class Row(NamedTuple):
    """One tracker: the median of a call, and how many records were kept, as the table says it."""

    name: str
    median_us: float
    kept: str

    @property
    def keeps_all(self) -> bool:
        """Whether every record was readable after the SIGKILL."""
        return self.kept.startswith("all")


def read_rows(results: str) -> list[Row]:
    """Read the table's rows, the fastest first; a call that does nothing is left out."""
    table = results[results.index(TITLE) :].split("\n\n")[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    rows = [Row(name, float(median.replace(",", "")), kept) for name, median, _, _, _, kept in cells if name != NOTHING]
    return sorted(rows, key=lambda row: row.median_us)


def machine(results: str) -> str:
    """Read what the figures were measured on, from the line below the question."""
    found = re.search(r"`python bench/peers --json`\n\n(.*?); (\w+) .*?; (CPython [\d.]+)", results)
    if found is None:
        raise ValueError(f"{RESULTS} does not say what `python bench/peers` was run on.")
    return ", ".join(found.groups())


def svg(results: str) -> str:
    """Draw the whole picture."""
    rows = read_rows(results)
    height = TOP + ROW_HEIGHT * len(rows) + BOTTOM
    longest = math.log(rows[-1].median_us / LOWEST_US)

    def length(value_us: float) -> float:
        return (BARS_RIGHT - BARS_LEFT) * math.log(value_us / LOWEST_US) / longest

    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img'>",
            "<title>What one call costs, and what a SIGKILL leaves</title>",
            STYLE,
            f"<rect class='panel' x='0.5' y='0.5' width='{WIDTH - 1}' height='{height - 1}' rx='8'/>",
            _text(20, 32, "What one call costs that logs four numbers (median, logarithmic)", "title"),
            *_key(20, 58, "kept", "every record can be read after a SIGKILL of the training process"),
            *_key(470, 58, "lost", "not every record can be read"),
            _text(WIDTH - 20, TOP - 10, "read back, of calls made", "quiet", anchor="end"),
            *(line for number, row in enumerate(rows) for line in _bar(row, TOP + ROW_HEIGHT * number, length)),
            _text(20, height - 16, f"python bench/peers; {machine(results)}", "quiet"),
            "</svg>",
        ]
    )


def _key(x: float, y: float, kind: str, text: str) -> list[str]:
    box = f"<rect class='{kind}' x='{x}' y='{y - 11}' width='14' height='12' rx='2'/>"
    return [box, _text(x + 22, y, text)]


def _bar(row: Row, top: float, length: Callable[[float], float]) -> list[str]:
    kind, weight = "kept" if row.keeps_all else "lost", "ours" if row.name == OURS else ""
    name = "runicorn" if row.name == OURS else row.name
    width = length(row.median_us)
    return [
        _text(BARS_LEFT - 12, top + 13, name, weight, anchor="end"),
        f"<rect class='{kind}' x='{BARS_LEFT}' y='{top + 1}' width='{width:.1f}' height='15' rx='2'/>",
        _text(BARS_LEFT + width + 9, top + 13, amount(row.median_us), weight),
        _text(WIDTH - 20, top + 13, row.kept, "quiet", anchor="end"),
    ]


def amount(value_us: float) -> str:
    """Write a time in the unit that suits it."""
    if value_us >= 1000:
        return f"{value_us / 1000:.1f} ms"
    return f"{value_us:.1f} µs" if value_us < 100 else f"{value_us:.0f} µs"


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    return f"<text class='{kind}' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(text)}</text>"


if __name__ == "__main__":
    print(svg(RESULTS.read_text(encoding="utf-8")))
