"""A run that went on from an earlier step shows one line; what was logged before at those steps stays at hand."""

from __future__ import annotations

import json

import pytest
from support import content, json_lines

import runicorn as rn
from runicorn import cli, reading
from runicorn.reading import events

RESUME = """
import sys, runicorn as rn
run = rn.init(storage=sys.argv[1], path="cv", run_id="resumed")
for step in range(int(sys.argv[2]), int(sys.argv[3])):
    run.log({"loss": float(sys.argv[4]), "acc": 1} if step % 10 else {"loss": float(sys.argv[4])}, step=step)
run.finish()
"""


@pytest.fixture
def resumed(storage, run_program):
    """A run that reached step 50, and went on from step 40 in another process."""
    run_program(RESUME, 1, 51, 1.0)
    run_program(RESUME, 40, 60, 2.0)
    return storage / "runs" / "cv" / "resumed"


def test_a_later_session_supersedes_what_came_from_its_first_step_on(resumed):
    """Each step is there once, with the later value; the old ones come back on demand, and are counted."""
    run = rn.load(str(resumed))
    loss = run["loss"]
    assert list(loss.step) == list(range(1, 60))
    assert list(loss.value) == [1.0] * 39 + [2.0] * 20
    assert run.superseded_count("loss") == 11
    assert len(run.metric("loss", superseded=True)) == 70
    # `acc` begins at step 41 in the later session: what was logged at 40 was not logged again.
    assert list(run["acc"].step) == [step for step in range(1, 60) if step % 10]


def test_sizes_at_the_resume_are_noted(resumed):
    """``meta.json`` has of each later session how large each events file was, to the byte."""
    (entry,) = content(resumed, "meta.json")["resumed"]
    lines = (resumed / "events.jsonl").read_bytes().splitlines(keepends=True)
    assert entry["events"] == {"events.jsonl": sum(map(len, lines[:50]))}
    assert "continued" not in entry


def test_a_process_that_had_the_run_continues_it(open_run):
    """A second fit in the same process that begins at step 0 belongs to the run: it supersedes nothing, and says so."""
    first = open_run(run_id="fits", path="cv")
    for step in range(10):
        first.log({"loss": 1.0}, step=step)
    first.finish()
    second = open_run(run_id="fits", path="cv")
    for step in range(5):
        second.log({"loss": 2.0}, step=step)
    second.finish()
    assert content(second, "meta.json")["resumed"][0]["continued"] is True
    run = rn.load(second)
    assert len(run["loss"]) == 15
    assert run.superseded_count("loss") == 0


def test_lines_that_a_resume_wrote_before_sizes_were_noted_count_all(resumed):
    """Without sizes no clock is asked: everything counts, as it did."""
    meta = content(resumed, "meta.json")
    del meta["resumed"][0]["events"]
    (resumed / "meta.json").write_text(json.dumps(meta))
    assert len(rn.load(str(resumed))["loss"]) == 70


def test_tables_leave_out_what_was_superseded(resumed):
    """By step and by line; a line of which nothing is left is no row. All of them are there on demand."""
    run = rn.load(str(resumed))
    assert len(run.table()) == 59
    assert list(run.table()["loss"]) == [1.0] * 39 + [2.0] * 20
    assert list(run.table(by_step=False)["step"]) == list(range(1, 60))
    assert len(run.table(by_step=False, superseded=True)) == 70
    assert len(json_lines(resumed)) == 70


@pytest.mark.usefixtures("resumed")
def test_exports_and_commands_take_the_later_values(storage, capsys, tmp_path):
    """``export``, ``plot`` and ``compare`` show the later session's values; ``--superseded`` has the others too."""
    out = tmp_path / "out.csv"
    assert cli.main(["export", "resumed", "--storage", str(storage), "-o", str(out), "--lines"]) == 0
    assert len(out.read_text().splitlines()) == 60
    more = [
        *("export", "resumed", "--storage", str(storage), "--lines", "--superseded"),
        "-o",
        str(tmp_path / "all.csv"),
    ]
    assert cli.main(more) == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 71
    capsys.readouterr()
    assert cli.main(["plot", "resumed", "loss", "--storage", str(storage), "--json"]) == 0
    (series,) = json.loads(capsys.readouterr().out)["series"]
    assert series["y"] == [1.0] * 39 + [2.0] * 20
    assert series["superseded"] == 11


def test_a_live_reader_learns_of_a_session_that_begins(storage, run_program, monkeypatch):
    """A reader that has read the first session and reads on takes the second one as that, whatever was in a part."""
    monkeypatch.setattr(events, "_LEAST_KEPT_BYTES", 1024)
    run_program(RESUME, 1, 51, 1.0)
    run = reading.load("resumed", storage)
    assert len(run["loss"]) == 50
    run_program(RESUME, 40, 60, 2.0)
    run.refresh()
    assert len(run["loss"]) == 59
    assert len(reading.load("resumed", storage)["loss"]) == 59


def test_a_third_session_supersedes_both(storage, run_program):
    """Of several resumes each counts: from the earliest first step on only the last is left."""
    run_program(RESUME, 1, 51, 1.0)
    run_program(RESUME, 40, 60, 2.0)
    run_program(RESUME, 20, 30, 3.0)
    loss = reading.load("resumed", storage)["loss"]
    assert list(loss.step) == list(range(1, 30))
    assert list(loss.value) == [1.0] * 19 + [3.0] * 10


def test_a_torn_last_line_belongs_to_nobody(resumed, storage, run_program):
    """A line that a crash has torn is before the new session's lines, and is told as unreadable."""
    with (resumed / "events.jsonl").open("ab") as file:
        file.write(b'{"ts": 1.0, "type": "met')
    run_program(RESUME, 45, 50, 3.0)
    run = reading.load("resumed", storage)
    assert list(run["loss"].step) == list(range(1, 50))
    assert len(run.problems) == 1


def test_a_part_that_was_kept_over_both_sessions_is_not_taken(resumed, storage, monkeypatch):
    """What a reader that knew of no sessions has left in the cache does not make one of two."""
    monkeypatch.setattr(events, "_LEAST_KEPT_BYTES", 1024)
    meta = (resumed / "meta.json").read_text()
    told = json.loads(meta)
    del told["resumed"][0]["events"]
    (resumed / "meta.json").write_text(json.dumps(told))
    assert len(reading.load("resumed", storage)["loss"]) == 70
    (resumed / "meta.json").write_text(meta)
    assert len(reading.load("resumed", storage)["loss"]) == 59
    assert len(reading.load("resumed", storage)["loss"]) == 59


def test_what_a_host_that_was_down_has_left_is_superseded_too(resumed, storage):
    """A file of an earlier session that came late has no say at steps that the later session logged; else it counts."""
    entry = content(resumed, "meta.json")["resumed"][0]
    late = resumed / f"events.host-{entry['after'][:8]}.jsonl"
    with late.open("w") as file:
        for step in (39, 40, 50, 55):
            data = {"loss": 7.0, "global_step": step, "time": 1.0}
            file.write(json.dumps({"ts": 1.0, "type": "metrics", "data": data}) + "\n")
    run = reading.load("resumed", storage)
    by_step = run["loss"].by_step()
    assert list(by_step.step) == list(range(1, 60))
    assert list(by_step.value) == [1.0] * 38 + [7.0] + [2.0] * 20
    assert run.superseded_count("loss") == 11 + 3
    late.rename(resumed / "events.host-01234567.jsonl")  # another machine that has joined: nothing of it is older
    assert len(reading.load("resumed", storage)["loss"]) == 59 + 4
