"""The numbers of a run: columns from its events files, whatever is in them, and the cache of them."""

import json
import math
import os
import random
import struct
from array import array

import pytest

from runicorn import reading
from runicorn.reading import blocks
from runicorn.reading import events as events_module
from runicorn.reading.cache import Cache
from runicorn.reading.decoding import Decoder

TIME = 1795380871.5


@pytest.fixture(autouse=True)
def cache_dir(monkeypatch, tmp_path):
    """The cache is the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def run_dir(tmp_path):
    directory = tmp_path / "storage" / "runs" / "cv" / "20261122_205431_0263c3"
    (directory / "media").mkdir(parents=True)
    (directory / "status.json").write_text('{"status": "finished", "started_at": 1.0, "ended_at": 2.0}')
    return directory


def line(step, **values):
    return json.dumps({"ts": TIME + step, "type": "metrics", "data": {**values, "global_step": step, "time": TIME}})


def write(run_dir, *lines, name="events.jsonl", mode="ab"):
    with (run_dir / name).open(mode) as file:
        for each in lines:
            file.write((each if isinstance(each, bytes) else each.encode()) + b"\n")


def cells(column):
    return list(zip(column.step, column.value, strict=True))


def many(first, count):
    return [line(step, loss=step / 7, acc=step * 0.5) for step in range(first, first + count)]


# --- values -------------------------------------------------------------------------------------------------------


def test_value_is_what_was_logged(run_dir):
    """Floats, 64 bit integers, booleans, text and null come back as they are, in the order of the file."""
    values = [1.5, 5e-324, -0.0, 1, -(2**63), 2**63 - 1, True, False, "text \u4e2d \u2028", "", None, 0.1 + 0.2]
    write(run_dir, *(line(step, v=value) for step, value in enumerate(values)))

    column = reading.load(run_dir)["v"]

    assert [(type(value), repr(value)) for value in column.value] == [(type(each), repr(each)) for each in values]
    assert list(column.step) == list(range(len(values)))


def test_column_of_one_kind_is_an_array(run_dir):
    """Where all values are floats, or all are integers, the column is an array of them."""
    write(run_dir, *(line(step, f=step / 3, i=step, m=step if step % 2 else 0.5) for step in range(9)))

    run = reading.load(run_dir)

    assert run["f"].value == array("d", [step / 3 for step in range(9)])
    assert run["i"].value == array("q", range(9))
    assert run["m"].value == [0.5, 1, 0.5, 3, 0.5, 5, 0.5, 7, 0.5]
    assert run["f"].time == array("d", [TIME] * 9)


def test_nonfinite_values_come_back_from_their_names(run_dir):
    """A null whose name stands under ``nonfinite`` is NaN or an infinity; a null without one is None."""
    data = {"a": None, "b": None, "c": None, "d": None, "global_step": 1, "time": TIME}
    names = {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    write(run_dir, line(0, a=1.0), json.dumps({"ts": TIME, "type": "metrics", "data": data, "nonfinite": names}))

    run = reading.load(run_dir)

    assert list(map(repr, run["a"].value)) == ["1.0", "nan"]
    assert list(run["b"].value) == [math.inf]
    assert list(run["c"].value) == [-math.inf]
    assert run["d"].value == [None]


def test_bare_tokens_of_0_7_2_are_read(run_dir):
    """``NaN`` and ``Infinity`` as bare tokens are the values that they name, and no problem."""
    write(run_dir, line(1, a=math.nan, b=-math.inf), line(2, a=2.0, b=math.inf), line(3, a=math.nan, b=0))

    run = reading.load(run_dir)

    assert list(map(repr, run["a"].value)) == ["nan", "2.0", "nan"]
    assert run["b"].value == [-math.inf, math.inf, 0]
    assert run.problems == []


@pytest.mark.parametrize("values", [[10**30, 3, None, -(10**40), "x", 10**31, 4], [10**30, None, 10**31, "x"]])
def test_integer_beyond_64_bit_comes_back(run_dir, values):
    """A number that Runicorn 0.7.2 stored beyond 64 bit is read as the integer that it is."""
    write(run_dir, *(line(step, n=value) for step, value in enumerate(values)))

    assert reading.load(run_dir)["n"].value == values


def test_lines_of_different_names_keep_the_order_of_the_file(run_dir):
    """A metric that is logged with these names and then with those has its values in the order of the lines."""
    random_names = random.Random(os.environ.get("CHAOS_SEED", "7"))
    written = []
    for step in range(3000):
        names = random_names.sample("abcdef", random_names.randint(0, 6))
        written.append({name: random_names.choice([step, step / 3, None, "x", True]) for name in names})
    write(run_dir, *(line(step, **values) for step, values in enumerate(written)))

    run = reading.load(run_dir)

    for name in "abcdef":
        expected = [(step, values[name]) for step, values in enumerate(written) if name in values]
        assert cells(run[name]) == expected
        assert list(map(type, run[name].value)) == [type(value) for _, value in expected]


def test_more_names_than_a_struct_takes_are_read(run_dir):
    """Hundreds of names, and names that hold quotes, backslashes or control characters, are names as others."""
    written = [{f"layer/{step % 300}": step / 3, 'a "q" \\ \n': step, "": True} for step in range(900)]
    write(run_dir, *(line(step, **values) for step, values in enumerate(written)))

    run = reading.load(run_dir)

    assert len(run.metrics) == 302
    assert cells(run["layer/17"]) == [(17, 17 / 3), (317, 317 / 3), (617, 617 / 3)]
    assert list(run['a "q" \\ \n'].value) == list(range(900))


def test_nonfinite_values_come_back_among_very_many_names(run_dir):
    """The names of NaN and the infinities count for lines of hundreds of metrics too."""
    data = {f"layer/{number}": number / 3 for number in range(200)}
    marked = {**data, "layer/7": None, "layer/8": None, "global_step": 1, "time": TIME}
    nonfinite = {"layer/7": "-Infinity", "layer/8": "NaN"}
    write(run_dir, json.dumps({"ts": TIME, "type": "metrics", "data": marked, "nonfinite": nonfinite}), line(2, **data))

    run = reading.load(run_dir)

    assert list(run["layer/7"].value) == [-math.inf, 7 / 3]
    assert list(map(repr, run["layer/8"].value)) == ["nan", repr(8 / 3)]


def test_stage_rank_and_producer_stand_beside_each_value(run_dir):
    """Each value says its stage, rank and producer, and can be chosen by them."""
    marked = json.loads(line(3, loss=3.0, stage="val"))
    write(
        run_dir,
        line(1, loss=1.0, stage="train"),
        line(2, loss=2.0),
        json.dumps({**marked, "producer": "beta-7", "rank": 2}),
    )

    run = reading.load(run_dir)

    assert run["loss"].stage == ["train", None, "val"]
    assert run["loss"].rank == [None, None, 2]
    assert run["loss"].producer == [None, None, "beta-7"]
    assert cells(run.metric("loss", stage="train")) == [(1, 1.0)]
    assert cells(run.metric("loss", rank=2)) == [(3, 3.0)]
    assert cells(run.metric("loss", rank=0)) == [(1, 1.0), (2, 2.0)]
    assert cells(run.metric("loss", producer="beta-7")) == [(3, 3.0)]
    assert (run.ranks, run.producers) == ([2], ["beta-7"])


def test_files_of_ranks_and_hosts_come_behind_the_main_one(run_dir):
    """A column has the main file's values first, then those of ranks by number, then those of other hosts."""
    for name in ("events.beta.jsonl", "events.rank10.jsonl", "events.rank2.jsonl", "events.jsonl"):
        write(run_dir, line(1, source=name), name=name)

    assert reading.load(run_dir)["source"].value == [
        "events.jsonl",
        "events.rank2.jsonl",
        "events.rank10.jsonl",
        "events.beta.jsonl",
    ]


