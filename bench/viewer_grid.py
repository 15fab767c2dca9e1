"""Twelve charts of many long runs: how long the server needs to send them, and a browser to draw them."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import harness
import read
import viewer_browser

_CHARTS = 12
_WINDOW_PX = 1700
"""High enough for the legend and all charts, because a page draws only the charts near the window."""


def grid(root: str, runs: int, records: int, times: int) -> dict[str, Any]:
    """Times of the first request, without levels, of requests with levels, and of a page that compares the runs."""
    import viewer

    storage = os.path.join(root, "grid")
    metrics = [f"m{number}" for number in range(_CHARTS)]
    names = [f"run{number:02}" for number in range(runs)]
    first = pathlib.Path(read.make_run(storage, names[0], 1))
    with open(first / "events.jsonl", "w", encoding="utf-8") as file:
        for step in range(records):
            values = ",".join(f'"{name}":{step % 97 / 8}' for name in metrics)
            data = f'{{{values},"global_step":{step},"time":{1e9 + step}}}'
            file.write(f'{{"ts":{1e9 + step},"type":"metrics","data":{data}}}\n')
    for name in names[1:]:
        shutil.copytree(first, first.with_name(name))
    wanted = {"runs": names, "metrics": metrics, "buckets": 300}
    with viewer.viewer(root, storage) as (asked, _):
        before_s = asked.cpu_s()
        index_s = viewer.timed(lambda: [viewer.whole(name, asked) for name in names])
        index_cpu_s = asked.cpu_s() - before_s
        no_levels_s = viewer.timed(lambda: asked.ask("/api/v1/curves", wanted))
        grid_s, grid_cpu_s = min(asked.timed(lambda: asked.ask("/api/v1/curves", wanted)) for _ in range(3))
        memory = asked.memory_mib()
        address = f"http://127.0.0.1:{asked.port}/compare?runs={','.join(names)}#t={asked.token}"
        drawn = viewer_browser.drawn_s(address, runs * _CHARTS, times=times, height=_WINDOW_PX)
    shutil.rmtree(storage)
    return {
        "grid_s": grid_s, "grid_cpu_s": grid_cpu_s, "grid_no_levels_s": no_levels_s,
        "grid_index_s": index_s, "grid_index_cpu_s": index_cpu_s,
        "grid_memory_mib": memory, "grid_drawn_all_s": drawn,
        **({"grid_drawn_s": harness.median(drawn)} if drawn else {}),
    }  # fmt: skip
