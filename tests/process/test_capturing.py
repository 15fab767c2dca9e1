"""Code and environment, captured by a real init() and its writer."""

import hashlib
import json
import os
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from support import status, wait_until
from support.trainers import Trainer, assert_valid, counted, recover_killed, wait_stored

GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(directory, *arguments):
    subprocess.run(["git", *arguments], cwd=directory, env={**os.environ, **GIT}, check=True, capture_output=True)


@pytest.fixture
def workspace(tmp_path):
    """A project in git, with a secret, an ignored directory and a link out of it."""
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "train.py").write_text("print('train')\n")
    (root / "pkg" / "model.py").write_text("class Model: pass\n")
    (root / "data" / "big.bin").write_bytes(b"x" * 100_000)
    (root / ".gitignore").write_text("/data/\n")
    (root / ".env").write_text("API_KEY=geheim\n")
    (root / "id_rsa").write_text("geheim")
    (tmp_path / "outside.txt").write_text("geheim")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    git(root, "init", "-q", "-b", "trunk")
    git(root, "add", "train.py", "pkg", ".gitignore")
    git(root, "commit", "-q", "-m", "first words")
    git(root, "remote", "add", "origin", "https://user:tok3n@example.org/x.git")
    return root


def opened_in(tmp_path, workspace, flags, body="", **environment):
    start = f"run = rn.init(workspace_root={str(workspace)!r}, {flags})\nopened(run)\n"
    return Trainer(tmp_path, f"{start}{body}\nrun.finish()\n", **environment)


def ended(tmp_path, workspace, flags, body="", **environment):
    trainer = opened_in(tmp_path, workspace, flags, body, **environment)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert errors == ""
    wait_stored(trainer)
    assert_valid(trainer.run_dir)
    return trainer.run_dir


def snapshot_of(run_dir):
    return json.loads((run_dir / "assets.json").read_text())["code"]["snapshot"]


def names_in(run_dir):
    with zipfile.ZipFile(run_dir / "code_snapshot.zip") as archive:
        assert archive.testzip() is None
        return sorted(archive.namelist())


def test_the_code_is_archived(tmp_path, workspace):
    """The zip has what git would have, without secrets, ignored files and links; it is archived by its content."""
    run_dir = ended(tmp_path, workspace, "snapshot_code=True")
    assert names_in(run_dir) == [".gitignore", "pkg/model.py", "train.py"]
    entry = snapshot_of(run_dir)
    content = (run_dir / "code_snapshot.zip").read_bytes()
    assert b"geheim" not in content
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert Path(entry["archive_path"]).read_bytes() == content
    assert (tmp_path / "storage/archive/blobs" / entry["sha256"][:2] / entry["sha256"]).read_bytes() == content
    assert entry["left_out"] == [".env", "id_rsa"]
    assert (entry["saved"], entry["format"], entry["workspace_root"]) == (True, "zip", str(workspace))


def test_an_unchanged_tree_is_stored_once(tmp_path, workspace):
    """Two runs of the same code share one content; after a change there are two."""
    first = ended(tmp_path, workspace, "snapshot_code=True")
    second = ended(tmp_path, workspace, "snapshot_code=True")
    assert snapshot_of(first)["sha256"] == snapshot_of(second)["sha256"]
    assert snapshot_of(first)["fingerprint"] != snapshot_of(second)["fingerprint"]
    blobs = tmp_path / "storage" / "archive" / "blobs"
    assert len([path for path in blobs.rglob("*") if path.is_file()]) == 1
    assert (first / "code_snapshot.zip").stat().st_ino == (second / "code_snapshot.zip").stat().st_ino
    (workspace / "train.py").write_text("print('changed')\n")
    third = ended(tmp_path, workspace, "snapshot_code=True")
    assert snapshot_of(third)["sha256"] != snapshot_of(first)["sha256"]


def test_too_much_code_makes_nothing(tmp_path, workspace):
    """A workspace beyond the limits is an error at init() with the sizes found; no run is made, force takes it."""
    for n in range(3):
        (workspace / f"large-{n}.bin").touch()
        os.truncate(workspace / f"large-{n}.bin", 200 << 20)
    body = f"""
try:
    rn.init(workspace_root={str(workspace)!r}, snapshot_code=True)
except ValueError as error:
    print(error)
"""
    out, errors = Trainer(tmp_path, body, expect_line=False).end()
    assert errors == ""
    assert "code snapshot too large" in out
    assert "large-" in out
    assert not (tmp_path / "storage" / "runs").exists()


def test_the_storage_is_no_part_of_the_code(tmp_path, workspace):
    """A storage that lies in the workspace, as ./.runicorn does, is not archived into itself."""
    storage = workspace / "my-runs"
    run_dir = ended(tmp_path, workspace, f"storage={str(storage)!r}, snapshot_code=True")
    assert run_dir.is_relative_to(storage)
    assert names_in(run_dir) == [".gitignore", "pkg/model.py", "train.py"]


def test_a_workspace_that_is_the_storage(tmp_path, workspace):
    """Where the storage root is the workspace itself, what is in the storage is not archived."""
    ended(tmp_path, workspace, f"storage={str(workspace)!r}")
    run_dir = ended(tmp_path, workspace, f"storage={str(workspace)!r}, snapshot_code=True")
    assert names_in(run_dir) == [".gitignore", "pkg/model.py", "train.py"]


