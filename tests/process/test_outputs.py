"""Outputs, archived by the writer while the program goes on: what holds still, and at the end what is there."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from support import faults, status, wait_until
from support.trainers import Trainer, assert_valid, counted, recover_killed, wait_stored

EAGER = "output_dirs=['out'], interval_sec=0.02, min_age_sec=0.0, log_snapshot_interval_sec=0.0"


def outputs(run_dir):
    """The entries of the outputs; what each names is in the archive as it says."""
    found = json.loads((run_dir / "assets.json").read_text())["outputs"]
    for entry in found:
        if entry["kind"] == "file":
            assert hashlib.sha256(Path(entry["archive_path"]).read_bytes()).hexdigest() == entry["sha256"]
    return found


def by_key(run_dir):
    return {entry["key"]: entry for entry in outputs(run_dir)}


def archived(trainer):
    """The keys that are archived so far."""
    return {entry["key"] for entry in json.loads((trainer.run_dir / "assets.json").read_text())["outputs"]}


def started(tmp_path, body, **environment):
    (tmp_path / "out").mkdir(exist_ok=True)
    opening = "import os, time\nrun = rn.init(workspace_root='.')\nopened(run)\n"
    return Trainer(tmp_path, f"{opening}{body}\nsys.stdin.readline()\nrun.finish()\n", **environment)


def end(trainer):
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    wait_stored(trainer)
    state = trainer.run_dir / ".outputs_state.json"
    assert state.exists()
    state.unlink()
    assert_valid(trainer.run_dir)
    return errors


def test_files_are_archived_while_the_run_is_live(tmp_path):
    """A file that holds still is archived by the writer, a new version takes its place, others are left alone."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER})")
    out = tmp_path / "out"
    (out / "deep" / "er").mkdir(parents=True)
    (out / "deep" / "er" / "best.pth").write_bytes(b"one")
    (out / "ignored.bin").write_bytes(b"x")
    wait_until(lambda: archived(trainer) == {"out/deep/er/best.pth"})
    (first,) = outputs(trainer.run_dir)
    (out / "deep" / "er" / "best.pth").write_bytes(b"second")
    wait_until(lambda: [each["sha256"] for each in outputs_now(trainer)] != [first["sha256"]])
    (second,) = outputs(trainer.run_dir)
    assert second["archive_path"] == first["archive_path"]
    assert Path(second["archive_path"]).read_bytes() == b"second"
    assert second["size_bytes"] == 6
    assert (second["kind"], second["mode"], second["name"], second["saved"]) == ("file", "rolling", "best.pth", True)
    end(trainer)


COMMON = [
    *("a.pt", "model.safetensors", "optimizer.bin", "pytorch_model.bin", "weights.h5", "model.keras", "arrays.npz"),
    *("x.npy", "q4.gguf", "flax.msgpack", "tree.joblib", "state.pkl", "predictions.parquet", "rows.jsonl", "c.yaml"),
]


def test_common_formats_are_outputs_and_the_rest_is_counted(tmp_path):
    """What models and arrays are commonly stored as is archived by default; other files are told in status.json."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER})")
    for name in (*COMMON, "train.bin", "notes.md", "README", ".hidden", "more.md"):
        (tmp_path / "out" / name).write_text(name)
    end(trainer)
    assert set(by_key(trainer.run_dir)) == {f"out/{name}" for name in COMMON}
    (remark,) = status(trainer.run_dir)["remarks"]
    assert "4 files not archived: no default pattern matches" in remark
    assert all(ending in remark for ending in (".bin", ".md", "no ending", "patterns="))
    assert "storage_errors" not in status(trainer.run_dir)


def test_nothing_is_told_of_files_that_the_programs_own_patterns_leave_out(tmp_path):
    """Who names patterns means the rest to be left alone; nor is there a remark if all match."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER}, patterns=['*.pt'])")
    (tmp_path / "out" / "a.pt").write_text("a")
    (tmp_path / "out" / "b.md").write_text("b")
    end(trainer)
    assert list(by_key(trainer.run_dir)) == ["out/a.pt"]
    assert "remarks" not in status(trainer.run_dir)


def test_one_look_tells_what_no_pattern_names_once(tmp_path):
    """scan_outputs_once() warns in the program, the first time."""
    body = """
open("out/b.md", "w").write("b")
for _ in range(3):
    run.scan_outputs_once(output_dirs=["out"])
"""
    trainer = started(tmp_path, body)
    trainer.go_on()
    _, errors = trainer.end()
    assert errors.count("1 file not archived: no default pattern matches") == 1


