"""What is recorded of the environment: in the process that trains, and by the writer afterwards."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from support import wait_until

import runicorn
from runicorn.capture import environment
from runicorn.writer import command_output, environment_survey
from runicorn.writer import git as writer_git

CONTRACT = [
    "python_version", "platform", "platform_details", "pip_packages", "conda_packages", "conda_env", "git_info",
    "env_variables", "gpu_info",
]  # fmt: skip
GIT = {
    "commit", "branch", "has_changes", "changed_files_count", "remote", "last_commit_message", "last_commit_author",
    "diff", "diff_truncated",
}  # fmt: skip

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


@pytest.fixture(autouse=True)
def git_of_nobody(monkeypatch, tmp_path):
    """No configuration of the user's, and no GPU."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith(("GIT_", "CONDA_", "SLURM_", "OMPI_", "PMI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    (home / ".gitconfig").write_text("[user]\nname = A B\nemail = a@b.org\n[init]\ndefaultBranch = main\n")


@pytest.fixture
def root(tmp_path):
    """A workspace that is no repository."""
    at = tmp_path / "w"
    at.mkdir()
    return at


@pytest.fixture
def repository(root):
    """A workspace with one commit."""
    git(root, "init", "-q")
    (root / "a.py").write_text("a = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First\n\nwith a body")
    return root


def git(root, *arguments):
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()


def surveyed(root, **facts):
    return environment_survey.environment({"sys_path": [], "prefix": "", **facts}, str(root))


def git_info(root):
    found = surveyed(root)
    assert "errors" not in found, found["errors"]
    return found["git_info"]


def a_command(monkeypatch, tmp_path, name, script):
    """Put a script before every other command of that name."""
    at = tmp_path / "bin" / name
    at.parent.mkdir(exist_ok=True)
    at.write_text(f"#!/bin/sh\n{script}\n")
    at.chmod(0o755)
    monkeypatch.setenv("PATH", f"{at.parent}{os.pathsep}{os.environ['PATH']}")


# --- in the process that trains


def test_the_facts_are_those_of_the_platform_module(root):
    """Under the names that they always had."""
    facts = environment.here(str(root))

    assert facts["python_version"] == sys.version
    assert facts["platform"] == f"{platform.system()} {platform.release()} ({platform.machine()})"
    details = facts["platform_details"]
    for name in ("system", "release", "version", "machine", "python_implementation", "python_compiler"):
        assert details[name] == getattr(platform, name)()
    assert details.keys() == {
        "system", "node", "release", "version", "machine", "processor", "python_implementation", "python_compiler",
    }  # fmt: skip
    assert (facts["executable"], facts["cwd"], facts["pid"]) == (sys.executable, os.getcwd(), os.getpid())


def test_the_facts_can_be_sent(root, monkeypatch):
    """Also where a variable, an argument and a directory are no UTF-8."""
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/x\udcff")
    monkeypatch.setattr(sys, "orig_argv", ["python", "\udcfe"])
    monkeypatch.syspath_prepend("/y\udcfd")

    facts = environment.here(str(root))

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(facts)) == facts
    assert facts["command"] == ["python", "\\udcfe"]


def test_only_variables_that_say_something_about_training_are_recorded(root, monkeypatch):
    """Those of the list and of the launchers; empty ones are left out."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("HF_HOME", "/hf")
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("MY_LETTER", "dear")

    variables = environment.here(str(root))["env_variables"]

    assert variables["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert (variables["SLURM_JOB_ID"], variables["HF_HOME"]) == ("7", "/hf")
    assert not {"OMP_NUM_THREADS", "MY_LETTER", "HOME"} & variables.keys()


def test_variables_are_masked_and_cut(root, monkeypatch):
    """Masked first, so that no half of a secret stays; 500 characters at most."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://u:hunter2@h/")
    monkeypatch.setenv("SLURM_SECRET", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "x" * 460 + " https://u:hunter2hunter2hunter2@h/" + "y" * 99)

    facts = environment.here(str(root))

    variables = facts["env_variables"]
    assert variables["MLFLOW_TRACKING_URI"] == "https://***@h/"
    assert variables["SLURM_SECRET"] == "***"
    assert len(variables["PYTHONPATH"]) == 500
    assert variables["PYTHONPATH"].endswith("...")
    assert "hunter2" not in json.dumps(variables)


