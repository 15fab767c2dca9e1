"""``runicorn report`` writes one file, where a file may be, of what was asked for alone; ``rn.show()`` shows it."""

from __future__ import annotations

import asyncio
import html
import json
import math
import re
import resource
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from array import array
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines_of_events import event

import runicorn as rn
from runicorn.cli import main
from runicorn.commands import report as report_command
from runicorn.reading.listing import find
from runicorn.viewer import address
from runicorn.viewer.curve_frames import frame
from runicorn.viewer.inside import Inside
from runicorn.viewer.packed_curves import packed_curves
from runicorn.viewer.report import make_report
from runicorn.viewer.report_contents import AXES, IMAGES, PARTS, ReportWishes

KEY = "20260101_120000_abcdef"
OTHER = "20260102_120000_abcdef"
DOCS = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
DATA = re.compile(rb'<script type="application/json" id="report-data">(.*?)</script>', re.DOTALL)


def data_of(content):
    """What is embedded in a report, as a page reads it."""
    text = DATA.search(content)[1]
    assert b"<" not in text
    return json.loads(text)


def floats(curve):
    """The arrays of a curve that a report holds, by name."""
    planes = zlib.decompress(b64decode(curve["data"]))
    count = len(planes) // 8
    content = bytes(planes[plane * count + at] for at in range(count) for plane in range(8))
    size = curve["head"]["n"]
    return {
        name: struct.unpack_from(f"<{size}d", content, 8 * size * number)
        for number, name in enumerate(curve["head"]["arrays"])
    }


@pytest.fixture
def command(storage):
    """Run ``runicorn report`` on the test's storage; its exit code."""
    return lambda *words: main(["report", *map(str, words), "--storage", str(storage)])


def test_command_writes_the_file_once(make_run, command, tmp_path, capsys):
    """A file is made, told of in JSON if asked, and never replaced without ``--force``."""
    make_run()
    target = tmp_path / "report.html"
    assert command(KEY, "-o", target, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    content = target.read_bytes()
    assert told["path"] == str(target)
    assert told["bytes"] == len(content)
    assert told["runs"] == [KEY]
    assert (told["curves"], told["points"], told["pieces"]) == (1, 100, 0)
    fields = re.search(r"^\| field of `report` \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCS, re.MULTILINE)[1]
    assert list(told) == re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)
    assert command(KEY, "-o", target) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes() == content
    assert command(KEY, "-o", target, "--force") == 0
    assert [path.name for path in tmp_path.glob("*.html*")] == ["report.html"]


def test_command_writes_nothing_into_the_storage(make_run, command, storage, tmp_path, capsys):
    """A report never lies in a run or among the storage's own folders, and making one changes no file of a run."""
    run_dir = make_run()
    before = {path: path.stat().st_mtime_ns for path in Path(storage).rglob("*")}
    assert command(KEY, "-o", run_dir / "report.html") == 1
    assert command(KEY, "-o", Path(storage) / "runs" / "report.html") == 1
    (tmp_path / "link.html").symlink_to(run_dir / "meta.json")
    assert command(KEY, "-o", tmp_path / "link.html", "--force") == 1
    assert command(KEY, "-o", tmp_path / "not" / "there.html") == 1
    assert command(KEY, "-o", tmp_path / "report.html") == 0
    assert {path: path.stat().st_mtime_ns for path in Path(storage).rglob("*")} == before
    assert "belongs to the storage" in capsys.readouterr().err


def test_report_goes_to_standard_output(make_run, storage):
    """``-o -`` writes the file alone to standard output, and what is said of it to standard error."""
    make_run()
    words = [sys.executable, "-m", "runicorn", "report", KEY, "-o", "-", "--storage", str(storage)]
    done = subprocess.run(words, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"<!doctype html>")
    assert done.stdout.endswith(b"</html>\n")
    assert b"without logs, environment, code" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((KEY, "--with", "log"), "logs, environment, code"),
        ((KEY, "--x", "stride"), "step, time, wall"),
        ((KEY, "--images", "-1"), "whole number"),
        ((KEY, "--rank", "first"), "slowest"),
        ((KEY, "--rank", "7"), "No value has the rank '7'"),
        ((KEY, "--stage", ","), "names nothing"),
        ((KEY, "--stage", "cool"), "No value has the stage 'cool'"),
        ((KEY, "--stage", "\udcff"), "No value has the stage"),
        ((KEY, KEY), "more than once"),
        ((KEY, "-o", "-", "--json"), "do not go together"),
        (("nothing",), "No run matches"),
        ((KEY, "--metrics", "los"), "No metric 'los'. There are: loss"),
    ],
)
def test_what_cannot_be_done_is_said_first(make_run, command, tmp_path, capsys, monkeypatch, words, told):
    """A wrong word, run or metric: the message says what there is, and no file is made."""
    make_run()
    monkeypatch.chdir(tmp_path)
    try:
        status = command(*words)
    except SystemExit as ended:
        status = ended.code
    assert status in {1, 2}
    assert told in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_disk_without_room_is_told_and_what_was_there_stays(make_run, command, tmp_path, capsys):
    """The file that was to be replaced is as before, and nothing else is left beside it."""
    make_run(lines=[event(1, loss=1.0)])
    target = tmp_path / "made" / "report.html"
    target.parent.mkdir()
    target.write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert command(KEY, "-o", target, "--force") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{target} cannot be written: File too large. Nothing was written." in capsys.readouterr().err
    assert [path.read_text() for path in target.parent.iterdir()] == ["before"]


