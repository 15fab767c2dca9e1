"""Changes beside others that change: a training that goes on, a second viewer, commands; and files that cannot be."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from links import link_parts
from support import wait_until

import runicorn
from runicorn import reading

RUN = "20260101_000000_00000c"
TRAIN = """
import sys, runicorn as rn
run = rn.init(storage=sys.argv[1], path="cv", run_id=sys.argv[2], alias="of init")
print("open", flush=True)
sys.stdin.readline()
for step in range(40):
    run.log(loss=1.0, step=step)
    run.set_labels(group=f"group {step}", tags=[f"step {step}"])
print("labelled", flush=True)
sys.stdin.readline()
run.finish()
"""
UNPRIVILEGED = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: then modes hold for root too
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def send(link, method, place, body):
    """The status of an answer, and what is in it."""
    port, token = link_parts(link)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"X-Runicorn-Token": token, "Content-Type": "application/json"}
    connection.request(method, f"/api/v1/{quote(place)}", json.dumps(body), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_no_change_of_a_live_run_is_lost(start_viewer, start_program, storage, tmp_path):
    """The script sets labels, two viewers and a command change others, all at once: each is there in the end."""
    viewers = []
    for number in range(2):
        links = tmp_path / f"links-{number}"
        links.mkdir(mode=0o700)
        viewers.append(start_viewer("--port", 0, environment={"RUNICORN_VIEWER_DIR": str(links)}))
    process = start_program(TRAIN, RUN, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "open\n"
    failed = []

    def change(viewer, number):
        for each in range(15):
            body = {"tags": {"add": [f"viewer {number} {each}"]}, **({"notes": "a note"} if number else {"alias": "a"})}
            status, content = send(viewer.link, "PATCH", f"runs/{RUN}", body)
            failed.extend([content] if status != 200 else [])

    threads = [threading.Thread(target=change, args=(viewer, number)) for number, viewer in enumerate(viewers)]
    process.stdin.write("go\n")
    process.stdin.flush()
    for thread in threads:
        thread.start()
    command = [sys.executable, "-m", "runicorn.cli", "tag", "--storage", str(storage), RUN]
    source = {**os.environ, "PYTHONPATH": str(Path(runicorn.__file__).parents[1])}
    for each in range(4):
        subprocess.run([*command, f"+command {each}"], check=True, env=source, stdout=subprocess.DEVNULL, timeout=120)
    for thread in threads:
        thread.join()
    assert process.stdout.readline() == "labelled\n"
    assert failed == []
    info = reading.find(RUN, storage)
    expected = {f"viewer {number} {each}" for number in range(2) for each in range(15)}
    assert set(info.tags) == {*expected, *(f"command {each}" for each in range(4)), "step 39"}
    assert (info.alias, info.notes, info.group) == ("a", "a note", "group 39")
    process.stdin.write("end\n")
    process.stdin.flush()
    assert process.wait(60) == 0
    ended = reading.load(RUN, storage)
    assert (ended.info.status, ended.info.tags, ended.info.notes) == ("finished", info.tags, "a note")
    assert len(ended.metric("loss")) == 40


def test_a_run_that_is_resumed_keeps_what_the_viewer_has_changed(start_viewer, start_program, storage):
    """While it is down, and while ``init()`` opens it again."""
    viewer = start_viewer("--port", 0)
    for turn in range(2):
        process = start_program(TRAIN, RUN, stdin=subprocess.PIPE)
        assert process.stdout.readline() == "open\n"
        wait_until(lambda: send(viewer.link, "GET", f"runs/{RUN}", {})[0] == 200)
        assert send(viewer.link, "PATCH", f"runs/{RUN}", {"tags": {"add": [f"open {turn}"]}})[0] == 200
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.communicate()
        assert send(viewer.link, "PATCH", f"runs/{RUN}", {"tags": {"add": [f"down {turn}"]}, "notes": "n"})[0] == 200
    info = reading.find(RUN, storage)
    assert (info.tags, info.notes, info.resumed) == (["open 0", "down 0", "open 1", "down 1"], "n", 1)


@pytest.fixture
def unprivileged_viewer(start_viewer, monkeypatch):
    """A viewer for which the modes of files hold, whoever runs the tests."""
    real = subprocess.Popen

    def start(*arguments, **options):
        with monkeypatch.context() as patched:
            prefix = [sys.executable, "-c", UNPRIVILEGED]
            patched.setattr("subprocess.Popen", lambda command, **rest: real([*prefix, *command], **rest))
            return start_viewer(*arguments, **options)

    return start


def test_what_may_not_be_written_is_told_run_by_run(unprivileged_viewer, make_run, storage):
    """One run that another user has closed, then a whole storage: each answer says which file and why."""
    make_run("open")
    closed = make_run("closed", path="of/another")
    viewer = unprivileged_viewer("--port", 0)
    for folder in (closed, closed.parent):
        folder.chmod(0o555)
    status, content = send(viewer.link, "PATCH", "runs/closed", {"notes": "a"})
    assert (status, content["error"]["what"]) == (
        409,
        f"{closed}/meta.json cannot be written: Permission denied. Nothing was changed.",
    )
    results = send(viewer.link, "POST", "runs/tags", {"runs": ["open", "closed"], "add": ["t"]})[1]["results"]
    assert [each["done"] for each in results] == [True, False]
    results = send(viewer.link, "POST", "runs/delete", {"runs": ["closed", "open"]})[1]["results"]
    assert [each["done"] for each in results] == [False, True]
    assert "Permission denied" in results[0]["problem"]["what"]
    assert sorted(os.listdir(closed)) == sorted(
        ["assets.json", "events.jsonl", "logs.txt", "meta.json", "status.json", "summary.json"]
    )
    storage.chmod(0o555)
    status, content = send(viewer.link, "PUT", "views/a", {"query": "a=b"})
    assert (status, "Permission denied" in content["error"]["what"]) == (409, True)
    storage.chmod(0o755)
    assert send(viewer.link, "PUT", "views/a", {"query": "a=b"})[0] == 200
    for folder in (closed.parent, closed):
        folder.chmod(0o755)
    assert send(viewer.link, "PATCH", "runs/closed", {"notes": "a"})[0] == 200
