"""The commands that read: ``ls``, ``show``, ``tail``, ``plot``, ``compare``."""

import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import pytest

from runicorn.cli import COMMANDS, main, parser
from runicorn.commands import drawn_curves, render, tail
from runicorn.commands.following import FollowedFile
from runicorn.host import identity
from runicorn.reading import flat, plain_text
from runicorn.reading.curves import Query, curve
from runicorn.reading.part import Group
from runicorn.reading.stretches import FoundPoints, Stretch

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
BEST = {"best_metric_name": "acc", "best_metric_value": 0.9, "best_metric_step": 2, "best_metric_mode": "max"}
NASTY = "a\x1b[2Jb\x1b]0;t\x07\r\u202e\x9bz\udc80"
SHOWN = r"a\x1b[2Jb\x1b]0;t\x07\r\u202e\x9bz\udc80"


def make(storage, run_id, path="cv", *, alias=None, status="finished", age_s=100.0, lines=(), text="", **files):
    """A run whose files are written here; ``lines`` are pairs of step and metrics, or raw bytes."""
    run_dir = Path(storage, "runs", *filter(None, path.split("/")), run_id)
    run_dir.mkdir(parents=True)
    began = time.time() - age_s
    meta = {"id": run_id, "path": path, "alias": alias, "created_at": began, "hostname": identity.hostname()}
    contents = {
        "meta": {**meta, "pid": os.getpid(), **files.pop("meta", {})},
        "status": {"status": status, "started_at": began, **({} if status == "running" else {"ended_at": began + 60})},
        **files,
    }
    for name, content in contents.items():
        (run_dir / f"{name}.json").write_text(json.dumps(content))
    if lines:
        with (run_dir / "events.jsonl").open("wb") as file:
            file.writelines(line if isinstance(line, bytes) else event(*line, began) for line in lines)
    if text:
        (run_dir / "logs.txt").write_text(text)
    return run_dir


def event(step, data, began=0.0):
    when = began + step
    content = {"ts": when, "type": "metrics", "data": {**data, "global_step": step, "time": when}}
    return json.dumps(content).encode() + b"\n"


@pytest.fixture
def runicorn(storage, capsys):
    """A command in the test's storage: its exit code, and what it printed."""

    def run(command, *arguments, code=0):
        status = main([command, *map(str, arguments), "--storage", str(storage)])
        out, err = capsys.readouterr()
        assert status == code, err
        return out, err

    return run


@pytest.fixture
def on_terminal(monkeypatch):
    """What a call prints where standard output is a terminal of 100 columns."""
    pty = pytest.importorskip("pty")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def printed(call):
        ours, theirs = pty.openpty()
        pieces = []

        def read():
            try:
                while piece := os.read(ours, 65536):
                    pieces.append(piece)
            except OSError:  # how Linux tells the end
                return

        reader = threading.Thread(target=read)
        reader.start()
        with monkeypatch.context() as patch, open(theirs, "w", encoding="utf-8") as stdout:
            patch.setattr(sys, "stdout", stdout)
            call()
        reader.join()
        os.close(ours)
        return b"".join(pieces).decode().replace("\r\n", "\n")

    return printed


@pytest.fixture
def terminal(storage, on_terminal):
    """A command in the test's storage, on a terminal: what it prints there."""

    def run(command, *arguments):
        def call():
            assert main([command, *arguments, "--storage", str(storage)]) == 0

        return on_terminal(call)

    return run


@pytest.fixture
def draw():
    """Random numbers, of a seed that is printed and may be given."""
    seed = int(os.environ.get("CHAOS_SEED", "20261123"))
    print(f"seed {seed}")
    return random.Random(seed)


def words(out):
    return [line.split() for line in out.splitlines()]


def ids(out):
    return [row[2] for row in words(out)[1:]]


# --- ls -----------------------------------------------------------------------------------------------------------


def test_ls_has_a_line_for_each_run_the_newest_first(storage, runicorn):
    """A line has as many words as the head: what a run has not is a dash."""
    make(storage, "old", "", age_s=7200, alias="seed", summary=BEST, lines=[(7, {"acc": 0.9})])
    make(storage, "new", "cv/x", age_s=130, status="failed")

    out, err = runicorn("ls")

    assert words(out) == [
        ["status", "path", "id", "alias", "age", "duration", "steps", "best"],
        ["failed", "cv/x", "new", "-", "2m", "1m00s", "-", "-"],
        ["finished", "/", "old", "seed", "2h", "1m00s", "7", "acc=0.9"],
    ]
    assert err == ""


