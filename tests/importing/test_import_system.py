"""What other trackers have sampled of the machine comes to where our own samples are, by our names."""

import datetime as dt
import json
import math
import shutil
import struct
import zlib
from decimal import Decimal

import pyarrow as pa
import pytest
from imported_values import SAMPLES, bits, content_of, expected_of, field, json_of, load, samples_of, varint
from pyarrow import parquet

import runicorn
from runicorn.cli import main
from runicorn.importing.machine_samples import MachineSamples
from runicorn.importing.source_runs import Sample, Told

FORMATS = ["wandb", "mlflow", "trackio", "swanlab"]
OF_WANDB = {"memory_percent": "host/memory_percent"}
OF_SWANLAB = {"cpu.pct": "host/cpu_percent", "mem.pct": "host/memory_percent"}
OF_AIM = {"__system__memory_percent": "host/memory_percent"}
OF_MLFLOW = {"cpu_utilization_percentage": "host/cpu_percent"}


def renamed(data, names):
    return {names.get(name, name): value for name, value in data.items()}


def same_samples(found, wanted):
    assert [at for at, _ in found] == [at for at, _ in wanted]
    for (_, numbers), (_, others) in zip(found, wanted, strict=True):
        assert {name: bits(value) for name, value in numbers.items()} == {
            name: bits(value) for name, value in others.items()
        }


def run_named(outcomes, name):
    (found,) = [each for each in outcomes if json_of(each.run_dir, "meta.json")["alias"] == name]
    return found


