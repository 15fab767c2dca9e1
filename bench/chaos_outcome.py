"""What came of a trial of ``chaos.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos_plan import Trial


@dataclass
class Outcome:
    """What came of a trial; the five counts are to be 0.

    Attributes:
        trial: what was to happen.
        kills: deaths that were dealt.
        logged: records whose ``log()`` has returned.
        lost: of these, not stored.
        doubled: stored more than once, out of order, or never logged.
        wrong_statuses: status and reason that are not in the table; a program that did not end.
        leftovers: processes, spools and temporary files; files that are not whole.
        outside: files touched that are not ours.
        reached: whether the moment came at which somebody was to die.
        problems: each of them, in words.
    """

    trial: Trial
    kills: int = 1
    logged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_statuses: int = 0
    leftovers: int = 0
    outside: int = 0
    reached: bool = True
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, number: int, text: str) -> None:
        """Count what went wrong, and say it."""
        if number:
            setattr(self, kind, getattr(self, kind) + number)
            self.problems.append(f"{kind.replace('_', ' ')}: {text}")
