"""What this host and interpreter call themselves, without the imports that usually ask."""

from __future__ import annotations

import os
import re
import sys
import zlib

import msgspec

_MOST_ANCESTORS = 8
_LONGEST_LABEL = 64
_NOT_IN_A_LABEL = r"[^A-Za-z0-9_.-]+|^\.+"  # compiled if it is needed: init() does not wait for that


def hostname() -> str:
    """``RUNICORN_HOSTNAME``, else as ``socket.gethostname()``, which would cost 3 ms to import; any text, escaped."""
    name = os.environ.get("RUNICORN_HOSTNAME")
    if not name and sys.platform == "win32":
        import socket

        name = socket.gethostname()
    elif not name:
        name = os.uname().nodename
    return name.encode("utf-8", "backslashreplace").decode()


def label_of(name: str) -> str:
    """A host's name as a part of file names: as it is if it is one, else made one, with a checksum behind it.

    Args:
        name: from ``hostname()``: it may have slashes, blanks, or hundreds of letters.
    """
    if name.isascii() and name.isalnum() and len(name) <= _LONGEST_LABEL:
        return name
    label = re.sub(_NOT_IN_A_LABEL, "_", name)[:_LONGEST_LABEL]
    return label if label == name else f"{label}-{zlib.crc32(name.encode()):08x}"


class Machine(msgspec.Struct, frozen=True):
    """What tells a process where another one runs, if both hosts have the same name.

    Containers may share the host's name and not its ``/dev/shm`` (pods in the host's network, ``--uts=host``), and
    two machines may both be called ``localhost``.

    Attributes:
        boot: id of the kernel's boot; empty if the system has none.
        pids: the pid namespace; empty likewise.
        memory: device of the file system that holds the spool.
        machine_id: of the installation, ``/etc/machine-id``; it stays over a boot.
        start: when the process that owns the run was started, see ``process_start()``.
    """

    boot: str
    pids: str
    memory: str
    machine_id: str
    start: str

    def text(self) -> str:
        """As it is stored."""
        return "/".join(msgspec.structs.astuple(self))


def machine(memory: str) -> Machine:
    """Where this process runs.

    Args:
        memory: the directory that spools are made in.
    """
    return Machine(_boot_id(), _pid_namespace(), _device(memory), _machine_id(), process_start(os.getpid()))


def is_other(stored: str | None, memory: str) -> bool:
    """Whether a process of a host of our name runs on another machine than this one, or sees other shared memory.

    Args:
        stored: ``Machine.text()`` of it; None if it has left none.
        memory: the directory that spools are made in here.
    """
    theirs = _parsed(stored)
    if theirs is None:
        return False
    if theirs.boot == _boot_id():
        return theirs.memory != _device(memory)
    # The same installation may have been started anew.
    return not theirs.machine_id or theirs.machine_id != _machine_id()


def may_live(stored: str | None, pid: int | None, memory: str) -> bool:
    """Whether a process of a host of our name may still live, although its spool is not to be seen from here.

    Args:
        stored: ``Machine.text()`` of it; None if it has left none: then it is gone if its spool is.
        pid: its process id.
        memory: the directory that its spool is in, or would be in.
    """
    theirs = _parsed(stored)
    if theirs is None or not is_other(stored, memory):
        return False
    if (theirs.boot, theirs.pids) == (_boot_id(), _pid_namespace()) and pid:
        return theirs.start == process_start(pid)
    return True


def _parsed(stored: str | None) -> Machine | None:
    words = (stored or "").split("/")
    return Machine(*words) if len(words) == len(Machine.__struct_fields__) else None


def _boot_id() -> str:
    return _read_word("/proc/sys/kernel/random/boot_id")


def _machine_id() -> str:
    return _read_word("/etc/machine-id")


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def _device(directory: str) -> str:
    try:
        return str(os.stat(directory).st_dev)
    except OSError:
        return ""


def _read_word(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(64).decode("ascii", "replace").strip().replace("/", "_")
    except OSError:
        return ""


def platform_text() -> str:
    """``system release (machine)``, as Runicorn 0.7.2 stores it."""
    if sys.platform == "win32":
        import platform

        return f"{platform.system()} {platform.release()} ({platform.machine()})"
    system = os.uname()
    return f"{system.sysname} {system.release} ({system.machine})"


def python_text() -> str:
    """Version of the interpreter, such as ``3.11.7``."""
    return ".".join(map(str, sys.version_info[:3]))


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def ancestors() -> list[int]:
    """Process ids of the parent, its parent, and so on; a few of them."""
    found = [os.getppid()]
    while found[-1] > 1 and len(found) < _MOST_ANCESTORS:
        found.append(_parent_of(found[-1]))
    return [pid for pid in found if pid > 1]


def _parent_of(pid: int) -> int:
    if sys.platform == "linux":
        return int(_stat_line(pid)[1])
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def process_start(pid: int) -> str:
    """When a process was started, as text that differs between two processes that had the same id."""
    if sys.platform == "linux":
        return _stat_line(pid)[19]
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or is one that nobody has reaped; False if that cannot be known."""
    return sys.platform == "linux" and _stat_line(pid)[0] in {"0", "Z", "X"}


def _stat_line(pid: int) -> list[str]:
    """A process's line in the kernel's table, from its third field on; zeros where it is gone.

    Behind the name, which may hold anything but is in parentheses: state, parent, and, as the twentieth, the start in
    ticks since boot. psutil would say the same, and is not imported in a training process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return ["0"] * 50
