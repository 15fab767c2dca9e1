"""Files that were cut, damaged or made to do harm: a message, what is before it, nothing outside the storage."""

import json
import os
import random
import sqlite3
import struct
import zlib
from pathlib import Path

import pytest
from imported_values import SAMPLES, comparable, content_of, field, lines_of, load, points_of, varint

import runicorn
from runicorn.cli import main
from runicorn.importing import checksums
from runicorn.importing.checksums import crc32c, masked, masked_crcs
from runicorn.importing.source_runs import UnreadableSourceError

EVENTS = SAMPLES / "tensorboard" / "full" / "events.out.tfevents.1700000004.maker.a"
WANDB = SAMPLES / "wandb" / "offline-run-20231114_221320-abc12345" / "run-abc12345.wandb"
SMALL = SAMPLES / "tensorboard" / "restart" / "events.out.tfevents.1700000005.maker.a"
KINDS = [("tensorboard", SMALL, 1), ("tensorboard", EVENTS, 61), ("wandb", WANDB, 331)]
SEEDS = range(20)


def run_directories(storage):
    return [path.parent for path in Path(storage).rglob("meta.json")]


def is_prefix(part, whole):
    """Whether the points of a cut file are the first ones of the whole file."""
    return all(points == whole[name][: len(points)] for name, points in part.items())


def frame(record):
    """A record of a TFRecord file."""
    head = struct.pack("<Q", len(record))
    return head + struct.pack("<I", masked(crc32c(head))) + record + struct.pack("<I", masked(crc32c(record)))


def scalar(tag, step, value):
    summary = field(1, field(1, tag) + b"\x15" + struct.pack("<f", value))
    return b"\x09" + struct.pack("<d", 1.7e9) + b"\x10" + varint(step) + field(5, summary)


@pytest.mark.parametrize(("form", "sample", "stride"), KINDS)
def test_a_file_cut_at_any_byte_gives_what_is_before_the_cut(form, sample, stride, tmp_path):
    """The points are the first ones of the whole file, and one more record is there or not, never another one."""
    (whole,) = load(form, sample, storage=tmp_path / "whole")
    expected = comparable(points_of(whole.run_dir))
    content = sample.read_bytes()
    cut = tmp_path / sample.name
    had = 0
    for length in range(0, len(content), stride):
        cut.write_bytes(content[:length])
        storage = tmp_path / str(length)
        outcomes = (
            load(form, cut, storage=storage, dry_run=length % 7 != 0) if form == "tensorboard" or length >= 7 else []
        )
        for outcome in outcomes:
            assert outcome.state == "imported"
            assert outcome.points >= had
            had = outcome.points
            if outcome.run_dir:
                assert is_prefix(comparable(points_of(outcome.run_dir)), expected)
    assert had > 0


@pytest.mark.parametrize(("form", "sample"), [kind[:2] for kind in KINDS])
def test_a_file_with_a_damaged_byte_gives_what_is_before_it(form, sample, tmp_path):
    """Wherever the byte is: the points are the first ones of the whole file, and the damage is told."""
    (whole,) = load(form, sample, storage=tmp_path / "whole")
    expected = comparable(points_of(whole.run_dir))
    content = bytearray(sample.read_bytes())
    damaged = tmp_path / sample.name
    places = range(7, len(content), max(1, len(content) // 60))
    for place in places:
        content[place] ^= 0x41
        damaged.write_bytes(content)
        content[place] ^= 0x41
        (outcome,) = load(form, damaged, storage=tmp_path / f"at-{place}")
        assert outcome.problems
        assert is_prefix(comparable(points_of(outcome.run_dir)), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_raise_nothing_unexpected(seed, tmp_path):
    """In whole files, in records with right checksums, in databases and tables: an outcome or an error of ours."""
    print("seed", seed)
    chance = random.Random(seed)
    noise = chance.randbytes(chance.randrange(1, 3000))
    source = tmp_path / "source"
    source.mkdir()
    (source / "events.out.tfevents.1.host").write_bytes(
        noise if seed % 2 else frame(scalar(b"loss", 1, 1.0)) + b"".join(frame(chance.randbytes(n)) for n in range(60))
    )
    (source / "run.wandb").write_bytes(b":W&B\xe1\xbe\x00" + noise)
    database = bytearray((SAMPLES / "mlflow" / "mlflow.db").read_bytes())
    for _ in range(60):
        database[chance.randrange(16, len(database))] = chance.randrange(256)
    (source / "mlflow.db").write_bytes(database)
    for name in ("table.csv", "table.jsonl", "metrics.csv", "results.csv", "trainer_state.json"):
        (source / name).write_bytes(noise)
    before = content_of(source)
    for form in (
        "tensorboard",
        "wandb",
        "mlflow",
        "trackio",
        "csv",
        "jsonl",
        "lightning",
        "transformers",
        "ultralytics",
    ):
        try:
            load(form, source, storage=tmp_path / "storage")
        except (UnreadableSourceError, FileNotFoundError):
            continue
    for run_dir in run_directories(tmp_path / "storage"):
        lines_of(run_dir)
    assert content_of(source) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "storage"}


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40, 2**31])
def test_a_length_beyond_all_files_takes_no_memory(length, tmp_path, storage):
    """The length's checksum is right; the record before it is there, and the length is told."""
    head = struct.pack("<Q", length)
    events = tmp_path / "events.out.tfevents.1.host"
    events.write_bytes(frame(scalar(b"loss", 1, 2.5)) + head + struct.pack("<I", masked(crc32c(head))) + bytes(64))
    (outcome,) = load("tensorboard", events, storage=storage)
    assert outcome.points == 1
    assert "damaged" in outcome.problems[0]


