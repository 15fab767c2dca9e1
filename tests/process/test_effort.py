"""What tracking has cost stands in ``summary.json`` under ``runicorn``, and it is true."""

from __future__ import annotations

from support import content, stopped_writer

import runicorn as rn

MIB = 1024 * 1024


def effort(run) -> dict:
    """The figures of a run that has ended."""
    return content(run, "summary.json")["runicorn"]


def test_records_and_refusals_are_counted(open_run):
    """What was stored and what was refused for what it is: each once, whether a warning was shown or not."""
    run = open_run()
    for n in range(1, 51):
        run.log({"n": n, "bad": object()})
    run.log_text("a line")
    run.finish()
    found = effort(run)
    assert (found["records_stored"], found["values_refused"]) == (51, 50)
    assert (found["records_dropped"], found["device_values_lost"]) == (0, 0)


def test_backlog_is_the_most_that_has_waited(open_run):
    """The largest backlog is at least what was logged while nothing was stored."""
    run = open_run()
    with stopped_writer(run):
        for _ in range(40):
            run.log_text("x" * (64 * 1024))
    run.finish()
    assert 40 * 64 * 1024 < effort(run)["largest_backlog_bytes"] < 40 * MIB


def test_writer_says_what_it_took(open_run):
    """CPU time and memory of the writer are those of a process that has started and stored something."""
    run = open_run()
    run.log({"a": 1})
    run.finish()
    assert effort(run)["writer_cpu_s"] > 0
    assert 5 * MIB < effort(run)["writer_peak_rss_bytes"] < 500 * MIB


def test_figures_are_those_of_the_last_session(open_run):
    """A resumed run counts from its resumption; the user's fields stay."""
    run = open_run(run_id="phoenix")
    run.summary({"mine": 1})
    run.log({"a": 1})
    run.finish()
    again = open_run(run_id="phoenix")
    for n in range(3):
        again.log({"a": n})
    again.finish()
    assert (effort(again)["records_stored"], content(again, "summary.json")["mine"]) == (3, 1)


FORK = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="phoenix")
run.log({"bad": object()})
child = os.fork()
if child == 0:
    run.log({"bad": object()})
    run.log({"bad": object()})
    run.finish()
    os._exit(0)
os.waitpid(child, 0)
run.finish()
"""


def test_refusals_of_a_forked_child_are_its_own(run_program, storage):
    """What a child has refused is counted once, and what its parent had refused before is not counted again."""
    run_program(FORK, storage)
    (info,) = rn.runs(storage)
    assert info.summary["runicorn"]["values_refused"] == 3
