"""Lines of events files, as they lie on disk."""

from __future__ import annotations

import json


def event(step, time_s=1000.0, **values):
    """A line of an events file."""
    data = {**values, "global_step": step, "time": time_s}
    return json.dumps({"ts": time_s, "type": "metrics", "data": data}) + "\n"