def test_ls_takes_those_that_are_asked_for(storage, runicorn):
    """Path, status, alias, group, age and number choose runs; together all of them must hold."""
    make(storage, "a", "cv", age_s=100, alias="seed-1", meta={"group": "sweep/1"})
    make(storage, "b", "cv/x", age_s=4000, status="failed")
    make(storage, "c", "nlp", age_s=90_000, status="interrupted", alias="seed-2")

    for arguments, expected in (
        (["cv"], "ab"),
        (["cv/*"], "b"),
        (["--status", "failed", "--status", "interrupted"], "bc"),
        (["--alias", "seed-*"], "ac"),
        (["--group", "sweep/1"], "a"),
        (["--group", "sweep/*", "--status", "failed"], ""),
        (["--newer", "2h"], "ab"),
        (["--older", "1.5m", "--newer", "1d"], "ab"),
        (["--limit", "1"], "a"),
        (["cv", "--status", "finished", "--older", "1w"], ""),
    ):
        assert "".join(ids(runicorn("ls", *arguments)[0])) == expected, arguments


def test_ls_sorts_by_any_column(storage, runicorn):
    """Each order begins with what is looked for first, and runs without a value are last in both directions."""
    low = {**BEST, "best_metric_value": 0.1}
    make(storage, "a", "z", age_s=300, status="failed", summary=BEST, lines=[(5, {"l": 1})], alias="y")
    make(storage, "b", "y", age_s=200, summary=low, lines=[(50, {"l": 1})], alias="x")
    make(storage, "c", "x", age_s=100, status="running", summary={**BEST, "best_metric_value": math.nan})

    for order, expected, backwards in (
        ("age", "cba", "abc"),
        ("steps", "bac", "abc"),
        ("best", "abc", "bac"),
        ("path", "cba", "abc"),
        ("status", "cba", "abc"),
        ("alias", "bac", "abc"),
        ("duration", "cba", "bac"),
    ):
        assert "".join(ids(runicorn("ls", "--sort", order)[0])) == expected, order
        assert "".join(ids(runicorn("ls", "--sort", order, "--reverse")[0])) == backwards, order
    low_is_good = {"best_metric_name": "acc", "best_metric_value": 0.0, "best_metric_mode": "min"}
    make(storage, "d", summary={**low_is_good, "best_metric_name": "zero"})
    assert "".join(ids(runicorn("ls", "--sort", "best")[0])) == "abdc"