def test_lengths_inside_a_record_are_checked(tmp_path, storage):
    """Fields that are longer than their message, and numbers of more than 64 bits: only that record is left out."""
    broken = [
        b"\x09" + bytes(8) + b"\x2a" + varint(2**63) + b"\x0a",
        b"\x09" + bytes(8) + b"\x10" + b"\xff" * 12,
        b"\x09" + bytes(8) + field(5, b"\x0a" + varint(2**40)),
        b"\x09\x00",
        b"",
    ]
    events = tmp_path / "events.out.tfevents.1.host"
    frames = [frame(each) for each in broken]
    events.write_bytes(frame(scalar(b"loss", 1, 1.0)) + b"".join(frames) + frame(scalar(b"loss", 2, 2.0)))
    (outcome,) = load("tensorboard", events, storage=storage)
    assert [value for _, _, value in points_of(outcome.run_dir)["loss"]] == [1.0, 2.0]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300, -1e300, -5.0])
def test_times_that_no_clock_shows_stop_nothing(at, tmp_path, storage):
    """Of a number, a text and an image: all are there, and the run can be read."""
    text = field(8, b"\x08\x07" + field(8, b"hello")) + field(9, field(1, field(1, b"text")))
    image = field(4, field(4, b"\x89PNG picture"))
    values = [b"\x15" + struct.pack("<f", 2.5), text, image]
    records = [
        b"\x09" + struct.pack("<d", at) + b"\x10\x03" + field(5, field(1, field(1, b"tag%d" % number) + value))
        for number, value in enumerate(values)
    ]
    events = tmp_path / "events.out.tfevents.1.host"
    events.write_bytes(b"".join(map(frame, records)))
    (outcome,) = load("tensorboard", events, storage=storage)
    assert (outcome.points, outcome.lines, outcome.images, outcome.problems) == (1, 1, 1, [])
    assert {type(line["ts"]) for line in lines_of(outcome.run_dir)} == {float}
    run = runicorn.load(outcome.run_dir)
    assert (run.problems, list(run["tag0"].value), run.images[0].key) == ([], [2.5], "tag2")


def test_deep_json_is_refused_and_all_else_is_there(tmp_path, storage):
    """In a row, in a parameter and in a file: no crash, and one line less."""
    deep = "[" * 100_000
    source = tmp_path / "rows.jsonl"
    source.write_text(f'{{"a": 1}}\n{{"a": {deep}\n' + '{"a": ' * 50_000 + "\n" + '{"a": 2}\n')
    (outcome,) = load("jsonl", source, storage=storage)
    assert [value for _, _, value in points_of(outcome.run_dir)["a"]] == [1, 2]
    assert len(outcome.problems) == 2
    state = tmp_path / "trainer_state.json"
    state.write_text('{"log_history": ' + deep)
    (outcome,) = load("transformers", state, storage=storage)
    assert outcome.state == "failed"
    assert len(run_directories(storage)) == 1


def test_parameters_that_python_could_stumble_over_stay_text(tmp_path, storage):
    """What is nested deeply, is code, or names a type is kept as it was written."""
    run = tmp_path / "mlruns" / "1" / "abc"
    texts = {
        "deep": "[" * 5000,
        "code": "__import__('os').getcwd()",
        "set": "{1, 2}",
        "bytes": "b'x'",
        "long": "9" * 5000,
    }
    for name, text in texts.items():
        path = run / "params" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (run / "meta.yaml").write_text("run_id: abc\nstatus: 3\nname: !!python/object/apply:os.getcwd []\n")
    (outcome,) = load("mlflow", tmp_path, storage=storage)
    args = json.loads(Path(outcome.run_dir, "assets.json").read_text())["config"]["args"]
    assert {name: args[name] for name in ("deep", "code", "set", "bytes")} == {
        name: texts[name] for name in ("deep", "code", "set", "bytes")
    }