def test_the_command_is_the_one_that_started_the_program(root, monkeypatch):
    """With the interpreter's own arguments, masked and cut."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "train", "--api-key", "x", "y" * 1000])

    command = environment.here(str(root))["command"]

    assert command == ["python", "-m", "train", "--api-key", "***", "y" * 497 + "..."]


def test_libraries_are_told_where_they_are_loaded_already(root, monkeypatch):
    """None is imported, nor asked for a name that it would import."""

    class Lazy(type(os)):
        def __getattr__(self, name):
            raise AssertionError(name)

    torch = Lazy("torch")
    torch.__version__ = "9.9+cu121"
    cuda = type(os)("torch.version")
    cuda.cuda = "12.1"
    for name in ("jax", "tensorflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.version", cuda)
    monkeypatch.setitem(sys.modules, "keras", Lazy("keras"))

    facts = environment.here(str(root))

    assert facts["libraries"]["torch"] == "9.9+cu121"
    assert facts["cuda"]["version"] == "12.1"
    assert not {"jax", "tensorflow", "keras"} & facts["libraries"].keys()


def test_launcher_and_rank_are_told(root, monkeypatch):
    """From what the launcher has set."""
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)

    facts = environment.here(str(root))

    assert (facts["launcher"], facts["rank"]) == ("torchrun", 3)


def test_a_working_directory_that_has_gone_is_no_error(tmp_path, monkeypatch, root):
    """It is null."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert environment.here(str(root))["cwd"] is None


def test_no_process_is_started_and_nothing_is_imported(root):
    """In ``init()`` there is no time for it."""
    source = f"""
import os, sys
import re  # of the standard library, and of nearly every program
import runicorn.host.ranks, runicorn.validation.metrics
before = set(sys.modules)
def refuse(event, arguments):
    assert event.split(".")[0] not in ("subprocess", "pty") and event not in (
        "os.fork", "os.posix_spawn", "os.exec", "os.system", "os.forkpty"), event
sys.addaudithook(refuse)
from runicorn.capture import environment
environment.here({str(root)!r})
print(sorted(name for name in set(sys.modules) - before if not name.startswith("runicorn")))
"""
    said = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, encoding="utf-8").stdout

    assert said.strip() == "[]", said


# --- in the writer


def test_the_survey_has_the_keys_of_the_contract(root):
    """In its order and first, with more behind them; what only the writer needed is gone."""
    found = environment_survey.environment(environment.here(str(root)), str(root))

    assert list(found)[: len(CONTRACT)] == CONTRACT
    assert not {"sys_path", "prefix", "errors"} & found.keys()
    assert found["cpu"]["count"] == os.cpu_count()
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert found["disk"]["total_bytes"] > found["disk"]["free_bytes"] > 0
    assert found["cwd"] == os.getcwd()
    json.dumps(found)


def test_the_survey_needs_no_site_packages(root):
    """The writer has a bare interpreter and two libraries."""
    directories = {str(Path(module.__file__).parents[1]) for module in (runicorn, msgspec, psutil)}
    source = (
        "import sys; sys.path.extend(sys.argv[2:])\n"
        "from runicorn.capture import code_snapshot\nfrom runicorn.writer import environment_survey as survey\n"
        "assert survey.environment({}, sys.argv[1])['cpu']['count']\n"
        "assert 'pathspec' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", source, str(root), *directories], check=True)


def test_packages_are_those_of_the_training_interpreter():
    """As importlib finds them here, sorted."""
    found = environment_survey._packages(sys.path)

    assert f"psutil=={psutil.__version__}" in found
    assert found == sorted(found, key=str.lower)
    assert len(found) == len({line.partition("==")[0].partition(" @")[0].lower() for line in found})


def a_package(at, name, version, direct_url=None):
    info = at / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if direct_url:
        (info / "direct_url.json").write_text(json.dumps(direct_url))


