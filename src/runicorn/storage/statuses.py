"""Final statuses: the four that are stored, and the words that people and other libraries use for them."""

from __future__ import annotations

from typing import Any

from runicorn.errors import WrongTypeError, WrongValueError

FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"

FINAL = (FINISHED, FAILED, INTERRUPTED)

_EARLIER = "earlier_sessions"
_COUNTS = ("lost_records", "lost_values", "damaged_bytes")
_LISTS = ("storage_errors", "remarks")

_MEANINGS = {
    FINISHED: ("finished", "completed", "success", "done", "complete", "succeeded", "ok"),
    FAILED: ("failed", "error", "crashed", "failure", "errored"),
    INTERRUPTED: ("interrupted", "killed", "cancelled", "canceled", "aborted", "stopped", "timeout"),
}
# These say more than the status does: they are kept as the reason. Of Optuna, Ray, MLflow, SLURM, Kubernetes.
_REASONS = {
    FAILED: ("oom", "oom_killed", "oomkilled", "out_of_memory", "node_fail", "diverged"),
    INTERRUPTED: ("pruned", "preempted", "preempting", "terminated", "timeout", "timed_out", "evicted"),
}
_REASON_WORDS = {word for words in _REASONS.values() for word in words}
_STATUS_OF = {
    word: status for meanings in (_MEANINGS, _REASONS) for status, words in meanings.items() for word in words
}


def normalise_status(status: str) -> str:
    """The stored status that a word stands for; case, surrounding blanks, and ``-`` or a blank for ``_`` do not matter.

    Raises:
        TypeError: not a string.
        ValueError: not a word for a final status.
    """
    if not isinstance(status, str):
        raise WrongTypeError(
            f"finish(): status={status!r} is of type {type(status).__name__}. Write a string, for example "
            'finish("failed"). The run is still open.'
        )
    found = _STATUS_OF.get(_word(status))
    if found is None:
        valid = ", ".join(f'"{word}"' for word in _STATUS_OF)
        raise WrongValueError(
            f"finish(): status={status!r} is not a final status. Write one of {valid}. The run is still open."
        )
    return found


def reason_of(status: str) -> str | None:
    """The reason that a word gives beside its status, such as ``"pruned"``; None if it says no more than the status."""
    word = _word(status)
    return word if word in _REASON_WORDS else None


def _word(status: str) -> str:
    return "_".join(str.__str__(status).lower().replace("-", " ").split())


def of_earlier_sessions(status: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run's ``status.json`` keeps of the one before: what that says is missing.

    Args:
        status: content of ``status.json`` before.

    Returns:
        One member, or none if nothing is missing.
    """
    missing = {name: status[name] for name in (*_COUNTS, *_LISTS) if status.get(name)}
    return {_EARLIER: missing} if missing else {}


def add_earlier_sessions(status: dict[str, Any], before: dict[str, Any]) -> None:
    """Add what is missing of earlier sessions to a final status; the same again if it is done twice.

    Args:
        status: what this session says.
        before: content of ``status.json``.
    """
    earlier = before.get(_EARLIER)
    if not isinstance(earlier, dict):
        return
    status[_EARLIER] = earlier
    for name in _COUNTS:
        if isinstance(earlier.get(name), int):
            status[name] = earlier[name] + status.get(name, 0)
    for name in _LISTS:
        if isinstance(earlier.get(name), list):
            status[name] = [*earlier[name], *status.get(name, [])]