def test_samples_of_wandb_are_those_of_its_own_classes(storage):
    """Of each record a line, with its time; what is the same figure has our name, all else its own."""
    run = run_named(load("wandb", SAMPLES / "wandb", storage=storage), "machine1")
    (stats,) = [each for name, each in expected_of("wandb")["stats"].items() if "machine1" in name]
    wanted = [
        (at // 10**9 + at % 10**9 / 1e9, renamed({name: json.loads(text) for name, text in row.items()}, OF_WANDB))
        for at, row in stats
    ]
    same_samples(samples_of(run.run_dir), wanted)
    assert (run.samples, run.metrics) == (len(wanted), ["loss"])


def test_samples_of_swanlab_are_those_of_its_own_classes(storage):
    """The numbers of one moment are one line, and no metrics."""
    (run,) = load("swanlab", SAMPLES / "swanlab", storage=storage)
    wanted = {}
    for key, _, time_s, value in expected_of("swanlab")["scalars"]:
        if key.startswith("__swanlab__."):
            wanted.setdefault(time_s, {})[key.removeprefix("__swanlab__.")] = float(value)
    assert wanted
    same_samples(samples_of(run.run_dir), [(at, renamed(data, OF_SWANLAB)) for at, data in wanted.items()])


@pytest.mark.parametrize(("source", "kind"), [("mlruns", "files"), ("mlflow.db", "database")])
def test_samples_of_mlflow_are_those_of_its_client(source, kind, storage):
    """Those of a database are lines of all numbers of a moment, and so are those of a file for each number."""
    run = run_named(load("mlflow", SAMPLES / "mlflow" / source, storage=storage), "parent run")
    wanted = {}
    for key, points in expected_of("mlflow")[kind]["parent run"].items():
        if key.startswith("system/"):
            for at, _, value in points:
                wanted.setdefault(at / 1000, {})[key.removeprefix("system/")] = float(value)
    assert len(wanted) == 2
    same_samples(samples_of(run.run_dir), [(at, renamed(wanted[at], OF_MLFLOW)) for at in sorted(wanted)])
    assert run.metrics == ["acc", "train/loss"]


def test_samples_of_trackio_are_those_of_its_storage(storage):
    """Sizes become bytes; what is no finite number is counted."""
    for run in load("trackio", SAMPLES / "trackio", storage=storage):
        (_, first), (_, second) = samples_of(run.run_dir)
        assert first == {"host/cpu_percent": 12.5, "host/memory_total_bytes": 3 << 29, "gpu0/temperature_c": 40}
        assert second == {"gpu0/memory_bytes": 1 << 28, "gpu0/utilization_percent": 75}
        assert run.left_out["values of the machine that are no finite numbers"] == 1


def test_samples_of_aim_are_those_of_its_reader(storage):
    """Samples of Aim come in the order of time, and are no metrics."""
    options = {"run": "run", "config": ["experiment", "name", "params"]}
    (run,) = load("jsonl", SAMPLES / "aim" / "aim.jsonl", storage=storage, options=options)
    system = expected_of("aim")["system"]
    wanted = sorted(
        (at, {OF_AIM.get(name, name.removeprefix("__system__")): value})
        for name, points in system.items()
        for at, value in points
    )
    assert len(wanted) > 4
    same_samples(samples_of(run.run_dir), wanted)
    assert (run.samples, run.metrics, run.left_out) == (len(wanted), ["acc", "epoch", "train/loss"], {})


def test_samples_of_neptune_are_side_by_side(tmp_path, storage):
    """Neptune's series come one after the other; names below ``monitoring`` that are not of its monitor are metrics."""
    start = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    series = {
        "0123abcd/cpu": [(2, 50.0), (0, 25.0)],
        "0123abcd/gpu_memory_1": [(0, 0.5), (2, math.nan)],
        "0123abcd/gpu": [(1, 75.0)],
        "fedc9876/cpu": [(0, 12.5)],
        "loss": [(3, 1.5)],
    }
    rows = [
        {
            "project_id": "team/p", "run_id": "RUN-1", "attribute_type": "float_series",
            "attribute_path": f"monitoring/{name}", "step": Decimal(step), "float_value": value,
            "timestamp": start + dt.timedelta(seconds=seconds),
        }
        for name, points in series.items()
        for step, (seconds, value) in enumerate(points)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "RUN-1_part_0.parquet")
    (run,) = load("neptune", tmp_path, storage=storage)
    at = start.timestamp()
    wanted = [
        (at, {"cpu": 25.0, "fedc9876/cpu": 12.5, "gpu1/memory_bytes": 1 << 29}),
        (at + 1, {"gpu0/utilization_percent": 75.0}),
        (at + 2, {"cpu": 50.0}),
    ]
    same_samples(samples_of(run.run_dir), wanted)
    assert (run.metrics, run.left_out) == (["monitoring/loss"], {"values of the machine that are no finite numbers": 1})


@pytest.mark.parametrize("form", FORMATS)
def test_imported_samples_are_read_as_our_own(form, storage, capsys):
    """By ``run.system``, ``show``, and the counts of the import; a dry run counts the same."""
    counted = sum(each.samples for each in load(form, SAMPLES / form, storage=storage, dry_run=True))
    outcomes = load(form, SAMPLES / form, storage=storage)
    assert counted == sum(each.samples for each in outcomes) > 0
    outcome = next(each for each in outcomes if each.samples)
    run = runicorn.load(outcome.run_dir)
    assert run.problems == []
    times = [at for at, _ in samples_of(outcome.run_dir)]
    assert run.system.insight()["samples"] == len(times)
    assert len(run.system.table()) == len({int(at * 1000) for at in times})  # a row for a millisecond
    assert run.system.insight()["sampled_s"] == pytest.approx(times[-1] - times[0], abs=0.01)
    name = next(iter(samples_of(outcome.run_dir)[0][1]))
    assert run.system[name].time[0] == times[0]
    assert main(["show", outcome.run_dir]) == 0
    assert "machine" in capsys.readouterr().out


def test_an_update_takes_new_samples(storage, tmp_path):
    """The file is that of the source as it is now."""
    source = tmp_path / "mlruns"
    shutil.copytree(SAMPLES / "mlflow" / "mlruns", source)
    run = run_named(load("mlflow", source, storage=storage), "parent run")
    before = content_of(run.run_dir)["system.jsonl"]
    (file,) = source.rglob("cpu_utilization_percentage")
    with file.open("a") as opened:
        opened.write("99900000000000 12.5 9\n")
    load("mlflow", source, storage=storage, update=True)
    after = content_of(run.run_dir)["system.jsonl"]
    assert after.startswith(before)
    assert samples_of(run.run_dir)[-1] == (99900000000.0, {"host/cpu_percent": 12.5})


def test_a_metric_of_the_user_that_is_called_system_stays_a_metric(storage, tmp_path):
    """The monitor of mlflow has names of its own; another one below ``system/`` is the user's."""
    source = tmp_path / "mlruns"
    shutil.copytree(SAMPLES / "mlflow" / "mlruns", source)
    (file,) = source.rglob("cpu_utilization_percentage")
    file.with_name("loss").write_text("1700000000000 0.5 1\n")
    file.with_name("node7").mkdir()
    file.with_name("node7").joinpath("gpu_1_memory_usage_megabytes").write_text("1700000000000 2.5 1\n")
    run = run_named(load("mlflow", source, storage=storage), "parent run")
    assert "system/loss" in run.metrics
    assert samples_of(run.run_dir)[0] == (1700000000.0, {"node7/gpu1/memory_bytes": 2_500_000})


def test_the_numbers_of_gpus_have_our_names():
    """Of wandb with two GPUs; a number of ours that a source happens to have is kept, as is one of a reserved name."""
    told = Told()
    samples = MachineSamples("wandb", told)
    data = {"gpu.1.gpu": 50, "gpu.1.memoryAllocatedBytes": 2**70, "gpu.0.temp": 40.5, "gpu0/temperature_c": 1}
    assert samples.add(Sample(5.0, {**data, "time": 3, "text": "x", "flag": True, "much": math.inf})) == b""
    assert json.loads(samples.add(Sample(7.5, {"cpu": 1.0}))) == {
        "time": 5.0,
        "gpu1/utilization_percent": 50,
        "gpu1/memory_bytes": float(2**70),
        "gpu.0.temp": 40.5,
        "gpu0/temperature_c": 1,
        "time_": 3,
    }
    assert json.loads(samples.rest()) == {"time": 7.5, "interval_s": 2.5, "cpu": 1.0}
    assert samples.rest() == b""
    assert dict(told.left_out) == {"values of the machine that are no finite numbers": 3}


def test_a_record_of_wandb_with_nonsense_of_the_machine_stops_nothing(storage, tmp_path):
    """Names with half a character, nested values, times that no clock shows."""

    def stats(at_s, **values):
        items = b"".join(field(3, field(1, name.encode()) + field(16, text)) for name, text in values.items())
        return field(7, field(2, varint(8) + varint(at_s)) + items)

    records = [
        stats(5, cpu=b"1.5", nested=b'{"a": {"b": 2}}', half=b'{"\\ud800": 3}'),
        stats(2**63, cpu=b"2"),
        stats(6, cpu=b"[1", big=str(10**400).encode()),
    ]
    content = b":W&B\xe1\xbe\x00"
    for record in records:
        body = b"\x01" + record
        content += struct.pack("<IH", zlib.crc32(body), len(record)) + body
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content)
    (run,) = load("wandb", path, storage=storage)
    assert run.problems == []
    assert samples_of(run.run_dir)[0] == (5, {"cpu": 1.5, "nested/a/b": 2, "half/\\ud800": 3})
    assert runicorn.load(run.run_dir).system["cpu"].value[0] == 1.5
