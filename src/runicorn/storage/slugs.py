"""``slug()``: one segment of a run path of any text."""

from __future__ import annotations

import re
from typing import Any

from runicorn.errors import WrongValueError

SHORTEST, DEFAULT_LONGEST, LONGEST = 16, 64, 200
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_\-.=+,@]+")
_WITHOUT_ACCENT = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
)


def slug(text: Any, longest: int = DEFAULT_LONGEST) -> str:
    """Turn any text into one segment of a run path: ``slug("my model/é v1.0")`` is ``"my-model-e-v1.0"``.

    The same text gives the same segment. Accents are removed; blanks, slashes and other characters that are not
    allowed become ``-``. If letters or digits are left out, or the text is too long, eight hex digits of its hash
    stand at the end, so that two such texts stay apart.

    Args:
        text: a string; anything else is converted by ``str()``.
        longest: the most characters of the result, 16 to 200.

    Returns:
        Between 1 and ``longest`` characters that ``init(path=...)`` takes.

    Raises:
        ValueError: ``longest`` is out of range.
    """
    import unicodedata

    if not SHORTEST <= longest <= LONGEST:
        raise WrongValueError(
            f"slug(): longest={longest!r} is not from {SHORTEST} to {LONGEST}. Write a number in that range."
        )
    given = str(text)
    folded = unicodedata.normalize("NFKD", given).translate(_WITHOUT_ACCENT)
    unmarked = "".join(each for each in folded if not unicodedata.combining(each))
    made = _NOT_ALLOWED.sub("-", unmarked)
    # If a character was replaced, the dashes at the ends are ours.
    made = made.strip("." if made == unmarked else "-.")
    left_out = any(each.isalnum() and not each.isascii() for each in unmarked)
    if made and not left_out and len(made) <= longest:
        return made
    kept = made[: longest - 9].rstrip("-.")
    return f"{kept or 'run'}-{_digest(given)}"


def _digest(text: str) -> str:
    import hashlib  # 2 ms

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
