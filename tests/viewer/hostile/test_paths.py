"""Clients never name files: whatever stands in a parameter, nothing outside of the storage is opened, or waited for."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

SECRET = "the-secret-outside"
KEY = "20260101_120000_abcdef"
UP = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%252f",
    "....//",
    "..\\",
    "..%5c",
    "%c0%ae%c0%ae/",
    "..;/",
    ".%00./",
    "%u002e%u002e/",
)
TARGETS = ("secret.txt", "../secret.txt", "../../secret.txt", "../../../../../../../../etc/passwd", "storage/runs")
SPELLINGS = [
    *(up * depth + target for up in UP for depth, target in ((1, "secret.txt"), (4, "secret.txt"), (8, "etc/passwd"))),
    *TARGETS,
    *(
        "/etc/passwd",
        "//etc/passwd",
        "file:///etc/passwd",
        "\\\\etc\\passwd",
        "C:\\Windows\\win.ini",
        "~/secret",
        "$HOME",
    ),
    *(
        "\x00",
        "%00",
        "logs.txt%00.png",
        f"{KEY}/../{KEY}",
        f"./{KEY}",
        f"{KEY}/",
        f"{KEY}%2f..%2f{KEY}",
        ".",
        "..",
        "*",
        "?",
    ),
    *("-1", "1e9", "0x0", "९", "999999999999999999999999", "1;ls", "NaN", "\udcff"),
]
opened: list[str] = []


def note(event, arguments):
    """An audit hook cannot be taken back: it notes only while a test of this module watches."""
    if getattr(note, "is_on", False) and event in {"open", "os.listdir", "os.scandir", "socket.connect"}:
        opened.append(f"{event} {arguments[1] if event == 'socket.connect' else arguments[0]}")


sys.addaudithook(note)


@pytest.fixture
def watched():
    """Every path that is opened while this is on; in the end none of them is outside of what may be read."""
    opened.clear()
    note.is_on = True
    yield opened
    note.is_on = False


def outside(storage, tmp_path):
    """What was opened that is no part of the storage, the cache, Python, the package, or what tells of processes."""
    allowed = [
        str(storage),
        str(tmp_path / "cache"),
        str(tmp_path / "viewers"),
        sys.prefix,
        sys.base_prefix,
        "/proc/",
        "/usr/lib",
    ]
    allowed += [
        str(Path(module.__file__).parents[1]) for module in (pytest, sys.modules["runicorn"], sys.modules["starlette"])
    ]
    allowed += [os.environ["RUNICORN_SHM_DIR"], os.environ["TMPDIR"], "/etc/machine-id", "/dev/null", "/etc/localtime"]
    found = []
    for entry in tuple(opened):  # it grows
        event, _, path = entry.partition(" ")
        if path.isdecimal() or path.startswith(("b'", "<")):
            continue
        if event == "open" and "/" not in path and path != "..":  # by the descriptor of a folder that was opened before
            continue
        if event == "socket.connect" or not os.path.realpath(path).startswith(tuple(map(os.path.realpath, allowed))):
            found.append(entry)
    return found


def escaped(text):
    """A spelling as a client would send it: what no address can hold is percent-encoded."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "?#" else "%FF" for c in text)


