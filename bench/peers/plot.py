"""Write the plot of a result of this benchmark: SVG, from the figures alone.

::

    python bench/peers --json > figures/peers.json
    python bench/peers/plot.py figures/peers.json > bench/peers.svg

A row a tracker, on a logarithmic axis of microseconds: a bar from the median of a call to its 99.9th percentile, flat
out. Filled and green: every record was readable after the SIGKILL; hollow and red: not. It is drawn on no background
of its own, in colours that are readable on a light one and on a dark one.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
from html import escape
from typing import TYPE_CHECKING, Any

sys.path.insert(1, str(pathlib.Path(__file__).parents[1]))

import roster
import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    Position = Callable[[float], float]

WIDTH, ROW_HEIGHT, TOP, BOTTOM = 940, 30, 84, 62
NAMES_WIDTH, KEPT_WIDTH, RADIUS = 236, 196, 5
ALL, SOME, GREY = "#1a9c5b", "#d9534f", "#767c86"
FONT = "font-family='system-ui, -apple-system, Segoe UI, sans-serif'"


def svg(result: dict[str, Any]) -> str:
    """The whole picture."""
    trackers = {name: tracker for name, tracker in result["figures"]["trackers"].items() if "kill" in tracker}
    names = sorted(trackers, key=lambda name: tables.rank(name, trackers[name]))
    flat = {name: trackers[name]["flat"] for name in names if "flat" in trackers[name]}
    lowest = math.floor(math.log10(min(row["p50_us"] for row in flat.values())))
    highest = math.ceil(math.log10(max(row["p99_9_us"] for row in flat.values())))
    height = TOP + ROW_HEIGHT * len(flat) + BOTTOM

    def x(value_us: float) -> float:
        inner = WIDTH - NAMES_WIDTH - KEPT_WIDTH
        return NAMES_WIDTH + inner * (math.log10(value_us) - lowest) / (highest - lowest)

    rows = [
        _row(name, row, trackers[name], x, TOP + ROW_HEIGHT * number) for number, (name, row) in enumerate(flat.items())
    ]
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {FONT} font-size='13'>"
    return "\n".join([head, *_title(), *_axis(x, lowest, highest, height), *rows, _source(result, height), "</svg>"])


def _title() -> list[str]:
    return [
        "<title>What a call costs, and what a SIGKILL leaves</title>",
        _text(16, 26, "One call that logs four floats, flat out: median to 99.9th percentile", size=17, weight=600),
        f"<circle cx='22' cy='47' r='{RADIUS}' fill='{ALL}' stroke='{ALL}' stroke-width='2'/>",
        _text(34, 51, "every record readable after a SIGKILL"),
        f"<circle cx='312' cy='47' r='{RADIUS}' fill='none' stroke='{SOME}' stroke-width='2'/>",
        _text(324, 51, "not every one"),
        _text(WIDTH - 16, 51, "readable, of calls made", anchor="end"),
    ]


def _axis(x: Position, lowest: int, highest: int, height: int) -> list[str]:
    bottom = height - BOTTOM + 4
    parts = []
    for power in range(lowest, highest + 1):
        at = x(10.0**power)
        parts += [
            f"<line x1='{at:.1f}' y1='{TOP - 18}' x2='{at:.1f}' y2='{bottom}' stroke='{GREY}' stroke-opacity='0.35'/>",
            _text(at, bottom + 17, _unit(10.0**power), anchor="middle"),
        ]
    return parts


def _unit(value_us: float) -> str:
    for limit, divisor, unit in ((1e3, 1.0, "us"), (1e6, 1e3, "ms"), (math.inf, 1e6, "s")):
        if value_us < limit:
            return f"{value_us / divisor:g} {unit}"
    raise ValueError(value_us)


def _row(name: str, row: dict[str, Any], tracker: dict[str, Any], x: Position, top: float) -> str:
    middle = top + ROW_HEIGHT / 2
    whole = tables.keeps_all(tracker)
    colour = ALL if whole else SOME
    left, right = x(row["p50_us"]), x(row["p99_9_us"])
    bar = f"x1='{left + RADIUS + 2:.1f}' y1='{middle}' x2='{right:.1f}' y2='{middle}' stroke-width='5'"
    end = f"x1='{right:.1f}' y1='{middle - 6}' x2='{right:.1f}' y2='{middle + 6}' stroke-width='2'"
    dot = f"cx='{left:.1f}' cy='{middle}' r='{RADIUS}' stroke-width='2'"
    parts = [
        _text(NAMES_WIDTH - 14, middle + 4, name, anchor="end", weight=700 if name == roster.OURS else 400),
        f"<line {bar} stroke='{colour}' stroke-opacity='0.45'/>",
        f"<line {end} stroke='{colour}'/>",
        f"<circle {dot} stroke='{colour}' fill='{colour if whole else 'none'}'/>",
        _text(WIDTH - 16, middle + 4, tables.kept(tracker), anchor="end", colour=colour),
    ]
    return "\n".join(parts)


def _source(result: dict[str, Any], height: int) -> str:
    machine = result["machine"]
    text = (
        f"python bench/peers; medians of {result['figures']['rounds']} rounds; {machine['cpu']},"
        f" {machine['cores']} cores, {machine['system'].split()[0]}, {machine['python']}"
    )
    return _text(16, height - 12, text, size=11)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: int = 400, colour: str = GREY
) -> str:
    look = f"text-anchor='{anchor}' font-size='{size}' font-weight='{weight}' fill='{colour}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {look}>{escape(text)}</text>"


if __name__ == "__main__":
    print(svg(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))))
