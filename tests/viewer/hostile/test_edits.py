"""Who may change something, and with what: each route that writes, and every body that it must not take."""

from __future__ import annotations

import json
import os
import re
import threading
from itertools import product
from pathlib import Path

import pytest
from asking import TestClient
from test_limits import tree
from test_paths import SPELLINGS, escaped, opened, outside, watched  # noqa: F401 - a fixture

from runicorn.viewer import limits
from runicorn.viewer.app import ROUTES, make_app

KEY = "20260101_120000_abcdef"
WRITES = {
    ("PATCH", f"/api/v1/runs/{KEY}"): {"alias": "evil"},
    ("POST", "/api/v1/runs/tags"): {"runs": [KEY], "add": ["evil"]},
    ("POST", "/api/v1/runs/delete"): {"runs": [KEY]},
    ("POST", "/api/v1/runs/restore"): {"runs": [KEY]},
    ("PUT", "/api/v1/views/evil"): {"query": "a=b"},
    ("DELETE", "/api/v1/views/mine"): None,
}
HARMLESS = {("POST", "/api/v1/curves"), ("POST", "/api/v1/stop")}
PAYLOADS = [
    "<img src=x onerror=alert(1)>",
    "\x00",
    "\x1b]0;a\x07",
    "a\nb",
    "\u202e\u2066x",
    "x" * 200,
    "'; DROP TABLE experiments; --",
    "../../etc/passwd",
    "%s%n{0}",
    "\U0001f984",
    "e\u0301",
]


@pytest.fixture
def stored(client, storage):
    """A run, a run in the recycle bin, and a view."""
    assert client.put("/api/v1/views/mine", json={"query": "a=b"}).status_code == 200
    bin_dir = storage / "runs" / ".recycle" / "gone"
    bin_dir.mkdir(parents=True)
    (bin_dir / "meta.json").write_text("{}")
    return client


def test_each_route_that_writes_is_in_this_list():
    """A new one has to come here."""
    there = {
        (method, route.path.replace("{key}", KEY).replace("{name}", "evil" if method == "PUT" else "mine"))
        for route in ROUTES
        for method in route.methods or ()
        if method not in {"GET", "HEAD"} and not route.path.endswith("/tickets")
    }
    assert there == {*WRITES, *HARMLESS}


def test_nobody_without_the_token_or_from_elsewhere_changes_anything(stored, storage):
    """No token, a wrong one, one in the query or a cookie; another origin, site or host; a form: nothing is changed."""
    token = stored.viewer.token.text
    bare = TestClient(make_app(stored.viewer), base_url="http://localhost:23300")
    before = tree(storage)
    for (method, path), body in WRITES.items():
        for headers in ({}, {"X-Runicorn-Token": token[:-1]}, {"Cookie": f"X-Runicorn-Token={token}"}):
            answer = bare.request(method, f"{path}?t={token}", headers=headers, json=body)
            assert answer.status_code == 401, (path, headers)
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:8888"},
            {"Host": "evil.example"},
            *({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode} for site, mode in product(
                ("cross-site", "same-site"), ("cors", "no-cors", "navigate"))),
        ):  # fmt: skip
            assert stored.request(method, path, headers=headers, json=body).status_code == 403, (path, headers)
        assert stored.options(path, headers={"Access-Control-Request-Method": method}).status_code == 403
    assert tree(storage) == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_a_body_that_a_form_could_send_is_refused(stored, storage, kind):
    """What is not ``application/json`` changes nothing, whatever is in it."""
    before = tree(storage)
    for (method, path), body in WRITES.items():
        if body is not None:
            answer = stored.request(method, path, content=json.dumps(body), headers={"Content-Type": kind})
            assert answer.status_code == 400, path
    assert tree(storage) == before


def test_odd_and_large_bodies_are_refused(stored, storage):
    """No JSON, other types, unknown members, too many, too long, too deep, too large: 400 or 413, nothing changes."""
    before = tree(storage)
    as_json = {"Content-Type": "application/json"}
    for (method, path), body in WRITES.items():
        if body is None:
            continue
        odd_bytes = (b"", b"[]", b"null", b"{", b"\xff", b"1", b'"a"', b"[" * 100_000, b'{"unknown": 1}', b"{}" * 2)
        for content in odd_bytes:
            answer = stored.request(method, path, content=content, headers=as_json)
            assert answer.status_code == 400, (path, content[:20])
        large = json.dumps({**body, "notes": "x" * limits.BODY_BYTES}).encode()
        assert stored.request(method, path, content=large, headers=as_json).status_code == 413, path
        packed = {**as_json, "Content-Encoding": "gzip"}
        assert stored.request(method, path, content=json.dumps(body), headers=packed).status_code == 400, path
    odd = [
        {"alias": 1}, {"alias": ["a"]}, {"notes": {}}, {"tags": "a"}, {"tags": ["a"]}, {"tags": {"add": "a"}},
        {"tags": {"add": [1]}}, {"tags": {"add": [None]}}, {"was": {"tags": "a"}}, {"was": []}, {"force_other_host": 1},
        {"alias": "x" * 201}, {"notes": "x" * 20_001}, {"tags": {"add": ["x" * 201]}}, {"tags": {"add": ["a,b"]}},
        {"tags": {"add": [" "]}}, {"tags": {"add": ["a"], "remove": ["a"]}}, {"tags": {"add": ["a"] * 201}},
        {"id": "x"}, {"status": "finished"}, {"path": "../.."},
    ]  # fmt: skip
    for body in odd:
        assert stored.patch(f"/api/v1/runs/{KEY}", json=body).status_code == 400, body
    for path, runs in product(("tags", "delete", "restore"), ([], "all", [1], [None], [KEY] * 501, {"a": 1})):
        assert stored.post(f"/api/v1/runs/{path}", json={"runs": runs}).status_code == 400, (path, runs)
    for query in (1, None, [], "x" * 8001, "a\nb", "?a=b", "/a", "#t=x", "\x00"):
        assert stored.put("/api/v1/views/evil", json={"query": query}).status_code == 400, query
    assert tree(storage) == before


