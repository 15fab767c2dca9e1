"""A storage whose every string is a payload: it comes out of the interface as it went in, as JSON and nothing else."""

from __future__ import annotations

import json

import pytest

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "\u202e\u2066right to left\u2069",
    "a\u2028b\u2029c",
    "\x00\x1b[31m\x07",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "'; DROP TABLE runs; --",
    "__proto__",
    "%s%n%x",
    "\ud83d",
    "\U0001d573\U0001d58a" * 100,
]


@pytest.fixture
def hostile(make_run, open_viewer):
    """A run for each payload, in every place that has text."""
    for number, payload in enumerate(PAYLOADS):
        meta = {"alias": payload, "tags": [payload], "notes": payload, "group": payload, "parent": payload}
        line = json.dumps(
            {
                "type": "metrics",
                "data": {payload: 1.0, "text": payload, "stage": payload, "global_step": 1, "time": 1.0},
            }
        )
        log = payload.encode("utf-8", "backslashreplace").decode() + "\n"
        image = {"key": payload, "path": payload, "step": 1, "caption": payload}
        lines = [line + "\n", json.dumps({"ts": 1.0, "type": "image", "data": image}) + "\n"]
        run_dir = make_run(f"run{number:02}", lines=lines, log=log, meta=meta)
        status = {
            "status": "failed",
            "started_at": 1.0,
            "ended_at": 2.0,
            "exit_reason": payload,
            "storage_errors": [payload],
        }
        (run_dir / "status.json").write_text(json.dumps(status))
        (run_dir / "summary.json").write_text(json.dumps({payload: payload, "best_metric_name": payload}))
        (run_dir / "assets.json").write_text(
            json.dumps(
                {
                    "config": {"args": {payload: payload, "nested": {payload: [payload]}}},
                    "datasets": [{"name": payload, "uri": payload, "saved": True, "archive_path": payload}],
                }
            )
        )
        (run_dir / "environment.json").write_text(json.dumps({payload: payload}))
    return open_viewer()


def shown(payload):
    """A payload as an answer may have it: half a character is escaped by the reader."""
    return {payload, payload.encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "\\ud83d", "\ud83d"}


def test_every_string_comes_as_it_is(hostile):
    """In the table, in heads, metrics, curves, config, summary, logs and problems; every answer is JSON and says so."""
    columns = hostile.get("/api/v1/runs").json()["columns"]
    by_key = dict(zip(columns["key"], columns["alias"], strict=True))
    for number, payload in enumerate(PAYLOADS):
        key = f"run{number:02}"
        assert by_key[key] in shown(payload)
        base = f"/api/v1/runs/{key}"
        answers = {
            rest: hostile.get(base + rest)
            for rest in ("", "/metrics", "/config", "/summary", "/environment", "/problems", "/logs")
        }
        for answer in answers.values():
            assert answer.status_code == 200, answer.content
            assert answer.headers["content-type"] == "application/json"
            assert answer.content.isascii()
        head = answers[""].json()
        assert head["run"]["reason"] in shown(payload)
        assert {head["stages"][0]["stage"]} <= shown(payload)
        metrics = answers["/metrics"].json()["metrics"]
        name = next(each for each in metrics if each != "text")
        assert name in shown(payload)
        (curve,) = hostile.post(
            "/api/v1/curves?format=json", content=json.dumps({"runs": [key], "metrics": [name]})
        ).json()["curves"]
        if payload != "\ud83d":
            assert (curve["metric"], curve["data"]["y"]) == (name, [1.0])
        assert answers["/problems"].json()["storage_errors"][0] in shown(payload)
        assert answers["/logs"].json()["text"].rstrip("\n") in {
            payload.encode("utf-8", "backslashreplace").decode(),
            *shown(payload),
        }


def test_images_and_assets_of_any_name(hostile):
    """Keys, captions, names and addresses come as they are; what they name as a file is not served."""
    for number, payload in enumerate(PAYLOADS):
        run = f"/api/v1/runs/run{number:02}"
        (image,) = hostile.get(f"{run}/images?at=").json()["images"]
        assert {image["key"], image["caption"]} <= shown(payload)
        assert image["reason"]
        assert hostile.get(f"{run}/images/0").status_code == 404
        dataset = next(each for each in hostile.get(f"{run}/assets").json()["assets"] if each["kind"] == "dataset")
        assert {dataset["name"], dataset["about"]["uri"]} <= shown(payload)
        assert (dataset["form"], bool(dataset["reason"])) == (None, True)
        wish = {"run": f"run{number:02}", "kind": "asset", "number": dataset["number"]}
        assert hostile.post("/api/v1/tickets", json=wish).status_code == 404


def test_columns_of_any_name(hostile):
    """Names of config and summary that are payloads are listed, and can be asked for."""
    names = [each["name"] for each in hostile.get("/api/v1/runs/columns").json()["columns"]]
    assert any("<script>" in name for name in names)
    for name in names:
        if "," not in name and name.isprintable():
            columns = hostile.get("/api/v1/runs", params={"cols": name.encode("utf-8", "replace").decode()}).json()[
                "columns"
            ]
            assert any(cell is not None for cell in columns[name]), name


def test_every_string_is_compared_as_it_is(hostile):
    """Names and values of config, summary and environment, and names of metrics, of all runs beside each other."""
    keys = ",".join(f"run{number:02}" for number in range(len(PAYLOADS)))
    answer = hostile.get("/api/v1/compare", params={"runs": keys})
    assert answer.status_code == 200, answer.content
    assert answer.content.isascii()
    content = answer.json()
    assert len(content["runs"]) == len(PAYLOADS)
    for number, payload in enumerate(PAYLOADS):
        for part in ("config", "summary", "environment"):
            cells = [values[number] for values in content[part]["values"]]
            assert any(cell in shown(payload) for cell in cells), (part, payload)
    metrics = hostile.get("/api/v1/compare/metrics", params={"runs": keys}).json()["metrics"]
    assert all(any(name in shown(payload) for name in metrics) for payload in PAYLOADS)
