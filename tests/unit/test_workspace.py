"""What belongs into a code snapshot. What ignore files exclude, git itself says."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runicorn.capture import workspace
from runicorn.capture.workspace import list_files

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**31))
TREES = 60

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git says what its rules mean")


@pytest.fixture(autouse=True)
def git_of_nobody(monkeypatch, tmp_path_factory):
    """No configuration but that of an empty home directory, for git and for the listing."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (home / ".gitconfig").write_text('[user]\nname = A\nemail = a@b\n[protocol "file"]\nallow = always\n')
    return home


def make(root, files):
    for path, content in files.items():
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content if isinstance(content, bytes) else content.encode())


def paths(root, **options):
    return [path for path, _ in list_files(str(root), **options).files]


def git(root, *arguments):
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True).stdout


def as_git_says(root):
    """What git lists, and of a repository in the tree, which it lists as such, what it lists there."""
    listed = git(root, "ls-files", "-z", "--others", "--cached", "--exclude-standard")
    found = []
    for name in {name.decode() for name in listed.split(b"\0") if name}:
        at = root / name
        found += [f"{name.rstrip('/')}/{path}" for path in as_git_says(at)] if at.is_dir() else [name]
    return sorted(found)


WORDS = ("a", "b", "ab", "abc", "data", "x.d", "é", "#c", "!d", "o p", "[q]", "z-1")
ENDINGS = ("", ".txt", ".log", ".d")


def a_name(draw):
    return draw.choice(WORDS) + draw.choice(ENDINGS)


def a_segment(draw):
    kind = draw.randrange(9)
    name = a_name(draw)
    if kind in {3, 5}:
        name = name.replace("[", "").replace("]", "")  # half a pair would be closed by a later part
    if kind == 0:
        return "*"
    if kind == 1:
        return f"*{draw.choice(ENDINGS[1:])}"
    if kind == 2:
        return "**"
    if kind == 3:
        return name[0] + "?" * (len(name.encode()) - 1)
    if kind == 4:
        return f"[{draw.choice(['a-c', '!a', '^x', 'ab', ']a', 'a-'])}]{name[1:]}"
    if kind == 5:
        return name[: draw.randrange(1, len(name) + 1)] + draw.choice(["*", "**", ""])
    if kind == 6:
        return "\\" + name
    return name


def a_line(draw):
    if draw.random() < 0.04:
        return draw.choice(["", "#", "# a", "!", "/", "//", "\\", "a\\", "[", "a[b", "!/", "   ", "**/", "/**", "a//b"])
    line = "/".join(a_segment(draw) for _ in range(draw.choice([1, 1, 1, 2, 2, 3])))
    # Behind a literal beginning git takes these stars for whole directories, against its own manual.
    line = re.sub(r"(?<=[^/*])\*\*", "*", line)
    if line[0] in "#!" and draw.random() < 0.7:
        line = "\\" + line
    line = draw.choice(["", "", "", "/"]) + line + draw.choice(["", "", "", "/"])
    line = draw.choice(["", "", "!"]) + line
    return line + draw.choice(["", "", "", "", " ", "  ", "\\ ", "\r"])


def a_tree(draw, at, depth=0):
    at.mkdir(exist_ok=True)
    for _ in range(draw.randrange(1, 7)):
        child = at / a_name(draw)
        if child.exists():
            continue
        if depth < 4 and draw.random() < 0.5:
            a_tree(draw, child, depth + 1)
        else:
            child.write_bytes(b"")
    if draw.random() < (0.9 if depth == 0 else 0.35):
        lines = [a_line(draw) for _ in range(draw.randrange(1, 7))]
        bom = b"\xef\xbb\xbf" if draw.random() < 0.1 else b""
        (at / ".gitignore").write_bytes(bom + "\n".join(lines).encode() + draw.choice([b"", b"\n"]))


def some_lines(draw):
    return "".join(f"{a_line(draw)}\n" for _ in range(draw.randrange(1, 4)))