def test_without_its_packages_the_command_says_the_one_line(make_run, command, monkeypatch, capsys):
    """Without Starlette there is the line that installs it, and no traceback; ``rn.show()`` raises it."""
    make_run()
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert command(KEY) == 1
    assert "pip install 'runicorn[viewer]'" in capsys.readouterr().err
    with pytest.raises(ImportError, match="pip install 'runicorn"):
        rn.show("anything")


def test_what_may_say_too_much_is_left_out_unless_it_is_named(make_run, storage):
    """Lines of the log and of the environment are in the report only with ``--with``."""
    run_dir = make_run(log="the password is swordfish\n")
    (run_dir / "environment.json").write_text(json.dumps({"variables": {"SHELL": "/bin/secret-shell"}}))
    info = find(KEY, storage)
    plain = make_report([info]).content
    assert b"swordfish" not in plain
    assert b"secret-shell" not in plain
    whole = data_of(make_report([info], ReportWishes(parts=frozenset({"logs", "environment"}))).content)
    assert "swordfish" in whole["places"][f"runs/{KEY}/logs?source=0"]["text"]
    assert "secret-shell" in json.dumps(whole["places"][f"runs/{KEY}/environment"])


def keep_code(run_dir, name, text):
    """Keep an archive of code with a run, as ``snapshot_code`` does."""
    with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
        archive.writestr(name, text)
    assets = json.loads((run_dir / "assets.json").read_text())
    snapshot = {"saved": True, "archive_path": str(run_dir / "code_snapshot.zip")}
    (run_dir / "assets.json").write_text(json.dumps({**assets, "code": {"snapshot": snapshot}}))


def test_code_is_left_out_unless_it_is_named(make_run, storage):
    """Of one run the members of its archive, of several the differences too; without ``--with code`` no line of it."""
    for run_id in (KEY, OTHER):
        keep_code(make_run(run_id), "train.py", f"secret = '{run_id[::-1]}'\n")
    infos = [find(KEY, storage), find(OTHER, storage)]
    assert KEY[::-1].encode() not in make_report(infos).content
    held = data_of(make_report(infos, ReportWishes(parts=frozenset({"code"}))).content)["places"]
    [archive] = held[f"runs/{KEY}/assets"]["assets"]
    members = f"runs/{KEY}/assets/{archive['number']}/members"
    assert [each["name"] for each in held[members]["members"]] == ["train.py"]
    assert KEY[::-1] in held[f"{members}/{held[members]['members'][0]['number']}"]["text"]
    assert f"+secret = '{OTHER[::-1]}'" in held["compare/code?member=0"]["lines"]
    assert held[f"runs/{KEY}"]["assets"] == 1


def test_report_holds_these_metrics_and_axes_alone(make_run, storage):
    """``metrics`` chooses curves, a name with a comma first as it is; each axis that is wished is there."""
    make_run(lines=[event(step, **{"loss": 1.0, "acc": 0.5, "a,b": 2.0}) for step in range(5)])
    wishes = ReportWishes(metrics=("a,b", "loss,acc"), axes=("step", "time"))
    held = data_of(make_report([find(KEY, storage)], wishes).content)
    curves = {(each["head"]["metric"], each["head"]["x"]) for each in held["curves"]}
    assert curves == {(name, x) for name in ("a,b", "loss", "acc") for x in ("step", "time")}
    less = data_of(make_report([find(KEY, storage)], ReportWishes(metrics=("loss",))).content)
    assert less["places"][f"runs/{KEY}/metrics"]["metrics"] == ["loss"]
    assert "2 metrics left out" in less["lines"]