def outputs_now(trainer):
    return json.loads((trainer.run_dir / "assets.json").read_text())["outputs"]


def test_every_version_is_kept(tmp_path):
    """In mode overwrite_versions each version that held still has an entry and a content; logs are rolling."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER}, mode='overwrite_versions')")
    model, log = tmp_path / "out" / "m.pt", tmp_path / "out" / "train.log"
    log.write_text("a")
    for version in (b"one", b"two", b"three"):
        model.write_bytes(version)
        expected = hashlib.sha256(version).hexdigest()
        wait_until(lambda expected=expected: expected in [each["sha256"] for each in outputs_now(trainer)])
    log.write_text("a, b")
    end(trainer)
    found = outputs(trainer.run_dir)
    assert [Path(each["archive_path"]).read_bytes() for each in found if each["key"] == "out/m.pt"] == [
        b"one",
        b"two",
        b"three",
    ]
    (kept,) = [each for each in found if each["key"] == "out/train.log"]
    assert Path(kept["archive_path"]).read_text() == "a, b"
    assert kept["mode"] == "rolling"


def test_a_last_look_at_the_end(tmp_path):
    """What was written just before finish() is archived, however young it is; so is what a stopped watch had left."""
    late = "output_dirs=['out'], interval_sec=3600, min_age_sec=3600"
    body = f"run.watch_outputs({late})\nopen('out/last.ckpt', 'w').write('last')\n"
    trainer = started(tmp_path, body)
    end(trainer)
    assert list(by_key(trainer.run_dir)) == ["out/last.ckpt"]

    other = tmp_path / "other"
    (other / "out").mkdir(parents=True)
    body = f"open('out/a.ckpt', 'w').write('a')\nrun.watch_outputs({late})\nrun.stop_outputs_watch()\nprint()\n"
    trainer = started(other, body)
    trainer.read_line = trainer.process.stdout.readline
    wait_until(lambda: archived(trainer))
    (other / "out" / "b.ckpt").write_text("b")
    end(trainer)
    assert list(by_key(trainer.run_dir)) == ["out/a.ckpt"]


def test_the_last_look_after_the_trainer_was_killed(tmp_path):
    """A trainer that is killed has its last outputs archived by the writer that outlives it."""
    body = "run.watch_outputs(output_dirs=['out'], interval_sec=3600)\nrun.log(i=1)\nreturned(1)\n"
    trainer = started(tmp_path, body)
    trainer.wait_returned(1)
    trainer.writer_pid()
    (tmp_path / "out" / "rescued.pt").write_bytes(b"weights")
    trainer.kill()
    trainer.end()
    wait_stored(trainer)
    assert list(by_key(trainer.run_dir)) == ["out/rescued.pt"]
    assert status(trainer.run_dir)["exit_reason"] == "killed by signal 9"


@pytest.mark.parametrize("who", ["writer", "both"])
def test_the_writer_is_killed_while_it_watches(tmp_path, who):
    """The watch goes on in the writer that takes over; nothing is archived twice, nothing has half a file."""
    body = f"run.watch_outputs({EAGER}, mode='overwrite_versions')\nrun.log(i=1)\nreturned(1)\n"
    trainer = started(tmp_path, body, RUNICORN_WRITER_RESTART_AFTER_S="0.2", RUNICORN_LOOK_INTERVAL_S="0.05")
    (tmp_path / "out" / "a.pt").write_bytes(b"a" * 1000)
    trainer.wait_returned(1)
    wait_until(lambda: archived(trainer) == {"out/a.pt"})
    os.kill(trainer.writer_pid(), signal.SIGKILL)
    (tmp_path / "out" / "b.pt").write_bytes(b"b" * 1000)
    if who == "both":
        recover_killed(trainer, tmp_path)
    else:
        end(trainer)
    assert [entry["key"] for entry in outputs(trainer.run_dir)] == ["out/a.pt", "out/b.pt"]
    assert counted(trainer.run_dir) == [1]


def test_directories_are_outputs_too(tmp_path):
    """A pattern with a slash at its end names directories, which are archived whole, as they are at the last look."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER}, patterns=['ckpt-*/'])")
    for name in ("ckpt-1", "other"):
        (tmp_path / "out" / name / "sub").mkdir(parents=True)
        (tmp_path / "out" / name / "sub" / "w.bin").write_bytes(b"w")
    wait_until(lambda: archived(trainer) == {"out/ckpt-1"})
    (tmp_path / "out" / "ckpt-1" / "more.bin").write_bytes(b"more")
    end(trainer)
    (entry,) = outputs(trainer.run_dir)
    kept = Path(entry["archive_path"])
    assert entry["kind"] == "dir"
    files = sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())
    assert files == ["more.bin", "sub/w.bin"]
    assert not [path for path in kept.parent.iterdir() if path.name.startswith(".")]


