"""What the variables say that choose GPUs."""

from __future__ import annotations


def listed(text: str | None) -> list[str] | None:
    """The indices and names in ``CUDA_VISIBLE_DEVICES``; None if it is not set, which is: all.

    As CUDA reads it: an index that is no number, or below zero, ends the list.
    """
    if text is None:
        return None
    found = []
    for word in (each.strip() for each in text.split(",")):
        if not word.isdigit() and not word.startswith(("GPU-", "MIG-")):
            break
        found.append(word)
    return found
