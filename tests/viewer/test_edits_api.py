"""What the viewer changes: labels, the recycle bin, saved views. Each change is one of the command line's."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing

import pytest

from runicorn import reading
from runicorn.managing import viewer_database

KEY = "20260101_120000_abcdef"
OTHER = "20260101_130000_abcdef"


def patch(client, key=KEY, **body):
    return client.patch(f"/api/v1/runs/{key}", json=body)


def meta_of(run_dir):
    return json.loads((run_dir / "meta.json").read_text())


def results_of(answer):
    assert answer.status_code == 200, answer.content
    return {each["key"]: each for each in answer.json()["results"]}


def table(client):
    columns = client.get("/api/v1/runs").json()["columns"]
    rows = zip(*columns.values(), strict=True)
    return {row["key"]: row for row in (dict(zip(columns, cells, strict=True)) for cells in rows)}


def test_labels_are_changed_and_the_rest_of_the_file_stays(open_viewer, make_run):
    """Alias, tags and notes at once: ``meta.json`` keeps what else is in it, and the table has the new ones at once."""
    run_dir = make_run(meta={"tags": ["old", 5], "theirs": {"deep": [1]}})
    client = open_viewer()
    client.get("/api/v1/runs")
    before = meta_of(run_dir)

    answer = patch(client, alias=" größe ", notes="a line\r\nand one\n", tags={"add": ["new"], "remove": ["absent"]})

    assert answer.json() == {
        "key": KEY, "alias": "größe", "tags": ["old", "new"], "notes": "a line\nand one", "same_alias": [],
        "remark": None,
    }  # fmt: skip
    changed = {"alias": "größe", "notes": "a line\nand one", "tags": ["old", 5, "new"]}
    assert meta_of(run_dir) == {**before, **changed}
    assert (table(client)[KEY]["alias"], table(client)[KEY]["notes"]) == ("größe", "a line\nand one")
    assert patch(client, alias="", notes=" \n").json()["alias"] is None
    assert meta_of(run_dir) == {**before, "alias": None, "tags": ["old", 5, "new"]}
    assert reading.find(str(run_dir)).notes is None


def test_what_somebody_else_has_changed_meanwhile_is_not_written_over(client, storage):
    """With ``was`` that does not hold any more nothing is changed, and the answer says so; without it the last wins."""
    assert patch(client, notes="first", was={"notes": None}).status_code == 200
    answer = patch(client, notes="second", alias="b", was={"notes": None, "alias": None})
    assert (answer.status_code, "meanwhile" in answer.json()["error"]["what"]) == (409, True)
    assert meta_of(storage / "runs" / "cv" / KEY)["notes"] == "first"
    assert "alias" not in meta_of(storage / "runs" / "cv" / KEY)
    assert patch(client, notes="second", was={"notes": "first"}).status_code == 200
    assert patch(client, notes="third").json()["notes"] == "third"


def test_an_alias_that_another_run_has_is_told(client, make_run):
    """Several runs may have one alias, as ``init()`` gives it; who gives it again is told which have it."""
    make_run(OTHER, meta={"alias": "baseline"})
    assert patch(client, alias="baseline").json()["same_alias"] == [OTHER]
    assert patch(client, alias="other").json()["same_alias"] == []


@pytest.mark.parametrize("count", [1, 1200])
def test_a_change_is_not_undone_by_the_next_look_at_the_storage(open_viewer, make_run, count):
    """Also of more runs than one look reads: the table has the new alias from the answer on."""
    for number in range(count):
        make_run(f"run{number:04}", path=f"p{number % 7}")
    client = open_viewer()
    assert len(table(client)) == count
    assert patch(client, "run0000", alias="new").status_code == 200
    for _ in range(3):
        client.viewer.table.refresh(0.0)
        assert client.viewer.row("run0000").info.alias == "new"


def test_runs_are_deleted_and_restored(open_viewer, make_run, storage):
    """Into ``runs/.recycle`` with the viewer's marker, out of the table at once, listed, and back where they were."""
    first, _ = make_run(), make_run(OTHER, path="nlp/deep")
    client = open_viewer()
    assert table(client).keys() == {KEY, OTHER}

    done = results_of(client.post("/api/v1/runs/delete", json={"runs": [KEY, OTHER, "nobody", KEY]}))

    assert [each["done"] for each in done.values()] == [True, True, False]
    assert done["nobody"]["problem"]["status"] == 404
    assert table(client) == {}
    assert not first.exists()
    assert json.loads((storage / "runs/.recycle" / KEY / ".deleted").read_text())["original_path"] == "cv"
    listed = client.get("/api/v1/runs/deleted").json()
    assert (listed["count"], {each["key"] for each in listed["runs"]}) == (2, {KEY, OTHER})
    assert client.get(f"/api/v1/runs/{KEY}").status_code == 404

    back = results_of(client.post("/api/v1/runs/restore", json={"runs": [done[OTHER]["deleted"], KEY, KEY, "nobody"]}))

    assert [each["done"] for each in back.values()] == [True, True, False]
    assert table(client).keys() == {KEY, OTHER}
    assert (storage / "runs/nlp/deep" / OTHER / "meta.json").exists()
    assert sorted(os.listdir(first)) == sorted(
        ["assets.json", "events.jsonl", "logs.txt", "meta.json", "status.json", "summary.json"]
    )
    assert client.get("/api/v1/runs/deleted").json()["count"] == 0