def test_one_look_from_the_program(tmp_path):
    """scan_outputs_once() says what it has looked at, hands over what held still between two calls, and once only."""
    body = """
rules = {"output_dirs": ["out", "nowhere"], "min_age_sec": 0.0}
open("out/a.pt", "w").write("a")
open("out/b.bin", "w").write("b")
told = [run.scan_outputs_once(**rules) for _ in range(3)]
assert {each["run_id"] for each in told} == {run.id}
print([(each["scanned"], each["changed"], each["archived"]) for each in told])
print([[entry["key"] for entry in each["archived_entries"]] for each in told])
for wrong in ({"mode": "bogus"}, {"min_age_sec": -1}, {"stable_required": "x"}, {"patterns": 5}):
    try:
        run.scan_outputs_once(**{**rules, **wrong})
    except (TypeError, ValueError):
        pass
    else:
        raise AssertionError(wrong)
"""
    trainer = started(tmp_path, body)
    assert trainer.read_line() == "[(1, 1, 0), (1, 0, 1), (1, 0, 0)]"
    assert trainer.read_line() == "[[], ['out/a.pt'], []]"
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert list(by_key(trainer.run_dir)) == ["out/a.pt"]


def test_what_is_never_looked_at(tmp_path):
    """The storage itself, links to directories and loops of links are left alone, also within the outputs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "loop").symlink_to(tmp_path / "out")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("x")
    (tmp_path / "out" / "outside").symlink_to(tmp_path / "outside")
    (tmp_path / "out" / "good.txt").write_text("good")
    rules = "output_dirs=['.'], interval_sec=0.02, min_age_sec=0.0, patterns=['*.txt', '*.json', '*.jsonl']"
    trainer = started(tmp_path, f"run.watch_outputs({rules})\nrun.log_text('x')\nrun.log(i=1)")
    (tmp_path / "outside").rename(tmp_path / "outside.moved")
    wait_until(lambda: archived(trainer))
    end(trainer)
    assert set(by_key(trainer.run_dir)) == {"out/good.txt", "outside.moved/secret.txt"}


def test_a_file_that_never_holds_still(tmp_path):
    """A checkpoint that grows all the time is not archived half; at the end status.json says that it is missing."""
    body = f"""
import threading
run.watch_outputs({EAGER})
stop = threading.Event()
def grow():
    with open("out/big.pt", "ab", buffering=0) as file:
        while not stop.is_set():
            file.write(os.urandom(1 << 16))
            if file.tell() > 64 << 20:
                file.truncate(0)
thread = threading.Thread(target=grow, daemon=True)
thread.start()
while not os.path.exists("out/big.pt"):
    pass
print("grows", flush=True)
"""
    trainer = started(tmp_path, body)
    assert trainer.read_line() == "grows"
    end(trainer)
    told = status(trainer.run_dir).get("storage_errors", [])
    assert outputs(trainer.run_dir) or "big.pt" in json.dumps(told)


def test_a_full_archive(tmp_path):
    """While the archive cannot be written the program goes on; when it can again, all is archived."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "archive").write_text("in the way")
    trainer = started(tmp_path, f"run.watch_outputs({EAGER})\nrun.log(i=1)")
    (tmp_path / "out" / "a.pt").write_bytes(b"a")
    from runicorn.queue.control_page import ControlPage

    page = ControlPage.open(str(trainer.spool / "control"))
    wait_until(lambda: page.troubles)
    (tmp_path / "storage" / "archive").unlink()
    wait_until(lambda: archived(trainer) == {"out/a.pt"})
    end(trainer)
    assert counted(trainer.run_dir) == [1]
    assert "archive cannot be written" in json.dumps(status(trainer.run_dir)["storage_errors"])


@pytest.mark.parametrize("moment", ["outcome", "assets"])
def test_the_writer_is_killed_while_it_takes_what_was_archived(tmp_path, moment):
    """Whether the state of the outputs or assets.json was not written yet: every output has its entry, once."""
    for n in range(5):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / f"{n}.pt").write_bytes(bytes([n]))
    restart = {"RUNICORN_WRITER_RESTART_AFTER_S": "0.2", "RUNICORN_LOOK_INTERVAL_S": "0.05"}
    body = f"run.watch_outputs({EAGER})\nrun.log(i=1)"
    trainer = started(tmp_path, body, crash_at=f"{moment}:1:writer", **restart)
    wait_until(Path(faults.mark_of(tmp_path, trainer.spool)).exists)
    end(trainer)
    assert [entry["key"] for entry in outputs(trainer.run_dir)] == [f"out/{n}.pt" for n in range(5)]