def test_report_holds_these_ranks_and_stages_alone(make_run, command, tmp_path, capsys):
    """A report has each named rank with each named stage, and the machine's curves once; figures count the first."""
    run_dir = make_run(lines=[of_rank(step, 0, "warm" if step < 5 else "hot") for step in range(1, 11)])
    (run_dir / "events.rank1.jsonl").write_text("".join(of_rank(step, 1, "hot") for step in range(1, 11)))
    (run_dir / "system.jsonl").write_text('{"time": 1.0, "host/cpu_percent": 5.0}\n')
    target = tmp_path / "report.html"
    assert command(KEY, "-o", target, "--rank", "1,each", "--stage", "hot", "--json") == 0
    data = data_of(target.read_bytes())
    assert (data["ranks"], data["stages"]) == (["1", "each"], ["hot"])
    heads = [(each["rank"], each["stage"], each["head"]) for each in data["curves"]]
    found = [(rank, head["rank"], head["total"]) for rank, _, head in heads if head["metric"] == "loss"]
    assert found == [("1", 1, 10), ("each", 0, 6), ("each", 1, 10)]
    name = "system/host/cpu_percent"
    of_machine = [(rank, stage, head["x"]) for rank, stage, head in heads if head["metric"] == name]
    assert of_machine == [("0", "all", "time")]
    told = json.loads(capsys.readouterr().out)
    assert (told["curves"], told["points"]) == (2, 11)


def of_rank(step, rank, stage):
    """A line of a rank, in a stage."""
    line = json.loads(event(step, loss=10.0 * rank + step))
    return json.dumps({**line, "rank": rank, "data": {**line["data"], "stage": stage}}) + "\n"


def test_a_run_of_many_metrics_has_its_first_300(make_run, storage):
    """What is left out is counted; the primary metric is never among it."""
    make_run(lines=[event(1, **{f"m{number:04}": 1.0 for number in range(400)}, zeta=1.0)])
    run_dir = find(KEY, storage).run_dir
    best = {"best_metric_name": "zeta", "best_metric_value": 1.0, "best_metric_step": 1, "best_metric_mode": "max"}
    (Path(run_dir) / "summary.json").write_text(json.dumps(best))
    made = make_report([find(KEY, storage)])
    assert (made.figures["curves"], made.figures["metrics_left_out"]) == (300, 101)
    assert "zeta" in {each["head"]["metric"] for each in data_of(made.content)["curves"]}


def test_a_metric_behind_ten_thousand_others_is_found(make_run, storage):
    """Names are asked for until there are no more: one that stands last has its curve, and the others are counted."""
    make_run(lines=[event(1, **{f"m{number:05}": 1.0 for number in range(10_500)})])
    made = make_report([find(KEY, storage)], ReportWishes(metrics=("m10499",)))
    assert (made.figures["curves"], made.figures["metrics_left_out"]) == (1, 10_499)


def test_runs_of_several_storages_are_told_apart(make_run, storage, tmp_path):
    """Two runs of one id, in two storages, are two runs of the report, in the order in which they were named."""
    run_dir = make_run()
    copy = tmp_path / "elsewhere" / "runs" / "cv" / KEY
    copy.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", str(run_dir), str(copy)], check=True, timeout=60)
    (copy / "events.jsonl").write_text(event(1, loss=7.0))
    held = data_of(make_report([find(copy), find(KEY, storage)]).content)
    keys = [each["head"]["run"] for each in held["curves"] if each["head"]["metric"] == "loss"]
    assert keys == [KEY, f"{KEY}~1"]
    assert floats(held["curves"][0])["y"] == (7.0,)
    assert sorted(held["places"]["runs"]["columns"]["key"]) == [KEY, f"{KEY}~1"]


def test_copy_of_a_run_that_lies_by_itself_has_a_report(make_run, tmp_path):
    """A run's directory that was copied out of its storage is a run as well."""
    copy = tmp_path / "mail" / "attachment"
    copy.parent.mkdir()
    subprocess.run(["cp", "-r", str(make_run()), str(copy)], check=True, timeout=60)
    assert make_report([find(copy)]).figures["points"] == 100