def a_repository(draw, at, elsewhere):
    """Make a repository of a directory, in one of the forms that they have, or something that only looks like one."""
    kind = draw.choice(["plain", "plain", "file", "worktree", "broken", "empty"])
    if kind == "broken":
        (at / ".git").write_text(f"gitdir: {elsewhere}/nowhere\n")
    elif kind == "empty":
        (at / ".git").mkdir()
    elif kind == "worktree":
        other = elsewhere / f"main{len(list(elsewhere.iterdir()))}"
        git(elsewhere, "init", "-q", other)
        git(other, "commit", "-q", "--allow-empty", "-m", "x")
        git(other, "worktree", "add", "-q", "--detach", elsewhere / f"{other.name}-tree")
        shutil.move(elsewhere / f"{other.name}-tree/.git", at / ".git")
        (other / ".git/info/exclude").write_text(some_lines(draw))
    else:
        options = [f"--separate-git-dir={elsewhere}/{len(list(elsewhere.iterdir()))}"] if kind == "file" else []
        git(at, "init", "-q", *options)
        directory = Path(os.fsdecode(git(at, "rev-parse", "--absolute-git-dir").strip()))
        (directory / "info/exclude").write_text(some_lines(draw))
        if draw.random() < 0.2:
            (directory / "own").write_text(some_lines(draw))
            git(at, "config", "core.excludesFile", directory / "own")
    if kind not in {"broken", "empty"} and draw.random() < 0.5:
        git(at, "commit", "-q", "--allow-empty", "-m", "x")


