"""What ``GET compare`` answers: what differs between runs, the metrics of any of them, and how their code differs."""

from __future__ import annotations

import json
import random
import zipfile

import pytest
from lines_of_events import event

from runicorn.viewer import line_differences, zip_members

KEYS = ("one", "two", "three")


def zipped(run_dir, files):
    with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.fixture
def runs(make_run):
    """Three runs that differ in config, summary, environment, packages and code; the third has kept no code."""
    made = []
    for number, key in enumerate(KEYS):
        run_dir = make_run(key, lines=[event(1, loss=1.0, **{f"only{number}": 1.0})])
        config = {"lr": 0.1 * number, "batch": 32, "model": {"depth": 3 if number else 2}}
        (run_dir / "assets.json").write_text(json.dumps({"config": {"args": config}}))
        (run_dir / "summary.json").write_text(json.dumps({"acc": float(number), "runicorn": {"writer_cpu_s": number}}))
        environment = {
            "python_version": "3.12",
            "pip_packages": ["numpy==1.26", f"Torch_x==2.{number}", *(["extra @ file:///x"] if number else [])],
            "conda_packages": ["mkl=2024=h_0"],
            "gpu_info": [{"name": f"H{number}", "memory_total_mb": 1.0}],
        }
        (run_dir / "environment.json").write_text(json.dumps(environment))
        made.append(run_dir)
    zipped(made[0], {"a.py": "x = 1\ny = 2\n", "b.py": "same\n", "gone.py": "was\n"})
    zipped(made[1], {"a.py": "x = 1\ny = 3\n", "b.py": "same\n", "new.py": "is\n"})
    return made


def compared(client, runs=KEYS, **given):
    answer = client.get("/api/v1/compare", params={"runs": ",".join(runs), **given})
    assert answer.status_code == 200, answer.content
    return answer.json()


def rows_of(part):
    return dict(zip(part["names"], zip(part["values"], part["differs"], strict=True), strict=True))


@pytest.mark.usefixtures("runs")
def test_what_differs_is_told_for_each_part(open_viewer):
    """Config and summary are flattened, packages taken from the environment; missing is null, and equal is counted."""
    content = compared(open_viewer())
    assert [row["key"] for row in content["runs"]] == list(KEYS)
    config = rows_of(content["config"])
    assert config["args.lr"] == ([0.0, 0.1, 0.2], True)
    assert config["args.batch"] == ([32, 32, 32], False)
    assert config["args.model.depth"] == ([2, 3, 3], True)
    assert rows_of(content["summary"]) == {"acc": ([0.0, 1.0, 2.0], True)}
    assert rows_of(content["environment"])["gpu_info.0.name"] == (["H0", "H1", "H2"], True)
    assert "pip_packages" not in rows_of(content["environment"])
    packages = rows_of(content["packages"])
    assert packages["torch-x"] == (["2.0", "2.1", "2.2"], True)
    assert packages["extra"] == ([None, "file:///x", "file:///x"], True)
    assert packages["mkl (conda)"] == (3 * ["2024=h_0"], False)
    assert (content["config"]["equal"], content["config"]["left_out"]) == (1, 0)


@pytest.mark.usefixtures("runs")
def test_only_what_differs(open_viewer):
    """With ``differing=1`` names whose values are equal do not come, but are counted."""
    content = compared(open_viewer(), differing=1)
    assert content["config"]["names"] == ["args.lr", "args.model.depth"]
    assert (content["config"]["equal"], content["config"]["left_out"]) == (1, 0)
    assert [each["name"] for each in content["code"]["members"]] == ["a.py", "gone.py", "new.py"]
    assert content["code"]["equal"] == 1


@pytest.mark.parametrize(
    ("values", "differs"),
    [
        ((1, 1.0), False),
        ((1, True), True),
        ((float("nan"), float("nan")), False),
        ((None, "null"), True),
        (([1], [1]), False),
        (([1], [2]), True),
        ((2**60, 2**60 + 1), True),
        (("x" * 3000, "x" * 3000 + "y"), True),
    ],
)
def test_values_are_compared_as_they_are(open_viewer, make_run, values, differs):
    """1 is 1.0 and not true, NaN is NaN, and what is shown cut or as text is compared in full."""
    for number, value in enumerate(values):
        run_dir = make_run(f"run{number}", lines=[])
        (run_dir / "assets.json").write_text(json.dumps({"config": {"args": {"v": value}}}))
    part = compared(open_viewer(), ("run0", "run1"))["config"]
    assert part["differs"] == [differs]
    assert all(each is not None for each in part["values"][0])


