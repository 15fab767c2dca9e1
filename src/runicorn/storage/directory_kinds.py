"""The directories in which this package removes and renames files, and the names that it may: one table.

A name that is not here stays, whoever made it. Who gives a file a name of a new shape adds the shape here.
"""

from __future__ import annotations

import re

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """A kind of directory.

    Attributes:
        shape: pattern of the names that may be removed from it, or renamed in it.
        more: pattern of further ones, compiled if a name is none of those; empty if there are none.
        private: it is this user's, and nobody else may enter it.
        own: it is this user's, and nobody else may write to it.
        by_link: the user chooses the directory, and may do so by a link.
    """

    shape: str
    more: str = ""
    private: bool = False
    own: bool = False
    by_link: bool = False

    def allows(self, name: str) -> bool:
        """Whether a name is one that we make in such a directory."""
        # No generator: what a signal handler raises while one that was left early is closed gets lost.
        if re.fullmatch(self.shape, name, re.DOTALL):  # what the user has named may have a newline in its name
            return True
        return bool(self.more) and re.fullmatch(self.more, name, re.DOTALL) is not None


_TEMPORARY = r"\..+\.(?:[0-9a-f]{16}|[0-9a-f]{1,16}\.[0-9a-f]{8})\.new"
_PRODUCER = r"[0-9a-f]{1,16}\.[0-9a-f]{8}"

SPOOL = Kind(
    r"owner\.lock|writer\.lock|address\.json(?:\.new)?|control|plan|plan\.new|sigterm|sigterm\.link|writer\.log|script"
    rf"|{_PRODUCER}(?:\.lock|\.spare|\.spare\.new|-[0-9]{{8,}}\.seg(?:\.new)?)|blob-(?:spare|[0-9a-f]{{16}})",
    private=True,
)
"""A spool and its overflow directory; a name that is not here keeps the directory that it is in."""
NAMED_IN_SPOOL = msgspec.structs.replace(SPOOL, more=r"[0-9a-z.-]+\.(?:seg|spare|new)")
"""For one file that its maker names; by the narrower shape above files go that are found by listing a directory."""
SPOOLS = Kind(r"runicorn-[0-9]+-[0-9a-f]{16}(?:\.making|-overflow)?|runicorn-[0-9]+-locks", by_link=True)
"""Shared memory, or the temp directory."""
LOCKS = Kind(r"[0-9a-f]{16}\.opening", private=True)
RUN = Kind(rf"{_TEMPORARY}|\.spool-.+|\.deleted")
"""A run directory, and its ``media``; a group may share it."""
NEW_RUN = Kind(rf"{RUN.shape}|meta\.json|status\.json|assets\.json|media")
"""The directory of a run that could not be opened."""
STORAGE = Kind(r"[^.].*|\.recycle", by_link=True)
"""A directory on the way to runs. Only whole runs are moved in it, and only empty directories go."""
ARCHIVE = Kind(r"\.(?:[0-9a-f]{12}-)?[0-9a-f]{12}\.new(?:\.old)?", by_link=True)
RENDEZVOUS = Kind(rf"[0-9a-f]{{32}}|{_TEMPORARY}")
CACHE = Kind(
    r"(?:[0-9]+-[0-9]+\.part|[0-9]+-[0-9]+-[0-9a-f]{32}\.levels|[0-9a-f]{32}\.msgpack)(?:\.new-[0-9a-f]+-[0-9a-f]{8})?|[0-9a-f]+-[0-9a-f]+-[0-9a-f]{32}|(?:columns|index)-[0-9]+",
    own=True,
)
VIEWERS = Kind(
    r"viewer-[0-9a-f]{16}\.json|open-[0-9a-f]{16}\.html|viewer-[0-9a-f]{16}\.sock|viewers",
    private=True,
)
"""What viewers that run have left of themselves: links, and sockets; nobody but this user may read it."""
VIEWS = Kind(rf"{_TEMPORARY}|[^\W_](?:[\w .-]*[^\W_])?\.json")
"""Saved views of the table of runs, in a storage; a group may share it."""
SOCKET = Kind(r".+", private=True)
"""The folder of a viewer's socket, which the user may choose. Only a socket that a viewer has noted is removed."""
SSH_SOCKETS = Kind(r"runicorn-ssh-[0-9a-f]{32}", by_link=True)
"""The directory for temporary files, in which a viewer that is reached by ssh makes a folder for its socket."""
EXPORT = Kind(r"\..+\.[0-9a-f]+\.[0-9a-f]{8}\.(?:new|old)", by_link=True)
"""The directory that an export is put into."""
IMPORTS = Kind(r"[0-9a-f]{16}")
"""The directory of a storage in which runs that are imported are made whole, before they get their place."""
IMPORTED = Kind(
    rf"{RUN.shape}|(?:meta|status|summary|assets)\.json|(?:events|system)\.jsonl|logs\.txt|media|[0-9]+_[^/]+"
)
"""A run that is being imported, and its ``media``."""
IMPORT_COPIES = Kind(r"runicorn-import-[^/]+", by_link=True)
"""The temp directory, in which a database is copied that is read while others may write to it."""
PROBE = Kind(r"\.?runicorn-doctor-[^/]+|fresh", by_link=True)
"""Where ``doctor`` tries what can be done, and the folders that it makes for that."""
SCRATCH = Kind(r"[A-Za-z0-9_.=-]+", by_link=True)
"""The directories of a run that is none; only empty ones go."""