@needs_git
@pytest.mark.parametrize("number", range(TREES // 2))
def test_repositories_in_repositories_mean_what_git_says_they_mean(tmp_path, git_of_nobody, number):
    """Each has its own rules and the user's, whatever form it has; where git sees none, the rules around it hold."""
    print(f"CHAOS_SEED={SEED}")
    draw = random.Random(f"{SEED}-nested-{number}")
    root, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    elsewhere.mkdir()
    a_tree(draw, root)
    git(root, "init", "-q")
    for at in sorted(each for each in root.rglob("*") if each.is_dir() and ".git" not in each.parts)[::-1]:
        if draw.random() < 0.3:
            a_repository(draw, at, elsewhere)
    if draw.random() < 0.7:
        make(git_of_nobody, {".config/git/ignore": some_lines(draw)})

    assert paths(root) == as_git_says(root)


@needs_git
@pytest.mark.parametrize("number", range(TREES))
def test_ignore_files_mean_what_git_says_they_mean(tmp_path, number):
    """In any tree with any ignore files the listing is git's."""
    print(f"CHAOS_SEED={SEED}")
    draw = random.Random(f"{SEED}-{number}")
    root = tmp_path / "tree"
    a_tree(draw, root)
    git(root, "init", "-q")
    if draw.random() < 0.3:
        (root / ".git/info/exclude").write_text(a_line(draw) + "\n")

    listed = paths(root)

    ignore_files = {str(file.relative_to(root)): file.read_bytes() for file in root.rglob(".gitignore")}
    assert listed == as_git_says(root), ignore_files


@needs_git
@pytest.mark.parametrize(
    ("lines", "path", "listed"),
    [
        ("/data/", "data/x", False),
        ("/data/", "src/data/x", True),
        ("data/", "data", True),
        ("*.log", "deep/er/x.log", False),
        ("a/b", "z/a/b", True),
        ("a/**/b", "a/x/y/b", False),
        ("a/**", "a/x", False),
        ("a/*\n!a/b", "a/b", True),
        ("a/\n!a/b", "a/b", False),
        ("*/\n!a/", "a/b/c", False),
        ("/a[!x]b", "a/b", True),
        ("?", "é", True),
        ("??", "é", False),
        ("é", "é", False),
        ("voilà", "voilà", False),
        ("x ", "x", False),
        ("x\\ ", "x ", False),
        ("x\r", "x", False),
        ("x\t", "x", True),
        ("\\#x", "#x", False),
        ("\\!x", "!x", False),
        ("a//b", "a/b", True),
        ("[", "a[", True),
        ("x\\\nb", "b", False),
    ],
)
def test_lines_of_an_ignore_file_mean_what_git_says_they_mean(tmp_path, lines, path, listed):
    """Each kind of line has git's meaning, and git has the meaning that stands here."""
    make(tmp_path, {".gitignore": lines, path: ""})
    git(tmp_path, "init", "-q")

    assert paths(tmp_path) == as_git_says(tmp_path)
    assert (path in paths(tmp_path)) == listed


@needs_git
def test_a_workspace_within_a_repository_has_the_rules_around_it(tmp_path):
    """What the repository excludes above the workspace, and in its info/exclude, is left out as git leaves it out."""
    files = {".gitignore": "/é/sub/data\n*.log\n", "é/.gitignore": "!keep.log\n", "é/sub/a": ""}
    make(tmp_path, {**files, "é/sub/data/x": "", "é/sub/x.log": "", "é/sub/keep.log": "", "é/sub/private": ""})
    git(tmp_path, "init", "-q")
    make(tmp_path, {".git/info/exclude": "private\n"})

    assert paths(tmp_path / "é/sub") == ["a", "keep.log"]


@needs_git
@pytest.mark.parametrize(
    "where",
    ["HOME", "XDG_CONFIG_HOME", "configured", "configured, from home", "in the repository", "included", "by variables"],
)
def test_the_ignore_file_of_the_user_counts(tmp_path, git_of_nobody, monkeypatch, where):
    """Wherever git finds it, also through a link; the rules of the tree win over it."""
    home = git_of_nobody
    at = home / {"HOME": ".config/git/ignore", "XDG_CONFIG_HOME": "settings/git/ignore"}.get(where, "mine")
    make(tmp_path, {"real": "*.private\n*.log\n", "w/.gitignore": "!keep.log\n", "w/sub/x.private": ""})
    make(tmp_path, {"w/keep.log": "", "w/x.log": "", "w/a.py": ""})
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(tmp_path / "real")
    git(tmp_path / "w", "init", "-q")
    if where == "XDG_CONFIG_HOME":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    elif where == "by variables":
        for name, value in {"COUNT": "1", "KEY_0": "core.excludesFile", "VALUE_0": str(at)}.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    elif where == "in the repository":
        git(tmp_path / "w", "config", "core.excludesFile", at)
    elif where != "HOME":
        named = "~/mine" if where == "configured, from home" else str(at)
        make(home, {"more": f"[core]\nexcludesFile = {named}\n"})
        git(home, "config", "--global", "include.path", home / "more")

    assert paths(tmp_path / "w") == as_git_says(tmp_path / "w") == [".gitignore", "a.py", "keep.log"]


def test_the_ignore_file_of_the_user_counts_without_git(tmp_path, git_of_nobody, monkeypatch):
    """Without a repository, and without git, that of the place where git looks if it is told of no other."""
    make(git_of_nobody, {".config/git/ignore": "*.private\n"})
    make(tmp_path, {"a.py": "", "b.private": ""})

    assert paths(tmp_path) == ["a.py"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert paths(tmp_path) == ["a.py"]
    monkeypatch.delenv("HOME")
    assert paths(tmp_path) == ["a.py", "b.private"]


@needs_git
def test_a_submodule_has_its_own_rules(tmp_path):
    """What git tracks in it is listed, though the repository around it excludes such names."""
    make(tmp_path / "lib", {"cfg.json": "", "b.py": "", "x.log": "", ".gitignore": "*.log\n"})
    git(tmp_path, "init", "-q", "lib")
    git(tmp_path / "lib", "add", ".")
    git(tmp_path / "lib", "commit", "-q", "-m", "x")
    make(tmp_path / "top", {".gitignore": "*.json\n", "a.json": ""})
    git(tmp_path, "init", "-q", "top")
    git(tmp_path / "top", "submodule", "--quiet", "add", tmp_path / "lib", "sub/lib")
    make(tmp_path / "top/sub/lib", {"new.json": "", "new.log": "", "deep/new.json": ""})
    make(tmp_path / "top/.git/modules/sub/lib/info", {"exclude": "/new.json\n"})

    listed = paths(tmp_path / "top")

    assert listed == as_git_says(tmp_path / "top")
    own = [".gitignore", "b.py", "cfg.json", "deep/new.json"]
    assert listed == [".gitignore", ".gitmodules", *(f"sub/lib/{path}" for path in own)]
    assert paths(tmp_path / "top/sub/lib") == own
    assert paths(tmp_path / "top/sub/lib/deep") == ["new.json"]


def test_ignore_files_work_without_a_repository(tmp_path):
    """No git has to be there."""
    make(tmp_path, {".gitignore": "/data\n", "data/x": "", "a.py": "", "sub/.gitignore": "*\n", "sub/x": ""})

    assert paths(tmp_path) == [".gitignore", "a.py"]


def test_our_ignore_file_wins_over_gits(tmp_path):
    """A line of .rnignore excludes what git has, and includes what git has not, also from a directory above."""
    make(tmp_path, {".gitignore": "*.csv\nout/\n", "a.csv": "", "b.csv": "", "c.md": "", "out/x": "", "sub/d.csv": ""})
    make(tmp_path, {".rnignore": "!a.csv\n*.md\n!out/\n!d.csv\n", "sub/.gitignore": "d.csv\n"})

    assert paths(tmp_path) == [".gitignore", ".rnignore", "a.csv", "out/x", "sub/.gitignore", "sub/d.csv"]


def test_the_deeper_of_our_ignore_files_wins(tmp_path):
    """As with git's."""
    make(tmp_path, {".rnignore": "*.md\n", "a.md": "", "sub/.rnignore": "!b.md\n", "sub/b.md": "", "sub/c.md": ""})

    assert paths(tmp_path) == [".rnignore", "sub/.rnignore", "sub/b.md"]


def test_a_file_below_an_excluded_directory_is_never_included_again(tmp_path):
    """The directory itself has to be."""
    make(tmp_path, {".rnignore": "out/\n!out/keep\n", "out/keep": ""})

    assert paths(tmp_path) == [".rnignore"]


def test_extra_excludes_win_over_every_ignore_file(tmp_path):
    """They are relative to the root."""
    make(tmp_path, {"sub/.rnignore": "!b\n", "sub/b": "", "b": "", "data/x": "", "sub/data/x": ""})

    assert paths(tmp_path, extra_excludes=["b", "/data/"]) == ["sub/.rnignore", "sub/data/x"]


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD", ".hg/x", ".svn/x", ".venv/x", "__pycache__/x", "deep/__pycache__/x", "a.pyc", ".idea/x", ".git",
        "node_modules/x", ".ipynb_checkpoints/x", ".mypy_cache/x", ".pytest_cache/x", ".ruff_cache/x", ".runicorn/x",
        "my.egg-info/PKG-INFO", "env39/pyvenv.cfg", "sub/.git",
    ],
)  # fmt: skip
def test_what_is_never_code_cannot_be_included(tmp_path, path):
    """Caches, environments and version control stay out, whatever an ignore file says."""
    make(tmp_path, {path: "", ".rnignore": f"!{path}\n!{path.split('/')[0]}/\n!*\n"})

    assert paths(tmp_path) == [".rnignore"]


def test_names_that_only_look_like_caches_stay(tmp_path):
    """The rules are of whole names."""
    names = ["git/x", "node_modules.md", "venv.py", "x.pyc.txt", ".gitattributes", ".idea"]
    make(tmp_path, dict.fromkeys(names, ""))

    assert paths(tmp_path) == sorted(names)


def test_the_storage_is_left_out_wherever_it_lies(tmp_path):
    """Under whichever name it is given, also through a symlink, and although it may not be there."""
    make(tmp_path, {"w/a.py": "", "w/deep/store/runs/x": "", "w/deep/b.py": "", "w/deep/db": ""})
    (tmp_path / "link").symlink_to(tmp_path / "w/deep/store")
    left_out = [str(tmp_path / "link"), str(tmp_path / "w/deep/db"), str(tmp_path / "nowhere")]

    assert paths(tmp_path / "w", leave_out=left_out) == ["a.py", "deep/b.py"]


SECRETS = [
    ".env", ".env.local", "sub/.ENV", "a.pem", "a.key", "a.p12", "a.pfx", "a.jks", "a.keystore", "a.kdbx", "id_rsa",
    "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pypirc", ".git-credentials", ".htpasswd",
    "credentials.json", ".kube/config", "Server.PEM",
]  # fmt: skip
ACCOUNT = '{"type": "service_account", "private_key_id": "x", "private_key": "-----BEGIN"}'
NO_SECRETS = [
    ".env.example", ".env.sample", ".env.template", "id_rsa.pub", "environment.env", "config", "credentials.py",
    "keys.py", "monkey", ".kube/cache", "aws/x", "pem",
]  # fmt: skip


def test_secrets_are_left_out_and_told(tmp_path):
    """What holds secrets by its name, or by what a service account's file begins with, is not archived."""
    make(tmp_path, {**dict.fromkeys([*SECRETS, *NO_SECRETS], ""), ".aws/credentials": "", "d/.ssh/config": ""})
    make(
        tmp_path,
        {".gnupg/x": "", "account.json": ACCOUNT, "late.json": " " * 2048 + ACCOUNT, "id.json": '"private_key_id"'},
    )

    found = list_files(str(tmp_path))

    assert [path for path, _ in found.files] == sorted([*NO_SECRETS, "late.json", "id.json"])
    assert found.skipped_secrets == sorted([*SECRETS, "account.json", ".aws/", "d/.ssh/", ".gnupg/"])


def test_a_secret_that_is_ignored_anyway_is_not_told(tmp_path):
    """Somebody has thought of it."""
    make(tmp_path, {".gitignore": ".env\n", ".env": ""})

    assert list_files(str(tmp_path)).skipped_secrets == []


@pytest.mark.parametrize("line", ["!.env", "!/.env", "!*.env", "!.env*"])
def test_a_secret_is_archived_where_our_ignore_file_names_it(tmp_path, line):
    """That is an explicit wish."""
    make(tmp_path, {".gitignore": ".env\n", ".rnignore": f"*.env\n{line}\n", ".env": "", ".aws/x": ""})

    assert ".env" in paths(tmp_path)


@pytest.mark.parametrize("line", ["!*", "!/**", "!.*", "!.env\n*"])
def test_a_secret_is_not_archived_for_a_line_of_wildcards(tmp_path, line):
    """Such a line was not written for it; nor does one count that a later one takes back."""
    make(tmp_path, {".rnignore": f"{line}\n", ".env": ""})

    assert ".env" not in paths(tmp_path)


def test_only_our_ignore_file_can_wish_for_a_secret(tmp_path):
    """Git's says what is committed, not what is archived."""
    make(tmp_path, {".gitignore": "!.env\n", ".env": "", ".rnignore": "!.ssh/\n", ".ssh/config": "", ".ssh/id_rsa": ""})

    assert paths(tmp_path, extra_excludes=["!.env"]) == [".gitignore", ".rnignore", ".ssh/config"]


def test_symlinks_and_special_files_are_left_out(tmp_path):
    """No link is followed, to a file or to a directory, inside or out; a FIFO is not opened."""
    make(tmp_path, {"outside/x": "", "w/a": "", "w/b/c": ""})
    root = tmp_path / "w"
    (root / "file").symlink_to(tmp_path / "outside/x")
    (root / "directory").symlink_to(tmp_path / "outside")
    (root / "inside").symlink_to("b")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "fifo.json")

    assert paths(root) == ["a", "b/c"]