def test_ls_shows_a_lost_run_and_what_repairs_it(storage, runicorn):
    """A run that says running while its process is gone is lost, and the command stands below the list."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    make(storage, "gone", status="running", meta={"pid": process.pid})
    make(storage, "elsewhere", status="running", meta={"pid": process.pid, "hostname": "another"}, age_s=200)

    out, err = runicorn("ls")

    assert [row[0] for row in words(out)] == ["status", "lost", "running"]
    assert err.splitlines()[-1] == f"  runicorn recover --storage {storage}"
    assert f"runicorn recover --storage {storage}" in runicorn("show", "gone")[1]
    assert f"runicorn recover --storage {storage}" in runicorn("tail", "-f", "gone")[1]


def test_storage_without_runs_and_storage_that_is_missing(storage, runicorn):
    """No runs is a remark and success, and an empty array; no storage is a failure that names it."""
    assert runicorn("ls", code=1)[1] == (
        f"runicorn ls: No storage in {storage}: there is no such directory. "
        "Name another with --storage DIR or RUNICORN_DIR.\n"
    )
    storage.mkdir()
    assert runicorn("ls") == ("", f"No runs in {storage}.\n")
    assert runicorn("ls", "cv") == ("", f"No runs in {storage} that match.\n")
    assert runicorn("ls", "--json")[0] == "[]\n"


# --- what all have in common --------------------------------------------------------------------------------------


def documented(what):
    """The names in the first column of the table with that head."""
    table = re.search(rf"^\| {re.escape(what)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCS, re.MULTILINE)
    return re.findall(r"^\| `(\w+)` \|", table[1], re.MULTILINE)


def test_json_is_as_documented(storage, runicorn):
    """The fields of every document are those of the docs; all is ASCII, and numbers that JSON has not are strings."""
    lines = [(1, {"acc": math.nan}), (2, {"acc": 0.5, "é": math.inf}), (3, {"acc": math.nan})]
    make(storage, "one", summary=BEST, lines=lines, assets={"config": {"args": {"lr": 0.1}}})
    make(storage, "two", summary={**BEST, "note": -math.inf}, lines=lines[1:2])

    def document(*arguments):
        out, err = runicorn(*arguments, "--json")
        assert (out.isascii(), err) == (True, "")

        def refuse(token):
            raise AssertionError(token)

        return json.loads(out, parse_constant=refuse)

    listed, shown = document("ls"), document("show", "one")
    plotted, compared = document("plot", "one", "two", "acc"), document("compare", "one", "two")

    assert [run["id"] for run in listed] == ["two", "one"]
    assert listed[0]["summary"]["note"] == "-Infinity"
    for run in (*listed, shown["run"], *compared["runs"]):
        assert list(run) == documented("field of a run")
    assert list(shown) == documented("field of `show`")
    assert {tuple(figures) for figures in shown["metrics"].values()} == {tuple(documented("figure of a metric"))}
    assert shown["metrics"]["acc"] == {
        "count": 3, "nonfinite": 2, "last_step": 3, "last": "NaN", "min": 0.5, "max": 0.5
    }  # fmt: skip
    assert list(plotted) == ["x", "series"]
    assert [list(series) for series in plotted["series"]] == 2 * [documented("field of a series")]
    assert [series["y"] for series in plotted["series"]] == [["NaN", 0.5, "NaN"], [0.5]]
    assert list(compared) == documented("field of `compare`")
    assert compared["config"] == {"args.lr": [0.1, None]}
    assert compared["summary"] == {"note": [None, "-Infinity"]}
    assert compared["metrics"] == {"acc": {"last": ["NaN", 0.5]}}


def nasty_runs(storage):
    name = NASTY[:-1]  # half a character is escaped where numbers are read
    make(
        storage,
        "nasty",
        alias=NASTY,
        meta={"tags": [NASTY], "hostname": NASTY},
        status="failed",
        summary={**BEST, "best_metric_name": name, NASTY: NASTY, "deep": [{NASTY: NASTY}]},
        assets={"config": {"args": {NASTY: NASTY}}, "datasets": [{"name": NASTY}], "code": {"snapshot": {}}},
        lines=[(1, {name: 1.0, "text": NASTY, "stage": NASTY}), NASTY.encode("utf-8", "replace") + b"\n"],
        text=NASTY.encode("utf-8", "backslashreplace").decode() + "\n",
    )
    make(storage, "other", lines=[(1, {name: 2.0})], summary={"a": 1})


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["show", "nasty"], ["tail", "nasty"], ["plot", "nasty", "other"], ["compare", "nasty", "other"]],
    ids=lambda arguments: arguments[0],
)
def test_nothing_in_a_file_reaches_the_terminal_as_a_command(storage, runicorn, terminal, arguments):
    """Escape sequences, control characters and marks of direction in names, text and values are shown, not obeyed."""
    nasty_runs(storage)

    out, err = runicorn(*arguments)
    on_terminal = terminal(*arguments)

    colourless = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal)
    for printed in (out, err, colourless):
        bad = {each for each in printed if not (each.isprintable() or each in "\n\t")}
        assert not bad, printed
    assert r"\x1b[2J" in out


def test_what_is_not_there_or_not_meant_is_an_error(storage, runicorn, capsys):
    """No such run or metric is 1, with what there is instead; a wrong call is 2."""
    make(storage, "one", lines=[(1, {"loss": 1.0})])
    make(storage, "only\x1b[2J")

    for arguments, said in (
        (["show", "nothing"], "No run matches 'nothing'"),
        (["tail", "o"], "2 runs in"),
        (["plot", "one", "nothing"], "no metric of one is called 'nothing'"),
        (["plot", "one", "--metric", "acc"], "has no metric 'acc'. It has loss."),
        (["plot", "one"], "No metric is named. Run one has loss."),
        (["plot", "one", "loss", "--rank", "3"], "no values of 'loss' of rank 3"),
        (["plot", "one", "loss", "--metric", "loss"], "No run matches 'loss'"),
        (["plot", "only", "--metric", "loss"], "has no metric 'loss'. It has none."),
        (["compare", "one", "nothing"], "No run matches 'nothing'"),
    ):
        out, err = runicorn(*arguments, code=1)
        assert out == "", arguments
        assert said in err, arguments
        assert "\x1b" not in err
    assert "needs at least two runs" in runicorn("compare", "one", code=2)[1]
    for arguments in (["ls", "--newer", "x"], ["plot", "one", "--smooth", "1"], ["ls", "--status", "lazy"], ["tail"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2, arguments
        assert "error: " in capsys.readouterr().err


def test_damaged_files_are_shown_as_far_as_they_can_be_read(storage, runicorn):
    """What could not be read is told with file and offset; no command fails for it."""
    whole = event(1, {"loss": 1.0})
    run_dir = make(storage, "bad", lines=[whole, b"{garbage\n", event(2, {"loss": 2.0}), b'{"ts": 1, "ty'])
    (run_dir / "status.json").write_text('{"status": ')
    (run_dir / "assets.json").write_text("[]")
    (run_dir / "logs.txt").mkdir()

    assert words(runicorn("ls")[0])[1][:3] == ["unknown", "cv", "bad"]
    out, _ = runicorn("show", "bad")
    assert f"events.jsonl at byte {len(whole)}: not JSON" in out
    assert "status.json: could not be read" in out
    assert "problems: 4 things" in out
    assert runicorn("tail", "bad")[0] == "step 2 loss=2\n"
    out, err = runicorn("tail", "-f", "bad")
    assert "status of the run cannot be read" in err
    assert json.loads(runicorn("plot", "bad", "loss", "--json")[0])["series"][0]["y"] == [1.0, 2.0]
    runicorn("compare", "bad", "bad")


def test_all_commands_have_help_and_are_completed():
    """The parser that completions are made from has every command, each with its line of help."""
    actions = [action for action in parser()._actions if action.dest == "command"]

    assert tuple(actions[0].choices) == COMMANDS
    assert all(choice.help for choice in actions[0]._choices_actions)


def test_absurd_values_in_files_are_shown_as_well(storage, runicorn):
    """Times beyond any calendar, integers of a thousand digits and nesting beyond any encoder end no command."""
    deep = json.loads('{"a":' * 400 + "[Infinity]" + "}" * 400)
    huge = {"best_metric_name": "n", "best_metric_value": 10**3000, "deep": deep, "long": "x" * 9000}
    for name, when in (("one", 1e300), ("two", -1e300)):
        run_dir = make(storage, name, summary=huge, meta={"created_at": when}, lines=[(1, {"n": 10**3000})])
        (run_dir / "status.json").write_text(json.dumps({"status": "done", "started_at": when, "last_step": 10**3000}))

    runicorn("show", "one")
    for arguments in (["ls"], ["tail", "-f", "one"], ["compare", "one", "two", "--all"]):
        assert max(map(len, runicorn(*arguments)[0].splitlines())) < 500
    for arguments in (["ls"], ["show", "one"], ["compare", "one", "two"]):
        json.loads(runicorn(*arguments, "--json")[0])
    assert "none of the values can be drawn" in runicorn("plot", "one", "n", code=1)[1]


# --- show ---------------------------------------------------------------------------------------------------------


def test_show_has_all_that_is_known(storage, runicorn):
    """Files, metrics with their figures, ranks, settings and assets of a run are shown, a line each."""
    lines = [(1, {"acc": 0.5, "loss": math.nan}), (2, {"acc": 0.9, "loss": 3}), (3, {"acc": 0.7, "note": "x"})]
    assets = {
        "config": {"args": {"lr": 0.1, "net": {"depth": 3}}},
        "datasets": [{"name": "cifar"}, {"name": "mnist"}],
        "code": {"snapshot": {"workspace_root": "/w"}},
    }
    summary = {**BEST, "n": [1]}
    run_dir = make(storage, "one", alias="a", summary=summary, lines=lines, assets=assets, meta={"tags": ["t"]})
    (run_dir / "events.rank3.jsonl").write_bytes(event(9, {"acc": 0.1})[:-2] + b', "rank": 3}\n')

    out, _ = runicorn("show", "a")

    found = [" ".join(row) for row in words(out)]
    for line in (
        "status finished",
        "alias a",
        "tags t",
        f"directory {run_dir}",
        "duration 1m00s",
        "steps 3",
        "best acc=0.9 at step 2 (max)",
        "ranks 3",
        "metric count at step last min max not finite",
        "acc 3 3 0.7 0.5 0.9 -",
        "loss 2 2 3 3 3 1",
        "note 1 3 x - - -",
        "args.lr 0.1",
        "args.net.depth 3",
        "n [1]",
        "code snapshot of /w",
        "datasets 2: cifar, mnist",
    ):
        assert line in found, out


def test_show_does_not_work_out_figures_of_much_unasked(storage, runicorn, monkeypatch):
    """Of more numbers than fit a short wait the metrics' names are shown, and the option that shows their figures."""
    monkeypatch.setattr("runicorn.commands.show.MOST_BYTES", 10)
    monkeypatch.setattr("runicorn.commands.compare.MOST_BYTES", 10)
    make(storage, "one", lines=[(1, {"loss": 0.5})])
    make(storage, "two", lines=[(1, {"loss": 0.6})])

    assert "--figures shows their statistics)\n  loss\n" in runicorn("show", "one")[0]
    assert json.loads(runicorn("show", "one", "--json")[0])["metrics"] == {"loss": None}
    assert "0.5" in runicorn("show", "one", "--figures")[0]
    out, err = runicorn("compare", "one", "two")
    assert ("loss" in out, "--figures" in err) == (False, True)
    assert "loss" in runicorn("compare", "one", "two", "--figures")[0]


