"""Mappings in a program that closes all descriptors and opens files of its own.

Before Python 3.13 an ``mmap`` object has a descriptor of its own, which nobody can ask for, and closes it with itself.
If the program has closed that, the number may be a file of the program's by now: such a mapping is never let go.
"""

from __future__ import annotations

import sys
from typing import Any

HAS_DESCRIPTOR = sys.version_info < (3, 13) and sys.platform != "win32"
WITHOUT_DESCRIPTOR: dict[str, Any] = {} if HAS_DESCRIPTOR or sys.platform == "win32" else {"trackfd": False}

_KEPT = "_runicorn_mappings"


def keep_if_not_ours(mapped: Any, size_bytes: int, system: Any = sys) -> bool:
    """Keep a mapping for the process's life if its descriptor is not that of its file any more; whether it is kept.

    Args:
        mapped: an ``mmap`` of a whole file.
        size_bytes: of that file.
        system: the module that is cleared last when an interpreter ends, behind all files of the program.
    """
    if not HAS_DESCRIPTOR:
        return False
    try:
        if mapped.size() == size_bytes:  # of the file that the descriptor is now
            return False
    except ValueError:  # it is closed
        return False
    except OSError:
        pass
    vars(system).setdefault(_KEPT, []).append(mapped)
    return True