def test_a_fifo_a_symlink_or_a_directory_is_no_ignore_file(tmp_path, git_of_nobody):
    """None is waited for or followed, nor is a FIFO that somebody holds open, and no descriptor stays open."""
    make(tmp_path, {"a": "", "w/a": "", "rules": "a\n", "w/sub/.gitignore/x": "", "w/.git/HEAD": ""})
    (tmp_path / "w/.gitignore").symlink_to(tmp_path / "rules")
    (git_of_nobody / ".config/git").mkdir(parents=True)
    for fifo in (tmp_path / "w/.rnignore", git_of_nobody / ".config/git/ignore", tmp_path / "w/sub/.git"):
        os.mkfifo(fifo)
    before = os.listdir("/dev/fd")

    fd = os.open(tmp_path / "w/.rnignore", os.O_RDWR)
    try:
        assert paths(tmp_path / "w") == ["a", "sub/.gitignore/x"]
    finally:
        os.close(fd)

    assert os.listdir("/dev/fd") == before


def test_a_socket_and_a_file_that_cannot_be_read_hold_nothing_up(readable_root):
    """The one is left out; the other one is listed, for the archive says what is missing in it."""
    make(readable_root, {"a": "", "closed.json": "{}", ".gitignore": "a\n"})
    readable_root.chmod(0o755)
    for name in ("closed.json", ".gitignore"):
        (readable_root / name).chmod(0)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(readable_root / "socket.json"))
        assert as_nobody(lambda: paths(readable_root)) == [".gitignore", "a", "closed.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_a_name_that_is_not_utf_8_is_skipped_and_told(tmp_path):
    """As a file and as a directory; neither a failure nor a listing that JSON cannot carry."""
    (tmp_path / "a").touch()
    with open(os.fsencode(tmp_path) + b"/\xff.py", "wb"):
        pass
    os.mkdir(os.fsencode(tmp_path) + b"/d\xfe")
    (tmp_path / ".gitignore").write_bytes(b"")

    found = list_files(str(tmp_path))

    assert [path for path, _ in found.files] == [".gitignore", "a"]
    assert found.skipped_names == ["\\xff.py", "d\\xfe"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_an_ignored_name_that_is_not_utf_8_is_not_told(tmp_path):
    """Its bytes are compared with those of the line."""
    with open(os.fsencode(tmp_path) + b"/\xff.py", "wb"):
        pass
    (tmp_path / ".gitignore").write_bytes(b"\xff*\n")

    assert list_files(str(tmp_path)).skipped_names == []


@pytest.fixture
def readable_root():
    """A directory that everybody may read, as the tests' own need not be; root reads as nobody meanwhile."""
    with tempfile.TemporaryDirectory(dir="/tmp" if os.path.isdir("/tmp") else None) as directory:
        root = Path(directory)
        yield root
        for each in root.iterdir():
            each.chmod(0o755)


def as_nobody(call):
    """Call without root's right to read everything."""
    if os.name == "nt" or os.geteuid():
        return call()
    list_files(os.path.dirname(__file__), force=True)  # imports what nobody may not be able to read
    os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(0)


def test_a_directory_that_cannot_be_read_is_skipped_and_told(readable_root):
    """The rest is listed."""
    make(readable_root, {"a": "", "closed/x": ""})
    readable_root.chmod(0o755)
    (readable_root / "closed").chmod(0)

    found = as_nobody(lambda: list_files(str(readable_root)))

    assert ([path for path, _ in found.files], found.unreadable) == (["a"], ["closed/"])


def test_a_root_that_is_not_there_is_refused(tmp_path):
    """An empty archive would be mistaken for one."""
    with pytest.raises(ValueError, match=r"nowhere.*No run was made"):
        list_files(str(tmp_path / "nowhere"))


def test_the_listing_is_sorted_and_has_the_sizes(tmp_path):
    """By the whole path, as text."""
    make(tmp_path, {"b": "22", "a/x": "1", "a.py": "333", "a-b": ""})

    assert list_files(str(tmp_path)) == ([("a-b", 0), ("a.py", 3), ("a/x", 1), ("b", 2)], 6, [], [], [])


def test_too_many_files_are_refused_with_the_directory_that_has_most(tmp_path):
    """The message has the limit, where they are and the way out; ``force`` lists them all."""
    make(tmp_path, {"src/a.py": "", "x": "", **{f"data/raw/{number}.png": "" for number in range(50)}})

    with pytest.raises(ValueError, match=r"^code snapshot too large: too many files: .* 40 ") as raised:
        list_files(str(tmp_path), max_files=40)

    for word in ("data/raw/ (", "files)", ".rnignore", "force_snapshot=True", "No run was made"):
        assert word in str(raised.value)
    assert "data/ (" not in str(raised.value)
    assert len(paths(tmp_path, max_files=40, force=True)) == 52
    assert len(paths(tmp_path, max_files=52)) == 52


def test_too_many_bytes_are_refused_with_the_largest_files(tmp_path):
    """Five at most are named, the largest first."""
    make(tmp_path, {f"{number}.bin": b"." * number * 100_000 for number in range(1, 8)})

    with pytest.raises(ValueError, match=r"^code snapshot too large: total bytes exceeded: 2\.7 MiB") as raised:
        list_files(str(tmp_path), max_total_bytes=2_799_999)

    text = str(raised.value)
    assert text.count(".bin (") == 5
    assert text.index("7.bin (0.7 MiB)") < text.index("6.bin (0.6 MiB)")
    assert len(paths(tmp_path, max_total_bytes=2_800_000)) == 7
    assert len(paths(tmp_path, max_total_bytes=0, force=True)) == 7


def test_the_search_ends_at_the_limit(tmp_path, monkeypatch):
    """A directory of a million files is not walked to its end to say that there are too many."""
    make(tmp_path, {f"{number}/{file}": "" for number in range(40) for file in range(10)})
    opened = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))

    with pytest.raises(ValueError, match="too many files"):
        list_files(str(tmp_path), max_files=15)

    assert len(opened) == 3


def test_the_library_for_ignore_files_is_loaded_when_there_are_some(tmp_path):
    """Importing the module, or listing a workspace without rules, does not pay for it."""
    source = f"""
import sys
from runicorn.capture import workspace
workspace.list_files({str(tmp_path)!r})
assert "pathspec" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True)


def test_defaults_are_those_of_the_contract():
    """500 MiB and 200,000 files."""
    assert (workspace.MAX_BYTES, workspace.MAX_FILES) == (524_288_000, 200_000)
