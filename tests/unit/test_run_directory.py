"""A run directory from elsewhere, or that a group can write: nothing in it is followed, waited for or lost."""

from __future__ import annotations

import errno
import json
import os
import socket
import zipfile
from pathlib import Path

import pytest
from support import wait_until

import runicorn
from runicorn.host.identity import hostname
from runicorn.storage import run_files
from runicorn.storage.run_directory import RunDir

POINTER = f".spool-{hostname()}"


@pytest.fixture
def ended(open_run) -> Path:
    """A run that has ended, with an alias, a tag, a summary and an image directory."""
    run = open_run(path="p", run_id="r", alias="paper")
    run.log({"a": 1})
    run.summary({"acc": 0.9})
    run.finish()
    meta = json.loads((run.run_dir / "meta.json").read_text())
    (run.run_dir / "meta.json").write_text(json.dumps({**meta, "tags": ["good"]}))
    return Path(run.run_dir)


def resume(open_run):
    run = open_run(path="p", run_id="r")
    run.log({"a": 2})
    run.log_text("hello")
    run.summary({"b": 1})
    run.finish()
    return run


def plant(at: Path, kind: str, elsewhere: Path) -> None:
    if at.is_dir():
        at.rmdir()
    at.unlink(missing_ok=True)
    {
        "FIFO": lambda: os.mkfifo(at),
        "directory": lambda: (at.mkdir(), (at / "inside").write_text("precious")),
        "link to a device": lambda: at.symlink_to("/dev/zero"),
        "link to a file": lambda: at.symlink_to(elsewhere),
        "link to nothing": lambda: at.symlink_to("nothing"),
        "link to a directory": lambda: at.symlink_to(elsewhere.parent),
        "socket": lambda: bind(at),
    }[kind]()


def bind(at: Path) -> None:
    here = os.open(at.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{at.name}")  # a socket's name may not be long
    os.close(here)


KINDS = ["FIFO", "directory", "link to a device", "link to a file", "link to nothing", "link to a directory"]
if os.path.isdir("/proc/self/fd"):
    KINDS.append("socket")
FILES = ["meta.json", "status.json", "summary.json", "assets.json", "events.jsonl", "logs.txt", "media", POINTER]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_ours_is_kept_beside(name, kind, ended, open_run, tmp_path):
    """A resume takes nothing of it, writes nothing through it, waits for nobody, and keeps it; the run ends well."""
    if (name, kind) == ("media", "directory"):
        kind = "FIFO"  # there a directory is what there should be
    elsewhere = tmp_path / "home" / "thesis.tex"
    elsewhere.parent.mkdir()
    elsewhere.write_text("precious\n")
    plant(ended / name, kind, elsewhere)

    resume(open_run)

    assert (elsewhere.read_text(), os.listdir(elsewhere.parent)) == ("precious\n", ["thesis.tex"])
    assert json.loads((ended / "status.json").read_text())["status"] == "finished"
    assert '"a":2' in (ended / "events.jsonl").read_text().replace(" ", "")
    kept = [each for each in os.listdir(ended) if ".damaged-" in each]
    assert [each.partition(".damaged-")[0] for each in kept] == [name.lstrip(".")]
    assert stat_kind(ended / kept[0]) != "file"
    assert not (ended / POINTER).exists()


def stat_kind(path: Path) -> str:
    return "link" if path.is_symlink() else "file" if path.is_file() else "other"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b'{"a": "\xff"}', b"\0" * 100],
    ids=["empty", "cut", "a list", "no UTF-8", "zeros"],
)
@pytest.mark.parametrize("name", ["meta.json", "status.json", "summary.json", "assets.json"])
def test_a_json_file_that_cannot_be_read_is_kept_beside(name, content, ended, open_run):
    """A resume never wipes what somebody has edited by hand: the file as it was is beside the new one."""
    (ended / name).write_bytes(content)
    resume(open_run)
    (kept,) = ended.glob(f"{name}.damaged-*")
    assert kept.read_bytes() == content
    assert json.loads((ended / name).read_text())


@pytest.mark.detached_writer
def test_assets_that_cannot_be_read_are_replaced_at_once(ended, open_run):
    """A run that goes on has an assets file that can be read before anything is logged, or ended."""
    (ended / "assets.json").write_bytes(b"{")
    run = open_run(path="p", run_id="r")
    assert run.run_dir == ended
    wait_until(lambda: (ended / "assets.json").exists() and (ended / "assets.json").read_bytes() != b"{")
    assert json.loads((ended / "assets.json").read_text()) == run_files.EMPTY_ASSETS


def test_a_byte_order_mark_is_no_damage(ended, open_run):
    """What an editor of Windows saves is read, and nothing of it is lost by a resume."""
    for name in ("meta.json", "summary.json", "assets.json", "status.json"):
        (ended / name).write_text((ended / name).read_text(), encoding="utf-8-sig")
    resume(open_run)
    meta = json.loads((ended / "meta.json").read_text())
    assert (meta["alias"], meta["tags"]) == ("paper", ["good"])
    assert json.loads((ended / "summary.json").read_text())["acc"] == 0.9
    assert list(ended.glob("*damaged*")) == []