def test_packages_that_came_from_elsewhere_have_their_address(tmp_path):
    """Editable ones, those from version control with their commit, and archives; credentials are masked."""
    vcs = {"url": "https://u:pw@h/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    a_package(tmp_path, "edit", "1", {"url": "file:///src/edit", "dir_info": {"editable": True}})
    a_package(tmp_path, "vcs", "2", vcs)
    a_package(tmp_path, "plain", "3")

    assert environment_survey._packages([str(tmp_path)]) == [
        "edit @ file:///src/edit",
        "plain==3",
        "vcs @ git+https://***@h/x.git@abc",
    ]


def test_a_broken_package_leaves_the_others(tmp_path):
    """And of two of the same name counts the one that an import finds."""
    a_package(tmp_path / "1", "a_b", "1")
    a_package(tmp_path / "2", "a-b", "2")
    a_package(tmp_path / "2", "c", "1")
    (tmp_path / "2" / "broken-1.dist-info").mkdir()
    (tmp_path / "2" / "c-1.dist-info" / "direct_url.json").write_text("{")
    a_package(tmp_path / "2", "d", "1")

    assert environment_survey._packages([str(tmp_path / "1"), str(tmp_path / "2"), "/nowhere"]) == ["a_b==1", "d==1"]


def test_conda_packages_are_those_that_conda_noted(tmp_path):
    """Without starting it; null where it has installed nothing."""
    (tmp_path / "conda-meta").mkdir()
    for name in ("python-dateutil-2.9-pyhd_0.json", "numpy-1.26.4-py311h64a_0.json", "history", "odd.json"):
        (tmp_path / "conda-meta" / name).write_text("{}")

    found = environment_survey.environment({"prefix": str(tmp_path)}, str(tmp_path))

    assert found["conda_packages"] == ["numpy=1.26.4=py311h64a_0", "python-dateutil=2.9=pyhd_0"]
    assert environment_survey._conda_packages("/nowhere") is None


@needs_git
def test_git_is_asked_for_all_of_the_contract(repository):
    """Of a clean workspace."""
    git(repository, "remote", "add", "origin", "https://user:tok3n@host/x.git")

    assert git_info(repository) == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "has_changes": False,
        "changed_files_count": 0,
        "remote": "https://***@host/x.git",
        "last_commit_message": "First\n\nwith a body",
        "last_commit_author": "A B <a@b.org>",
        "diff": "",
        "diff_truncated": False,
    }


@needs_git
def test_what_is_not_committed_is_counted_and_shown(repository):
    """Staged or not; new files are counted. Tokens are masked, and files that hold secrets are not shown."""
    (repository / "a.py").write_text("a = 2\nkey = 'ghp_" + "a1B2" * 9 + "'\n")
    (repository / "sub").mkdir()
    for name in (".env", "sub/x.pem", "staged.py"):
        (repository / name).write_text(f"hunter2 {name}\n")
    git(repository, "add", ".")
    (repository / "new.py").write_text("new\n")

    found = git_info(repository)

    assert (found["has_changes"], found["changed_files_count"]) == (True, 5)
    assert "-a = 1\n+a = 2\n+key = '***'\n" in found["diff"]
    assert "+hunter2 staged.py" in found["diff"]
    assert found["diff"].count("hunter2") == 1
    assert found["diff_truncated"] is False


@needs_git
def test_a_workspace_within_a_repository_shows_all_of_it(repository):
    """The commit is of the whole repository, and so is what differs from it."""
    (repository / "sub").mkdir()
    (repository / "a.py").write_text("a = 3\n")

    assert "+a = 3" in git_info(repository / "sub")["diff"]


@needs_git
def test_a_repository_without_a_commit_has_nulls(root):
    """The branch has a name already, and files are new."""
    git(root, "init", "-q")
    (root / "x").touch()

    found = git_info(root)

    assert found.keys() == GIT
    assert (found["commit"], found["diff"], found["last_commit_message"], found["remote"]) == (None,) * 4
    assert (found["branch"], found["changed_files_count"]) == ("main", 1)


@needs_git
def test_a_detached_head_has_no_name(repository):
    """As ``rev-parse --abbrev-ref`` says it."""
    git(repository, "checkout", "-q", "--detach")

    assert git_info(repository)["branch"] == "HEAD"


def test_no_repository_is_null(root):
    """And no error."""
    found = surveyed(root)

    assert (found["git_info"], "errors" in found) == (None, False)