def test_by_step_keeps_the_last_value_of_each_step(run_dir):
    """Merged by step, steps rise, and of several values of a step the one that was stored last is there."""
    write(run_dir, line(5, a=1.0), line(2, a=2.0), line(5, a=3.0, stage="s"), line(-1, a=4.0))

    column = reading.load(run_dir)["a"]

    assert cells(column.by_step()) == [(-1, 4.0), (2, 2.0), (5, 3.0)]
    assert column.by_step().stage == [None, None, "s"]
    assert cells(column.by_step(later_wins=False)) == [(-1, 4.0), (2, 2.0), (5, 1.0)]


def test_unknown_metric_is_an_error_that_names_others(run_dir):
    """Asking for a metric that is not there names those that are."""
    write(run_dir, line(1, loss=1.0))

    with pytest.raises(KeyError, match=r"has no metric 'los'. It has loss"):
        reading.load(run_dir)["los"]


# --- bad files ----------------------------------------------------------------------------------------------------


def test_missing_and_empty_files_are_an_empty_run(run_dir):
    """A run without events, or with an empty file of them, has no metrics and no problems."""
    assert reading.load(run_dir).metrics == []
    write(run_dir, name="events.jsonl")
    run = reading.load(run_dir)
    assert (run.metrics, run.images, run.problems, list(run.text())) == ([], [], [], [])
    assert len(run.table()) == 0


