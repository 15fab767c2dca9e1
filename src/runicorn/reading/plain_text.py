"""Names and values as one line of text that a terminal, or a page, only shows."""

from __future__ import annotations

import math
import unicodedata


def plain(text: str, keep: str = "") -> str:
    r"""The text as one line that a terminal only shows: control characters become ``\x1b`` and the like.

    Args:
        text: anything that came out of a file.
        keep: characters that stay as they are, such as a tab.
    """
    if text.isprintable():
        return text
    return "".join(each if _is_shown(each) or each in keep else _escaped(each) for each in text)


def number(value: object) -> str:
    """A value of a metric as short text: six digits of a float, all digits of an integer of 64 bits; empty for None."""
    if value is None:
        return ""
    if type(value) is float:
        return f"{value:.6g}" if math.isfinite(value) else token(value)
    if type(value) is int and abs(value) >= 10**_MOST_DIGITS:
        try:
            return f"{value:.6g}"
        except OverflowError:
            return "over 1e308" if value > 0 else "under -1e308"
    return plain(str(value))


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_JOINERS = "\u200c\u200d"
"""Parts of words in some scripts, and of emoji."""
_MOST_DIGITS = 20
"""The largest integer of 64 bits has so many digits. Six digits of a larger integer are shown."""


def token(value: float) -> str:
    """A number that is not finite, as JSON names it in our files."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