def test_names_that_are_long_or_no_text(tmp_path):
    """A name of 255 bytes and one that is not UTF-8 are archived as the others are, by a watch and by one look."""
    (tmp_path / "out").mkdir()
    names = [b"a.txt", b"b" * 251 + b".txt", b"c\xff.txt"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path / "out"), name), "wb") as file:
            file.write(name)
    body = f"""
run.watch_outputs({EAGER})
run.log_dataset("no text", {os.fsencode(tmp_path / "out")!r} + b"/c\\xff.txt", save=True)
rules = dict(output_dirs=["out"], patterns=["*.txt"], min_age_sec=0.0, log_snapshot_interval_sec=0.0)
print(run.scan_outputs_once(**rules)["archived"])
"""
    trainer = started(tmp_path, body)
    assert trainer.read_line() == "3"
    end(trainer)
    kept = [Path(entry["archive_path"]).read_bytes() for entry in outputs(trainer.run_dir)]
    assert sorted(kept) == sorted(names)
    assert "storage_errors" not in status(trainer.run_dir)
    (entry,) = json.loads((trainer.run_dir / "assets.json").read_text())["datasets"]
    assert entry["saved"] is True


def test_a_storage_behind_a_link(tmp_path):
    """A watch does not feed on its own archive, by whichever name the storage goes."""
    (tmp_path / "out" / "real-storage").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "out" / "real-storage")
    trainer = started(tmp_path, f"run.watch_outputs({EAGER})", RUNICORN_DIR=str(tmp_path / "linked"))
    (tmp_path / "out" / "a.txt").write_text("a")
    wait_until(lambda: archived(trainer) == {"out/a.txt"})
    (tmp_path / "out" / "b.txt").write_text("b")
    wait_until(lambda: archived(trainer) == {"out/a.txt", "out/b.txt"})
    end(trainer)
    assert set(by_key(trainer.run_dir)) == {"out/a.txt", "out/b.txt"}


def test_a_version_that_comes_back(tmp_path):
    """Content that was there before and is there again is a version again: the newest entry is what the file is."""
    trainer = started(tmp_path, f"run.watch_outputs({EAGER}, mode='overwrite_versions')")
    model = tmp_path / "out" / "m.pt"
    for count, version in enumerate((b"one", b"other", b"one"), start=1):
        model.write_bytes(version)
        wait_until(lambda count=count: len(outputs_now(trainer)) == count)
    end(trainer)
    found = outputs(trainer.run_dir)
    assert [Path(entry["archive_path"]).read_bytes() for entry in found] == [b"one", b"other", b"one"]
    assert len({entry["fingerprint"] for entry in found}) == 3


def test_the_same_watch_from_several_processes(tmp_path):
    """Every rank or child may ask for the same watch: it is one, and nothing young is archived because of that."""
    rules = "output_dirs=['out'], interval_sec=0.02, min_age_sec=3600"
    body = f"""
open("out/young.pt", "w").write("half")
for _ in range(3):
    run.watch_outputs({rules})
child = os.fork()
if child == 0:
    run.watch_outputs({rules})
    run.watch_outputs(output_dirs=["elsewhere"])
    os._exit(0)
os.waitpid(child, 0)
print("asked", flush=True)
"""
    trainer = started(tmp_path, body)
    assert trainer.read_line() == "asked"
    wait_until((trainer.run_dir / ".outputs_state.json").exists)
    assert archived(trainer) == set()
    end(trainer)
    assert set(by_key(trainer.run_dir)) == {"out/young.pt"}


def test_a_directory_with_links_in_it(tmp_path):
    """An output directory with a link to nothing is archived all the same, with what its other links lead to."""
    (tmp_path / "out" / "ckpt").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "w.bin").write_bytes(b"w")
    (tmp_path / "out" / "ckpt" / "nothing").symlink_to(tmp_path / "gone")
    (tmp_path / "out" / "ckpt" / "deep").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "ckpt" / "loop").symlink_to(tmp_path / "out" / "ckpt")
    trainer = started(tmp_path, f"run.watch_outputs({EAGER}, patterns=['ckpt/'])")
    wait_until(lambda: archived(trainer) == {"out/ckpt"})
    end(trainer)
    (entry,) = outputs(trainer.run_dir)
    kept = Path(entry["archive_path"])
    assert [str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()] == ["deep/w.bin"]
