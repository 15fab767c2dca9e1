"""The examples of ``docs/viewer-api.md`` are requests that are sent, and answers that have what they show."""

from __future__ import annotations

import http.client
import json
import re
import struct
import zipfile
from array import array
from pathlib import Path

import pytest
from links import link_parts

DOCS = Path(__file__).parents[2] / "docs" / "viewer-api.md"
KEY = "20260101_120000_abcdef"
BLOCK = re.compile(r"^```(http|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (request[1], answer[1])
    for request, answer in zip(BLOCK.findall(DOCS.read_text()), BLOCK.findall(DOCS.read_text())[1:], strict=False)
    if (request[0], answer[0]) == ("http", "json") and request[1].startswith("GET")
]


@pytest.fixture
def client(client, storage):
    """Its run has kept code."""
    (run_dir,) = storage.rglob(KEY)
    with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
        archive.writestr("train.py", "x = 1\n")
    return client


def has(found, shown, where="answer"):
    """Whether an answer has every member that an example shows, of the same kind; lists by their first one."""
    if isinstance(shown, dict):
        assert isinstance(found, dict), where
        assert shown.keys() <= found.keys(), f"{where} lacks {shown.keys() - found.keys()}"
        for name, value in shown.items():
            has(found[name], value, f"{where}.{name}")
    elif isinstance(shown, list):
        assert isinstance(found, list), where
        for each in found[:1] if shown else []:
            has(each, shown[0], f"{where}[0]")
    elif shown is not None and found is not None:
        kinds = (int, float) if isinstance(shown, (int, float)) and not isinstance(shown, bool) else type(shown)
        assert isinstance(found, kinds), f"{where}: {found!r} is not as {shown!r}"


@pytest.mark.parametrize(("request_text", "answer_text"), EXAMPLES, ids=[each[0].split("\n")[0] for each in EXAMPLES])
def test_the_example_is_as_the_server_answers(client, request_text, answer_text):
    """Method and address as they stand there, the key filled in: the answer has each member that is shown."""
    head, _, body = request_text.replace("{key}", KEY).partition("\n")
    method, path = head.split(" ", 1)
    answer = client.request(method, path, content=body or None)
    assert answer.status_code == 200, answer.content
    has(answer.json(), json.loads(answer_text))


def test_there_are_examples():
    """Each address of the interface has one, but for the streams."""
    addresses = "\n".join(request for request, _ in EXAMPLES)
    for path in (
        "server",
        "runs",
        "runs/columns",
        "runs/{key}",
        "metrics",
        "config",
        "summary",
        "environment",
        "problems",
        "images",
        "assets",
        "assets/users",
        "logs",
        "search",
        "compare?",
        "compare/metrics",
        "compare/code",
    ):
        assert path in addresses


def frames(content):
    """Heads and arrays of the frames, taken apart as the document says."""
    at = 0
    while at < len(content):
        head_bytes, body_bytes = struct.unpack_from("<II", content, at)
        assert (at % 8, (8 + head_bytes) % 8, body_bytes % 8) == (0, 0, 0)
        head = json.loads(content[at + 8 : at + 8 + head_bytes])
        body = content[at + 8 + head_bytes : at + 8 + head_bytes + body_bytes]
        count = head.get("n", 0) if head["arrays"] else 0
        arrays = {
            name: array("d", body[8 * count * place : 8 * count * (place + 1)])
            for place, name in enumerate(head["arrays"])
        }
        assert body_bytes == 8 * count * len(arrays)
        yield head, arrays
        at += 8 + head_bytes + body_bytes