BAD = {
    "torn": b'{"ts": 1.0, "type": "metrics", "da',
    "garbage": b"\x07garbage",
    "nul": b"\0" * 100,
    "not_utf8": b'{"ts": 1.0, "type": "metrics", "data": {"loss": "\xff", "global_step": 1, "time": 1.0}}',
    "not_an_object": b"[1, 2]",
    "no_data": b'{"ts": 1.0, "type": "metrics"}',
    "no_step": b'{"ts": 1.0, "type": "metrics", "data": {"loss": 1.0, "time": 1.0}}',
    "step_beyond_64_bit": line(2**70, loss=1.0).encode(),
    "deep": b"[" * 100_000,
    "deep_inside": b'{"ts": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("kind", BAD)
def test_line_that_cannot_be_read_is_told_with_its_offset(run_dir, kind):
    """A bad line costs itself: those around it are read, and it is told once, with file and byte offset."""
    before, behind = many(0, 2000), many(2000, 2000)
    write(run_dir, *before, BAD[kind], *behind)
    offset = sum(len(each) + 1 for each in before)

    run = reading.load(run_dir)

    assert list(run["loss"].step) == list(range(4000))
    assert [(each.file, each.offset) for each in run.problems] == [("events.jsonl", offset)]
    assert run.problem_count == 1
    assert [(each.file, each.offset) for each in reading.load(run_dir).problems] == [("events.jsonl", offset)]


def test_list_as_a_value_is_told_and_the_rest_of_its_line_is_read(run_dir):
    """A list, which Runicorn 0.7.2 stored, is no value of a metric: it is told, and its neighbours are read."""
    write(run_dir, line(1, a=[1, 2], b=1.0))

    run = reading.load(run_dir)

    assert run.metrics == ["b"]
    assert run.problems == [("events.jsonl", 0, "metric 'a' is of type list")]


def test_huge_line_is_read(run_dir):
    """A line of several MiB is a line."""
    text = "x" * 5_000_000
    write(run_dir, line(1, a="short"), line(2, a=text), line(3, a="short"))

    assert reading.load(run_dir)["a"].value == ["short", text, "short"]


def test_line_too_long_for_memory_is_told_and_left_out(run_dir, monkeypatch):
    """A line beyond the limit is never held in memory: it is told, and reading goes on behind it."""
    monkeypatch.setattr(blocks, "LONGEST_EVENT_BYTES", 300_000)
    monkeypatch.setattr(events_module, "_PART_BYTES", 1)
    write(run_dir, line(1, a=1), b"x" * 2_000_000, line(2, a=2))

    for _ in range(2):
        run = reading.load(run_dir)
        assert list(run["a"].step) == [1, 2]
        assert [each.offset for each in run.problems] == [len(line(1, a=1)) + 1]


def test_many_bad_lines_are_all_counted(run_dir):
    """Of very many bad lines the first thousand are listed, and all are counted."""
    write(run_dir, *[b"garbage"] * 5000, line(1, a=1))

    run = reading.load(run_dir)

    assert (len(run.problems), run.problem_count) == (1000, 5000)


def test_half_written_last_line_waits_for_its_rest(run_dir):
    """A last line without its end is read when it is whole; of a run that has ended it is told as a problem."""
    whole = line(2, a=2.0).encode() + b"\n"
    write(run_dir, line(1, a=1.0))
    with (run_dir / "events.jsonl").open("ab") as file:
        file.write(whole[:30])
    run = reading.load(run_dir)

    assert list(run["a"].step) == [1]
    assert [each.offset for each in run.problems] == [len(line(1, a=1.0)) + 1]
    with (run_dir / "events.jsonl").open("ab") as file:
        file.write(whole[30:])
    assert run.refresh() is True
    assert list(run["a"].step) == [1, 2]
    assert run.problems == []


def test_last_line_that_lacks_its_newline_alone_is_read_once(run_dir):
    """An object that is closed is whole; its newline, when it comes, is no line of its own."""
    (run_dir / "events.jsonl").write_text(line(1, a=1.0))
    run = reading.load(run_dir)

    assert list(run["a"].step) == [1]
    write(run_dir, "", line(2, a=2.0))
    run.refresh()
    assert list(run["a"].step) == [1, 2]
    assert run.problems == []


def test_lines_whose_newline_is_missing_are_read(run_dir):
    """Two whole objects in a line are two lines, however their neighbours look."""
    write(run_dir, line(1, a=1) + line(2, a=2), "garbage")

    run = reading.load(run_dir)

    assert list(run["a"].step) == [1, 2]
    assert len(run.problems) == 1


@pytest.mark.parametrize("seed", [os.environ.get("CHAOS_SEED", str(seed)) for seed in range(4)])
def test_damage_at_random_never_costs_more_than_the_lines_it_hits(run_dir, seed):
    """Random bytes written over a file spoil only their lines: every other line is read, in order."""
    print(f"CHAOS_SEED={seed}")
    chance = random.Random(seed)
    lines = [text.encode() for text in many(0, 3000)]
    spoiled = sorted(chance.sample(range(3000), 40))
    for number in spoiled:
        text = bytearray(lines[number])
        at = chance.randrange(len(text))
        text[at : at + chance.randrange(1, 20)] = chance.choice([b"\0", b"}", b'"', b"\xff\xfe", b"\r", b"[", b""])
        lines[number] = bytes(text)
    write(run_dir, *lines)

    found = cells(reading.load(run_dir)["loss"])

    untouched = [(step, step / 7) for step in range(3000) if step not in set(spoiled)]
    assert [cell for cell in found if cell in set(untouched)] == untouched


# --- following ----------------------------------------------------------------------------------------------------


def test_refresh_reads_what_is_new(run_dir):
    """``refresh()`` says whether anything has come, and the columns have it."""
    write(run_dir, *many(0, 10))
    run = reading.load(run_dir)
    first = run["loss"]

    assert run.refresh() is False
    write(run_dir, *many(10, 5), line(15, new=1))
    assert run.refresh() is True
    assert list(run["loss"].step) == list(range(15))
    assert run.metrics == ["acc", "loss", "new"]
    assert list(first.step) == list(range(10))


def test_refresh_sees_new_files_and_a_new_status(run_dir):
    """A rank that comes later, and the end of the run, are seen by ``refresh()``."""
    write(run_dir, line(1, a=1.0))
    run = reading.load(run_dir)
    assert list(run["a"].value) == [1.0]

    write(run_dir, line(1, a=2.0), name="events.rank1.jsonl")
    (run_dir / "status.json").write_text('{"status": "failed", "exit_reason": "process gone"}')

    assert run.refresh() is True
    assert list(run["a"].value) == [1.0, 2.0]
    assert (run.info.status, run.info.exit_reason) == ("failed", "process gone")


@pytest.mark.parametrize("how", ["replaced", "shrunk", "rewritten in place", "removed"])
def test_file_that_was_replaced_is_read_anew(run_dir, how):
    """Another file of the same name, a shorter one, or other bytes in the same one: nothing old is left."""
    write(run_dir, *many(0, 20_000))
    run = reading.load(run_dir)
    assert len(run["loss"]) == 20_000
    path = run_dir / "events.jsonl"
    if how == "replaced":
        (run_dir / "new").write_text("".join(f"{each}\n" for each in many(5, 30_000)))
        (run_dir / "new").replace(path)
        expected = list(range(5, 30_005))
    elif how == "shrunk":
        with path.open("r+b") as file:
            file.truncate(sum(len(each) + 1 for each in many(0, 50)))
        expected = list(range(50))
    elif how == "rewritten in place":
        write(run_dir, *many(70_000, 30_000), mode="r+b")
        expected = list(range(70_000, 100_000))
    else:
        path.unlink()
        expected = []

    assert run.refresh() is True
    assert list(run["loss"].step if expected else run.metrics) == expected
    assert list(reading.load(run_dir)["loss"].step if expected else []) == expected


# --- the cache ----------------------------------------------------------------------------------------------------


def parts(cache_dir):
    return sorted(cache_dir.rglob("*.part"))


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of the cache are small, so that a file has many."""
    monkeypatch.setattr(events_module, "_PART_BYTES", 200_000)
    monkeypatch.setattr(events_module, "_LEAST_KEPT_BYTES", 10_000)


def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(Decoder, "decode", refuse)


@pytest.mark.usefixtures("small_parts")
def test_second_reading_comes_from_the_cache(run_dir, cache_dir, monkeypatch):
    """What was decoded once is not decoded again, by whichever process; all values are the same."""
    written = [{"a": step / 3, "b": step, "c": "x" if step % 2 else None} for step in range(20_000)]
    write(run_dir, *(line(step, **values) for step, values in enumerate(written)), b"garbage")
    first = reading.load(run_dir)
    expected = {name: cells(first[name]) for name in "abc"}
    assert len(parts(cache_dir)) > 5

    no_decoding(monkeypatch)
    again = reading.load(run_dir)

    assert {name: cells(again[name]) for name in "abc"} == expected
    assert again.metrics == ["a", "b", "c"]
    assert again.problems == first.problems
    assert len(again.problems) == 1
    assert expected["a"] == [(step, step / 3) for step in range(20_000)]


@pytest.mark.usefixtures("small_parts")
def test_cache_is_built_by_what_is_new(run_dir, cache_dir):
    """A file that grows is read on: its parts are kept one after the other, and a shorter one is replaced."""
    run = reading.load(run_dir)
    for round_ in range(40):
        write(run_dir, *many(round_ * 500, 500), line(round_ * 500, text="t"))
        run.refresh()
        assert list(run["loss"].step) == list(range((round_ + 1) * 500))
    fresh = reading.load(run_dir)

    assert list(fresh["loss"].value) == [step / 7 for step in range(20_000)]
    starts = [path.name.partition("-")[0] for path in parts(cache_dir)]
    assert len(starts) == len(set(starts)) > 3


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["removed", "emptied", "cut", "garbage", "of another file"])
def test_damaged_cache_is_made_again(run_dir, cache_dir, damage):
    """The cache may be removed or spoilt at any moment, also while it is used: the values are those of the file."""
    write(run_dir, *many(0, 20_000))
    run = reading.load(run_dir)
    assert run.metrics == ["acc", "loss"]
    for number, part in enumerate(parts(cache_dir)):
        content = part.read_bytes()
        part.unlink()
        if damage != "removed":
            part.write_bytes(
                {
                    "emptied": b"",
                    "cut": content[: len(content) // 2],
                    "garbage": struct.pack("=q", number) + b"\xff" * 1000,
                    "of another file": parts(cache_dir)[0].read_bytes() if parts(cache_dir) else content,
                }[damage]
            )

    assert list(run["loss"].value) == [step / 7 for step in range(20_000)]
    assert list(reading.load(run_dir)["acc"].value) == [step * 0.5 for step in range(20_000)]


@pytest.mark.usefixtures("small_parts")
def test_cache_of_a_file_that_was_written_anew_is_not_used(run_dir):
    """A file that begins as it did, in the same place, and goes on otherwise is read anew."""
    write(run_dir, *many(0, 20_000))
    assert len(reading.load(run_dir)["loss"]) == 20_000

    write(run_dir, *many(0, 100), *many(500_000, 25_000), mode="r+b")

    assert list(reading.load(run_dir)["loss"].step) == [*range(100), *range(500_000, 525_000)]


@pytest.mark.usefixtures("small_parts")
def test_cache_stays_below_its_bound(run_dir, cache_dir, monkeypatch):
    """Of a full cache the files that were used longest ago go."""
    monkeypatch.setenv("RUNICORN_CACHE_MAX_BYTES", "400000")
    write(run_dir, *many(0, 30_000))

    run = reading.load(run_dir)

    assert list(run["loss"].value) == [step / 7 for step in range(30_000)]
    assert 0 < sum(path.stat().st_size for path in cache_dir.rglob("*") if path.is_file()) <= 500_000


def test_least_recently_used_goes_first(tmp_path):
    """What was read lately stays, what was not goes."""
    cache = Cache(str(tmp_path / "bounded"), 1000)
    for number in range(4):
        assert cache.write([bytes(240)], "columns-1", f"{number}-9.part")
        os.utime(cache.path("columns-1", f"{number}-9.part"), (number, number))
    cache.read("columns-1", "0-9.part")

    fresh = Cache(cache.directory, 1000)
    assert fresh.write([bytes(240)], "columns-1", "4-9.part")

    assert sorted(os.listdir(cache.path("columns-1"))) == ["0-9.part", "2-9.part", "3-9.part", "4-9.part"]


@pytest.mark.usefixtures("small_parts")
def test_empty_cache_dir_switches_the_cache_off(run_dir, cache_dir, monkeypatch):
    """With ``RUNICORN_CACHE_DIR`` empty nothing is written anywhere, and everything is read."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", "")
    write(run_dir, *many(0, 5000))

    assert len(reading.load(run_dir)["loss"]) == 5000
    assert reading.runs(run_dir.parents[2])
    assert not cache_dir.exists()


