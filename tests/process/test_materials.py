"""Datasets and models of a run: recorded as they are at the call, archived once a storage, by the writer."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from support import status, wait_until
from support.trainers import Trainer, assert_valid, counted, recover_killed, wait_stored

from runicorn.host.locks import is_held


def assets(run_dir):
    return json.loads((run_dir / "assets.json").read_text())


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def ended(tmp_path, body, **environment):
    """A run of one script, to its good end."""
    trainer = Trainer(tmp_path, f"run = rn.init()\nopened(run)\n{body}\nrun.finish()\n", **environment)
    trainer.out, trainer.said = trainer.end()
    assert trainer.process.returncode == 0, trainer.said
    wait_stored(trainer)
    assert_valid(trainer.run_dir)
    return trainer


@pytest.fixture
def data(tmp_path):
    """A dataset of three files, two of which are the same."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"first" * 1000)
    (root / "sub" / "b.bin").write_bytes(b"second" * 1000)
    (root / "sub" / "c.bin").write_bytes(b"second" * 1000)
    return root


def test_a_dataset_that_is_not_saved(tmp_path, data):
    """Size and times of a file or directory are recorded, and nothing is copied."""
    body = f"run.log_dataset('ds', {str(data)!r}, description='d')\nrun.log_dataset('one', 'data/a.txt')"
    run = ended(tmp_path, body)
    whole, one = assets(run.run_dir)["datasets"]
    assert whole["uri"] == str(data)
    assert (whole["name"], whole["context"], whole["description"], whole["saved"]) == ("ds", "train", "d", False)
    assert (whole["fingerprint"]["file_count"], whole["fingerprint"]["total_size_bytes"]) == (3, 17000)
    assert one["uri"] == str(data / "a.txt")
    assert one["fingerprint"]["size_bytes"] == 5000
    assert one["fingerprint"]["mtime"] == (data / "a.txt").stat().st_mtime
    assert not (tmp_path / "storage" / "archive").exists()


def test_a_dataset_that_is_saved(tmp_path, data):
    """Each content is in the archive once, under its SHA-256; a manifest names the files of a directory."""
    run = ended(tmp_path, f"run.log_dataset('ds', {str(data)!r}, save=True, context='eval')")
    (entry,) = assets(run.run_dir)["datasets"]
    manifest = json.loads(Path(entry["manifest_path"]).read_text())
    digest = hashlib.sha256()
    for name in ("a.txt", "sub/b.bin", "sub/c.bin"):
        digest.update(f"{name}\0{sha256(data / name)}\0".encode())
        assert manifest["files"][name] == {"sha256": sha256(data / name), "size_bytes": (data / name).stat().st_size}
    assert entry["sha256"] == manifest["fingerprint"] == digest.hexdigest()
    own = Path(entry["archive_path"])
    assert {str(path.relative_to(own)): path.read_bytes() for path in own.rglob("*") if path.is_file()} == {
        name: (data / name).read_bytes() for name in ("a.txt", "sub/b.bin", "sub/c.bin")
    }
    assert run.run_dir.name in own.parts
    assert (entry["saved"], entry["fingerprint_kind"], entry["context"]) == (True, "sha256_manifest", "eval")
    assert (entry["file_count"], entry["total_size_bytes"]) == (3, 17000)
    blobs = [path for path in (tmp_path / "storage/archive/blobs").rglob("*") if path.is_file()]
    assert sorted(path.name for path in blobs) == sorted({sha256(data / "a.txt"), sha256(data / "sub/b.bin")})
    assert all(sha256(path) == path.name and path.parent.name == path.name[:2] for path in blobs)


