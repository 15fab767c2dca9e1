"""Words of messages that depend on a number."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun: ``1 run``, ``1,000 runs``.

    Args:
        number: how many.
        one: the noun for one of them.
        many: for several; None = with an ``s`` behind it.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
