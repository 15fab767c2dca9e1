"""Every benchmark runs, and prints the figures that it documents; how large they are is not a test's business."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

import runicorn

BENCH = pathlib.Path(__file__).parents[2] / "bench"
SOURCE = pathlib.Path(runicorn.__file__).parents[1]
MACHINE = {"cpu", "cores", "memory_bytes", "load_average_1min", "system", "python", "msgspec", "code"}

FIGURES = {
    "log_latency": {"calls", "timer_pair", "switch_interval_s", "rows", "parts_ns"},
    "throughput": {
        "records",
        "rounds",
        "records_per_s",
        "baseline_records_per_s",
        "baseline_bytes_per_record",
        "runs",
        "baselines",
    },
    "many_processes": {"seconds", "flat_out", "joined", "imports"},
    "startup": {
        "import_runicorn_ms",
        "import_msgspec_ms",
        "first_runs_ms",
        "empty_run_ms",
        "heartbeat_ms",
        "idle_writer",
    },
    "switched_off": {"run.log(data)", "run.log(data, step=5)", "run.log(loss=1.0)", "run.log_text('text')"},
    "console": {"alone", "busy"},
    "images": {"packages", "encode_ms"},
    "system": {"start_ms", "sample_ms", "memory_bytes", "processes", "numbers", "gpus"},
    "outputs": {"checkpoint_bytes", "plain", "watched"},
    "read": {
        "records",
        "file_bytes",
        "many_records",
        "runs",
        "rounds",
        "readings",
        "formats",
        "refresh",
        "many",
        "listing",
    },
    "gpu_scalars": {"available"},
    "importing": {"measured"},
    "readers": {"seconds", "readers", "runs"},
    "viewer": {
        *("records", "runs", "first_byte_s", "levels_s", "grid_cpu_s", "memory_mib", "log_loads", "published"),
        *("report_bytes", "grid_drawn_all_s"),
    },
    "syscalls": {"available"},
    "chaos": {
        "seed",
        "trials",
        "jobs",
        "elapsed_s",
        "not_reached",
        "with_fault",
        "resumed",
        "cells",
        "moments",
        "around",
        "totals",
        "failures",
    },
    "soak": {
        "seed",
        "minutes",
        "target_records_per_s",
        "records",
        "records_per_s",
        "producers",
        "lost",
        "doubled",
        "in_order",
        "kills",
        "trainer",
        "writer",
        "samples",
        "spool_peak_bytes",
        "finish_s",
        "status",
        "exit_code",
        "leftovers",
    },
}
MORE_ARGUMENTS = {"log_latency": ["--parts"], "chaos": ["--seed", "1"], "soak": ["--seed", "1"]}


def check_throughput(figures):
    """What counts as stored was read back from the file, each step once."""
    assert [run["lines"] for run in figures["runs"]] == [figures["records"]]
    assert all(run["all_once"] for run in figures["runs"])


def check_many_processes(figures):
    """What each producer has logged was read back from the file, each step once and in order."""
    assert [row["ours"]["stored"] for row in figures["flat_out"]] == [
        row["ours"]["logged"] for row in figures["flat_out"]
    ]
    assert all(row["ours"]["all_there"] for row in figures["flat_out"])
    assert [(row["method"], row["at_once"]) for row in figures["joined"]] == [
        (method, at_once) for method in ("fork", "spawn") for at_once in (False, True)
    ]
    assert all(row["all_there"] and row["stored"] == row["expected"] for row in figures["joined"])


def check_readers(figures):
    """Each reader saw a beginning of what was logged, to the last bit, and all of it in the end."""
    for run in figures["runs"].values():
        assert (run["errors"], run["ended_well"], run["lost_records"]) == ([], figures["readers"], 0)
        assert run["values_checked"] == 4 * figures["readers"] * run["records"]


def check_syscalls(figures):
    """A thousand calls make none, whether flat out or over a second; opening a segment makes some."""
    if figures["available"]:
        assert figures["within_segment"] == {}
        assert figures["within_segment_paced"] == {}
        assert figures["rotation"]
        assert figures["python_threads"] == 1


def check_chaos(figures):
    """No trial has failed."""
    assert figures["failures"] == []


def check_soak(figures):
    """Nothing is lost, doubled or left behind."""
    expected = {"lost": 0, "doubled": 0, "in_order": True, "status": "finished", "exit_code": 0, "leftovers": 0}
    assert {name: figures[name] for name in expected} == expected


CHECKS = {
    "throughput": check_throughput,
    "many_processes": check_many_processes,
    "readers": check_readers,
    "syscalls": check_syscalls,
    "chaos": check_chaos,
    "soak": check_soak,
}


@pytest.fixture
def environment(tmp_path):
    """The temp directory is the test's own, so that what a benchmark leaves behind is seen."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(scratch)}