def test_uris_and_names_are_kept_as_given(tmp_path):
    """A URI, a name on a hub and a dict are recorded as they were given, and nothing is looked for on this host."""
    body = """
run.log_dataset("s3", "s3://bucket/x//y")
run.log_dataset("hf", "hf://datasets/imdb", context="eval")
run.log_dataset("dict", {"kind": "synthetic", "n": 3})
run.log_pretrained("bert", path_or_uri="bert-base/uncased", source_type="hf")
run.log_pretrained("gs", path_or_uri="gs://m/x")
run.log_pretrained("none")
"""
    found = assets(ended(tmp_path, body).run_dir)
    assert [each["uri"] for each in found["datasets"]] == [
        "s3://bucket/x//y",
        "hf://datasets/imdb",
        '{"kind":"synthetic","n":3}',
    ]
    assert found["datasets"][2]["described"] == {"kind": "synthetic", "n": 3}
    assert [each["path_or_uri"] for each in found["pretrained"]] == ["bert-base/uncased", "gs://m/x", None]
    assert [each["saved"] for each in found["datasets"] + found["pretrained"]] == [False] * 6
    assert found["pretrained"][0]["source_type"] == "hf"


def test_the_same_thing_logged_twice_is_there_once(tmp_path, data):
    """Two calls with the same file are one entry and one content; a changed file is another entry."""
    body = f"""
for _ in range(2):
    run.log_dataset("ds", {str(data / "a.txt")!r}, save=True)
    run.log_dataset("unsaved", {str(data)!r})
    run.log_pretrained("w", path_or_uri={str(data / "sub/b.bin")!r}, save=True)
run.log_pretrained("last", path_or_uri={str(data / "sub/b.bin")!r}, save=True)
import json, time
for _ in range(6000):  # until all of these, which are recorded one after the other, were read
    if len(json.loads((run.run_dir / "assets.json").read_bytes())["pretrained"]) == 2:
        break
    time.sleep(0.01)
open({str(data / "a.txt")!r}, "w").write("changed")
run.log_dataset("ds", {str(data / "a.txt")!r}, save=True)
"""
    found = assets(ended(tmp_path, body).run_dir)
    assert [each["name"] for each in found["datasets"]] == ["ds", "unsaved", "ds"]
    assert [each["name"] for each in found["pretrained"]] == ["w", "last"]
    assert found["datasets"][2]["sha256"] == hashlib.sha256(b"changed").hexdigest()


def test_what_is_not_there_is_refused(tmp_path, data):
    """A missing file is refused by name with a warning, once a call's kind, and the rest of the run is stored."""
    body = f"""
run.log_dataset("gone", {str(data / "gone")!r})
run.log_pretrained("lost", path_or_uri={str(data / "lost")!r}, save=True)
run.log(i=1)
"""
    run = ended(tmp_path, body)
    assert str(data / "gone") in run.said
    assert str(data / "lost") in run.said
    found = assets(run.run_dir)
    assert (found["datasets"], found["pretrained"]) == ([], [])
    assert counted(run.run_dir) == [1]


def test_wrong_arguments_raise_and_record_nothing(tmp_path, data):
    """A name that is none, a thing that is no path, and too much to archive raise at the call, with the sizes."""
    body = f"""
def told(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
    else:
        raise AssertionError(args)
told(run.log_dataset, 5, "x")
told(run.log_dataset, "", "x")
told(run.log_dataset, "n", 5)
told(run.log_dataset, "n", {{"bad": object()}})
told(run.log_dataset, "n", "s3://x", save=True)
told(run.log_pretrained, "n", save=True)
told(run.log_dataset, "n", {str(data)!r}, save=True, max_archive_bytes=16999)
told(run.log_dataset, "n", {str(data)!r}, save=True, max_archive_files=2)
run.log_dataset("forced", {str(data)!r}, save=True, max_archive_files=2, force_save=True)
"""
    run = ended(tmp_path, body)
    lines = run.out.splitlines()
    kinds = [line.split()[0].removesuffix("Error") for line in lines]
    assert [kind.removeprefix("Wrong") for kind in kinds] == ["Type", "Value", "Type", "Type", *["Value"] * 4]
    assert "16,999" in lines[6]
    assert "17,000" in lines[6]
    assert [each["name"] for each in assets(run.run_dir)["datasets"]] == ["forced"]