# --- tail ---------------------------------------------------------------------------------------------------------


def test_tail_shows_the_last_lines_and_numbers(storage, runicorn):
    """The last lines of text without colours, and the last numbers; less where it is asked for."""
    text = "".join(f"line {number}\n" for number in range(30)) + "\x1b[31mred\x1b[0m\tend\nno newline"
    run_dir = make(storage, "one", lines=[(1, {"loss": 1.0}), (2, {"loss": 0.5, "stage": "b"})], text=text)
    (run_dir / "logs.far.txt").write_text("there\n")

    out, _ = runicorn("tail", "one")
    lines = out.splitlines()
    assert lines[:19] == [f"line {number}" for number in range(11, 30)]
    assert lines[19:] == ["red\tend", "[far] there", "step 2 (b) loss=0.5"]
    assert runicorn("tail", "one", "-n", "1", "--no-metrics")[0] == "red\tend\n[far] there\n"
    assert runicorn("tail", "one", "--no-text")[0] == "step 2 (b) loss=0.5\n"
    out, err = runicorn("tail", "one", "-n", "0", "-f", "--no-metrics")
    assert out == "no newline\n"
    assert err == "The run has ended: finished after 1m00s.\n"


def test_followed_file_gives_each_line_once_and_whole(tmp_path):
    """Lines come when their newline does; a file that appears, or takes another's place, is read from its beginning."""
    path = tmp_path / "logs.txt"
    file = FollowedFile(str(tmp_path), "logs.txt", 1)
    assert list(file.new_lines()) == []
    path.write_bytes(b"a\nb")
    assert list(file.new_lines()) == [b"a"]
    with path.open("ab") as more:
        more.write(b"c\n\nd")
    assert list(file.new_lines()) == [b"bc", b""]
    assert list(file.new_lines()) == []
    for lines in ([b"other"], [b"a longer one", b"than that was"]):
        (tmp_path / "new").write_bytes(b"".join(line + b"\n" for line in lines))
        (tmp_path / "new").replace(path)
        assert list(file.new_lines()) == lines
    assert file.rest() == b""