def test_frames_are_as_documented(client):
    """A stream of frames ends with its end; heads have the members that are shown; the arrays are those of the JSON."""
    body = {"runs": [KEY, "nowhere"], "metrics": ["loss", "nothing"], "buckets": 20, "smooth": 0.9}
    answer = client.post("/api/v1/curves", json=body)
    assert answer.headers["content-type"] == "application/vnd.runicorn.curves"
    *found, (last, _) = frames(answer.content)
    assert last["end"] is True
    documented = [
        json.loads(text)
        for kind, text in BLOCK.findall(DOCS.read_text())
        if kind == "json" and '"kind": "buckets"' in text
    ]
    has(found[0][0], documented[0])
    assert list(found[0][1]) == ["x", "min", "max", "mean", "last", "count", "smooth"]
    assert [head.get("error") for head, _ in found[1:]] == ["no such metric", *2 * ["No run has the key 'nowhere'."]]
    as_json = client.post("/api/v1/curves?format=json", json=body).json()["curves"]
    assert as_json[0]["data"] == {name: list(values) for name, values in found[0][1].items()}


def test_live_events_are_as_documented(start_viewer, make_run):
    """The stream begins with hello, tells each run and log at once, what comes later, and bye when the viewer ends."""
    run_dir = make_run(status="running")
    viewer = start_viewer("--port", 0)
    port, token = link_parts(viewer.link)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/api/v1/live?runs={KEY},nowhere&logs={KEY}&list=1", headers={"X-Runicorn-Token": token})
    stream = connection.getresponse()
    assert stream.getheader("content-type").startswith("text/event-stream")
    assert [event(stream)[0] for _ in range(4)] == ["hello", "run", "gone", "log"]
    with (run_dir / "events.jsonl").open("a") as file:
        file.write('{"ts": 1.0, "type": "metrics", "data": {"loss": 1.0, "global_step": 101, "time": 1.0}}\n')
    name, content = event(stream)
    while name != "run":
        name, content = event(stream)
    assert content["bytes"] == (run_dir / "events.jsonl").stat().st_size
    assert content["row"]["last_step"] == 101
    make_run("20260102_120000_abcdef")
    while name != "runs":
        name, content = event(stream)
    assert (content["full"], "20260102_120000_abcdef" in content["columns"]["key"]) == (False, True)
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked.request("POST", "/api/v1/stop", headers={"X-Runicorn-Token": token})
    assert asked.getresponse().status == 200
    asked.close()
    while name != "bye":
        name, content = event(stream)
    connection.close()
    viewer.wait(timeout=60)


def event(stream):
    """The next event: its name, and its content."""
    for _ in range(1000):
        line = stream.readline()
        assert line, "the stream was cut"
        if line.startswith(b"event: "):
            return line[7:].decode().strip(), json.loads(stream.readline().removeprefix(b"data: "))
    raise AssertionError("no event in a thousand lines")


def test_since_tells_what_has_changed_alone(client, make_run, storage):
    """With the version of an answer only rows that are new or changed come, and the keys of those that have gone."""
    first = client.get("/api/v1/runs").json()
    client.viewer.table._looked_at = float("-inf")
    assert client.get("/api/v1/runs", params={"since": first["version"]}).json()["columns"]["key"] == []
    make_run("20260102_120000_abcdef")
    client.viewer.table._looked_at = float("-inf")
    second = client.get("/api/v1/runs", params={"since": first["version"]}).json()
    assert (second["full"], second["columns"]["key"]) == (False, ["20260102_120000_abcdef"])
    (storage / "runs" / "cv" / KEY).rename(storage / "runs" / "gone")
    (storage / "runs" / "gone" / "meta.json").unlink()
    (storage / "runs" / "gone" / "status.json").unlink()
    client.viewer.table._looked_at = float("-inf")
    third = client.get("/api/v1/runs", params={"since": second["version"]}).json()
    assert (third["removed"], third["columns"]["key"]) == ([KEY], [])
    for unknown in ("", "x", "x.1", "7.7.7", second["version"] + "9999"):
        assert client.get("/api/v1/runs", params={"since": unknown}).json()["full"] is True


def test_columns_of_config_and_summary(client):
    """``cols`` adds what the columns of a table are chosen from."""
    names = [each["name"] for each in client.get("/api/v1/runs/columns").json()["columns"]]
    assert names == ["config.args.lr", "summary.acc"]
    columns = client.get("/api/v1/runs", params={"cols": ",".join([*names, "config.nothing"])}).json()["columns"]
    assert (columns["config.args.lr"], columns["summary.acc"], columns["config.nothing"]) == ([0.001], [0.5], [None])
