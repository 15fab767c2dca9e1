"""Nothing that is not ours is removed, overwritten, followed or waited for: in spools, locks, cache, archive."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time

import pytest

import runicorn
from runicorn.capture.archive import Archive
from runicorn.host import locks
from runicorn.queue import opening_lock, spool
from runicorn.reading.cache import Cache
from runicorn.session import adopt, at_exit
from runicorn.settings import Settings
from runicorn.storage import directory_kinds, removal

LONG_AGO = time.time() - 100_000


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Shared memory and a temp directory of the test's own."""
    for name, variable in (("shm", "RUNICORN_SHM_DIR"), ("tmp", "TMPDIR"), ("home", "XDG_CACHE_HOME")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    return Settings.from_environment()


def canaries(directory):
    """Files in a directory that must stay; as many of them as can have names of a spool."""
    directory.mkdir(exist_ok=True)
    (directory / "thesis.tex").write_text("precious")
    (directory / "below").mkdir()
    (directory / "below" / "deep.txt").write_text("precious")
    return directory


def grow_old(directory):
    os.utime(directory, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def name_of_a_spool(digits="0123456789abcdef", suffix=""):
    return f"runicorn-{os.geteuid()}-{digits}{suffix}"


def everything(top):
    return sorted((str(path.relative_to(top)), path.is_symlink()) for path in top.rglob("*"))


def make(settings, run_dir="/nonexistent/run"):
    return spool.create(
        run_id="run", run_dir=run_dir, storage="/nonexistent", path="p", host="h", opened_at=0.0, settings=settings
    )


def plant_directory(at, _elsewhere):
    canaries(at).chmod(0o700)


def plant_open_directory(at, _elsewhere):
    canaries(at).chmod(0o755)


def plant_directory_with_names_of_a_spool(at, _elsewhere):
    canaries(at).chmod(0o700)
    for name in ("owner.lock", "plan", "control", "notes.lock", "results.seg"):
        (at / name).write_text("precious")


def plant_plan_alone(at, _elsewhere):
    at.mkdir(0o700)
    (at / "plan").write_text("precious")


def plant_empty_directory(at, _elsewhere):
    at.mkdir(0o700)


def plant_link(at, elsewhere):
    at.symlink_to(canaries(elsewhere))


def plant_link_to_a_spool_lookalike(at, elsewhere):
    elsewhere.mkdir(0o700)
    for name in ("owner.lock", "plan", "control", "address.json"):
        (elsewhere / name).write_text("precious")
    at.symlink_to(elsewhere)


def plant_file(at, _elsewhere):
    at.write_text("precious")


def plant_fifo(at, _elsewhere):
    os.mkfifo(at)


def plant_hard_link(at, elsewhere):
    elsewhere.write_text("precious")
    os.link(elsewhere, at)


NO_PLACE_FOR_LOCKS = [
    plant_open_directory,
    plant_link,
    plant_link_to_a_spool_lookalike,
    plant_file,
    plant_fifo,
    plant_hard_link,
]
PLANTS = [each for name, each in sorted(globals().items()) if name.startswith("plant_")]


@pytest.mark.parametrize("place", ["shm", "tmp"])
@pytest.mark.parametrize(
    ("plant", "suffix"),
    [
        pytest.param(plant, suffix, id=plant.__name__[6:] + suffix)
        for plant in PLANTS
        for suffix in ("", "-overflow", ".making")
        # This one is ours: what a maker leaves that died at once.
        if (plant, suffix) != (plant_empty_directory, ".making")
    ],
)
def test_what_looks_like_a_spool_and_is_none_stays(plant, place, suffix, settings, tmp_path, storage):
    """Whatever is under the exact name of a spool stays as it is, and what it leads to as well; a run goes on."""
    at = tmp_path / place / name_of_a_spool(suffix=suffix)
    plant(at, tmp_path / "elsewhere")
    grow_old(at)
    before = everything(tmp_path)

    adopt.orphans(settings, None)
    adopt.sweep(settings)
    if at.is_symlink() or not at.is_dir():
        spool.remove(str(at))

    assert everything(tmp_path) == before
    run = runicorn.init(path="p", storage=str(storage))
    run.log({"a": 1})
    run.finish()
    assert [each for each in everything(tmp_path) if not each[0].startswith("storage")] == before


@pytest.mark.parametrize(
    "name", ["paper", "0123456789abcde", "0123456789abcdefa", "0123456789ABCDEF", "0123456789abcdeg", "locks.old"]
)
def test_other_names_are_not_even_looked_at(name, settings, tmp_path):
    """A directory of the user's own whose name only begins as ours do is no spool, whatever is in it."""
    at = tmp_path / "tmp" / f"runicorn-{os.geteuid()}-{name}"
    plant_directory_with_names_of_a_spool(at, None)
    at.chmod(0o700)
    grow_old(at)
    before = everything(tmp_path)

    assert spool.find(settings) == spool.find_half_made(settings) == spool.find_overflows(settings) == []
    adopt.sweep(settings)

    assert everything(tmp_path) == before


def test_a_spool_that_goes_leaves_what_is_not_of_it(settings, tmp_path):
    """Files and directories that somebody has put into a spool stay, and so does it; what is of it goes."""
    address, lock = make(settings)
    lock.release()
    inside = tmp_path / "shm" / os.path.basename(address.spool)
    canaries(inside)
    (inside / "link").symlink_to(tmp_path)
    spool.remove(address.spool)
    assert sorted(os.listdir(inside)) == ["below", "link", "thesis.tex"]


def test_a_spool_is_whole_when_it_has_its_name(settings, tmp_path, monkeypatch):
    """Until its last file is there a spool has another name, under which nobody takes it for one."""
    seen = []
    write = spool._write

    def look(path, content):
        seen.append((spool.find(settings), len(spool.find_half_made(settings))))
        adopt.sweep(settings)
        write(path, content)

    monkeypatch.setattr(spool, "_write", look)
    address, lock = make(settings)
    assert len(seen) > 3
    assert set(map(str, seen)) == {"([], 1)"}
    assert spool.find(settings) == [address.spool]
    assert spool.find_half_made(settings) == []
    assert locks.is_held(os.path.join(address.spool, spool.OWNER_LOCK))
    lock.release()
    spool.remove(address.spool)
    assert os.listdir(tmp_path / "shm") == []


@pytest.mark.parametrize("files", [[], ["owner.lock"], ["owner.lock", "plan", "control", "address.json"]])
def test_rests_of_dead_makers_go(files, settings, tmp_path):
    """What a process has left that died while it made a spool is removed; not while its lock is held."""
    rest = tmp_path / "shm" / name_of_a_spool(suffix=".making")
    rest.mkdir(0o700)
    for name in files:
        (rest / name).touch()
    grow_old(rest)
    held = locks.Lock.take(str(rest / "owner.lock")) if files else None
    if held is not None:
        adopt.sweep(settings)
        assert sorted(os.listdir(rest)) == sorted(files)
        held.release()
    adopt.sweep(settings)
    assert os.listdir(tmp_path / "shm") == []


def test_records_without_an_address_stay(settings, tmp_path):
    """A cleaner that takes the address of a spool does not make us remove the records in it."""
    address, lock = make(settings)
    lock.release()
    inside = tmp_path / "shm" / os.path.basename(address.spool)
    (inside / "address.json").unlink()
    (inside / "1a.01234567-00000000.seg").write_bytes(b"records")
    grow_old(inside)
    adopt.sweep(settings)
    assert (inside / "1a.01234567-00000000.seg").read_bytes() == b"records"


@pytest.mark.parametrize("plant", NO_PLACE_FOR_LOCKS, ids=lambda plant: plant.__name__[6:])
def test_a_place_for_locks_that_is_taken_is_passed_over(plant, settings, tmp_path):
    """Nobody who comes first to the place of the locks can stop an init(), nor has what is there removed."""
    at = tmp_path / "shm" / f"runicorn-{os.geteuid()}-locks"
    plant(at, tmp_path / "elsewhere")
    before = everything(tmp_path)
    with opening_lock.hold(str(tmp_path / "run"), settings):
        during = [each for each in everything(tmp_path) if each not in before]
        assert next(name for name, _ in during) == f"tmp/runicorn-{os.geteuid()}-locks"
    opening_lock.sweep(settings)
    assert everything(tmp_path) == before


def test_without_any_place_for_locks_it_goes_on(settings, tmp_path):
    """Where every place for locks is taken a run is opened all the same."""
    for place in ("shm", "tmp", "home"):
        (tmp_path / place / f"runicorn-{os.geteuid()}-locks").write_text("precious")
    before = everything(tmp_path)
    with opening_lock.hold(str(tmp_path / "run"), settings):
        assert everything(tmp_path) == before


def test_what_is_among_locks_and_is_none_stays(settings, tmp_path):
    """In the place of the locks only locks go, and with the last one the place."""
    at = tmp_path / "shm" / f"runicorn-{os.geteuid()}-locks"
    canaries(at).chmod(0o700)
    (at / f"{'0' * 16}.opening").mkdir()
    (at / f"{'1' * 16}.opening").touch()
    opening_lock.sweep(settings)
    assert sorted(os.listdir(at)) == [f"{'0' * 16}.opening", "below", "thesis.tex"]


def test_the_cache_counts_and_removes_its_own_alone(tmp_path):
    """Beside the cache's folder, and in it, what the cache has not made stays, and does not count."""
    canaries(tmp_path / "scratch")
    cache = Cache(str(tmp_path / "scratch"), 1000)
    assert cache.write([bytes(900)], "columns-1", "1-2-" + "0" * 32, "0-1.part")
    own = tmp_path / "scratch" / os.path.basename(cache.path() or "")
    canaries(own)
    canaries(own / "columns-1" / ("1-2-" + "0" * 32))
    (own / "columns-2").symlink_to(canaries(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "0-1.part").write_text("precious")
    old = tmp_path / "scratch" / "columns-1"
    old.mkdir()
    (old / "0-1.part").write_bytes(bytes(5000))
    before = everything(tmp_path)

    assert Cache(str(tmp_path / "scratch"), 1000).write([bytes(900)], "columns-1", "1-2-" + "0" * 32, "1-2.part")

    kept = f"scratch/{own.name}/columns-1/1-2-{'0' * 32}/"
    assert set(before) - set(everything(tmp_path)) == {(f"{kept}0-1.part", False)}
    assert set(everything(tmp_path)) - set(before) == {(f"{kept}1-2.part", False)}
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


@pytest.mark.parametrize("plant", [plant_link, plant_file, plant_fifo], ids=lambda plant: plant.__name__[6:])
def test_a_cache_folder_that_is_taken_is_not_used(plant, tmp_path):
    """With something else in the place of its folder nothing is kept, and nothing is written through it."""
    cache = Cache(str(tmp_path))
    plant(tmp_path / os.path.basename(cache.path() or ""), tmp_path / "elsewhere")
    before = everything(tmp_path)
    assert not cache.write([b"x"], "index-1", "0" * 32 + ".msgpack")
    assert everything(tmp_path) == before


CONTENT = b"x" * 100
FOLDER = hashlib.sha256(CONTENT).hexdigest()[:2]


@pytest.mark.parametrize(
    "on_the_way", ["blobs", f"blobs/{FOLDER}", "outputs", "outputs/rolling", "outputs/rolling/run"]
)
def test_the_archive_is_not_written_through_a_link(on_the_way, tmp_path):
    """A link in the place of a directory of the archive is an error, and what it leads to is as it was."""
    elsewhere = canaries(tmp_path / "elsewhere")
    link = tmp_path / "storage" / "archive" / on_the_way
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    (tmp_path / "model.pt").write_bytes(CONTENT)
    archive = Archive(str(tmp_path / "storage"), lambda _: None, "run")
    before = everything(elsewhere)

    def store():
        stored = archive.store_file(str(tmp_path / "model.pt"))
        archive.own_file("run", "key", "model.pt", stored)

    with pytest.raises(removal.NotOursError):
        store()
    if on_the_way.startswith("outputs"):
        with pytest.raises(removal.NotOursError):
            archive.roll_file("run", "key", str(tmp_path / "model.pt"))
        with pytest.raises(removal.NotOursError):
            archive.roll_tree("run", "key", str(tmp_path), [str(tmp_path / "model.pt")])
    assert everything(elsewhere) == before


def test_the_archive_itself_may_be_a_link(tmp_path):
    """Where the archive lies is the user's choice."""
    (tmp_path / "big disk").mkdir()
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "archive").symlink_to(tmp_path / "big disk")
    (tmp_path / "model.pt").write_bytes(b"x")
    stored = Archive(str(tmp_path / "storage"), lambda _: None, "run").store_file(str(tmp_path / "model.pt"))
    assert (tmp_path / "big disk" / "blobs" / stored.sha256[:2] / stored.sha256).read_bytes() == b"x"


def test_what_a_killed_writer_was_archiving_goes_with_the_next_one_of_its_run(tmp_path):
    """Rests of the run's own writer go at once, those of others only after a day; what has another name stays."""
    blobs = tmp_path / "archive" / "blobs"
    blobs.mkdir(parents=True)
    (tmp_path / "model.pt").write_bytes(b"x")
    of_this, of_another = (Archive(str(tmp_path), lambda _: None, run)._files.temporary() for run in ("run", "other"))
    for name in (of_this, of_another, ".gitignore", ".hidden.new"):
        (blobs / name).write_text("half")
    old = f".{'0' * 12}.new"
    (blobs / old).write_text("half")
    for name in (old, ".gitignore", ".hidden.new"):
        os.utime(blobs / name, (LONG_AGO, LONG_AGO))
    Archive(str(tmp_path), lambda _: None, "run").store_file(str(tmp_path / "model.pt"))
    assert sorted(name for name in os.listdir(blobs) if name.startswith(".")) == sorted(
        [of_another, ".gitignore", ".hidden.new"]
    )


def test_a_tree_goes_and_what_it_leads_to_stays(tmp_path):
    """A directory of ours goes with all that is in it; links in it go, and what they lead to stays."""
    top = tmp_path / "runicorn-doctor-abc"
    canaries(top)
    (top / "link").symlink_to(canaries(tmp_path / "elsewhere"))
    (top / "below" / "up").symlink_to(tmp_path)
    os.mkfifo(top / "fifo")
    removal.remove_tree(str(top), directory_kinds.PROBE)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere"]
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["below", "thesis.tex"]


@pytest.mark.parametrize("name", ["thesis", "runicorn-doctor", "a/../runicorn-doctor-x", "..", "."])
def test_a_tree_of_another_name_stays(name, tmp_path):
    """Only names that we give are removed with what is in them."""
    canaries(tmp_path / "thesis")
    before = everything(tmp_path)
    with removal.Directory(str(tmp_path), directory_kinds.PROBE) as directory:
        with pytest.raises(removal.NotOursError):
            directory.remove_tree(name)
        with pytest.raises(removal.NotOursError):
            directory.remove(name)
    assert everything(tmp_path) == before


def test_a_directory_is_followed_by_what_it_is_and_not_by_its_name(tmp_path):
    """What is put into the place of an open directory is not touched."""
    place = tmp_path / "place"
    place.mkdir(0o700)
    (place / "plan").touch()
    with removal.Directory(str(place), directory_kinds.SPOOL) as directory:
        place.rename(tmp_path / "moved")
        canaries(place)
        (place / "plan").write_text("precious")
        assert directory.remove("plan")
        assert not directory.remove("plan")
    assert (place / "plan").read_text() == "precious"
    assert os.listdir(tmp_path / "moved") == []


def test_every_name_of_a_spool_is_in_the_table(storage, settings):
    """Of what a live run has in its spool no name is missing in the table: it would keep the spool for ever."""
    run = runicorn.init(path="p", storage=str(storage))
    run.log({"a": 1})
    names = os.listdir(run._session.address.spool)
    run.finish()
    assert [name for name in names if not re.fullmatch(directory_kinds.SPOOL.shape, name)] == []
    assert len(names) > 6
    assert spool.find(settings) == []


def test_a_mark_is_linked_where_a_killed_process_has_left_its_half(tmp_path):
    """The name that a process killed in between has left is taken away, and the mark has its own."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / spool.SIGTERM_MARK).touch()
    ours, theirs = (tmp_path / name / spool.SIGTERM_MARK for name in ("first", "second"))
    theirs.with_name(f"{spool.SIGTERM_MARK}.link").touch()
    assert at_exit._link(str(ours), str(theirs))
    assert theirs.samefile(ours)
    assert os.listdir(theirs.parent) == [spool.SIGTERM_MARK]


@pytest.mark.parametrize(("name", "known"), [("a.seg", True), ("plan", True), ("a.txt", False), ("", False)])
def test_a_kind_allows_further_names_beside_its_shape(name, known):
    """Names of either pattern are ours, and an empty name is none."""
    assert directory_kinds.NAMED_IN_SPOOL.allows(name) is known