@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_that_javascript_would_change_is_text(open_viewer, make_run, sign):
    """An integer beyond 2^53 is text with all of its digits, in the comparison, the table and the run."""
    values = [sign * value for value in (2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1, 10**40 + 1)]
    expected = [*values[:2], *map(str, values[2:])]
    for number, value in enumerate(values):
        run_dir = make_run(f"run{number}", lines=[])
        (run_dir / "assets.json").write_text(json.dumps({"config": {"args": {"v": value}}}))
    keys = [f"run{number}" for number in range(len(values))]
    client = open_viewer()
    assert compared(client, keys)["config"]["values"] == [expected]
    columns = client.get("/api/v1/runs?cols=config.args.v").json()["columns"]
    assert dict(zip(columns["key"], columns["config.args.v"], strict=True)) == dict(zip(keys, expected, strict=True))
    fields = [client.get(f"/api/v1/runs/{key}/config").json()["fields"] for key in keys]
    assert [field["value"] for (field,) in fields] == expected


@pytest.mark.usefixtures("runs")
def test_runs_that_are_not_there_are_told(open_viewer):
    """The others come, each once in the order asked for; one run alone differs in nothing; none, or 501, are 400."""
    client = open_viewer()
    content = compared(client, ("two", "nowhere", "one", "two", "<b>"))
    assert [row["key"] for row in content["runs"]] == ["two", "one"]
    assert content["unknown"] == ["nowhere", "<b>"]
    assert not any(compared(client, ("one",))["config"]["differs"])
    alone = compared(client, ("nowhere",))
    assert (alone["runs"], alone["config"]["names"]) == ([], [])
    for path in ("compare", "compare/metrics", "compare/code"):
        for given in ("", ",,", ",".join(map(str, range(501)))):
            answer = client.get(f"/api/v1/{path}", params={"runs": given})
            assert answer.status_code == 400, (path, given)
            assert answer.json()["error"]["what"]


@pytest.mark.usefixtures("runs")
def test_metrics_of_any_of_the_runs(open_viewer):
    """Each name with how many runs have it, the versions of all, and a search in them."""
    answer = open_viewer().get("/api/v1/compare/metrics", params={"runs": ",".join(KEYS)}).json()
    assert dict(zip(answer["metrics"], answer["runs"], strict=True)) == {"loss": 3, "only0": 1, "only1": 1, "only2": 1}
    assert set(answer["versions"]) == set(answer["indexed"]) == set(KEYS)
    found = open_viewer().get("/api/v1/compare/metrics", params={"runs": ",".join(KEYS), "q": "only", "limit": 2})
    assert (found.json()["matching"], found.json()["metrics"]) == (3, ["only0", "only1"])


@pytest.mark.usefixtures("runs")
def test_files_of_the_code_have_states(open_viewer):
    """Runs with the same file have the same number, null is none, and a run without an archive differs in nothing."""
    code = compared(open_viewer())["code"]
    assert {each["name"]: (each["states"], each["differs"]) for each in code["members"]} == {
        "a.py": ([0, 1, None], True),
        "b.py": ([0, 0, None], False),
        "gone.py": ([0, None, None], True),
        "new.py": ([None, 0, None], True),
    }
    assert code["troubles"] == [None, None, "no code was kept"]


def difference(client, name, **given):
    listed = compared(client)["code"]["members"]
    number = next(each["number"] for each in listed if each["name"] == name)
    answer = client.get("/api/v1/compare/code", params={"runs": ",".join(KEYS), "member": number, **given})
    assert answer.status_code == 200, answer.content
    assert answer.json()["member"] == name
    return answer.json()


@pytest.mark.usefixtures("runs")
def test_code_is_compared_member_by_member(open_viewer):
    """As a unified difference between the first run and the next that has another file, or two that are named."""
    client = open_viewer()
    found = difference(client, "a.py")
    assert (found["from"], found["to"], found["added"], found["removed"]) == ("one", "two", 1, 1)
    assert found["lines"] == ["@@ -1,2 +1,2 @@", " x = 1", "-y = 2", "+y = 3"]
    assert difference(client, "a.py", **{"from": "two", "to": "one"})["lines"][2:] == ["-y = 3", "+y = 2"]
    assert difference(client, "gone.py")["lines"] == ["@@ -1,1 +0,0 @@", "-was"]
    assert difference(client, "new.py")["lines"] == ["@@ -0,0 +1,1 @@", "+is"]
    assert difference(client, "b.py")["lines"] == []
    assert difference(client, "a.py", to="three")["reason"] == "no code was kept"


