"""Curves in plain ASCII, a letter for each, and the frame that any plot in a terminal has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runicorn.commands.drawn_curves import Bounds, Point

AXES_HEIGHT = 2
"""Lines of the frame below the curves."""


def canvas(curves: Sequence[tuple[str, Sequence[Point]]], bounds: Bounds, width: int, height: int) -> list[str]:
    """Draw points as rows of characters, the highest first.

    Args:
        curves: the mark, one character, and the points of each; a later one covers an earlier one.
        bounds: the corners.
        width: in characters.
        height: in characters.
    """
    cells = [[" "] * width for _ in range(height)]
    for mark, points in curves:
        for x, y in points:
            column = min(width - 1, int((x - bounds.left) / (bounds.right - bounds.left) * width))
            row = round((bounds.high - y) / (bounds.high - bounds.low) * (height - 1))
            cells[row][column] = mark
    return ["".join(row) for row in cells]


def framed(
    rows: Sequence[str],
    bounds: Bounds,
    width: int,
    y_text: Callable[[float], str],
    x_text: Callable[[float], str] | None = None,
) -> list[str]:
    """Rows of a plot with their axes: highest, middle and lowest value, and where x begins and ends.

    Args:
        rows: of the canvas, the highest first.
        bounds: its corners.
        width: of the canvas, in characters.
        y_text: a value of the y axis as text.
        x_text: a value of the x axis as text; None = that line is left out.
    """
    labels = labels_of(bounds, len(rows), y_text)
    margin = max(map(len, labels))
    lines = [f"{label:>{margin}} |{row}".rstrip() for label, row in zip(labels, rows, strict=True)]
    lines.append(f"{'':>{margin}} +{'-' * width}")
    if x_text is not None:
        left, right = x_text(bounds.left), x_text(bounds.right)
        lines.append(f"{'':>{margin}}  {left}{right:>{max(len(right) + 1, width - len(left))}}")
    return lines


def labels_of(bounds: Bounds, height: int, y_text: Callable[[float], str]) -> list[str]:
    """The text before each row; empty before most."""
    labels = [""] * height
    labels[height // 2] = y_text(bounds.high - (bounds.high - bounds.low) * (height // 2) / max(1, height - 1))
    labels[-1] = y_text(bounds.low)
    labels[0] = y_text(bounds.high)
    return labels
