"""The rest of ``environment.json``: packages, git, GPUs, the machine. It may take seconds, so it is the writer's.

Looking must not act. Of the repository's own configuration nothing is run: no hook, file system monitor, external
diff, text conversion, filter, pager or signature check; nothing is fetched, and no lock is taken.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn import secrets
from runicorn.settings import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CALL_S = 5.0
GIT_S = 10.0
DIFF_BYTES = 256 * KIB
_OUTPUT_BYTES = 4 * MIB
_PACKAGES = 10_000

_GIT_OPTIONS = (
    "--no-pager",
    "--no-replace-objects",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.quotePath=false",
    # git diff would write the index anew, under its lock.
    "-c",
    "diff.autoRefreshIndex=false",
    # Larger files are told as binary: comparing two of 50 MB line by line takes longer than all the rest.
    "-c",
    "core.bigFileThreshold=4m",
    "-c",
    "submodule.recurse=false",
)
_GIT_VARIABLES = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
_GPU_FIELDS = "index,name,memory.total,memory.free,utilization.gpu,temperature.gpu,uuid,driver_version"


def environment(facts: dict[str, Any], workspace_root: str) -> dict[str, Any]:
    """The content of ``environment.json``.

    A part that cannot be found out is null; where that is an error and not just so, ``errors`` says why.

    Args:
        facts: what the process that trains has said, ``runicorn.environment.here()``.
        workspace_root: directory of the workspace.
    """
    errors: list[str] = []

    def part(name: str, look: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return look(*arguments)
        except Exception as error:  # noqa: BLE001 - one part's failure is not the others'
            errors.append(f"{name}: {type(error).__name__}: {error}")
            return None

    known = {name: value for name, value in facts.items() if name not in {"sys_path", "prefix"}}
    gpus = part("gpu_info", _gpus, errors)
    cuda = {"version": None, "driver": None, **(known.pop("cuda", None) or {})}
    if gpus:
        cuda["driver"] = gpus[0]["driver_version"]
    found = {
        "python_version": known.pop("python_version", None),
        "platform": known.pop("platform", None),
        "platform_details": known.pop("platform_details", {}),
        "pip_packages": part("pip_packages", _packages, facts.get("sys_path", [])),
        "conda_packages": part("conda_packages", _conda_packages, facts.get("prefix", "")),
        "conda_env": known.pop("conda_env", None),
        "git_info": part("git_info", _git_info, workspace_root, errors),
        "env_variables": known.pop("env_variables", {}),
        "gpu_info": gpus,
        "cuda": cuda,
        "cpu": part("cpu", _cpu),
        "memory_bytes": part("memory_bytes", _memory_bytes),
        "disk": part("disk", _disk, workspace_root),
        **known,
    }
    if errors:
        found["errors"] = errors
    return found


class _Output(NamedTuple):
    """What a command has said: its first bytes, whether there were more, and its exit status; None if killed."""

    data: bytes
    truncated: bool
    status: int | None

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace").strip()


def _output(arguments: list[str], until: float, limit: int = _OUTPUT_BYTES, **variables: str) -> _Output:
    """Run a command until it has ended, has said enough, or the time is over; then its process group is killed.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**inherited, **variables},
        start_new_session=True,
        bufsize=0,
    )
    said = bytearray()
    reader = threading.Thread(target=_read, args=(process, said, limit), daemon=True)
    reader.start()
    reader.join(max(0.0, until - time.monotonic()))
    # Without its reader the pipe has an end that nobody closes: what it says later goes nowhere, and costs a thread.
    late = reader.is_alive()
    truncated = len(said) > limit
    try:
        if late or truncated:
            _kill(process)
        status = process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        _kill(process)
        late = True
    if late:
        raise TimeoutError(f"{os.path.basename(arguments[0])} took longer than allowed, and was stopped")
    return _Output(bytes(said[:limit]), truncated, None if truncated else status)