def test_damaged_and_empty_runs_have_reports(make_run, storage):
    """What cannot be read is counted among the problems; a run without a number has a page."""
    make_run(lines=['{"torn": \n', event(3, loss=1.0), "\x00\x00\n"])
    make_run(OTHER, lines=[])
    held = data_of(make_report([find(KEY, storage), find(OTHER, storage)]).content)
    assert held["places"][f"runs/{KEY}/problems"]["count"] >= 1
    assert held["places"][f"runs/{OTHER}/metrics"]["metrics"] == []


def test_policy_names_each_script_of_the_file_by_its_hash(make_run, storage):
    """Two scripts, one style, each with its hash in the policy; nothing of the file is loaded from anywhere."""
    import base64
    import hashlib

    make_run()
    content = make_report([find(KEY, storage)]).content
    policy = re.search(rb'http-equiv="Content-Security-Policy" content="([^"]+)"', content)[1].decode()
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = re.findall(rb"<script(?: type=\"module\")?>(.*?)</script>", content, re.DOTALL)
    styles = re.findall(rb"<style>(.*?)</style>", content, re.DOTALL)
    assert (len(scripts), len(styles)) == (2, 1)
    for text in (*scripts, *styles):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" in policy
    page = DATA.sub(b"", content)
    assert not re.search(rb"<(?:script|img|link|iframe|audio|video)[^>]+(?:src|href)=\"(?!data:)", page)
    assert not re.search(rb"^import\b|\bimport\(", page, re.MULTILINE)


def test_command_offers_what_a_report_can_hold():
    """Parts, axes and the number of images of the command are those of the report, which it loads only when it runs."""
    options = report_command
    assert (options._PARTS, options._AXES, options._IMAGES) == (PARTS, AXES, IMAGES)


def test_what_is_asked_inside_is_answered_as_by_the_server(make_run, storage, open_viewer):
    """The same content as over HTTP, and an error is raised; its thread ends with it."""
    make_run()
    inside = Inside([find(KEY, storage)])
    for place in (f"runs/{KEY}/config", f"runs/{KEY}/metrics?limit=5", f"compare?runs={KEY}"):
        assert inside.ask(place).value == open_viewer().get(f"/api/v1/{place}").json()
    with pytest.raises(LookupError, match="No run has the key"):
        inside.ask("runs/nothing")
    inside.close()
    assert "runicorn-inside" not in {thread.name for thread in threading.enumerate()}


NUMBERS = st.lists(st.floats(width=64), min_size=1, max_size=200)


@given(NUMBERS)
def test_points_are_held_exactly(values):
    """Values that a report has as points are those that were logged, to the last bit."""
    arrays = {"x": array("d", range(len(values))), "y": array("d", values)}
    [curve] = packed_curves(frame({"kind": "points", "n": len(values)}, arrays) + frame({"end": True}, {}))
    assert struct.pack(f"{len(values)}d", *floats(curve)["y"]) == arrays["y"].tobytes()


@given(NUMBERS, st.sampled_from([0.0, 1.79e9, 1e300, 1e-300]))
def test_rounding_of_pieces_is_seen_by_nobody(values, base):
    """What is rounded stays within seven digits, and within a thousandth of what a deep zoom shows at once."""
    values = array("d", [value + base for value in values])
    arrays = dict.fromkeys(("x", "min", "max", "mean", "last", "count"), values)
    [curve] = packed_curves(frame({"kind": "buckets", "n": len(values)}, arrays))
    found = floats(curve)
    assert found["x"] == found["count"] or any(math.isnan(value) for value in values)
    assert struct.pack(f"{len(values)}d", *found["x"]) == values.tobytes()
    for at in range(0, len(values), 64):
        part = [value for value in values[at : at + 64] if math.isfinite(value)]
        for value, other in zip(values[at : at + 64], found["mean"][at : at + 64], strict=True):
            if not math.isfinite(value):
                assert repr(value) == repr(other)
                continue
            assert math.isclose(value, other, rel_tol=1e-7)
            spread = max(part) - min(part)
            assert abs(value - other) <= (1e-3 * spread if spread else 1e-7 * abs(value))


def test_twenty_curves_and_ten_images_are_less_than_three_mebibytes(make_run, storage):
    """Noise, which packs worst of all, 10,000 records of it: the report of 20 such curves stays below 3 MB."""
    import random

    draw = random.Random(1)
    names = [f"m{number}" for number in range(20)]
    make_run(lines=[event(step, **{name: draw.random() for name in names}) for step in range(16_000)])
    made = make_report([find(KEY, storage)])
    assert made.figures["pieces"] == 20 * 3200
    assert len(made.content) < 2_500_000