def test_no_spelling_of_a_path_opens_anything_outside(client, storage, tmp_path, watched):
    """Each in the place of the key, of a source, of a file of the page, of a metric and in the query: nothing comes."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (storage / "secret.txt").write_text(SECRET)
    watched.clear()
    for spelling in SPELLINGS:
        path = escaped(spelling)
        answers = [
            client.get(f"/api/v1/runs/{path}{rest}")
            for rest in ("", "/metrics", "/config", "/logs", "/logs/search?q=a", "/images", "/assets", "/assets/users")
        ]
        answers += [
            client.get(f"/api/v1/{place}{path}{rest}")
            for place, rest in (
                *((f"runs/{KEY}/images/", ""), ("files/", ""), (f"runs/{KEY}/assets/", "/members")),
                *((f"runs/{KEY}/assets/0/members/", ""), (f"runs/{KEY}/assets/", "/members/0")),
            )
        ]
        for name in ("runs", "member", "from", "to"):
            given = {"runs": KEY, "member": "0", name: spelling.encode("utf-8", "replace").decode()}
            answers += [client.get(f"/api/v1/compare{rest}", params=given) for rest in ("", "/metrics", "/code")]
        answers += [client.get(f"/static/{path}"), client.get(f"/static/vendor/{path}"), client.get(f"/run/{path}")]
        for name, value in (
            ("source", spelling),
            ("offset", spelling),
            ("since", spelling),
            ("cols", spelling),
            ("q", spelling),
        ):
            given = {name: value.encode("utf-8", "replace").decode()}
            answers.append(client.get(f"/api/v1/runs/{KEY}/logs", params=given))
            answers.append(client.get("/api/v1/runs", params=given))
            answers.append(client.get(f"/api/v1/runs/{KEY}/metrics", params=given))
            answers.append(client.get(f"/api/v1/runs/{KEY}/images", params=given))
        for name in ("key", "at", "from", "limit", "offset"):
            given = {"key": "k", name: spelling.encode("utf-8", "replace").decode()}
            answers.append(client.get(f"/api/v1/runs/{KEY}/images", params=given))
            answers.append(client.get(f"/api/v1/runs/{KEY}/assets/0/members", params=given))
        for name in ("run", "kind", "number", "member", "name"):
            wish = {"run": KEY, "kind": "asset", "number": 0, name: spelling}
            answers.append(client.post("/api/v1/tickets", content=json.dumps(wish)))
        body = {"runs": [spelling], "metrics": [spelling], "x": f"metric:{spelling}", "stage": spelling}
        answers.append(client.post("/api/v1/curves?format=json", content=str(body).replace("'", '"')))
        for answer in answers:
            assert SECRET.encode() not in answer.content, spelling
            assert b"root:" not in answer.content, spelling
            assert answer.status_code < 500, (spelling, answer.content)
    assert not outside(storage, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["logs.txt", "events.jsonl", "meta.json", "summary.json", "assets.json", "environment.json", "code_snapshot.zip"],
)
@pytest.mark.parametrize("what", ["link", "fifo", "socket", "directory", "device link", "loop"])
def test_what_is_no_file_is_neither_served_nor_waited_for(open_viewer, make_run, tmp_path, name, what):
    """A link out, a FIFO, a socket, a device, a loop in the place of a file of a run: every answer comes without it."""
    run_dir = make_run()
    place, secret = run_dir / name, tmp_path / "secret.txt"
    secret.write_text('{"id": "x", "path": "' + SECRET + '", "loss": "' + SECRET + '"}\n')
    place.unlink(missing_ok=True)
    if what == "link":
        place.symlink_to(secret)
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "socket":
        made = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(run_dir)  # a name of a socket is short
        made.bind(name)
        os.chdir(here)
        made.close()
    elif what == "directory":
        place.mkdir()
    elif what == "device link":
        place.symlink_to("/dev/zero")
    else:
        place.symlink_to(place)
    client = open_viewer()
    rest = ["", "/metrics?figures=1", "/config", "/summary", "/environment", "/problems", "/logs", "/logs/search?q=a"]
    rest += ["/images", "/images?at=", "/assets", "/assets/users", "/assets/0/members"]
    for path in [
        "/api/v1/runs",
        "/api/v1/runs/columns",
        "/api/v1/problems",
        *(f"/api/v1/compare{each}?runs={KEY}&member=0" for each in ("", "/metrics", "/code")),
        *(f"/api/v1/runs/{KEY}{each}" for each in rest),
    ]:
        answer = client.get(path)
        assert answer.status_code in {200, 400, 404}, (path, answer.content)
        assert SECRET.encode() not in answer.content, path
    answer = client.post("/api/v1/curves", json={"runs": [KEY], "metrics": ["loss"]})
    assert answer.status_code == 200
    assert SECRET.encode() not in answer.content


def test_a_link_in_the_place_of_a_run_is_no_run(open_viewer, make_run, tmp_path):
    """A directory that is reached by a link is not in the table, and cannot be named."""
    run_dir = make_run()
    elsewhere = tmp_path / "elsewhere"
    run_dir.rename(elsewhere)
    run_dir.symlink_to(elsewhere)
    client = open_viewer()
    assert client.get("/api/v1/runs").json()["columns"]["key"] == []
    assert client.get(f"/api/v1/runs/{KEY}").status_code == 404


def test_names_of_runs_that_are_no_keys_are_addressed_by_one(open_viewer, make_run):
    """A directory of any name is shown with its name, and its key is text that stands in an address as it is."""
    for name in ("a b", "a%2f..", "<script>", "ü", "x" * 200, "a?b#c", "-rf", "..."):
        make_run(name)
    client = open_viewer()
    columns = client.get("/api/v1/runs").json()["columns"]
    assert sorted(columns["id"]) == sorted(["a b", "a%2f..", "<script>", "ü", "x" * 200, "a?b#c", "-rf", "..."])
    for key, name in zip(columns["key"], columns["id"], strict=True):
        assert all(character.isalnum() or character in "-_.~" for character in key)
        assert client.get(f"/api/v1/runs/{key}").json()["run"]["id"] == name


def test_the_same_id_twice_has_two_keys(open_viewer, make_run, storage, tmp_path):
    """Two storages with a run of one id: both are there, and each key is one of them."""
    make_run(log="first\n")
    other = tmp_path / "other"
    (storage).rename(other)
    make_run(log="second\n")
    client = open_viewer(storage, other)
    columns = client.get("/api/v1/runs").json()["columns"]
    assert columns["key"] == [KEY, f"{KEY}~1"]
    assert [client.get(f"/api/v1/runs/{key}/logs").json()["text"] for key in columns["key"]] == ["second\n", "first\n"]
