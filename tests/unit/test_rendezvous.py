"""The meeting point of a job's ranks: whoever comes first says which run it is, and everybody reads the same."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from runicorn.queue import rendezvous


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch):
    """A file system, and one that has no hard links, as exFAT or an object store's."""
    if request.param == "no links":

        def link(*_args, **_options):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)


def in_threads(count, work):
    """What each of several threads that begin at once has to say."""
    barrier, told = threading.Barrier(count), []
    threads = [threading.Thread(target=lambda: (barrier.wait(), told.append(work()))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == count
    return told


@pytest.mark.usefixtures("file_system")
def test_all_that_come_at_once_find_one_run(tmp_path):
    """Of eight that meet at once each gets the same id, at every meeting; another call, path or job has another."""
    met = set()
    for nth in range(1, 21):
        found = in_threads(8, lambda nth=nth: rendezvous.run_id_of(str(tmp_path), "cv", "job", nth))
        assert len(set(found)) == 1
        met.add(found[0])
    met.add(rendezvous.run_id_of(str(tmp_path), "nlp", "job", 1))
    met.add(rendezvous.run_id_of(str(tmp_path), "cv", "another job", 1))
    assert len(met) == 22


@pytest.mark.usefixtures("file_system")
def test_what_is_published_stays(tmp_path):
    """A file is published once: the second one who tries is told, and changes nothing."""
    path = str(tmp_path / "word")
    assert rendezvous.read(path) is None
    assert rendezvous.publish(path, "first")
    assert not rendezvous.publish(path, "second")
    assert rendezvous.read(path) == "first"
    assert os.listdir(tmp_path) == ["word"]


def test_a_publisher_that_died_half_way(tmp_path, monkeypatch):
    """A meeting point that stays empty holds nobody up for more than a moment: the next ones meet there."""
    monkeypatch.setattr(rendezvous, "_BEING_WRITTEN_S", 0.05)
    rendezvous.run_id_of(str(tmp_path), "cv", "job", 1)
    (meeting_point,) = (tmp_path / rendezvous.FOLDER).iterdir()
    meeting_point.write_text("")
    found = in_threads(8, lambda: rendezvous.run_id_of(str(tmp_path), "cv", "job", 1))
    assert len(set(found)) == 1
    assert found[0]