@pytest.mark.parametrize("name", ["events.jsonl", "logs.txt"])
def test_a_file_with_a_second_name_is_copied_first(name, ended, open_run, tmp_path):
    """What a backup by hard links has, or any other file, does not grow with the run."""
    (ended / name).touch()
    os.link(ended / name, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    resume(open_run)
    assert (tmp_path / "backup").read_bytes() == before
    assert (ended / name).read_bytes().startswith(before)
    assert len((ended / name).read_bytes()) > len(before)


@pytest.mark.parametrize("temporary", [".{}.new", ".{}.00000000.new", ".{}.0123456789abcdef.new"])
def test_links_under_the_names_of_temporary_files_are_not_followed(temporary, ended, open_run, tmp_path):
    """Whatever temporary name somebody has guessed: what it leads to is as it was."""
    (tmp_path / "thesis.tex").write_text("precious")
    for name in ("meta.json", "status.json", "summary.json", "assets.json"):
        (ended / temporary.format(name)).symlink_to(tmp_path / "thesis.tex")
    resume(open_run)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_run_directory_that_is_a_link_is_refused(ended, open_run, tmp_path):
    """No file is written into the directory that it leads to."""
    ended.rename(tmp_path / "elsewhere")
    ended.symlink_to(tmp_path / "elsewhere")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "elsewhere").iterdir())
    with pytest.raises(PermissionError, match="It is a link"):
        open_run(path="p", run_id="r")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "elsewhere").iterdir()) == before


def test_a_storage_may_be_reached_by_a_link(open_run, tmp_path):
    """Where the storage lies is the user's choice."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    run = open_run(path="p", storage=str(tmp_path / "link"))
    run.log({"a": 1})
    run.finish()
    assert len(list((tmp_path / "disk/runs/p").iterdir())) == 1


def test_what_a_killed_writer_had_half_written_goes(ended, open_run):
    """Rests of this host's writer go with the next one; those of others, and what is not of us, stay."""
    files = RunDir(str(ended))
    rests = [files._new_name("meta.json"), f"media/{files._new_name('a.png')}"]
    files.close()
    kept = [".meta.json.1a.01234567.new", ".gitignore", ".notes.new", f".a.{'0' * 16}.new"]
    for name in (*rests, *kept):
        (ended / name).write_text("half")
    resume(open_run)
    assert [name for name in (*rests, *kept) if (ended / name).exists()] == kept


def test_a_full_storage_leaves_no_word_half_written(tmp_path, monkeypatch):
    """Where the word that names the spool cannot be written nothing of it is left, also not under another name."""
    from runicorn.queue import rendezvous
    from runicorn.storage import directory_kinds

    def full(_fd, _content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            rendezvous.publish(str(tmp_path / POINTER), "/dev/shm/spool", directory_kinds.RUN)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_could_not_be_opened_leaves_what_others_have_put_there(tmp_path):
    """Of a failed init() only what it has written itself goes."""
    made = runicorn.storage.paths.make_directories(str(tmp_path / "storage/runs/p/r"))
    run_dir = Path(made[-1])
    (run_dir / "meta.json").touch()
    (run_dir / "media").mkdir()
    (run_dir / "thesis.tex").write_text("precious")
    runicorn.storage.paths.remove_made(made)
    assert os.listdir(run_dir) == ["thesis.tex"]
    (run_dir / "thesis.tex").unlink()
    runicorn.storage.paths.remove_made(made)
    assert os.listdir(tmp_path) == []
    assert run_files.MEDIA == "media"


@pytest.mark.parametrize("kind", ["directory", "file", "FIFO"])
def test_what_has_the_name_of_the_archived_code_is_kept_beside(open_run, ended, tmp_path, kind):
    """What lies under code_snapshot.zip, and is no archive, is kept when a resumed run archives its code."""
    place = ended / run_files.CODE
    if kind == "FIFO":
        os.mkfifo(place)
    elif kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").touch()
    root = tmp_path / "code"
    root.mkdir()
    (root / "a.py").touch()
    open_run(path="p", run_id="r", snapshot_code=True, workspace_root=str(root)).finish()
    assert zipfile.is_zipfile(place)
    (kept,) = ended.glob(f"{run_files.CODE}.damaged-*")
    assert kind == "FIFO" or (kept / "mine").exists() or kept.read_text() == "mine"


def test_directory_in_the_place_of_a_file_of_a_live_run_is_kept_beside(open_run, ended):
    """A directory that somebody puts in the place of status.json while the run is live does not stop its end."""
    run = open_run(path="p", run_id="r")
    place = ended / "status.json"
    place.unlink()
    place.mkdir()
    (place / "mine").touch()
    run.finish()
    assert json.loads(place.read_text())["status"] == "finished"
    (kept,) = ended.glob("status.json.damaged-*")
    assert (kept / "mine").exists()
