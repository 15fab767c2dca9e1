"""What the writer makes of a payload: the record that it carries."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from runicorn.queue.asset_records import Chore, Image, WatchOutputs
from runicorn.queue.records import (
    Config,
    Dropped,
    End,
    Hello,
    LateValues,
    Metrics,
    PartialMetrics,
    Primary,
    Printed,
    Summary,
    Text,
)

Record: TypeAlias = (
    Metrics
    | PartialMetrics
    | LateValues
    | Hello
    | Text
    | Summary
    | Config
    | Primary
    | Dropped
    | End
    | Printed
    | Image
    | WatchOutputs
    | Chore
)
decode = msgspec.msgpack.Decoder(Record).decode
