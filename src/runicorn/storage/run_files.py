"""The run directory: the names of its files, and how each is written.

JSON files are replaced atomically; ``events.jsonl`` and ``logs.txt`` only grow, by whole lines. Everything goes
through a descriptor of the directory where the system allows it, so a run that is renamed or moved while it is
live (the 0.7.2 viewer does that) keeps its files together.

Nothing is written through a link, neither a file's nor that of a directory: the run may have come from elsewhere, or
lie where a group can write. What is in the place of one of our files, and is none that we can have written, is kept
beside (``<name>.damaged-<time>``) before the file is written.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

META = "meta.json"
STATUS = "status.json"
SUMMARY = "summary.json"
ASSETS = "assets.json"
EVENTS = "events.jsonl"
LOGS = "logs.txt"
MEDIA = "media"
ENVIRONMENT = "environment.json"
CODE = "code_snapshot.zip"
OUTPUTS_STATE = ".outputs_state.json"
SYSTEM = "system.jsonl"
MACHINE = "machine"
"""Where the machine's numbers stand in ``summary.json``, beside what tracking has cost."""
EMPTY_ASSETS: dict[str, Any] = {"code": {}, "config": {}, "datasets": [], "pretrained": [], "outputs": []}


class Names(msgspec.Struct, frozen=True):
    """The files that one host's writer owns; on hosts but the main one they have the host in their name.

    So no file ever has two writers, also on a storage that several hosts share.
    """

    host: str
    logs: str
    summary: str
    assets: str
    events: str
    outputs_state: str
    system: str
    late: bool = False

    @classmethod
    def of(cls, host: str, *, on_main_host: bool, late: bool = False) -> Names:
        """The names on a host.

        Args:
            host: its label.
            on_main_host: whether they are the run's common files.
            late: whether a newer session has the files of the ranks.
        """
        if on_main_host:
            return cls(host, LOGS, SUMMARY, ASSETS, EVENTS, OUTPUTS_STATE, SYSTEM)
        return cls(
            host,
            f"logs.{host}.txt",
            f"summary.{host}.json",
            f"assets.{host}.json",
            f"events.{host}.jsonl",
            f".outputs_state.{host}.json",
            f"system.{host}.jsonl",
            late,
        )

    def events_of(self, rank: int | None) -> str:
        """The events file of a rank; rank 0 and processes without a rank share the plain one, late ones all do."""
        return events_of_rank(rank) if rank and not self.late else self.events


def events_of_rank(rank: int) -> str:
    """The events file of a rank above 0."""
    return f"events.rank{rank}.jsonl"


def is_events_of_rank(name: str) -> bool:
    """Whether a file is the events file of a rank above 0, of whichever host."""
    prefix, _, rank = name.removesuffix(".jsonl").partition("rank")
    return prefix == "events." and rank.isdecimal() and name.endswith(".jsonl")


def host_of_system_file(name: str) -> str | None:
    """The host whose machine a file tells of; empty if it is the main one, None if it is no such file."""
    if name == SYSTEM:
        return ""
    is_other = name.startswith("system.") and name.endswith(".jsonl") and len(name) > len(SYSTEM) + 1
    return name[len("system.") : -len(".jsonl")] if is_other else None


def spool_pointer(host: str) -> str:
    """Name of the file that tells processes of a host where the run's spool is, while it is live."""
    return f".spool-{host}"


def sync_files(run_dir: str) -> None:
    """Make the files of a run durable that another process has written.

    Raises:
        OSError: one cannot be.
    """
    names = [entry.name for entry in os.scandir(run_dir) if entry.is_file(follow_symlinks=False)]
    for path in (*(os.path.join(run_dir, name) for name in names), run_dir):
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:  # replaced meanwhile, or gone with the session
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
