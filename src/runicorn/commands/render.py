"""How commands print: tables for people, JSON for scripts, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import math
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.reading.plain_text import plain, token

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

NO_VALUE = "-"
"""What stands in a cell that has nothing, so that every line has as many words as there are columns."""

_GAP = "  "
_WIDEST_NAME, _LEAST_FOLDED, _NARROWEST = 32, 10, 40
_MOST_STYLED_ROWS = 500
"""Beyond so many rows a table is printed plainly: it is not read row by row, and rich takes seconds for it."""
_DEEPEST = 200
_MOST_S = 1e11
"""A length of time beyond that, three thousand years, was not measured by anybody."""
_MINUTE_S, _HOUR_S, _DAY_S, _WEEK_S, _YEAR_S = 60, 3600, 86_400, 7 * 86_400, 365 * 86_400
_STYLES = {"running": "green", "lost": "bold red", "failed": "red", "interrupted": "yellow", "unknown": "dim"}


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = (), whole: Collection[int] = ()
) -> None:
    """Print a table: with rich if it is installed and stdout is a terminal, else as aligned columns.

    Args:
        columns: their titles. Words in a column ``status`` are coloured.
        rows: a text for each column; an empty one is shown as ``-``. All go through ``plain()``.
        right: numbers of the columns that are aligned to the right.
        whole: numbers of the columns that are not folded while others can be, such as what people copy.
    """
    cells = [[plain(cell) or NO_VALUE for cell in row] for row in rows]
    if not (len(cells) <= _MOST_STYLED_ROWS and sys.stdout.isatty() and _print_styled(columns, cells, right, whole)):
        _print_aligned(columns, cells, right)


def fields(texts: Mapping[str, str], indent: int = 0, *, whole: Collection[str] = ()) -> None:
    """Print names and texts, a line each, the texts below one another; those that are empty are left out.

    On a terminal a line is not longer than that is wide: dots stand for the rest.

    Args:
        texts: all go through ``plain()``. That of ``status`` is coloured where tables are.
        indent: blanks before each line.
        whole: names of texts that are not shortened, such as what people copy.
    """
    shown = [(plain(name), plain(text)) for name, text in texts.items() if text]
    if sys.stdout.isatty():
        shown = _narrowed(shown, max(_NARROWEST, shutil.get_terminal_size().columns) - indent, whole)
    widest = min(_WIDEST_NAME, max((width(name) for name, _ in shown), default=0))
    for name, text in shown:
        before = " " * indent + name + " " * (widest - width(name)) + _GAP
        if not (name == "status" and sys.stdout.isatty() and _print_status(before, text)):
            print(before + text)


def _narrowed(texts: list[tuple[str, str]], columns: int, whole: Collection[str]) -> list[tuple[str, str]]:
    short = [(name, shortened(name, columns // 2), text) for name, text in texts]
    widest = min(_WIDEST_NAME, max((width(name) for _, name, _ in short), default=0))
    found = []
    for name, shown, text in short:
        room = max(columns - max(widest, width(shown)) - len(_GAP), _LEAST_FOLDED)
        found.append((shown, text if name in whole else shortened(text, room)))
    return found


def emit(value: Any) -> None:
    """Print one JSON document: ASCII alone, indented by one.

    Floats that are not finite become ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; what is nested deeper than Python's
    encoder goes is cut off with ``"..."``.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        text = json.dumps(_finite(value), allow_nan=False)
    try:
        print(msgspec.json.format(text, indent=1))
    except msgspec.DecodeError:  # half a character, which a file of another program may have
        print(json.dumps(json.loads(text), indent=1))


def shortened(text: str, most: int) -> str:
    """The text in at most so many columns of a terminal; three dots stand for the rest."""
    text = plain(text)
    if width(text) <= most:
        return text
    kept, used = [], 0
    for each in text:
        used += width(each)
        if used > most - 3:
            break
        kept.append(each)
    return "".join(kept) + "..."