def test_last_lines_are_found_in_files_of_any_shape(tmp_path, monkeypatch, draw):
    """However long lines and blocks are, the last whole lines come first, and what is behind them waits."""
    for _ in range(50):
        lines = [b"x" * draw.choice([0, 1, 5, 40]) for _ in range(draw.randrange(12))]
        half = b"y" * draw.choice([0, 0, 3])
        (tmp_path / "logs.txt").write_bytes(b"".join(line + b"\n" for line in lines) + half)
        monkeypatch.setattr("runicorn.reading.long_lines._BLOCK_BYTES", draw.choice([1, 2, 7, 64]))
        last = draw.randrange(14)
        file = FollowedFile(str(tmp_path), "logs.txt", last)
        assert list(file.new_lines()) == (lines[-last:] if last else [])
        assert file.rest() == half


def test_terminal_is_not_flooded_with_numbers(storage, on_terminal):
    """Of many numbers at once a terminal gets the last hundred, and how many were before them; their rank is named."""
    run_dir = make(storage, "one", lines=[(1, {"loss": 1.0})])
    shown = tail.ShownFiles(str(run_dir), 0, text=False, metrics=True)
    (run_dir / "events.rank1.jsonl").write_bytes(b"".join(event(step, {"loss": step}) for step in range(250)))

    lines = on_terminal(shown.print_new).splitlines()

    assert lines[:2] == ["step 1 loss=1", "... left out: 150 lines of numbers that came too fast to be read"]
    assert lines[2:] == [f"[rank 1] step {step} loss={step}" for step in range(150, 250)]
    assert on_terminal(shown.print_new) == ""


# --- plot ---------------------------------------------------------------------------------------------------------


def curve_run(storage, name, values, **more):
    return make(storage, name, lines=[(step, {"loss": value}) for step, value in enumerate(values, 1)], **more)


def test_runs_come_first_and_metrics_behind(storage, runicorn):
    """What is a run is one, from the first word on; a metric that is called like a run is named by the option."""
    curve_run(storage, "one", [1, 2], summary={**BEST, "best_metric_name": "loss"})
    curve_run(storage, "two", [3], alias="loss")

    def series(*arguments):
        found = json.loads(runicorn("plot", *arguments, "--json")[0])["series"]
        return [(each["run"], each["metric"], each["y"]) for each in found]

    assert series("one") == [("one", "loss", [1, 2])]
    assert series("one", "loss") == [("one", "loss", [1, 2]), ("two", "loss", [3])]
    assert series("one", "--metric", "loss") == [("one", "loss", [1, 2])]
    assert series("one", "one", "--metric", "loss") == 2 * [("one", "loss", [1, 2])]
    (Path(storage) / "runs/cv/two/meta.json").write_text("{}")
    assert series("one", "loss") == [("one", "loss", [1, 2])]
    assert series("one", "two", "loss") == [("one", "loss", [1, 2]), ("two", "loss", [3])]


def test_what_is_not_drawn_is_told(storage, runicorn):
    """NaN, text and, on a logarithmic axis, values of 0 and below are counted, each with its reason."""
    curve_run(storage, "one", [10.0, 0.0, math.nan, -1.0, "x", 1.0, 1e308])

    out, err = runicorn("plot", "one", "loss", "--log", "--height", "5", "--width", "40")

    assert "loss: 3 of 7 values are not finite, and are not drawn." in err
    assert "loss: 2 of 7 values are 0 or below, and are not drawn on a logarithmic axis." in err
    lines = out.splitlines()
    assert lines[0].startswith("   10 |*")
    assert lines[4].startswith("    1 |")
    assert lines[4].endswith("*")
    assert max(map(len, lines)) <= 40
    curve_run(storage, "none", [0.0])
    assert "none of the values can be drawn" in runicorn("plot", "none", "loss", "--log", code=1)[1]


