"""What tests of the viewer share that is no fixture."""

from __future__ import annotations

import re


def link_parts(link):
    """The port and the token of a viewer's link."""
    port, token = re.fullmatch(r"http://[^/]+:(\d+)/#t=(\S+)\s*", link).groups()
    return int(port), token