def test_read_only_changes_nothing(open_viewer, storage, make_run):
    """Each route that writes is 403 and says why; what shows views and the recycle bin answers."""
    make_run()
    writer = open_viewer()
    writer.put("/api/v1/views/mine", json={"query": "a=b"})
    client = open_viewer(read_only=True)
    before = tree(storage)
    for (method, path), body in WRITES.items():
        answer = client.request(method, path, json=body)
        assert (answer.status_code, "read-only" in answer.json()["error"]["what"]) == (403, True), path
    assert client.get("/api/v1/views").json()["views"][0]["name"] == "mine"
    assert client.get("/api/v1/runs/deleted").json()["runs"] == []
    assert tree(storage) == before


def test_reading_views_and_the_recycle_bin_changes_nothing(stored, storage):
    """GET of both, over a storage that has them, and over one that has neither."""
    before = tree(storage)
    for path in ("views", "runs/deleted"):
        assert stored.get(f"/api/v1/{path}").status_code == 200
    assert tree(storage) == before


@pytest.mark.usefixtures("watched")
def test_no_spelling_of_a_key_or_a_name_leads_out(stored, storage, tmp_path):
    """Of a run, of one in the bin, of a view: nothing outside the storage is opened, made, moved or removed."""
    (tmp_path / "secret.json").write_text('{"kind": "runicorn view", "query": "a=b"}')
    (storage / "secret.json").write_text('{"kind": "runicorn view", "query": "a=b"}')
    before = {str(path): path.stat().st_mtime_ns for path in tmp_path.iterdir() if path != storage}
    runs = tree(storage / "runs")
    opened.clear()
    for spelling in (*SPELLINGS, "../secret", "../../secret", "..%2fsecret", ".", "..", "CON", "a" * 300):
        for method, path in (("PATCH", "runs"), ("PUT", "views"), ("DELETE", "views")):
            body = {"alias": "a"} if path == "runs" else {"query": "a=b"}
            answer = stored.request(method, f"/api/v1/{path}/{escaped(spelling)}", json=body)
            assert answer.status_code < 500, (spelling, answer.content)
        given = spelling.encode("utf-8", "replace").decode()
        for path in ("delete", "restore", "tags"):
            answer = stored.post(
                f"/api/v1/runs/{path}", json={"runs": [given], **({"add": ["a"]} if path == "tags" else {})}
            )
            assert answer.json()["done"] == 0, spelling
    assert not outside(storage, tmp_path)
    assert {str(path): path.stat().st_mtime_ns for path in tmp_path.iterdir() if path != storage} == before
    assert tree(storage / "runs").keys() == runs.keys()  # some are other words for the run itself
    names = os.listdir(storage / "views")
    assert all(re.fullmatch(r"[^\W_]([\w .-]*[^\W_])?\.json", name) for name in names), names
    assert (storage / "secret.json").exists()


@pytest.mark.parametrize("what", ["runs", "runs/.recycle", "views", f"runs/cv/{KEY}", "runs/cv"])
def test_no_link_in_a_storage_is_followed(open_viewer, make_run, storage, tmp_path, what):
    """A link in the place of a folder: what it leads to is neither changed, nor filled, nor emptied."""
    make_run()
    client = open_viewer()
    client.get("/api/v1/runs")
    place, elsewhere = storage / what, tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    before = tree(elsewhere)
    for (method, path), body in WRITES.items():
        assert client.request(method, path, json=body).status_code in {200, 404, 409}, path
    assert place.is_symlink()
    assert tree(elsewhere) == before


def test_hostile_text_is_stored_as_it_is(stored, storage):
    """Alias, tags and notes of any text: the answer, the table and the file have it; nothing else is made."""
    made = set(os.listdir(storage))
    for text in PAYLOADS:
        answer = stored.patch(f"/api/v1/runs/{KEY}", json={"alias": text, "notes": text})
        if not text.strip():
            continue
        assert answer.status_code == 200, text
        assert answer.json()["alias"] == text.strip()
        assert json.loads((storage / "runs/cv" / KEY / "meta.json").read_text())["notes"] == text.rstrip()
        assert stored.get(f"/api/v1/runs/{KEY}").json()["run"]["alias"] == text.strip()
    lone = stored.patch(
        f"/api/v1/runs/{KEY}", content=b'{"alias": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert lone.status_code in {200, 400}
    assert set(os.listdir(storage)) == made


def test_two_viewers_and_many_requests_lose_no_change(open_viewer, make_run):
    """Tags of eight threads over two viewers, aliases and notes beside them: each tag is there in the end."""
    run_dir = make_run()
    viewers = [open_viewer(), open_viewer()]
    answered = []

    def work(number):
        client = viewers[number % 2]
        for each in range(10):
            body = {"tags": {"add": [f"{number}-{each}"]}, **({"notes": f"{number}"} if number < 4 else {"alias": "a"})}
            answered.append(client.patch(f"/api/v1/runs/{KEY}", json=body).status_code)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answered) == {200}
    meta = json.loads((Path(run_dir) / "meta.json").read_text())
    assert sorted(meta["tags"]) == sorted(f"{number}-{each}" for number in range(8) for each in range(10))
    assert (meta["alias"], meta["notes"] in set("0123")) == ("a", True)