@pytest.mark.parametrize("who", ["writer", "both"])
def test_killed_while_it_archives(tmp_path, who):
    """A writer that is killed while it archives leaves only whole content under final names; another does it."""
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(1 << 20) * 50)
    body = f"""
run = rn.init()
opened(run)
sys.stdin.readline()
run.log(i=1)
run.log_dataset("large", {str(large)!r}, save=True)
returned(1)
sys.stdin.readline()
run.finish()
"""
    trainer = Trainer(tmp_path, body)
    writer = trainer.writer_pid()
    trainer.go_on()
    trainer.wait_returned(1)
    archive = tmp_path / "storage" / "archive" / "blobs"
    wait_until(lambda: list(archive.glob(".*.new")) or any(archive.glob("??/*")))
    os.kill(writer, signal.SIGKILL)
    wait_until(lambda: not is_held(str(trainer.spool / "writer.lock")), what="it dies when its fsync() returns")
    for path in archive.glob("??/*"):
        assert sha256(path) == path.name
    if who == "both":
        recover_killed(trainer, tmp_path)
    else:
        trainer.go_on()
        trainer.end()
    wait_stored(trainer)
    (entry,) = assets(trainer.run_dir)["datasets"]
    assert entry["sha256"] == sha256(large) == sha256(entry["archive_path"])
    assert counted(trainer.run_dir) == [1]


def test_a_file_that_goes_before_it_is_archived(tmp_path, data):
    """A file removed between the call and the copy is recorded as not saved, and status.json says what is missing."""
    body = f"""
sys.stdin.readline()
run.log_dataset("ds", {str(data / "a.txt")!r}, save=True)
__import__("os").unlink({str(data / "a.txt")!r})
returned(1)
sys.stdin.readline()
"""
    trainer = Trainer(tmp_path, f"run = rn.init()\nopened(run)\n{body}\nrun.finish()\n")
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    trainer.go_on()
    trainer.wait_returned(1)
    os.kill(writer, signal.SIGCONT)
    trainer.go_on()
    trainer.end()
    (entry,) = assets(trainer.run_dir)["datasets"]
    assert entry["saved"] is False
    assert "a.txt" in entry["error"]
    (told,) = status(trainer.run_dir)["storage_errors"]
    assert "ds was not archived" in told["error"]
    assert status(trainer.run_dir)["status"] == "finished"


def test_what_is_no_file(tmp_path, data):
    """A FIFO and a device are not waited for, nor read for ever: they are recorded as not saved."""
    os.mkfifo(data / "fifo")
    body = f"""
run.log_dataset("fifo", {str(data / "fifo")!r}, save=True)
run.log_dataset("zero", "/dev/zero", save=True)
run.log_dataset("with a fifo in it", {str(data)!r}, save=True)
"""
    run = ended(tmp_path, body)
    assert [each["saved"] for each in assets(run.run_dir)["datasets"]] == [False, False, True]
    assert "not a regular file" in json.dumps(status(run.run_dir)["storage_errors"])


def test_an_archive_that_cannot_be_written(tmp_path, data):
    """Where the archive is not a directory the run ends all the same, and says that the copy is missing."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "archive").write_text("in the way")
    body = f"run.log(i=1)\nrun.log_dataset('ds', {str(data)!r}, save=True)"
    run = ended(tmp_path, body, RUNICORN_ARCHIVE_WAIT_S="0.5")
    assert counted(run.run_dir) == [1]
    assert any("archive" in each["error"] for each in status(run.run_dir)["storage_errors"])
    assert status(run.run_dir)["status"] == "finished"


def test_after_the_end(tmp_path, data):
    """After finish() every verb warns and records nothing."""
    body = f"""
run.finish()
run.log_dataset("ds", {str(data)!r})
run.log_pretrained("w")
run.watch_outputs(output_dirs=["."])
run.stop_outputs_watch()
assert run.scan_outputs_once(output_dirs=["."]) == {{}}
"""
    run = ended(tmp_path, body)
    assert "was called after finish()" in run.said
    found = assets(run.run_dir)
    assert (found["datasets"], found["pretrained"], found["outputs"]) == ([], [], [])