def test_smoothing_and_time(storage, runicorn):
    """The moving average is by distance, and has none where the value is none; time counts from the start."""
    curve_run(storage, "one", [1.0, 3.0, None, 3.0])

    (series,) = json.loads(runicorn("plot", "one", "loss", "--smooth", "0.999", "--x", "time", "--json")[0])["series"]

    kept = 0.999 ** (1000 / 3)  # of what was before, after a third of the range
    average, weight = 0.001 * kept + 3.0 * (1 - kept), 0.001 * kept + 1 - kept
    later = kept**2 * average + 3.0 * (1 - kept**2), kept**2 * weight + 1 - kept**2
    assert series["smoothed"] == [1.0, pytest.approx(average / weight), None, pytest.approx(later[0] / later[1])]
    assert series["x"] == pytest.approx([1, 2, 3, 4])
    assert series["y"] == [1.0, 3.0, None, 3.0]
    out, _ = runicorn("plot", "one", "loss", "--smooth", "0.999", "--x", "time", "--height", "8")
    assert "." in out
    assert out.splitlines()[9].split() == ["1.0s", "4.0s"]


def test_plot_of_one_rank(storage, runicorn):
    """Of several ranks rank 0 is drawn, and said so; another one is asked for."""
    run_dir = curve_run(storage, "one", [1.0, 2.0])
    (run_dir / "events.rank1.jsonl").write_bytes(event(1, {"loss": 7.0})[:-2] + b', "rank": 1}\n')

    def y(*arguments):
        return json.loads(runicorn("plot", "one", "loss", *arguments, "--json")[0])["series"][0]["y"]

    assert (y(), y("--rank", "1")) == ([1.0, 2.0], [7.0])
    assert "2 ranks have values; rank 0 is shown" in runicorn("plot", "one", "loss")[1]


def test_curves_in_letters_where_there_are_no_dots(storage, runicorn, terminal, monkeypatch):
    """A terminal gets dots, in colours; without colours or the library, or in a pipe, each curve has a letter."""
    pytest.importorskip("plotille")
    curve_run(storage, "one", [1.0, 2.0, 3.0])
    curve_run(storage, "two", [3.0, 2.5, 1.0])
    arguments = ("plot", "one", "two", "loss", "--height", "6")

    def has(drawing):
        patterns = ("[\u2801-\u28ff]", r"\x1b\[38;5;", "a.*b|b.*a")
        return tuple(bool(re.search(pattern, drawing)) for pattern in patterns)

    letters = (False, False, True)
    assert has(runicorn(*arguments)[0]) == letters
    assert has(terminal(*arguments))[:2] == (True, True)
    with monkeypatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        assert has(terminal(*arguments)) == letters
        assert has(terminal("plot", "one", "loss")) == (True, False, False)
    monkeypatch.setitem(sys.modules, "plotille", None)
    assert has(terminal(*arguments)) == letters


@pytest.mark.parametrize("place", [0, 1, 12_345, 19_999])
def test_what_sticks_out_is_drawn(storage, runicorn, place):
    """One value of 50 among 20,000 below 1.1 is at the top of the plot, above the steps that it was logged at."""
    values = [1.0 + step % 7 / 100 for step in range(20_000)]
    values[place] = 50.0
    curve_run(storage, "one", values)
    lines = runicorn("plot", "one", "loss", "--height", "10", "--width", "60")[0].splitlines()
    label, _, drawn = lines[0].partition("|")
    assert label.strip() == "50"
    assert drawn.strip() == "*"
    assert drawn.index("*") / len(lines[9].partition("|")[2]) == pytest.approx(place / 20_000, abs=0.05)
    assert not any(line.partition("|")[2].strip() for line in lines[1:8])


def test_a_plot_keeps_the_ends_of_each_bucket(draw):
    """Of any number of points a few a column are left, in order, with the highest and the lowest."""
    for size in (1, 2, 400, 5000):
        steps = sorted({round(draw.random() * 10**6) for _ in range(size)})
        points = [(step, draw.gauss(0, 1)) for step in steps]
        x, y = (array(kind, axis) for kind, axis in zip("qd", zip(*points, strict=True), strict=True))
        group = Group((), "")
        group.numbers.extend((0, len(x)))
        stretch = Stretch(x, y, (0, len(x)), 0, group)
        made = curve(FoundPoints([stretch], len(x), 0, 0), Query(buckets=40))
        (kept,) = drawn_curves.drawn(made, log=False, smooth=False)
        assert len(kept) <= 4 * 40
        assert [at for at, _ in kept] == sorted(at for at, _ in kept)
        assert {y for _, y in kept} <= set(y)
        assert {max(y), min(y)} <= {y for _, y in kept}
        (logged,) = drawn_curves.drawn(made, log=True, smooth=False)
        assert [value for _, value in logged] == [math.log10(value) for _, value in kept if value > 0]