def wandb_of(*records):
    """A file of wandb with these records."""
    bodies = [b"\x01" + record for record in records]
    frames = [struct.pack("<IH", zlib.crc32(body), len(body) - 1) + body for body in bodies]
    return b":W&B\xe1\xbe\x00" + b"".join(frames)


def item_of(key, value):
    text = value.encode()
    return field(1, field(1, key) + b"\x82\x01" + varint(len(text)) + text)


def wandb_with_image(path, source):
    """A run of wandb whose only row names an image by that path."""
    value = json.dumps({"_type": "image-file", "path": path})
    source.mkdir(exist_ok=True)
    (source / "run-x.wandb").write_bytes(wandb_of(field(2, item_of(b"picture", value))))


def test_rows_of_wandb_that_are_cut_inside_are_left_out(tmp_path, storage):
    """Each cut at every byte, with a right checksum; steps beyond 64 bit are those beside the row."""
    whole = b"\x08\x05" + field(2, item_of(b"loss", "0.5") + item_of(b"_step", str(2**70)) + field(2, b"\x08\x09"))
    cuts = [whole[:length] for length in range(1, len(whole))]
    inside = [b"\x08\x05" + field(2, whole[4 : 4 + length]) for length in range(1, len(whole) - 4)]
    path = tmp_path / "run-x.wandb"
    path.write_bytes(wandb_of(whole, *cuts, *inside, whole))
    (outcome,) = load("wandb", path, storage=storage)
    points = points_of(outcome.run_dir)["loss"]
    assert {points[0][1:], points[-1][1:]} == {(9, 0.5)}
    assert outcome.problems


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/secret.png", "media/../../secret.png", "C:\\secret.png", "media/link.png", "media", "", "a\0b"],
)
def test_media_outside_of_their_folder_are_left_out(name, tmp_path, storage):
    """Whatever the name in the record is, and where a link leads."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG secret")
    source = tmp_path / "run"
    (source / "files" / "media").mkdir(parents=True)
    (source / "files" / "media" / "link.png").symlink_to(secret)
    (source / "files" / "secret.png").symlink_to(secret)
    wandb_with_image(name.replace("/secret", f"{tmp_path}/secret", 1) if name.startswith("/") else name, source)
    (outcome,) = load("wandb", source, storage=storage)
    assert outcome.images == 0
    assert outcome.left_out == {"images whose files are not there, or lie elsewhere": 1}
    assert not list(Path(outcome.run_dir, "media").iterdir())


def test_links_in_a_source_are_not_followed(tmp_path, storage):
    """Neither to a directory nor to a file; the source that the user names may be one."""
    real = tmp_path / "real"
    real.mkdir()
    (real / EVENTS.name).write_bytes(EVENTS.read_bytes())
    source = tmp_path / "source"
    source.mkdir()
    (source / "inner").symlink_to(real)
    (source / EVENTS.name).symlink_to(EVENTS)
    (source / "loop").symlink_to(source)
    with pytest.raises(FileNotFoundError):
        load("tensorboard", source, storage=storage)
    (tmp_path / "named").symlink_to(real)
    (outcome,) = load("tensorboard", tmp_path / "named", storage=storage)
    assert outcome.source == str(real)


def test_a_fifo_in_the_place_of_a_source_holds_nobody_up(tmp_path, storage):
    """It is no file of a tracker."""
    os.mkfifo(tmp_path / "events.out.tfevents.1.host")
    (outcome,) = load("tensorboard", tmp_path, storage=storage)
    assert (outcome.state, "not a regular file" in outcome.note) == ("failed", True)


def test_names_that_lead_out_of_the_storage_stay_in_it(tmp_path, storage):
    """Of experiments, runs and metrics: all of it is below ``runs``."""
    run = tmp_path / "mlruns" / "1" / "abc"
    (run / "metrics").mkdir(parents=True)
    (run / "metrics" / "loss").write_text("1 0.5 0\n")
    (run / "meta.yaml").write_text("run_id: '../../../evil'\nstatus: 3\nrun_name: ../../evil\n")
    (run.parent / "meta.yaml").write_text("name: ../../../.recycle/../x\n")
    before = {path.name for path in tmp_path.iterdir()}
    (outcome,) = load("mlflow", tmp_path / "mlruns", storage=storage)
    assert Path(outcome.run_dir).resolve().is_relative_to(storage / "runs")
    assert {path.name for path in tmp_path.iterdir()} == before | {storage.name}


def test_one_source_that_cannot_be_read_keeps_none_of_the_others_back(tmp_path, storage):
    """A deep document, a torn database, a FIFO: a failed run each, and the good ones beside them come."""
    for name, text in (("good", "run_id: good\nstatus: 3\n"), ("bad", "\n".join(" " * n + "a:" for n in range(90)))):
        (tmp_path / "mlruns" / "1" / name / "metrics").mkdir(parents=True)
        (tmp_path / "mlruns" / "1" / name / "meta.yaml").write_text(text)
    outcomes = load("mlflow", tmp_path / "mlruns", storage=storage)
    assert sorted(each.state for each in outcomes) == ["failed", "imported"]
    projects = tmp_path / "projects"
    projects.mkdir()
    (sample,) = (SAMPLES / "trackio").glob("*.db")
    content = sample.read_bytes()
    (projects / "good.db").write_bytes(content)
    torn = bytearray(content)
    torn[len(torn) // 4 :] = bytes(len(torn) - len(torn) // 4)
    (projects / "torn.db").write_bytes(torn)
    states = [each.state for each in load("trackio", projects, storage=storage)]
    assert states.count("imported") == 2
    board = tmp_path / "board"
    (board / "loss_a").mkdir(parents=True)
    (board / SMALL.name).write_bytes(SMALL.read_bytes())
    os.mkfifo(board / "loss_a" / "events.out.tfevents.2.host")
    assert sorted(each.state for each in load("tensorboard", board, storage=storage)) == ["failed", "imported"]


def test_a_view_in_the_place_of_a_table_is_not_asked(tmp_path, storage):
    """It could compute for ever; the tables beside it are read."""
    database = tmp_path / "project.db"
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS run_id, x AS rowid FROM n"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id, run_name, timestamp, step, metrics)")
        connection.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id, config)")
        connection.execute("INSERT INTO metrics VALUES (1, 'a', 'a', '2024-01-01T00:00:00', 3, '{\"loss\": 0.5}')")
        connection.execute(f"CREATE VIEW system_metrics AS {endless}")
        connection.execute(f"CREATE VIEW runs AS {endless}")
    connection.close()
    (outcome,) = load("trackio", database, storage=storage)
    assert points_of(outcome.run_dir)["loss"] == [(1704067200.0, 3, 0.5)]
    with pytest.raises(FileNotFoundError):
        load("mlflow", database, storage=storage)


def test_a_database_that_is_being_written_is_read_with_its_log(tmp_path, storage):
    """What is in the write-ahead log alone comes too, and no file beside the database is made or changed."""
    database = tmp_path / "mlflow.db"
    database.write_bytes((SAMPLES / "mlflow" / "mlflow.db").read_bytes())
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("UPDATE metrics SET value = 0.625 WHERE key = 'acc' AND step = 1")
    before = content_of(tmp_path)
    outcomes = load("mlflow", database, storage=storage)
    assert content_of(tmp_path).keys() - {"storage"} >= before.keys()
    assert {points_of(each.run_dir)["acc"][0][2] for each in outcomes} == {0.625}
    connection.close()


def test_the_command_says_what_is_wrong_and_ends_with_1(tmp_path, storage, capsys):
    """A folder without runs, a folder that is not there, and one with a damaged run beside a good one."""
    (tmp_path / "empty").mkdir()
    assert main(["import", "auto", str(tmp_path / "empty"), "--storage", str(storage)]) == 1
    assert main(["import", "wandb", str(tmp_path / "nothing"), "--storage", str(storage)]) == 1
    said = capsys.readouterr().err
    assert "holds no runs that can be imported" in said
    assert "is not there" in said
    assert not storage.exists()


@pytest.mark.parametrize("has_library", [True, False])
def test_checksums_of_many_records_are_those_of_each(has_library, monkeypatch):
    """Of every length, few and many of it, beside the standard's own example; with the library and without."""
    if has_library:
        assert checksums.library() is not None
    else:
        monkeypatch.setattr(checksums, "library", lambda: None)
    assert crc32c(b"123456789") == 0xE3069283
    chance = random.Random(5)
    records = [chance.randbytes(length) for length in (0, 1, 7, 40, 41) for _ in range(100)] + [b"one"]
    chance.shuffle(records)
    assert masked_crcs(records) == [masked(crc32c(record)) for record in records]
