"""The archive of the code: reproducible, and of nothing but regular files inside the workspace."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
import zipfile

import pytest

from runicorn.capture import code_snapshot
from runicorn.capture.code_snapshot import write_zip
from runicorn.capture.workspace import list_files

MIB = 1 << 20


def make(root, files):
    for path, content in files.items():
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content)


def zipped(root, files=None, **options):
    out = io.BytesIO()
    result = write_zip(str(root), list_files(str(root)).files if files is None else files, out, **options)
    return out.getvalue(), result


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


TREE = {"b/c.py": b"c" * 1000, "a.py": b"print()\n", "b/é 中.md": b"\xff\x00", "z": b"", "b/a/deep": b"1"}


def test_an_archive_holds_the_files_as_they_are(tmp_path):
    """Every name and every byte; what is told of it is right."""
    make(tmp_path, TREE)

    data, result = zipped(tmp_path)

    assert contents(data) == TREE
    assert (result.count, result.total_bytes, result.missing) == (5, sum(map(len, TREE.values())), [])


def test_a_tool_that_is_not_pythons_can_read_it(tmp_path):
    """``unzip`` finds nothing wrong."""
    if shutil.which("unzip") is None:
        pytest.skip("there is no unzip")
    make(tmp_path, {f"w/{path}": content for path, content in TREE.items()})
    (tmp_path / "a.zip").write_bytes(zipped(tmp_path / "w")[0])

    subprocess.run(["unzip", "-qt", tmp_path / "a.zip"], check=True)


def test_the_same_tree_gives_the_same_bytes(tmp_path):
    """Whatever the times, the order in which files were made or listed, the umask, and the place."""
    make(tmp_path / "one", TREE)
    make(tmp_path / "two", dict(reversed(TREE.items())))
    for number, path in enumerate(TREE):
        os.utime(tmp_path / "two" / path, (number * 10**8, number * 10**8))
        os.chmod(tmp_path / "two" / path, 0o600)
    listed = [(path, 0) for path in TREE]

    first = zipped(tmp_path / "one")[0]

    assert zipped(tmp_path / "one")[0] == first
    assert zipped(tmp_path / "two")[0] == first
    assert zipped(tmp_path / "two", listed)[0] == first
    assert zipped(tmp_path / "two", listed[::-1])[0] == first


def test_an_entry_says_nothing_but_name_content_and_whether_it_may_be_run(tmp_path):
    """No time, no owner, no group, no extra field; sorted by name."""
    make(tmp_path, TREE)
    os.chmod(tmp_path / "a.py", 0o700)
    os.chmod(tmp_path / "z", 0o677)

    with zipfile.ZipFile(io.BytesIO(zipped(tmp_path)[0])) as archive:
        entries = archive.infolist()

    assert [entry.filename for entry in entries] == sorted(TREE)
    modes = {entry.filename: entry.external_attr >> 16 for entry in entries}
    assert modes == {**dict.fromkeys(TREE, 0o100644), "a.py": 0o100755}
    for entry in entries:
        assert (entry.date_time, entry.extra, entry.comment) == ((1980, 1, 1, 0, 0, 0), b"", b"")
        assert (entry.create_system, entry.compress_type) == (3, zipfile.ZIP_DEFLATED)


def test_a_file_that_has_gone_is_missing_and_the_others_are_stored(tmp_path):
    """So is everything below a directory that has gone, and everything where the root has."""
    make(tmp_path, TREE)
    listed = list_files(str(tmp_path)).files
    (tmp_path / "a.py").unlink()
    shutil.rmtree(tmp_path / "b")

    data, result = zipped(tmp_path, listed)

    assert contents(data) == {"z": b""}
    assert result.missing == ["a.py", "b/a/deep", "b/c.py", "b/é 中.md"]
    assert zipped(tmp_path / "nowhere", listed)[1].missing == sorted(TREE)


@pytest.mark.parametrize("become", ["symlink", "fifo", "directory"])
def test_a_file_that_is_none_any_more_is_missing(tmp_path, become):
    """A symlink is not followed, a FIFO is not waited for."""
    make(tmp_path, {"w/a": b"", "w/b": b"b", "secret": b"secret"})
    listed = list_files(str(tmp_path / "w")).files
    at = tmp_path / "w/a"
    at.unlink()
    {"symlink": lambda: at.symlink_to(tmp_path / "secret"), "fifo": lambda: os.mkfifo(at), "directory": at.mkdir}[
        become
    ]()

    data, result = zipped(tmp_path / "w", listed)

    assert contents(data) == {"b": b"b"}
    assert result.missing == ["a"]


@pytest.mark.parametrize("stepwise", [True, False])
def test_a_directory_that_became_a_symlink_is_not_followed(tmp_path, monkeypatch, stepwise):
    """Neither out of the workspace nor to another place in it, however deep, whichever way files are opened."""
    monkeypatch.setattr(code_snapshot, "_STEPWISE", stepwise)
    make(tmp_path, {"w/a/b/c/x": b"mine", "w/a/b/y": b"y", "w/other/c/x": b"other", "out/b/c/x": b"secret"})
    listed = list_files(str(tmp_path / "w")).files
    (tmp_path / "w/a/b/c").rename(tmp_path / "w/moved")
    (tmp_path / "w/a/b/c").symlink_to(tmp_path / "w/other/c")

    data, result = zipped(tmp_path / "w", listed)

    assert contents(data) == {"a/b/y": b"y", "other/c/x": b"other"}
    assert result.missing == ["a/b/c/x"]
    shutil.rmtree(tmp_path / "w/a")
    (tmp_path / "w/a").symlink_to(tmp_path / "out")
    assert zipped(tmp_path / "w", listed)[1].missing == ["a/b/c/x", "a/b/y"]


@pytest.mark.parametrize("stepwise", [True, False])
@pytest.mark.parametrize("path", ["../secret", "/secret", "a/../../secret", "./a", "a//x", "", "x\0y"])
def test_a_path_that_leads_elsewhere_is_missing(tmp_path, monkeypatch, path, stepwise):
    """What was listed may have been tampered with."""
    monkeypatch.setattr(code_snapshot, "_STEPWISE", stepwise)
    make(tmp_path, {"w/a/x": b"", "secret": b"secret"})

    data, result = zipped(tmp_path / "w", [(path, 0)])

    assert (contents(data), result.missing) == ({}, [path])


def test_a_root_may_be_reached_through_a_symlink(tmp_path):
    """It is the user's word."""
    make(tmp_path, {"w/a": b"1"})
    (tmp_path / "link").symlink_to("w")

    assert contents(zipped(tmp_path / "link", [("a", 1)])[0]) == {"a": b"1"}


