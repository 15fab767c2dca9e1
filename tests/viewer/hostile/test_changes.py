"""What changes under the viewer: storages, folders and files that go, come back, and are others."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import threading

import pytest
from lines_of_events import event
from links import link_parts
from support import wait_until

KEY = "20260101_120000_abcdef"


def next_event(stream, name):
    """The data of the next event of that name; the stream does not end before."""
    while line := stream.readline():
        if line == f"event: {name}\n".encode():
            return json.loads(stream.readline().removeprefix(b"data: "))
    raise AssertionError(f"the stream has ended without {name}")


def keys(port, token):
    """Those of the table."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/v1/runs", headers={"X-Runicorn-Token": token})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, content
    return content["columns"]["key"]


@pytest.mark.parametrize("what", ["storage", "storage/runs", "storage/runs/cv", f"storage/runs/cv/{KEY}"])
def test_a_stream_lives_through_a_storage_that_goes_and_comes_back(start_viewer, make_run, tmp_path, what):
    """Renamed away, whole or a part of it: the run is gone, the stream and the viewer are not, and it comes back."""
    make_run()
    make_run("other", path="nlp/deep/er")
    viewer = start_viewer("--port", 0)
    port, token = link_parts(viewer.link)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    address = f"/api/v1/live?list=1&runs={KEY}&logs={KEY}"
    connection.request("GET", address, headers={"X-Runicorn-Token": token})
    stream = connection.getresponse()
    next_event(stream, "run")
    os.rename(tmp_path / what, tmp_path / "away")
    assert next_event(stream, "gone") == {"key": KEY}
    wait_until(lambda: KEY not in keys(port, token))
    os.rename(tmp_path / "away", tmp_path / what)
    assert next_event(stream, "run")["key"] == KEY
    connection.close()
    assert "Traceback" not in viewer.told.read_text()


@pytest.mark.parametrize("seed", range(3))
def test_requests_while_runs_come_and_go(client, storage, make_run, seed):
    """Every kind of request, while runs are made and removed beside: it is there or it is not, and nothing fails."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    ended = threading.Event()

    def come_and_go():
        for _ in range(150):
            name = f"run{draw.randrange(5)}"
            if (storage / "runs" / "a" / name).exists():
                shutil.rmtree(storage / "runs" / "a" if draw.random() < 0.2 else storage / "runs" / "a" / name)
            else:
                make_run(name, path="a")
        ended.set()

    changing = threading.Thread(target=come_and_go)
    changing.start()
    answered = set()
    while not ended.is_set():
        run = f"/api/v1/runs/run{draw.randrange(5)}"
        for path in (
            run,
            f"{run}/metrics?figures=1",
            f"{run}/logs",
            f"{run}/config",
            f"{run}/images?at=",
            f"{run}/assets",
            f"{run}/assets/users",
            "/api/v1/runs",
            "/api/v1/problems",
        ):
            answered.add(client.get(path).status_code)
        body = {"runs": [f"run{draw.randrange(5)}", KEY], "metrics": ["loss"]}
        answered.add(client.post("/api/v1/curves?format=json", json=body).status_code)
        given = client.post("/api/v1/tickets", json={"run": body["runs"][0], "kind": "folder"})
        answered.add(given.status_code)
        if given.status_code == 200:
            answered.add(client.get(f"/api/v1/files/{given.json()['ticket']}").status_code)
    changing.join()
    assert answered <= {200, 404}


def test_a_file_that_changes_under_its_reader_is_never_a_mixture(client):
    """Replaced, cut, written anew in place, removed: a curve has the values of one state of the file alone."""
    client.get("/api/v1/runs")
    path = client.viewer.row(KEY).info.run_dir + "/events.jsonl"

    def write(value, count, mode="w"):
        with open(path, mode) as file:
            file.writelines(event(step, loss=value) for step in range(count))

    def replace():
        write(2.0, 50, "w")
        shutil.copy(path, path + ".new")
        write(9.0, 50)
        os.replace(path + ".new", path)

    steps = [
        (replace, 2.0, 50),
        (lambda: write(3.0, 50), 3.0, 50),
        (lambda: write(4.0, 500), 4.0, 500),
        (lambda: os.truncate(path, 200), 4.0, 2),
        (lambda: write(5.0, 7, "r+"), 5.0, 7),
    ]
    for number, (change, value, count) in enumerate(steps):
        change()
        os.utime(path, ns=(0, 10**18 + number))  # whatever the clock's ticks are
        (curve,) = client.post("/api/v1/curves?format=json", json={"runs": [KEY], "metrics": ["loss"]}).json()["curves"]
        assert (set(curve["data"]["y"]), curve["total"]) == ({value}, count), value
    os.remove(path)
    (curve,) = client.post("/api/v1/curves?format=json", json={"runs": [KEY], "metrics": ["loss"]}).json()["curves"]
    assert curve["error"] == "no such metric"
