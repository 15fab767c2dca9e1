"""Windows of a log join without a gap, whatever is in it; a search finds each line that has the text, once."""

from __future__ import annotations

import random

import pytest

KEY = "20260101_120000_abcdef"
PIECES = [
    b"\n",
    b"\n\n",
    b"a",
    "ü€🎉".encode(),
    b"\r",
    b"\x1b[31m",
    b"\xff\xfe",
    b"\0",
    b"needle",
    b"NeeDle",
    b"x" * 300,
    b" words ",
]


def content_of(seed):
    print(f"seed {seed}")
    draw = random.Random(seed)
    return b"".join(draw.choice(PIECES) for _ in range(draw.randrange(400)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most", [64, 500, 65_536])
def test_windows_join_without_a_gap(client, storage, seed, most):
    """From the start down, and from the end up, window by window: each byte is in one of them, as it is in the file."""
    content = content_of(seed)
    (storage / "runs" / "cv" / KEY / "logs.txt").write_bytes(content)

    def window(**given):
        found = client.get(f"/api/v1/runs/{KEY}/logs", params={"bytes": most, **given}).json()
        assert found["text"] == content[found["offset"] : found["next"]].decode("utf-8", "replace")
        assert found["size"] == len(content)
        window_bytes = content[found["offset"] : found["next"]]
        begins = [0, *(at + 1 for at, byte in enumerate(window_bytes[:-1]) if byte == 10)] if window_bytes else []
        assert found["offsets"] == [found["offset"] + at for at in begins]
        return found

    at, seen = 0, window(offset=0)
    for _ in range(len(content) + 1):
        assert seen["offset"] == at
        at = seen["next"]
        if seen["at_end"] and at == len(content):
            break
        seen = window(after=at)
    assert at == len(content)
    seen = window()
    assert seen["next"] == len(content)
    for _ in range(len(content) + 1):
        if seen["at_start"]:
            break
        above = window(before=seen["offset"])
        assert above["next"] == seen["offset"]
        assert above["offset"] < seen["offset"]
        seen = above
    assert seen["offset"] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("text", "case"), [("needle", 0), ("needle", 1), ("ü", 0), ("🎉", 1)])
def test_a_search_finds_each_line_once(client, storage, seed, text, case):
    """Forwards and backwards, in steps of any size: the lines that have it, in their order, each with its offset."""
    content = content_of(seed)
    (storage / "runs" / "cv" / KEY / "logs.txt").write_bytes(content)
    expected, at = [], 0
    for line in content.split(b"\n"):
        shown = line.decode("utf-8", "replace")
        if text in (shown if case else shown.lower()):
            expected.append(at)
        at += len(line) + 1

    def search(**given):
        given = {"q": text, "case": case, "limit": 3, **given}
        return client.get(f"/api/v1/runs/{KEY}/logs/search", params=given).json()

    for back in (0, 1):
        found, answer = [], search(back=back)
        for _ in range(len(content) + 1):
            found += [hit["offset"] for hit in answer["hits"]]
            if answer["next"] is None:
                break
            answer = search(back=back, after=answer["next"])
        assert found == (expected[::-1] if back else expected)


def test_a_live_log_shows_whole_lines_alone(open_viewer, make_run):
    """While a run goes on a last line without its newline is not shown; when it has ended it is."""
    run_dir = make_run(status="running", log="whole\nhal")
    client = open_viewer()
    answer = client.get(f"/api/v1/runs/{KEY}/logs").json()
    assert (answer["text"], answer["next"]) == ("whole\n", 6)
    (run_dir / "status.json").write_text('{"status": "finished"}')
    client.viewer.table._looked_at = float("-inf")
    client.viewer.table.look_again(KEY)
    assert client.get(f"/api/v1/runs/{KEY}/logs").json()["text"] == "whole\nhal"


def test_files_of_other_hosts_are_sources(open_viewer, make_run):
    """Each has a number, in the list of the run's head; a number that is not in it is 404."""
    run_dir = make_run()
    (run_dir / "logs.node2.txt").write_text("of another\n")
    client = open_viewer()
    sources = client.get(f"/api/v1/runs/{KEY}").json()["logs"]
    assert [(each["source"], each["name"], each["host"]) for each in sources] == [
        (0, "logs.txt", None),
        (1, "logs.node2.txt", "node2"),
    ]
    assert client.get(f"/api/v1/runs/{KEY}/logs?source=1").json()["text"] == "of another\n"
    assert client.get(f"/api/v1/runs/{KEY}/logs?source=2").status_code == 404