def test_flat_curves_and_huge_values_have_a_frame(storage, runicorn):
    """One value, equal values and values at the end of the range are drawn as any others."""
    for number, values in enumerate(([5.0], [0.0, 0.0], [-1e299, 1e299])):
        curve_run(storage, f"run{number}", values)
        out, _ = runicorn("plot", f"run{number}", "loss", "--height", "4")
        assert out.count("*") >= 2, out  # one of them is in the legend


# --- compare ------------------------------------------------------------------------------------------------------


def test_compare_shows_what_differs(storage, runicorn):
    """Settings, conclusions and figures that are equal in all runs are left out, and there with ``--all``."""
    args = {"lr": 0.1, "seed": 1, "nan": math.nan, "net": {"depth": 3}, "a.b": 1}
    for name, lr, depth in (("one", 0.1, 3), ("two", 0.2, 3), ("three", 0.1, 3.0)):
        assets = {"config": {"args": {**args, "lr": lr, "net": {"depth": depth}}}}
        summary = {**BEST, "best_metric_value": lr, "note": "same"}
        lines = [(1, {"acc": lr, "loss": 1.0}), *([(2, {"only": 1})] if name == "two" else [])]
        make(storage, name, assets=assets, summary=summary, lines=lines)

    out, err = runicorn("compare", "one", "two", "three")
    rows = {" ".join(row[:-3]): row[-3:] for row in words(out)}
    everything = runicorn("compare", "one", "two", "three", "--all")[0]

    assert rows == {
        "": ["one", "two", "three"],
        "id": ["one", "two", "three"],
        "path": ["cv", "cv", "cv"],
        "status": 3 * ["finished"],
        "duration": 3 * ["1m00s"],
        "steps": ["1", "2", "1"],
        "config.args.lr": ["0.1", "0.2", "0.1"],
        "acc (last)": ["0.1", "0.2", "0.1"],
        "acc (best)": ["0.1", "0.2", "0.1"],
        "only (last)": ["-", "1", "-"],
        "only (min)": ["-", "1", "-"],
        "only (max)": ["-", "1", "-"],
    }
    assert err == ""
    for name in ("config.args.nan", "config.args.net.depth", 'config.args."a.b"', "summary.note", "loss (min)"):
        assert name in everything
        assert name not in out
    assert "do not differ" in runicorn("compare", "one", "three")[1]


def test_settings_are_the_same_only_where_they_are():
    """NaN is NaN, 1 is 1.0, and neither a missing nesting nor true is 1."""
    assert flat.same({"a": [math.nan, 1]}, {"a": [math.nan, 1.0]})
    for one, other in ((1, True), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (None, 0), ("1", 1), ([True], [1])):
        assert not flat.same(one, other)
    assert flat.flat({"a": {"b": {}, "c.d": {"e": 1}}, "": 2}) == {"a.b": {}, 'a."c.d".e': 1, '""': 2}


# --- how it looks -------------------------------------------------------------------------------------------------


def test_terminal_gets_colours_of_status_alone(storage, terminal, monkeypatch):
    """With rich the word of a status is coloured; ``NO_COLOR`` and a missing rich leave the same words."""
    pytest.importorskip("rich")
    make(storage, "20261122_000001_0263c3", "a/long/path/of/some/kind", status="failed", alias="日本", summary=BEST)

    coloured = terminal("ls")
    monkeypatch.setenv("NO_COLOR", "1")
    plainly = terminal("ls")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    without = terminal("ls")

    assert "\x1b[31mfailed" in coloured
    assert "\x1b[3" not in plainly
    assert "\x1b" not in without
    assert words(re.sub(r"\x1b\[[0-9;]*m", "", plainly)) == words(without)


