"""What git says of the workspace.

Looking must not act. Of the repository's own configuration nothing is run: no hook, file system monitor, external
diff, text conversion, filter, pager or signature check; nothing is fetched, and no lock is taken.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from runicorn.settings import KIB
from runicorn.validation import secrets
from runicorn.writer import command_output
from runicorn.writer.command_output import OUTPUT_BYTES, Output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GIT_S = 10.0
DIFF_BYTES = 256 * KIB
_REASON_CHARACTERS = 500

_OPTIONS = (
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
_VARIABLES = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}


def info(workspace_root: str, errors: list[str]) -> dict[str, Any] | None:
    """What is known of the repository around a workspace; None if there is none, or git cannot tell.

    Args:
        workspace_root: directory of the workspace.
        errors: takes the reason for each part that is null although there is a repository.
    """
    git = shutil.which("git")
    if git is None:
        if _repository_around(workspace_root):
            errors.append("git_info: there is a repository, but git is not installed or not on PATH")
        return None
    repository = _Git(git, workspace_root, errors)
    if not repository.has_work_tree():
        return None
    head = repository.ask("log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%B", but="any commits yet")
    commit, author, message = head.split("\0", 2) if head else (None, None, None)
    branch = repository.ask("symbolic-ref", "--short", "-q", "HEAD") or ("HEAD" if commit else None)
    remote = repository.ask("remote", "get-url", "origin", but="No such remote")
    filtered = repository.switch_filters_off()
    changed = repository.changed() if filtered else None
    diff, truncated = repository.diff() if commit and filtered else (None, False)
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


def _repository_around(root: str) -> bool:
    """Whether there is a ``.git`` in a directory or above, whatever it is."""
    at = os.path.realpath(root)
    while not os.path.lexists(os.path.join(at, ".git")):
        if at == os.path.dirname(at):
            return False
        at = os.path.dirname(at)
    return True


class _Git:
    """Questions to one repository; all of them together have ``GIT_S`` seconds."""

    def __init__(self, git: str, root: str, errors: list[str]) -> None:
        self._command = [git, "-C", root, *_OPTIONS]
        self._root = root
        self._errors = errors
        self._until = time.monotonic() + GIT_S

    def has_work_tree(self) -> bool:
        """Whether the workspace is in one; why not, if there is a repository, is told."""
        question = ("rev-parse", "--is-inside-work-tree")
        said = self._run(question)
        if said is None or said.text == "true":
            return said is not None
        if said.status == 0:
            self._errors.append("git_info: the workspace is in a repository without a work tree, such as a bare one")
        elif "not a git repository" not in said.complaint or _repository_around(self._root):
            self._tell(question, said)
        return False

    def ask(self, *arguments: str, but: str = "") -> str | None:
        """The answer; None where git has none, or not in time.

        Args:
            arguments: of git.
            but: what it complains of where there is just nothing to answer: that is no error.
        """
        said = self._run(arguments)
        if said is None or said.status == 0:
            return said and said.text
        if said.status != 1 and not (but and but in said.complaint):  # 1: there is none
            self._tell(arguments, said)
        return None

    def switch_filters_off(self) -> bool:
        """Have files compared as they are: filters such as the one of git-lfs are programs of the configuration.

        Returns:
            Whether that was possible; if not, no file may be read.
        """
        question = ("config", "--null", "--name-only", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$")
        said = self._run(question)
        if said is None or said.status not in {0, 1}:
            if said is not None:
                self._tell(question, said)
            return False
        drivers = {name.rpartition(".")[0] for name in said.text.split("\0") if name}
        odd = sorted(driver for driver in drivers if "=" in driver)
        if odd:  # git takes what is before the first = for the name of a setting
            self._errors.append(f"git_info: changes are not recorded, because {odd[0]!r} would run a program")
            return False
        for driver in sorted(drivers):
            for setting in ("clean=", "smudge=", "process=", "required=false"):
                self._command += ["-c", f"{driver}.{setting}"]
        return True

    def changed(self) -> int | None:
        """How many files differ from the last commit, or are new; at least that many where they are very many."""
        options = ("--porcelain", "--untracked-files=normal", "--no-renames", "--ignore-submodules=dirty")
        said = self._complete(("status", *options), OUTPUT_BYTES)
        return said and said.data.count(b"\n")

    def diff(self) -> tuple[str | None, bool]:
        """What is not committed, and whether that is only its beginning; without files that hold secrets."""
        without = [f":(top,exclude,icase,glob)**/{name}" for name in _secret_patterns()]
        # Of a submodule only the commits: for more git would run itself in there, with the configuration of that.
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--submodule=short")
        question = ("diff", *options, "--ignore-submodules=dirty", "HEAD", "--", ":/", *without)
        said = self._complete(question, DIFF_BYTES)
        if said is None:
            return None, False
        data = said.data
        if said.truncated:
            # A token that the limit cuts in two would not be known for one.
            data = data[: data.rfind(b"\n") + 1]
        return secrets.mask_text(data.decode("utf-8", "replace")), said.truncated

    def _complete(self, arguments: tuple[str, ...], limit: int) -> Output | None:
        """What git says, also if that is only its beginning; None, and why, where it has failed."""
        said = self._run(arguments, limit)
        if said is not None and said.status != 0 and not said.truncated:
            self._tell(arguments, said)
            return None
        return said

    def _run(self, arguments: Iterable[str], limit: int = OUTPUT_BYTES) -> Output | None:
        arguments = list(arguments)
        until = min(self._until, time.monotonic() + command_output.CALL_S)
        if until <= time.monotonic():
            self._errors.append(f"git_info: no time was left for git {arguments[0]}")
            return None
        try:
            return command_output.output([*self._command, *arguments], until, limit, **_VARIABLES)
        except (OSError, ValueError) as error:
            self._errors.append(f"git_info: git {arguments[0]}: {error}")
            return None

    def _tell(self, arguments: tuple[str, ...], said: Output) -> None:
        """Why git has no answer, in its own words: those name the command that helps, for example."""
        words = " ".join(said.complaint.split()) or f"it ended with {said.status}"
        self._errors.append(f"git_info: git {arguments[0]}: {secrets.mask_text(words)[:_REASON_CHARACTERS]}")


def _secret_patterns() -> Iterator[str]:
    yield from secrets.FILES
    yield from (f"{name}/**" for name in secrets.DIRECTORIES)
    yield ".kube/config"
