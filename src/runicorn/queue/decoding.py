"""What the writer makes of a payload: the record that it carries."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from runicorn.queue.asset_records import Chore, Image, WatchOutputs
from runicorn.queue.records import Config, End, Hello, Holed, Landed, Lost, Metrics, Primary, Printed, Summary, Text

Record: TypeAlias = (
    Metrics
    | Holed
    | Landed
    | Hello
    | Text
    | Summary
    | Config
    | Primary
    | Lost
    | End
    | Printed
    | Image
    | WatchOutputs
    | Chore
)
decode = msgspec.msgpack.Decoder(Record).decode