def test_narrow_terminal_keeps_what_is_copied(storage, terminal, monkeypatch):
    """However narrow a terminal is, ids are whole."""
    run_id = "20261122_000001_0263c3"
    make(storage, run_id, "a/long/path/of/some/kind", alias="an alias of many words", summary=BEST)

    for columns in ("60", "20", "1"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run_id in terminal("ls")
        assert "best" in terminal("show", "an alias of many words")


@pytest.mark.parametrize("value", [4_611_686_018_427_387_905, -(2**63), 2**64 - 1])
def test_an_integer_is_listed_whole(storage, runicorn, value):
    """``ls`` and ``show`` print each digit of an integer of 64 bits."""
    make(storage, "20260101_000001_aaaaaa", summary={**BEST, "best_metric_value": value}, lines=[(1, {"acc": value})])
    assert f"acc={value}" in runicorn("ls")[0]
    assert str(value) in runicorn("show", "20260101_000001_aaaaaa")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((render.age(each), text) for each, text in ((0, "0s"), (89.9, "89s"), (90, "1m"), (5400, "1h"), (2e5, "2d"))),
        *((render.age(each), text) for each, text in ((6e6, "9w"), (1e8, "3y"), (-5, "0s"), (None, ""))),
        *((render.duration(each), text) for each, text in ((0.44, "0.4s"), (59.4, "59s"), (59.6, "1m00s"))),
        *((render.duration(each), text) for each, text in ((7500, "2h05m"), (273_600, "3d04h"), (math.inf, ""))),
        *((render.size(each), text) for each, text in ((12, "12 B"), (1536, "1.5 KiB"), (2**60, "1048576.0 TiB"))),
        *((plain_text.number(each), text) for each, text in ((1 / 3, "0.333333"), (10**400, "over 1e308"), (None, ""))),
        *((plain_text.number(each), text) for each, text in ((-(10**19), f"-1{19 * '0'}"), (10**20, "1e+20"))),
        *((plain_text.number(each), text) for each, text in ((-math.inf, "-Infinity"), (True, "True"), ("\n", r"\n"))),
        (render.shortened("日本語日本語", 9), "日本語..."),
        (plain_text.plain(NASTY), SHOWN),
        (plain_text.plain("a\tb\u200dc", keep="\t"), "a\tb\u200dc"),
    ],
)
def test_short_texts(text, expected):
    """Ages, lengths of time, sizes and numbers in few characters."""
    assert text == expected


def test_stream_that_is_closed_is_no_error(storage, monkeypatch):
    """With `>&-` or `2>&-` there is no stream to print to; the exit status says what became of the command."""
    make(storage, "a")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert main(["ls", "--storage", str(storage)]) == 0
    assert main(["show", "absent", "--storage", str(storage)]) == 1
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_a_path_is_a_run_if_one_run_has_it(storage, runicorn):
    """With slashes or without, of each command; an id, its beginning and an alias come before a path."""
    make(storage, "one", "cv/resnet50", lines=[(1, {"loss": 1.0})])
    make(storage, "two", "nlp", lines=[(1, {"loss": 2.0})])
    make(storage, "nlpx", "other")

    for word in ("cv/resnet50", "cv/resnet50/", "one"):
        assert json.loads(runicorn("show", word, "--json")[0])["run"]["id"] == "one"
    assert json.loads(runicorn("show", "nlp", "--json")[0])["run"]["id"] == "nlpx"
    assert "id prefix, alias, path" in runicorn("show", "cv", code=1)[1]
    assert runicorn("tag", "cv/resnet50", "+best")[0] == "best\n"
    assert runicorn("alias", "cv/resnet50", "first") == ("", "")
    plotted = json.loads(runicorn("plot", "cv/resnet50", "two", "loss", "--json")[0])["series"]
    assert [each["run"] for each in plotted] == ["one", "two"]
    assert "one" in runicorn("compare", "cv/resnet50", "two")[0]
    runicorn("rm", "cv/resnet50", "--yes")
    runicorn("rm", "--restore", "cv/resnet50")
    assert "loss" in runicorn("show", "cv/resnet50")[0]


def test_the_newest_of_several_runs_is_taken_if_it_is_asked_for(storage, runicorn):
    """``--latest`` says which run it takes; without it all are listed, and nothing is done."""
    for age_s, run_id in ((300, "old"), (100, "new"), (200, "middle")):
        make(storage, run_id, "cv/x", alias="same", age_s=age_s)

    for word in ("cv/x", "same"):
        out, err = runicorn("rm", word, "--yes", code=1)
        assert out == ""
        assert "new (cv/x), middle (cv/x), old (cv/x). Name one by its id. Or add --latest" in err
        out, err = runicorn("show", word, "--latest", "--json")
        assert json.loads(out)["run"]["id"] == "new"
        assert err == f"runicorn show: 3 runs match '{word}'; --latest takes the newest, new.\n"
    assert runicorn("show", "old", "--latest")[1] == ""
    assert runicorn("rm", "cv/x", "--latest", "--yes")[0].startswith("new: ")


def test_show_names_group_and_parent(storage, runicorn):
    """If the run has them, and only then."""
    make(storage, "child", meta={"group": "sweep", "parent": "above"})
    make(storage, "alone")
    shown = runicorn("show", "child")[0]
    assert re.search(r"^group +sweep$", shown, re.MULTILINE)
    assert re.search(r"^parent +above$", shown, re.MULTILINE)
    assert not re.search(r"^(group|parent)\b", runicorn("show", "alone")[0], re.MULTILINE)