@pytest.mark.usefixtures("small_parts")
def test_cache_that_cannot_be_written_is_done_without(run_dir, tmp_path, monkeypatch):
    """A file in the place of the cache's folder costs speed and nothing else."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "file"))
    write(run_dir, *many(0, 5000))

    assert len(reading.load(run_dir)["loss"]) == 5000
    assert len(reading.runs(run_dir.parents[2])) == 1


def test_reading_changes_nothing_in_the_run(run_dir):
    """Names, sizes and times of everything in the run directory are the same after reading."""
    write(run_dir, *many(0, 5000), b"garbage")

    def look():
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in run_dir.rglob("*")}

    before = look()
    run = reading.load(run_dir)
    run.table()
    list(run.text())
    run.refresh()
    assert look() == before


# --- tables -------------------------------------------------------------------------------------------------------


def test_table_joins_metrics_on_their_steps(run_dir):
    """One row for each step; a metric that has no value there is None; the later value of a step wins."""
    write(run_dir, line(1, a=1.0, stage="s"), line(2, a=2.0), line(2, b=7), line(3, b=8), line(2, a=2.5))

    table = reading.load(run_dir).table()

    assert list(table.rows()) == [
        {"step": 1, "time": TIME, "stage": "s", "a": 1.0, "b": None},
        {"step": 2, "time": TIME, "stage": None, "a": 2.5, "b": 7},
        {"step": 3, "time": TIME, "stage": None, "a": None, "b": 8},
    ]


def test_table_of_lines_has_one_row_for_each_call(run_dir):
    """Without ``by_step`` each call of ``log()`` is a row, in the order of the file."""
    write(run_dir, line(1, a=1.0), line(1, b=2), line(1), line(0, a=3.0, b=4))

    run = reading.load(run_dir)

    assert [(row["step"], row["a"], row["b"]) for row in run.table(by_step=False).rows()] == [
        (1, 1.0, None),
        (1, None, 2),
        (1, None, None),
        (0, 3.0, 4),
    ]
    assert list(run.table(["b"], by_step=False)["b"]) == [2, 4]


def test_table_of_all_ranks_keeps_them_apart(run_dir):
    """``ranks="all"`` gives each file rows of its own, named by rank and file; ``main`` is the main file alone."""
    write(run_dir, line(1, a=1.0), line(2, a=2.0))
    write(run_dir, line(1, a=10.0), name="events.rank1.jsonl")
    write(run_dir, line(2, b=5), name="events.beta.jsonl")
    run = reading.load(run_dir)

    assert list(run.table(["a"])["a"]) == [1.0, 2.0]
    assert [(row["step"], row["rank"], row["file"], row["a"], row["b"]) for row in run.table(ranks="all").rows()] == [
        (1, None, "events.jsonl", 1.0, None),
        (1, 1, "events.rank1.jsonl", 10.0, None),
        (2, None, "events.jsonl", 2.0, None),
        (2, None, "events.beta.jsonl", None, 5),
    ]


def test_missing_library_says_what_to_install(run_dir, monkeypatch):
    """Where a library is not there the error is an instruction."""
    write(run_dir, line(1, a=1.0))
    for library, method in (("pandas", "to_pandas"), ("polars", "to_polars"), ("pyarrow", "to_arrow")):
        monkeypatch.setitem(__import__("sys").modules, library, None)
        with pytest.raises(ImportError, match=f"pip install {library}"):
            getattr(reading.load(run_dir), method)()


# --- images and text ----------------------------------------------------------------------------------------------


def image(step, path, **more):
    return json.dumps({"ts": TIME, "type": "image", "data": {"key": "k", "path": path, "step": step, **more}})


def test_images_are_listed_with_paths_inside_the_run(run_dir, tmp_path):
    """An image has step, key, caption, path and time; a path that leads out of the run is None."""
    (tmp_path / "secret.png").write_text("")
    (run_dir / "media" / "link.png").symlink_to(tmp_path / "secret.png")
    outside = ["../../secret.png", str(tmp_path / "secret.png"), "media/link.png"]
    write(run_dir, line(1, a=1), image(3, "media/x.png", caption="c"), *(image(None, path) for path in outside))

    images = reading.load(run_dir).images

    assert images[0] == (3, "k", "c", str(run_dir / "media" / "x.png"), TIME)
    assert [each.path for each in images[1:]] == [None, None, None]


def test_text_is_read_by_lines(run_dir):
    """Lines of ``logs.txt`` come first, those of other hosts behind, marked; ``last`` gives the last ones."""
    (run_dir / "logs.txt").write_bytes(b"one\n\ntwo \xff\nthree")
    (run_dir / "logs.beta.txt").write_text("of beta\n")
    run = reading.load(run_dir)

    assert list(run.text()) == ["one", "", "two \\xff", "three", "[beta] of beta"]
    assert list(run.text(last=2)) == ["three", "[beta] of beta"]
    assert list(run.text(last=99)) == list(run.text())
    assert list(run.text(last=0)) == []


def test_end_of_a_long_text_is_found_from_behind(run_dir):
    """The last lines of a text of many blocks, long lines among them, are those of the whole."""
    chance = random.Random(3)
    lines = [str(number) + "x" * chance.choice([0, 10, 300_000]) for number in range(300)]
    (run_dir / "logs.txt").write_text("".join(f"{each}\n" for each in lines))
    run = reading.load(run_dir)

    for last in (1, 2, 17, 299, 300):
        assert list(run.text(last=last)) == lines[-last:]


def test_json_files_are_read_as_they_are(run_dir):
    """Configuration, assets, summary and environment are dicts; one that is damaged is empty, and told."""
    (run_dir / "assets.json").write_text('{"config": {"args": {"lr": 0.1}}, "outputs": []}')
    (run_dir / "summary.json").write_text('{"x": NaN}')
    (run_dir / "environment.json").write_text('{"cut')
    run = reading.load(run_dir)

    assert run.config == {"args": {"lr": 0.1}}
    assert run.assets["outputs"] == []
    assert math.isnan(run.summary["x"])
    assert run.environment == {}
    assert [(each.file, each.offset) for each in run.problems] == [("environment.json", 0)]


@pytest.mark.parametrize("name", ["rank", "file"])
def test_metric_called_as_a_column_is_no_silent_gap(run_dir, name):
    """A table of all ranks has columns of its own: a metric of that name is an error that says so, not left out."""
    write(run_dir, line(1, a=1.0, **{name: 5}))
    run = reading.load(run_dir)
    with pytest.raises(ValueError, match=name):
        run.table(ranks="all")
    assert list(run.table(["a"], ranks="all")["a"]) == [1.0]
