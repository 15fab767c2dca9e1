"""What one request may ask for, and how often the viewer checks runs."""

from __future__ import annotations

import msgspec

from runicorn.errors import SettingError
from runicorn.reading.curves import MOST_BUCKETS
from runicorn.settings import from_environment

KIB = 1024
MIB = 1024 * KIB

BUCKETS = MOST_BUCKETS
CURVES = 2000
RUNS = 500
LOG_BYTES = MIB
BODY_BYTES = MIB
CONNECTIONS = 64
"""Requests with the token that are answered at a time."""
SOCKETS = 128
"""Connections at a time, with and without a request."""
BACKLOG = 16
"""Connections that are accepted at once, before one of them can be ended: some systems allow 256 descriptors."""
SEARCH_BYTES = 64 * MIB
NAMES = 10_000
HITS = 1000
LABEL = 200
"""Characters of an alias or a tag that is given on a page."""
DELETED = 1000
"""Runs of the recycle bin that are listed."""
REQUEST_S = 15.0
"""A connection without a request ends after this time, at the latest after twice that."""
BODY_S = 10.0
"""How long a body may take to come."""
_PREFIX = "RUNICORN_VIEWER_"
_LONGEST_S = 1e6


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses between two checks; each field can be set by an environment variable, ``RUNICORN_VIEWER_<FIELD>``.

    Attributes:
        check_s: how often all runs that say ``running`` are asked whether somebody has them open.
        check_watched_s: the same for those that a page shows.
        end_after_s: how long a run must be lost, and no file of it grow, before it is ended.
        run_s: how often the files of a run that a page shows are read.
        list_s: how often the table of runs is read, while a page shows it.
        ping_s: how often a live stream says that it is there.
    """

    check_s: float = 10.0
    check_watched_s: float = 1.0
    end_after_s: float = 30.0
    run_s: float = 0.25
    list_s: float = 2.0
    ping_s: float = 15.0

    @classmethod
    def from_environment(cls) -> Pace:
        """Those that are set, and the defaults.

        Raises:
            ValueError: a variable is no number above 0.
        """
        pace = from_environment(cls, _PREFIX)
        for name in cls.__struct_fields__:
            if not 0 < getattr(pace, name) < _LONGEST_S:
                variable = f"{_PREFIX}{name.upper()}"
                raise SettingError(f"{variable} must be a number of seconds above 0. Write one, or unset it.")
        return pace


def in_server() -> dict[str, int]:
    """What ``GET server`` tells of it."""
    return {
        "buckets": BUCKETS,
        "curves": CURVES,
        "runs": RUNS,
        "log_bytes": LOG_BYTES,
        "body_bytes": BODY_BYTES,
        "connections": CONNECTIONS,
    }