def width(text: str) -> int:
    """How many columns of a terminal it takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def age(seconds: float | None) -> str:
    """How long ago, in one unit: ``12s``, ``5m``, ``30h``, ``12d``, ``9w``, ``3y``; empty for None and nonsense."""
    if seconds is None or not abs(seconds) < _MOST_S:
        return ""
    past = max(0.0, seconds)
    for unit, unit_s, most in (("s", 1, 90), ("m", _MINUTE_S, 90), ("h", _HOUR_S, 48), ("d", _DAY_S, 60)):
        if past < unit_s * most:
            return f"{int(past // unit_s)}{unit}"
    return f"{int(past // _WEEK_S)}w" if past < 2 * _YEAR_S else f"{int(past // _YEAR_S)}y"


def duration(seconds: float | None) -> str:
    """How long something took: ``0.4s``, ``12s``, ``5m03s``, ``2h05m``, ``3d04h``; empty for None and nonsense."""
    if seconds is None or not abs(seconds) < _MOST_S:
        return ""
    past = max(0.0, seconds)
    if past < 10:
        return f"{past:.1f}s"
    whole = round(past)
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02}h"


def size(size_bytes: float | None) -> str:
    """A number of bytes: ``12 B``, ``3.4 MiB``; empty for None."""
    if size_bytes is None:
        return ""
    if abs(size_bytes) < 1024:
        return f"{size_bytes:.0f} B"
    scaled = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        scaled /= 1024
        if abs(scaled) < 1000 or unit == "TiB":
            break
    return f"{scaled:.1f} {unit}"


def _print_styled(
    columns: Sequence[str], rows: list[list[str]], right: Collection[int], whole: Collection[int]
) -> bool:
    """Print by rich; False where it is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console(highlight=False)
    widths = [max(map(width, cells)) for cells in zip(columns, *rows, strict=True)]
    gap = len(_GAP) if sum(widths) + len(_GAP) * (len(widths) - 1) <= console.width else 1
    styled = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for position, title in enumerate(columns):
        is_right = position in right
        styled.add_column(
            Text(title, style="bold"),
            justify="right" if is_right else "left",
            no_wrap=position in whole,
            overflow="fold",
        )
    for row in rows:
        styled.add_row(
            *(
                Text(cell, style=_STYLES.get(cell, "") if title == "status" else "")
                for title, cell in zip(columns, row, strict=True)
            )
        )
    least = (taken if position in whole else min(taken, _LEAST_FOLDED) for position, taken in enumerate(widths))
    # Where even that is too wide, the terminal breaks the lines: columns of two letters cannot be read.
    console.width = max(console.width, sum(least) + gap * (len(widths) - 1))
    console.print(styled, soft_wrap=False, crop=False, overflow="ignore")
    return True


def _print_status(before: str, status: str) -> bool:
    """Print one line by rich; False where it is not installed."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return False
    Console(highlight=False).print(Text.assemble(before, (status, _STYLES.get(status, ""))), soft_wrap=True)
    return True


def _print_aligned(columns: Sequence[str], rows: list[list[str]], right: Collection[int]) -> None:
    padded = [
        _padded([title, *cells], to_the_right=position in right)
        for position, (title, *cells) in enumerate(zip(columns, *rows, strict=True))
    ]
    print("\n".join(_GAP.join(line).rstrip() for line in zip(*padded, strict=True)))


def _padded(cells: list[str], *, to_the_right: bool) -> list[str]:
    """The cells of a column with blanks, so that all are as wide as the widest."""
    widths = list(map(width, cells))
    widest = max(widths)
    # str.ljust() counts characters: those that take no column, or two, are made up for.
    pad = str.rjust if to_the_right else str.ljust
    return [pad(cell, widest - taken + len(cell)) for cell, taken in zip(cells, widths, strict=True)]


def _finite(value: Any, depth: int = 0) -> Any:
    if type(value) is float and not math.isfinite(value):
        return token(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {name: _finite(each, depth + 1) for name, each in value.items()}
    return [_finite(each, depth + 1) for each in value]


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
