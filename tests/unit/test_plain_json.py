"""A JSON object is read from a regular file of bounded size, and from nothing else."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from runicorn.storage import plain_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": Infinity}', {"a": float("inf")}),
        (b'{"a": 1' + b"0" * 400 + b"}", {"a": 10**400}),
    ],
    ids=["plain", "byte order mark", "bare infinity", "integer of 400 digits"],
)
def test_an_object_is_read(tmp_path: Path, content: bytes, found: dict[str, object]) -> None:
    """What editors and other writers make of an object is read too."""
    (tmp_path / "a.json").write_bytes(content)
    assert plain_json.read_object(str(tmp_path / "a.json")) == found


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[1]", "not a JSON object"),
        (b"\0" * 4096, "not a JSON object"),
        (b'{"a": ', "not a JSON object"),
        (b'{"a": "\xff\xfe"}', "not a JSON object"),
        (b'{"a": ' + b"9" * 400_000 + b"}", "not a JSON object"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    """Damage of any kind is one error that says what is there."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(plain_json.UnfitFileError, match=reason):
        plain_json.read_object(str(tmp_path / "a.json"))


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    """A file with a hole of a terabyte costs nothing."""
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(plain_json.UnfitFileError, match="larger than 67,108,864 bytes"):
        plain_json.read_object(str(path))
    path.write_bytes(b'{"a": 1}')
    with pytest.raises(plain_json.UnfitFileError, match="larger than 7 bytes"):
        plain_json.read_object(str(path), most_bytes=7)
    assert plain_json.read_object(str(path), most_bytes=8) == {"a": 1}


def _socket(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")  # a socket's name may not be long
    finally:
        os.close(directory)


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to(__file__),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}
if os.path.isdir("/proc/self/fd"):
    KINDS["a socket"] = _socket


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    """Nothing is waited for, followed, or read without an end, by path or from a descriptor of the directory."""
    KINDS[kind](tmp_path / "a.json")
    reason = "a link" if "link" in kind else "not a regular file"
    with pytest.raises(plain_json.UnfitFileError, match=reason):
        plain_json.read_object(str(tmp_path / "a.json"))
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(plain_json.UnfitFileError, match=reason):
            plain_json.read_object("a.json", dir_fd=directory)
    finally:
        os.close(directory)


def test_a_file_that_is_not_there_is_no_damage(tmp_path: Path) -> None:
    """A missing file is told by its own error."""
    with pytest.raises(FileNotFoundError):
        plain_json.read_object(str(tmp_path / "a.json"))
