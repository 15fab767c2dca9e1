"""A run in words, and as a JSON document."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.commands import render
from runicorn.reading import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading import RunInfo


BEST_FIELDS = ("best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode")
"""Of ``summary.json``: what commands tell with the metrics, and not as the user's conclusions."""


def document(info: RunInfo) -> dict[str, Any]:
    """All that is known of a run, by the names of ``RunInfo``."""
    return msgspec.structs.asdict(info)


def best(info: RunInfo) -> str:
    """The best value of the primary metric: ``val_acc=0.91``; empty where there is none."""
    if info.best_metric_name is None or info.best_metric_value is None:
        return ""
    value = plain_text.number(info.best_metric_value)
    return f"{render.shortened(info.best_metric_name, 30)}={render.shortened(value, 30)}"


def path(info: RunInfo) -> str:
    """The run's path; ``/`` at the root."""
    return info.path or "/"


def labels(infos: Sequence[RunInfo]) -> list[str]:
    """A short name for each: its alias where no other has that too, else its id, else its directory."""
    for names in (
        [info.alias or info.id for info in infos],
        [info.id for info in infos],
        [info.run_dir for info in infos],
    ):
        if max(Counter(names).values(), default=0) < 2:
            return [plain_text.plain(name) for name in names]
    return [f"{number}: {plain_text.plain(info.id)}" for number, info in enumerate(infos, 1)]


def at(time_s: float | None) -> str:
    """A moment in local time, and how long ago it was; empty for None."""
    if time_s is None:
        return ""
    try:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
    except (ValueError, OverflowError, OSError):  # no moment of any calendar
        return plain_text.number(time_s)
    return f"{text} ({render.age(time.time() - time_s)} ago)"


def say(text: str) -> None:
    """A remark beside what is printed: to standard error, so that scripts read data alone."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def repair(storage: str) -> str:
    """The command that stores what lost runs have left behind, and ends them."""
    return f"runicorn recover --storage {shlex.quote(plain_text.plain(storage))}"