def _read(process: subprocess.Popen[bytes], into: bytearray, limit: int) -> None:
    out = process.stdout
    if out is None:
        return
    with out:
        while len(into) <= limit and (block := out.read(64 * KIB)):
            into += block


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with everything that it has started; its group is there while it was not waited for."""
    try:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _packages(sys_path: list[str]) -> list[str]:
    """``name==version`` as ``pip freeze`` has it; ``name @ address`` for what was not installed from an index."""
    from importlib import metadata

    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=sys_path):
        try:
            name = distribution.metadata["Name"]
            version = distribution.version
            address = _address(distribution.read_text("direct_url.json"))
        except Exception:  # noqa: BLE001, S112 - a broken one is as if it were not installed, for pip as well
            continue
        if name and len(found) < _PACKAGES:
            # The first on the path is the one that an import finds.
            found.setdefault(name.lower().replace("_", "-"), f"{name} @ {address}" if address else f"{name}=={version}")
    return sorted(found.values(), key=str.lower)


def _address(direct_url: str | None) -> str:
    if not direct_url:
        return ""
    import msgspec

    told = msgspec.json.decode(direct_url.encode(), type=dict[str, Any])
    address = str(told.get("url", ""))
    version_control = told.get("vcs_info")
    if address and isinstance(version_control, dict):
        address = f"{version_control.get('vcs')}+{address}@{version_control.get('commit_id')}"
    return secrets.mask_url(address)


def _conda_packages(prefix: str) -> list[str] | None:
    """``name=version=build`` as ``conda list --export`` has it; None where no conda has installed anything."""
    at = os.path.join(prefix, "conda-meta")
    if not prefix or not os.path.isdir(at):
        return None
    names = [name.removesuffix(".json") for name in os.listdir(at) if name.endswith(".json")]
    return sorted("=".join(name.rsplit("-", 2)) for name in names if name.count("-") > 1)


def _git_info(workspace_root: str, errors: list[str]) -> dict[str, Any] | None:
    git = shutil.which("git")
    if git is None:
        return None
    repository = _Git(git, workspace_root, errors)
    if repository.ask("rev-parse", "--is-inside-work-tree") != "true":
        return None
    repository.switch_filters_off()
    head = repository.ask("log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%B")
    commit, author, message = head.split("\0", 2) if head else (None, None, None)
    branch = repository.ask("symbolic-ref", "--short", "-q", "HEAD") or ("HEAD" if commit else None)
    remote = repository.ask("remote", "get-url", "origin")
    changed = repository.changed()
    diff, truncated = repository.diff() if commit else (None, False)
    return {
        "commit": commit,
        "branch": branch,
        "has_changes": None if changed is None else changed > 0,
        "changed_files_count": changed,
        "remote": secrets.mask_url(remote) if remote else None,
        "last_commit_message": None if message is None else secrets.mask_text(message.strip()),
        "last_commit_author": author,
        "diff": diff,
        "diff_truncated": truncated,
    }


class _Git:
    """Questions to one repository; all of them together have ``GIT_S`` seconds."""

    def __init__(self, git: str, root: str, errors: list[str]) -> None:
        self._command = [git, "-C", root, *_GIT_OPTIONS]
        self._errors = errors
        self._until = time.monotonic() + GIT_S

    def ask(self, *arguments: str) -> str | None:
        """The answer; None where git has none, or not in time."""
        said = self._run(arguments)
        return said.text if said is not None and said.status == 0 else None

    def switch_filters_off(self) -> None:
        """Have files compared as they are: filters such as the one of git-lfs are programs of the configuration."""
        said = self._run(("config", "--null", "--name-only", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$"))
        names = {name for name in said.text.split("\0") if name} if said is not None else set()
        for driver in sorted({name.rpartition(".")[0] for name in names}):
            for setting in ("clean=", "smudge=", "process=", "required=false"):
                self._command += ["-c", f"{driver}.{setting}"]

    def changed(self) -> int | None:
        """How many files differ from the last commit, or are new; at least that many where they are very many."""
        options = ("--porcelain", "--untracked-files=normal", "--no-renames", "--ignore-submodules=dirty")
        said = self._run(("status", *options))
        if said is None or (said.status != 0 and not said.truncated):
            return None
        return said.data.count(b"\n")

    def diff(self) -> tuple[str | None, bool]:
        """What is not committed, and whether that is only its beginning; without files that hold secrets."""
        without = [f":(top,exclude,icase,glob)**/{name}" for name in _secret_patterns()]
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "--no-renames")
        said = self._run(("diff", *options, "HEAD", "--", ":/", *without), DIFF_BYTES)
        if said is None or (said.status != 0 and not said.truncated):
            return None, False
        data = said.data
        if said.truncated:
            # A token that the limit cuts in two would not be known for one.
            data = data[: data.rfind(b"\n") + 1]
        return secrets.mask_text(data.decode("utf-8", "replace")), said.truncated

    def _run(self, arguments: Iterable[str], limit: int = _OUTPUT_BYTES) -> _Output | None:
        arguments = list(arguments)
        until = min(self._until, time.monotonic() + CALL_S)
        if until <= time.monotonic():
            self._errors.append(f"git_info: no time was left for git {arguments[0]}")
            return None
        try:
            return _output([*self._command, *arguments], until, limit, **_GIT_VARIABLES)
        except (OSError, ValueError) as error:
            self._errors.append(f"git_info: git {arguments[0]}: {error}")
            return None


def _secret_patterns() -> Iterator[str]:
    yield from secrets.FILES
    yield from (f"{name}/**" for name in secrets.DIRECTORIES)
    yield ".kube/config"


def _gpus(errors: list[str]) -> list[dict[str, Any]] | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    arguments = [command, f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader,nounits"]
    said = _output(arguments, time.monotonic() + CALL_S)
    if said.status != 0:
        errors.append(f"gpu_info: nvidia-smi ended with {said.status}: {said.text[:200]}")
        return None
    return [
        _gpu([field.strip() for field in line.split(",")]) for line in said.text.splitlines() if line.count(",") == 7
    ]


def _gpu(fields: list[str]) -> dict[str, Any]:
    return {
        "index": _number(fields[0], int),
        "name": fields[1],
        "memory_total_mb": _number(fields[2], float),
        "memory_free_mb": _number(fields[3], float),
        "utilization_percent": _number(fields[4], float),
        "temperature_c": _number(fields[5], float),
        "uuid": fields[6],
        "driver_version": fields[7],
    }


def _number(text: str, kind: Callable[[str], float]) -> float | None:
    try:
        return kind(text)
    except ValueError:  # "[N/A]"
        return None


def _cpu() -> dict[str, Any]:
    import psutil

    return {"model": _cpu_model(), "count": os.cpu_count(), "physical": psutil.cpu_count(logical=False)}


def _cpu_model() -> str | None:
    if sys.platform == "win32":
        return os.environ.get("PROCESSOR_IDENTIFIER")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in {"model name", "Model", "cpu model"}:
                    return value.strip()
    except OSError:
        pass
    return None


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _disk(workspace_root: str) -> dict[str, int]:
    usage = shutil.disk_usage(workspace_root)
    return {"total_bytes": usage.total, "free_bytes": usage.free}