def test_code_that_cannot_be_shown_says_why(open_viewer, runs, monkeypatch):
    """Binary, too large, encrypted or oddly packed members, and archives that are none: a reason, and no content."""
    monkeypatch.setattr(zip_members, "MOST_SHOWN_BYTES", 1000)
    bomb = b"a" * 5_000_000
    zipped(runs[0], {"bin": b"\0\1", "bomb": bomb, "large": b"a" * 2000, "text": "a"})
    zipped(runs[1], {"bin": b"\0\2", "bomb": bomb + b"b", "large": b"b" * 2000, "text": "b"})
    client = open_viewer()
    assert difference(client, "bin")["reason"] == "it is not text"
    assert difference(client, "bomb")["reason"].endswith("times as large as it is packed")
    assert difference(client, "large")["reason"] == "it has more than 1 MiB"
    with zipfile.ZipFile(runs[1] / "code_snapshot.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("text", "c")
    assert difference(client, "text")["reason"] == "it is packed by a method that is not supported here"
    content = bytearray((runs[0] / "code_snapshot.zip").read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    (runs[0] / "code_snapshot.zip").write_bytes(content)
    assert difference(client, "bin", to="one")["reason"] == "it is encrypted"
    for wrong in (b"", b"PK", b"PK\x05\x06" + b"\xff" * 18, bytes(content[:200])):
        (runs[0] / "code_snapshot.zip").write_bytes(wrong)
        assert compared(client)["code"]["troubles"][0].startswith("it cannot be read as a ZIP archive")


def test_members_of_any_name_are_listed_and_never_extracted(open_viewer, runs, storage):
    """Names that lead out, payloads and links are names: the file is compared, and nothing is written anywhere."""
    names = ["../../../etc/passwd", "/etc/passwd", "<img src=x onerror=alert(1)>", "a\n\tb", "..\\x", "\u202e.py"]
    for number, run_dir in enumerate(runs[:2]):
        zipped(run_dir, dict.fromkeys(names, f"{number}\n"))
    before = sorted(storage.rglob("*"))
    client = open_viewer()
    for name in names:
        assert difference(client, name)["lines"][1:] == ["-0", "+1"]
    assert sorted(storage.rglob("*")) == before


@pytest.mark.usefixtures("runs")
def test_a_member_is_named_by_number(open_viewer):
    """A number that is none, or a run that is not compared, is 400 or 404; a path is never taken."""
    client = open_viewer()
    for given, status in (
        ({"member": "4"}, 400),
        ({"member": "-1"}, 400),
        ({"member": "a.py"}, 400),
        ({}, 404),
        ({"member": "0", "from": "nowhere"}, 404),
        ({"member": "0", "to": "../one"}, 404),
    ):
        answer = client.get("/api/v1/compare/code", params={"runs": ",".join(KEYS), **given})
        assert answer.status_code == status, given
    answer = client.get("/api/v1/compare/code", params={"runs": "three", "member": "0"})
    assert answer.status_code in {400, 404}


def test_a_difference_of_much_code_is_cut_and_bounded():
    """Texts that differ in each of many lines are shown as replaced, and no more lines come than are told."""
    one, other = ("".join(f"{word}{number}\n" for number in range(30_000)) for word in ("a", "b"))
    found = line_differences.unified(one, other)
    assert (found["added"], found["removed"], found["cut"]) == (30_000, 30_000, True)
    assert len(found["lines"]) == line_differences.MOST_LINES
    middle = one.replace("a15000\n", "changed\n")
    assert line_differences.unified(one, middle)["lines"] == [
        "@@ -14998,7 +14998,7 @@",
        *(f" a{number}" for number in range(14_997, 15_000)),
        "-a15000",
        "+changed",
        *(f" a{number}" for number in range(15_001, 15_004)),
    ]


def applied(text, lines):
    """A text with a unified difference applied to it."""
    before, made, at = text.splitlines(), [], 0
    for line in lines:
        if line.startswith("@@"):
            start, _, count = line.split(" ")[1].removeprefix("-").partition(",")
            begin = int(start) - (count != "0")
            made += before[at:begin]
            at = begin
        elif line.startswith("+"):
            made.append(line[1:])
        else:
            assert before[at] == line[1:]
            at += 1
            made += [line[1:]] if line.startswith(" ") else []
    return made + before[at:]


def test_a_difference_applied_to_one_text_gives_the_other():
    """For many random texts, empty ones among them."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for _ in range(300):
        one, other = ("".join(f"{draw.randrange(6)}\n" for _ in range(draw.randrange(40))) for _ in range(2))
        if draw.random() < 0.5:
            other = "".join(line for line in one.splitlines(keepends=True) if draw.random() < 0.9)
        found = line_differences.unified(one, other)
        assert applied(one, found["lines"]) == other.splitlines()
        shown = [line[0] for line in found["lines"]]
        assert (shown.count("+"), shown.count("-")) == (found["added"], found["removed"])