def test_runs_of_two_storages_have_keys_of_their_own_in_the_bin(open_viewer, make_run, storage, tmp_path):
    """One id in both recycle bins: each key is one of them."""
    make_run(meta={"alias": "of the other"})
    other = tmp_path / "other"
    storage.rename(other)
    make_run(meta={"alias": "of the first"})
    client = open_viewer(storage, other)
    done = results_of(client.post("/api/v1/runs/delete", json={"runs": [KEY, f"{KEY}~1"]}))
    assert [each["deleted"] for each in done.values()] == [KEY, f"{KEY}~1"]
    assert all(
        each["done"] for each in results_of(client.post("/api/v1/runs/restore", json={"runs": [f"{KEY}~1"]})).values()
    )
    assert [row["alias"] for row in table(client).values()] == ["of the other"]


def test_each_run_of_many_is_told_what_kept_it(open_viewer, make_run, storage, open_run):
    """200 at once: live, of another host, damaged, gone, one whose place in the bin is taken; the others go."""
    for number in range(195):
        make_run(f"run{number:03}", path=f"p{number % 5}")
    live = open_run(run_id="live")
    make_run("elsewhere", status="running")
    make_run("taken")
    (storage / "runs/.recycle/taken").mkdir(parents=True)
    damaged = make_run("damaged")
    client = open_viewer()
    keys = [f"run{number:03}" for number in range(195)] + ["live", "elsewhere", "taken", "damaged", "gone"]
    client.get("/api/v1/runs")
    (damaged / "meta.json").write_text("{")
    tags = results_of(client.post("/api/v1/runs/tags", json={"runs": keys, "add": ["kept"]}))
    assert {key for key, each in tags.items() if not each["done"]} == {"elsewhere", "damaged", "gone"}
    assert reading.find(live.run_dir).tags == ["kept"]

    done = results_of(client.post("/api/v1/runs/delete", json={"runs": keys}))

    failed = {key: each["problem"]["what"] for key, each in done.items() if not each["done"]}
    assert failed.keys() == {"live", "elsewhere", "taken", "gone"}
    assert "is live" in failed["live"]
    assert "may be open on the host elsewhere" in failed["elsewhere"]
    assert "is in the recycle folder already" in failed["taken"]
    assert table(client).keys() == {"live", "elsewhere", "taken"}


def test_what_another_host_may_have_open_is_changed_on_demand(open_viewer, make_run):
    """As ``--force-other-host`` does."""
    make_run(status="running")
    client = open_viewer()
    refused = patch(client, alias="a")
    assert (refused.status_code, "--force-other-host" in refused.json()["error"]["what"]) == (409, True)
    assert patch(client, alias="a", force_other_host=True).json()["alias"] == "a"


def test_a_storage_that_cannot_be_written_is_told(open_viewer, make_run, monkeypatch):
    """The answer names the file and why, nothing of the run is changed, and the page can ask again."""
    run_dir = make_run()
    client = open_viewer()
    before = (run_dir / "meta.json").read_bytes()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(run_dir / "meta.json"))

    with monkeypatch.context() as patched:
        patched.setattr("runicorn.storage.removal.Directory.new_file", refuse)
        patched.setattr("runicorn.storage.removal.os.rename", refuse)
        for answer in (patch(client, alias="a"), client.put("/api/v1/views/a", json={"query": "a=b"})):
            what = answer.json()["error"]["what"]
            assert (answer.status_code, "cannot be written: Permission denied. Nothing was" in what) == (409, True), (
                what
            )
        done = results_of(client.post("/api/v1/runs/delete", json={"runs": [KEY]}))
        assert "Permission denied" in done[KEY]["problem"]["what"]
    assert (run_dir / "meta.json").read_bytes() == before
    assert sorted(os.listdir(run_dir)) == sorted(
        ["assets.json", "events.jsonl", "logs.txt", "meta.json", "status.json", "summary.json"]
    )
    assert patch(client, alias="a").status_code == 200