def test_no_git_is_null(root, monkeypatch, tmp_path):
    """That is an error if there is a repository; no nvidia-smi is none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    found = surveyed(root)

    assert (found["git_info"], found["gpu_info"], "errors" in found) == (None, None, False)
    (root / ".git").mkdir()
    assert "git is not installed" in why_null(root)


def why_null(root):
    """The only reason told of git."""
    found = surveyed(root)
    assert found["git_info"] is None
    (told,) = [error for error in found["errors"] if error.startswith("git_info: ")]
    return told


@needs_git
def test_a_repository_of_another_owner_is_told(repository, monkeypatch, tmp_path):
    """In git's words, with the command that helps; what the user has configured by variables counts."""
    git_command = shutil.which("git")
    a_command(monkeypatch, tmp_path, "git", f'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {git_command} "$@"')

    told = why_null(repository)

    assert "dubious ownership" in told or "owned by someone else" in told
    assert f"git config --global --add safe.directory {repository}" in told
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": str(repository)}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert git_info(repository)["branch"] == "main"


@needs_git
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_a_repository_that_was_given_away_is_told(repository):
    """As it is in a container."""
    for at, directories, files in os.walk(repository):
        for name in (".", *directories, *files):
            os.chown(os.path.join(at, name), 65534, 65534)

    assert f"safe.directory {repository}" in why_null(repository)


@needs_git
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("a file that points nowhere", "not a git repository"),
        ("an empty directory", "not a git repository"),
        ("a HEAD of garbage", "not a git repository"),
        ("a bare repository", "without a work tree"),
        ("the git directory itself", "without a work tree"),
        ("a configuration of garbage", "bad config line"),
        ("a work tree that has gone", "nowhere"),
        ("a root that has gone", "No such file"),
    ],
)
def test_a_repository_that_git_cannot_read_is_told(repository, what, reason):
    """With git's reason, whatever is broken in it."""
    root = at = repository
    if what == "a file that points nowhere":
        shutil.rmtree(root / ".git")
        (root / ".git").write_text("gitdir: /nowhere/at/all\n")
    elif what == "an empty directory":
        shutil.rmtree(root / ".git")
        (root / ".git").mkdir()
    elif what == "a HEAD of garbage":
        (root / ".git/HEAD").write_bytes(b"\0garbage")
    elif what == "a bare repository":
        at = root.parent / "bare.git"
        git(root, "clone", "-q", "--bare", ".", at)
    elif what == "the git directory itself":
        at = root / ".git"
    elif what == "a configuration of garbage":
        (root / ".git/config").write_text("[core\n")
    elif what == "a work tree that has gone":
        git(root, "config", "core.worktree", "/nowhere/at/all")
    else:
        at = root / "gone"

    assert reason in why_null(at)


@needs_git
@pytest.mark.parametrize(
    ("broken", "nulls", "question"),
    [
        ("index", {"changed_files_count", "has_changes", "diff"}, "git status"),
        ("objects", {"commit", "last_commit_message", "last_commit_author", "diff"}, "git log"),
    ],
)
def test_each_null_of_a_broken_repository_has_a_reason(repository, broken, nulls, question):
    """What git can still tell is there."""
    at = repository / ".git" / broken
    if broken == "index":
        at.write_bytes(b"garbage")
    else:
        shutil.rmtree(at)
        at.mkdir()

    found = surveyed(repository)

    told = found["git_info"]
    assert nulls <= {name for name, value in told.items() if value is None}
    assert told["branch"] == "main"
    assert any(question in error for error in found["errors"])


@needs_git
def test_a_shallow_clone_and_a_worktree_are_as_any_other(repository, tmp_path):
    """All of what is asked for is there."""
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    git(repository, "worktree", "add", "-q", "-b", "side", tmp_path / "side")

    assert git_info(tmp_path / "shallow")["last_commit_message"] == "second"
    assert git_info(tmp_path / "side")["branch"] == "side"


@needs_git
def test_a_filter_that_cannot_be_switched_off_is_not_run(repository, tmp_path):
    """A driver with a = in its name is none that an option can name: the changes are null, and that is told."""
    marker = tmp_path / "ran"
    (repository / ".gitattributes").write_text("* filter=a=b\n")
    with (repository / ".git/config").open("a") as file:
        file.write(f'[filter "a=b"]\n\tclean = "touch {marker}; cat"\n')
    (repository / "a.py").write_text("a = 5\n")

    found = surveyed(repository)

    assert not marker.exists()
    assert found["git_info"]["changed_files_count"] is None
    assert "would run a program" in found["errors"][0]