def test_a_file_that_grew_after_the_listing_is_stored_as_it_is_now(tmp_path):
    """The listed size is of another time."""
    make(tmp_path, {"a": b"1" * 100, "b": b"2" * 100})
    listed = list_files(str(tmp_path)).files
    make(tmp_path, {"a": b"1" * 5000, "b": b"2"})

    data, result = zipped(tmp_path, listed)

    assert contents(data) == {"a": b"1" * 5000, "b": b"2"}
    assert (result.total_bytes, result.missing) == (5001, [])


def test_a_file_that_grows_while_it_is_read_has_an_end(tmp_path):
    """It is stored with the length that it had when it was opened; one that shrinks is told."""
    make(tmp_path, {"log": b"." * (2 * MIB + 5), "shrinks": b"." * (2 * MIB)})

    def grow(_read):
        with open(tmp_path / "log", "ab") as file:
            file.write(b"+" * (3 * MIB))
        os.truncate(tmp_path / "shrinks", MIB)

    data, result = zipped(tmp_path, [("log", 0)], progress=grow)
    assert contents(data) == {"log": b"." * (2 * MIB + 5)}

    make(tmp_path, {"shrinks": b"." * (2 * MIB)})
    data, result = zipped(tmp_path, [("shrinks", 0)], progress=grow)
    assert (contents(data), result.missing) == ({"shrinks": b"." * MIB}, ["shrinks"])


def test_progress_is_told_in_bytes_read(tmp_path):
    """Block by block; together they are the total."""
    make(tmp_path, {"a": b"." * (3 * MIB + 5), "b": b"12"})
    told = []

    _, result = zipped(tmp_path, progress=told.append)

    assert sum(told) == result.total_bytes == 3 * MIB + 7
    assert max(told) <= MIB


def test_memory_does_not_grow_with_the_files(tmp_path):
    """A file of 24 MiB that cannot be compressed passes through a few."""
    (tmp_path / "big").write_bytes(random.Random(1).randbytes(MIB) * 24)
    with open(tmp_path / "out.zip", "wb") as out:
        tracemalloc.start()
        write_zip(str(tmp_path), [("big", 24 * MIB)], out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 8 * MIB


def test_descriptors_are_given_back(tmp_path):
    """After an archive with missing files as well."""
    make(tmp_path, {f"d{number}/e/f": b"" for number in range(50)})
    listed = list_files(str(tmp_path)).files
    shutil.rmtree(tmp_path / "d7")
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []

    zipped(tmp_path, [*listed, ("nowhere/x", 0)])

    assert (os.listdir("/proc/self/fd") if sys.platform == "linux" else []) == before


def test_an_archive_that_cannot_be_written_is_an_error(tmp_path):
    """The caller decides whether to try again."""
    make(tmp_path, TREE)
    with open("/dev/full", "wb", buffering=0) as out, pytest.raises(OSError, match="No space"):
        write_zip(str(tmp_path), list_files(str(tmp_path)).files, out)
