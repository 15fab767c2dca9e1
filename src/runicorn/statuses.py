"""Final statuses: the four that are stored, and the words that people use for them."""

from __future__ import annotations

FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"

FINAL = (FINISHED, FAILED, INTERRUPTED)

_MEANINGS = {
    FINISHED: ("finished", "completed", "success", "done"),
    FAILED: ("failed", "error", "crashed", "oom"),
    INTERRUPTED: (
        *("interrupted", "killed", "cancelled", "canceled", "aborted", "stopped"),
        *("timeout", "pruned", "preempted", "terminated"),
    ),
}
_REASONS = frozenset({"oom", "pruned", "preempted", "terminated", "timeout"})
_STATUS_OF = {word: status for status, words in _MEANINGS.items() for word in words}


def normalise_status(status: str) -> str:
    """The stored status that a word stands for; case and surrounding blanks do not matter.

    Raises:
        TypeError: not a string.
        ValueError: not a word for a final status.
    """
    if not isinstance(status, str):
        raise TypeError(
            f"finish(): status={status!r} is a {type(status).__name__}. Write a string, for example "
            'finish("failed"). The run is still open.'
        )
    found = _STATUS_OF.get(status.strip().lower())
    if found is None:
        valid = ", ".join(f'"{word}"' for word in _STATUS_OF)
        raise ValueError(
            f"finish(): status={status!r} is not a final status. Write one of {valid}. The run is still open."
        )
    return found


def reason_of(word: str) -> str | None:
    """What a word for a status says beside the status, such as ``pruned``; None if it says no more."""
    clean = word.strip().lower()
    return clean if clean in _REASONS else None