def test_a_locked_database_is_waited_for_once(open_viewer, make_run, storage, monkeypatch):
    """That of a 0.7.2 viewer: the first run says it, the others are not tried, and nothing of them is changed."""
    keys = [f"run{number}" for number in range(3)]
    for key in keys:
        make_run(key)
    client = open_viewer()
    monkeypatch.setattr(viewer_database, "_BUSY_S", 0.05)
    with closing(sqlite3.connect(storage / "runicorn.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        for path, more in (("tags", {"add": ["t"]}), ("delete", {})):
            done = results_of(client.post(f"/api/v1/runs/{path}", json={"runs": keys, **more}))
            told = [each["problem"]["what"] for each in done.values()]
            assert ["not tried" in what for what in told] == [False, True, True]
            assert all("has been locked by another process" in what for what in told)
        connection.execute("ROLLBACK")
    assert all(reading.find(key, storage).tags == [] for key in keys)
    assert results_of(client.post("/api/v1/runs/tags", json={"runs": keys, "add": ["t"]}))["run2"]["tags"] == ["t"]


def test_views_are_saved_replaced_and_removed(client, storage):
    """A name and a query, one file each; what was removed is told, so that it can be saved again."""
    assert client.get("/api/v1/views").json() == {"views": []}
    assert not (storage / "views").exists()
    for name, query in (("best first", "sort=best"), ("größe", "q=lr%3C1"), ("best first", "sort=-best")):
        assert client.put(f"/api/v1/views/{name}", json={"query": query}).json()["query"] == query
    assert [(each["name"], each["query"]) for each in client.get("/api/v1/views").json()["views"]] == [
        ("best first", "sort=-best"),
        ("größe", "q=lr%3C1"),
    ]
    assert sorted(os.listdir(storage / "views")) == ["best first.json", "größe.json"]
    assert client.delete("/api/v1/views/größe").json()["query"] == "q=lr%3C1"
    assert client.delete("/api/v1/views/größe").status_code == 404
    assert os.listdir(storage / "views") == ["best first.json"]


def test_a_folder_of_the_user_s_own_is_left_alone(client, storage, tmp_path):
    """Files, links and FIFOs in ``views`` that we have not written: not listed, not replaced, not removed."""
    views = storage / "views"
    views.mkdir()
    (views / "settings.json").write_text('{"query": "a=b"}')
    (views / "list.json").write_text("[1]")
    (views / "half.json").write_text("{")
    (views / "folder.json").mkdir()
    (views / "link.json").symlink_to(tmp_path / "outside.json")
    (tmp_path / "outside.json").write_text('{"kind": "runicorn view", "query": "a=b"}')
    os.mkfifo(views / "fifo.json")
    assert client.get("/api/v1/views").json() == {"views": []}
    for name in ("settings", "list", "half", "folder", "link", "fifo"):
        assert client.put(f"/api/v1/views/{name}", json={"query": "c=d"}).status_code == 409
        assert client.delete(f"/api/v1/views/{name}").status_code == 409
    assert len(os.listdir(views)) == 6
    assert json.loads((tmp_path / "outside.json").read_text())["query"] == "a=b"
    assert (views / "settings.json").read_text() == '{"query": "a=b"}'


def test_there_are_so_many_views_at_most(client, storage):
    """One more is refused; one that is there can still be replaced."""
    for number in range(200):
        assert client.put(f"/api/v1/views/v{number}", json={"query": "a=b"}).status_code == 200
    assert client.put("/api/v1/views/more", json={"query": "a=b"}).status_code == 409
    assert client.put("/api/v1/views/v7", json={"query": "c=d"}).status_code == 200
    assert len(os.listdir(storage / "views")) == 200


def test_the_table_does_not_take_views_for_runs(client):
    """A storage with views has the runs that it had, whatever layout is looked for."""
    client.put("/api/v1/views/a", json={"query": "a=b"})
    client.viewer.table.refresh(0.0)
    assert table(client).keys() == {KEY}