@needs_git
def test_nothing_that_a_submodule_configures_is_run(repository, tmp_path):
    """Of it only the commits are compared."""
    marker = tmp_path / "ran"
    git(tmp_path, "clone", "-q", repository, "lib")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", tmp_path / "lib", "lib")
    git(repository, "commit", "-q", "-m", "lib")
    lib = repository / "lib"
    (lib / "a.py").write_text("a = 2\n")
    git(lib, "commit", "-q", "-a", "-m", "x")
    (lib / "a.py").write_text("a = 3\n")
    (lib / ".gitattributes").write_text("* diff=evil filter=evil\n")
    for setting in ("diff.external", "diff.evil.textconv", "filter.evil.clean", "core.fsmonitor"):
        git(lib, "config", setting, f"touch {marker}; cat")
    for setting, value in {"diff.submodule": "diff", "status.submoduleSummary": "true"}.items():
        git(repository, "config", setting, value)
    marker.unlink(missing_ok=True)

    found = git_info(repository)

    assert not marker.exists()
    assert "+Subproject commit" in found["diff"]


@needs_git
def test_nothing_that_the_repository_configures_is_run(repository, tmp_path):
    """No monitor, hook, diff, conversion, filter, pager or signature check; and git still answers."""
    marker = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\necho $0 $@ >> {marker}\ncat\n")
    evil.chmod(0o755)
    (repository / ".gitattributes").write_text("* diff=evil filter=evil\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "x")
    (repository / "a.py").write_text("a = 5\n")
    settings = [
        "core.fsmonitor", "core.pager", "pager.diff", "pager.log", "pager.status", "diff.external", "diff.evil.command",
        "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "core.sshCommand",
        "gpg.program", "core.editor",
    ]  # fmt: skip
    for setting in settings:
        git(repository, "config", setting, str(evil))
    git(repository, "config", "filter.evil.required", "true")
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        shutil.copy(evil, repository / ".git/hooks" / hook)
    signed = git(repository, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n\n", 1
    )
    (tmp_path / "signed").write_text(f"{signed}\n")
    git(
        repository, "update-ref", "HEAD", git(repository, "hash-object", "-t", "commit", "-w", str(tmp_path / "signed"))
    )
    git(repository, "config", "log.showSignature", "true")
    marker.unlink(missing_ok=True)

    found = git_info(repository)

    assert not marker.exists(), marker.read_text()
    assert "-a = 1\n+a = 5\n" in found["diff"]
    assert found["changed_files_count"] == 1


@needs_git
def test_looking_leaves_the_repository_as_it_is(repository):
    """The index is not written anew for a file that was only touched, and such a file is not shown."""
    (repository / "b.py").write_text("b\n")
    git(repository, "add", ".")
    os.utime(repository / "a.py", (1, 1))
    index = repository / ".git/index"
    before = (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino)

    found = git_info(repository)

    assert (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino) == before
    assert "a.py" not in found["diff"]
    assert "+++ b/b.py" in found["diff"]


@pytest.fixture
def patient(monkeypatch):
    """A machine that is busy has its time."""
    monkeypatch.setattr(command_output, "CALL_S", 50.0)
    monkeypatch.setattr(writer_git, "GIT_S", 50.0)


@needs_git
@pytest.mark.usefixtures("patient")
def test_a_diff_of_50_mb_is_cut_and_never_held(repository):
    """Its beginning is kept, in whole lines; git is stopped, and no process of it stays."""
    for number in range(25):
        (repository / f"{number}.csv").write_text(f"{number}\n" * (2_000_000 // len(f"{number}\n")))
    git(repository, "add", "-N", ".")
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    found = git_info(repository)

    assert found["diff_truncated"] is True
    assert 200_000 < len(found["diff"]) <= writer_git.DIFF_BYTES
    assert found["diff"].endswith("\n")
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_command_that_does_not_stop_talking_is_stopped():
    """What it says beyond the limit is not read."""
    forever = [sys.executable, "-c", "while True: print('.' * 99)"]

    said = command_output.output(forever, time.monotonic() + 20, 250_000)

    assert (len(said.data), said.truncated, said.status) == (250_000, True, None)


@needs_git
@pytest.mark.usefixtures("patient")
def test_one_file_of_50_mb_does_not_hide_the_others(repository):
    """It is told as binary: nobody reads its lines, and to compare them takes long."""
    (repository / "0.csv").write_text("1,2,3\n" * 8_000_000)
    (repository / "z.py").write_text("z = 1\n")
    git(repository, "add", "-N", ".")

    found = git_info(repository)

    assert "0.csv differ" in found["diff"]
    assert "+z = 1" in found["diff"]
    assert found["diff_truncated"] is False


def test_a_git_that_hangs_is_stopped_with_everything_that_it_started(root, monkeypatch, tmp_path):
    """Its process group is killed in time; the rest of the survey is there."""
    monkeypatch.setattr(command_output, "CALL_S", 0.3)
    monkeypatch.setattr(writer_git, "GIT_S", 0.8)
    pids = tmp_path / "pids"
    a_command(monkeypatch, tmp_path, "git", f"sleep 300 & echo $! >> {pids}; echo $$ >> {pids}; sleep 300")

    found = surveyed(root)

    assert found["git_info"] is None
    assert "git rev-parse" in found["errors"][0]
    assert found["cpu"]["count"] == os.cpu_count()
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    wait_until(lambda: not any(lives(pid) for pid in started))


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_calls_of_git_together_have_a_time(root, monkeypatch, tmp_path):
    """One that answers the first question and then hangs does not take five times its limit."""
    monkeypatch.setattr(command_output, "CALL_S", 0.4)
    monkeypatch.setattr(writer_git, "GIT_S", 0.6)
    a_command(monkeypatch, tmp_path, "git", 'case "$*" in *rev-parse*) echo true;; *) exec sleep 300;; esac')

    found = surveyed(root)

    assert found["git_info"].keys() == GIT
    assert found["git_info"]["commit"] is None
    assert any("no time was left" in error for error in found["errors"])


def test_a_process_that_keeps_the_pipe_open_is_not_waited_for(root, monkeypatch, tmp_path):
    """One that has left the process group holds the output open, and costs a call's time at most."""
    if shutil.which("setsid") is None:
        pytest.skip("there is no setsid")
    monkeypatch.setattr(command_output, "CALL_S", 0.5)
    pids = tmp_path / "pids"
    a_command(
        monkeypatch, tmp_path, "nvidia-smi", f"setsid sh -c 'echo $$ > {pids}; exec sleep 300' & sleep 0.2; echo x"
    )
    threads = threading.active_count()

    found = surveyed(root)

    os.kill(int(pids.read_text()), 9)
    assert found["gpu_info"] is None
    assert "nvidia-smi" in found["errors"][0]
    wait_until(lambda: threading.active_count() <= threads)


def test_gpus_are_those_of_nvidia_smi(root, monkeypatch, tmp_path):
    """A number that it does not have is null; the driver is told beside CUDA's version."""
    lines = "0, NVIDIA H100, 81559, 80000, 3, 31, GPU-1, 550.54\n1, NVIDIA H100, 81559, [N/A], [N/A], 30, GPU-2, 550.54"
    a_command(monkeypatch, tmp_path, "nvidia-smi", f"cat <<X\n{lines}\nX")

    found = surveyed(root, cuda={"version": "12.1", "driver": None})

    assert found["gpu_info"][0] == {
        "index": 0, "name": "NVIDIA H100", "memory_total_mb": 81559.0, "memory_free_mb": 80000.0,
        "utilization_percent": 3.0, "temperature_c": 31.0, "uuid": "GPU-1", "driver_version": "550.54",
    }  # fmt: skip
    assert found["gpu_info"][1]["memory_free_mb"] is None
    assert found["cuda"] == {"version": "12.1", "driver": "550.54"}


def test_a_driver_that_does_not_answer_is_told(root, monkeypatch, tmp_path):
    """With what nvidia-smi has said."""
    a_command(monkeypatch, tmp_path, "nvidia-smi", "echo 'No devices were found'; exit 6")

    found = surveyed(root)

    assert found["gpu_info"] is None
    assert found["errors"] == ["gpu_info: nvidia-smi ended with 6: No devices were found"]


@pytest.mark.parametrize(
    ("part", "function"),
    [
        ("pip_packages", "_packages"), ("conda_packages", "_conda_packages"), ("git_info", "info"),
        ("gpu_info", "_gpus"), ("cpu", "_cpu"), ("memory_bytes", "_memory_bytes"), ("disk", "_disk"),
    ],
)  # fmt: skip
def test_a_part_that_fails_leaves_the_others(root, monkeypatch, part, function):
    """It is null, and told."""

    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(writer_git if part == "git_info" else environment_survey, function, fail)

    found = surveyed(root)

    assert found[part] is None
    assert found["errors"] == [f"{part}: RuntimeError: broken"]
    assert found["memory_bytes" if part == "cpu" else "cpu"]