def test_the_environment_is_recorded(tmp_path, workspace):
    """environment.json has packages, git, hardware and the command; no secret of variable, remote or argument."""
    (workspace / "train.py").write_text("print('changed')\n")
    secrets = {"WANDB_MODE": "https://u:tok3n@host/", "CUDA_VISIBLE_DEVICES": "0,1", "MY_API_KEY": "geheim"}
    run_dir = ended(tmp_path, workspace, "capture_env=True", **secrets)
    text = (run_dir / "environment.json").read_text()
    found = json.loads(text)
    assert "tok3n" not in text
    assert "geheim" not in text
    assert "sys_path" not in found
    assert found["env_variables"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert any(package.lower().startswith("msgspec==") for package in found["pip_packages"])
    git_info = found["git_info"]
    assert (git_info["branch"], git_info["has_changes"]) == ("trunk", True)
    assert git_info["last_commit_message"] == "first words"
    assert len(git_info["commit"]) == 40
    assert "changed" in git_info["diff"]
    assert found["platform_details"]["node"]
    assert found["cpu"]["count"] == os.cpu_count()


@pytest.mark.parametrize("who", ["writer", "both"])
def test_killed_before_it_is_captured(tmp_path, workspace, who):
    """What init() had handed over is captured by the writer that takes over, or by recovery."""
    body = "run.log(i=1)\nreturned(1)\nsys.stdin.readline()"
    flags = "snapshot_code=True, capture_env=True"
    trainer = opened_in(tmp_path, workspace, flags, body, crash_at="planned:1:writer")
    trainer.wait_returned(1)
    if who == "both":
        recover_killed(trainer, tmp_path)
    else:
        trainer.go_on()
        trainer.end()
    wait_stored(trainer)
    assert names_in(trainer.run_dir) == [".gitignore", "pkg/model.py", "train.py"]
    assert json.loads((trainer.run_dir / "environment.json").read_text())["git_info"]["branch"] == "trunk"
    assert counted(trainer.run_dir) == [1]


def test_files_that_go_before_they_are_archived(tmp_path, workspace):
    """A file that is removed between init() and the zip is left out, and status.json says so."""
    trainer = Trainer(
        tmp_path,
        f"""
import os
from runicorn.lifecycle import capture_at_start as capturing
hand_over = capturing.hand_over_code
def first_the_file_goes(session, workspace_root, files):
    os.unlink({str(workspace / "pkg" / "model.py")!r})
    hand_over(session, workspace_root, files)
capturing.hand_over_code = first_the_file_goes
run = rn.init(workspace_root={str(workspace)!r}, snapshot_code=True)
opened(run)
run.finish()
""",
    )
    trainer.end()
    assert names_in(trainer.run_dir) == [".gitignore", "train.py"]
    assert "pkg/model.py" in json.dumps(status(trainer.run_dir)["storage_errors"])
    assert status(trainer.run_dir)["status"] == "finished"


def test_metrics_do_not_wait_for_a_git_that_hangs(tmp_path, workspace):
    """While git hangs the records are stored, and the environment is there at the end without what git would say."""
    tools = tmp_path / "tools"
    tools.mkdir()
    fake = tools / "git"
    fake.write_text("#!/bin/sh\nexec sleep 600\n")
    fake.chmod(0o755)
    body = "for i in range(1, 1001):\n    run.log(i=i)\n    returned(i)\nsys.stdin.readline()"
    trainer = opened_in(tmp_path, workspace, "capture_env=True", body, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    trainer.wait_returned(1000)
    wait_until(lambda: counted_so_far(trainer) == 1000)
    assert not (trainer.run_dir / "environment.json").exists()
    trainer.go_on()
    trainer.end()
    assert "recording the environment" in trainer.errors.read_text(), "finish() says what it waits for"
    found = json.loads((trainer.run_dir / "environment.json").read_text())
    assert not (found["git_info"] or {}).get("commit")
    assert found["pip_packages"]


def counted_so_far(trainer):
    try:
        return (trainer.run_dir / "events.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def test_an_archive_that_cannot_be_written(tmp_path, workspace):
    """Where the code cannot be archived the run ends all the same, and says so; no half zip is left."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "archive").write_text("in the way")
    trainer = opened_in(tmp_path, workspace, "snapshot_code=True", "run.log(i=1)", RUNICORN_ARCHIVE_WAIT_S="0.5")
    trainer.end()
    wait_stored(trainer)
    assert_valid(trainer.run_dir)
    assert not (trainer.run_dir / "code_snapshot.zip").exists()
    assert counted(trainer.run_dir) == [1]
    assert "archive cannot be written" in json.dumps(status(trainer.run_dir)["storage_errors"])


def test_only_the_owner_captures(tmp_path, workspace):
    """A process that joins a run by its id hands over neither code nor environment a second time."""
    flags = "run_id='one', snapshot_code=True, capture_env=True"
    body = "returned(1)\nsys.stdin.readline()"
    first = opened_in(tmp_path, workspace, flags, body)
    first.wait_returned(1)
    second = opened_in(tmp_path, workspace, flags, "print(not run._session.is_owner)")
    assert second.end()[0] == "True\n"
    first.go_on()
    first.end()
    wait_stored(first)
    assert names_in(first.run_dir) == [".gitignore", "pkg/model.py", "train.py"]


def test_sigterm_while_it_captures(tmp_path, workspace):
    """SIGTERM to a program that has just begun ends it as ever; the capture is finished all the same."""
    trainer = opened_in(tmp_path, workspace, "capture_env=True", "returned(1)\nsys.stdin.readline()")
    trainer.wait_returned(1)
    trainer.kill(signal.SIGTERM)
    trainer.end()
    wait_stored(trainer)
    assert status(trainer.run_dir)["exit_reason"] == "SIGTERM"
    assert json.loads((trainer.run_dir / "environment.json").read_text())["python_version"]