class TestShow:
    """``rn.show()``."""

    def test_frame_can_reach_nothing(self, make_run, storage):
        """It is a frame whose document is the report, which may run scripts and nothing else."""
        make_run()
        shown = rn.show(KEY, storage=storage, height=321)
        markup = shown._repr_html_()
        assert markup.startswith(
            '<iframe sandbox="allow-scripts" title="Report of 1 run" style="width: 100%; height: 321px;'
        )
        assert html.unescape(re.search(r'srcdoc="([^"]*)"></iframe>$', markup)[1]) == shown.html
        assert "a notebook draws it" in repr(shown)

    def test_it_shows_these_metrics(self, make_run, storage):
        """One name, or several; a name that no run has is an error that lists those that there are."""
        make_run(lines=[event(1, loss=1.0, acc=0.5)])
        for names in ("loss", ["loss", "acc"]):
            curves = data_of(rn.show(KEY, storage=storage, metrics=names).html.encode())["curves"]
            assert {each["head"]["metric"] for each in curves} == ({names} if names == "loss" else set(names))
        with pytest.raises(KeyError, match="There are: acc, loss"):
            rn.show(KEY, storage=storage, metrics="los")

    def test_outside_of_a_notebook_it_says_what_to_do(self, make_run, storage, caplog):
        """A script that calls it is told of ``runicorn report``, and goes on."""
        make_run()
        rn.show(KEY, storage=storage)
        assert f"runicorn report {KEY} -o report.html" in caplog.text

    def test_it_works_where_a_loop_runs_already(self, make_run, storage):
        """A notebook's thread runs a loop of its own."""
        make_run()

        async def cell():
            return rn.show(KEY, storage=storage)

        assert "srcdoc=" in asyncio.run(cell())._repr_html_()

    def test_without_a_run_it_takes_the_open_one_or_the_newest(self, make_run, storage, monkeypatch):
        """No argument: the run of this process that is open, else the newest of the storage."""
        make_run()
        make_run(OTHER, meta={"created_at": 2000.0})
        monkeypatch.setenv("RUNICORN_DIR", str(storage))
        assert OTHER in rn.show().html
        with rn.init() as run:
            assert run.id in rn.show().html
        with pytest.raises(LookupError, match="has no runs"):
            rn.show(storage=storage / "nothing")

    def test_switched_off_it_says_so(self, storage):
        """A run that stores nothing has nothing to show, and the notebook goes on."""
        with rn.enabled(False):
            run = rn.init(storage=storage)
            assert "switched off" in rn.show(run)._repr_html_()

    @pytest.mark.parametrize("height", [0, 99, 20_000, "640px", None])
    def test_height_is_a_number_of_pixels(self, height):
        """Anything else is refused at once."""
        with pytest.raises(ValueError, match="height"):
            rn.show(KEY, height=height)

    def test_a_run_that_is_named_twice_is_refused(self, make_run, storage):
        """By whatever it was called."""
        run_dir = make_run()
        with pytest.raises(ValueError, match="more than once"):
            rn.show(KEY, run_dir, storage=storage)

    def test_live_is_the_link_of_a_viewer_that_runs(self, make_run, start_viewer, storage):
        """If a viewer of mine shows the storage, its link is shown, at the page of the run."""
        make_run()
        running = start_viewer()
        shown = rn.show(KEY, storage=storage, live=True)
        root, _, token = running.link.partition("#")
        assert shown.html == f"{root}run/{KEY}#{token}"
        assert "<iframe" not in shown._repr_html_()
        assert f"{root}run/{KEY}</a>" in shown._repr_html_()

    def test_live_starts_a_viewer_if_there_is_none(self, make_run, storage):
        """It answers at the link, is found the next time, and ends when it is told to."""
        make_run()
        first = rn.show(KEY, storage=storage, live=True)
        [entry] = address.running()
        try:
            assert first.html == entry.link_to(f"run/{KEY}")
            assert rn.show(KEY, storage=storage, live=True).html == first.html
            assert len(address.running()) == 1
        finally:
            address.ask(entry, "POST", "/api/v1/stop")
            from runicorn.commands import notebook

            assert notebook._started.pop().wait(20) == 0
