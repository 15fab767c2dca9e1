from collections.abc import Callable
from typing import Any

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
) -> bool | None: ...
def source() -> int: ...
