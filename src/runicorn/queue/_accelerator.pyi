from collections.abc import Callable
from typing import Any, Literal

def push_metrics(
    time: float,
    step: int,
    data: Any,
    stage: Any,
    push: Callable[[bytes], Any],
    closed: memoryview,
    checked_at: float,
    next_check_at: float,
    /,
) -> Literal[True, False] | None: ...