def run_script(name, *arguments, environment):
    command = [sys.executable, str(BENCH / f"{name}.py"), *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=220, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def run_quickly(name, environment):
    arguments = ["--quick", "--json", *MORE_ARGUMENTS.get(name, [])]
    return json.loads(run_script(name, *arguments, environment=environment))


@pytest.mark.parametrize("name", FIGURES)
def test_benchmark_prints_its_documented_figures_as_json(name, environment):
    """A smoke run prints one JSON object with the machine's facts, finds what it promises, and leaves no file."""
    result = run_quickly(name, environment)

    assert result["benchmark"] == name
    assert result["quick"] is True
    assert set(result["machine"]) == MACHINE
    assert set(result["figures"]) >= FIGURES[name]
    if name in CHECKS:
        CHECKS[name](result["figures"])
    assert all(len(row) == len(table["columns"]) for table in result["tables"] for row in table["rows"])
    assert os.listdir(environment["TMPDIR"]) == []


def test_absence_of_strace_is_reported_and_is_no_failure(environment):
    """Where strace is not installed the benchmark says so instead of a figure."""
    figures = run_quickly("syscalls", {**environment, "PATH": environment["TMPDIR"]})["figures"]

    assert figures == {"available": False, "reason": "strace is not installed"}


def test_chaos_repeats_one_trial_of_a_seed(environment):
    """The command that a failing trial prints plays the same cell at the same moment again."""
    arguments = ["--json", "--seed", "7", "--only", "3"]
    first, second = (json.loads(run_script("chaos", *arguments, environment=environment))["figures"] for _ in "12")

    assert first["trials"] == 1
    assert first["cells"].keys() == second["cells"].keys()
    assert first["moments"].keys() == second["moments"].keys()


def test_peers_are_measured_alike_and_read_back_after_a_sigkill(environment):
    """Each workload asked for is played on each tracker; of a few lines in a buffered file a SIGKILL leaves none."""
    arguments = ["--quick", "--json", "--workloads", "flat", "kill"]
    result = json.loads(run_script("peers/__main__", *arguments, environment=environment))
    ours, lines = (result["figures"]["trackers"][name] for name in ("ours", "JSON line, buffered file"))

    assert result["benchmark"] == "peers"
    assert result["figures"]["failures"] == result["figures"]["absent"] == {}
    assert ours["flat"].keys() == lines["flat"].keys()
    assert (ours["kill"]["readable"], lines["kill"]["readable"]) == (ours["kill"]["calls"], 0)
    assert (ours["flat"]["unreadable_after_finish"], lines["flat"]["unreadable_after_finish"]) == (0, 0)
    assert os.listdir(environment["TMPDIR"]) == []


def test_report_is_written_from_the_figures_alone(environment, tmp_path):
    """The document has the question, the command and the tables of each JSON file in the directory."""
    result = run_quickly("switched_off", environment)
    directory = tmp_path / "figures"
    directory.mkdir()
    (directory / "any-name.json").write_text(json.dumps(result), encoding="utf-8")

    document = run_script("report", str(directory), environment=environment)

    assert f"## {result['question']}" in document
    assert f"`{result['command']}`" in document
    assert all(f"### {table['title']}" in document for table in result["tables"])
    assert "A smoke run" in document
