"""What the SDK stores, looked at through the viewer of the published Runicorn 0.7.2."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from diary import Diary, open_diary
from published_viewer import Viewer, open_viewer
from support import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

LIST_TIMEOUT_S = 60
SETTINGS_OF_THE_USER = ("RUNICORN_ON", "RUNICORN_STRICT", "RUNICORN_RANK_MODE", "MASTER_ADDR")
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d \| (.*)")
COMPLAINT = re.compile(r"WARNING|ERROR|CRITICAL|Traceback")
EDITABLE_ID = re.compile(r"[0-9]{8}_[0-9]{6}_[a-f0-9]{6}")


@dataclass
class Place:
    """A storage, with the means to write runs to it and to look at it; all ends with the stack."""

    folder: Path
    viewer_python: Path
    stack: ExitStack

    @property
    def storage(self) -> Path:
        """A folder whose name would not survive as a part of an address or a pattern."""
        return self.folder / "my storage #1, 100%41"

    def begin(self, path: str, alias: str | None = None) -> Diary:
        """Begin a run of the SDK in the storage."""
        return self.stack.enter_context(open_diary(self.storage, path, alias))

    def open_viewer(self) -> Viewer:
        """Start the published viewer over the storage."""
        home = self.folder / "home"
        return self.stack.enter_context(open_viewer(self.viewer_python, self.storage, home))

    def open_viewer_that_has_a_row(self) -> tuple[Viewer, Diary]:
        """Start a viewer with one run in its database: from then on it lists rows, not folders.

        The counts of the path tree tell, because they come from the database alone.
        """
        small = write_small_run(self)
        viewer = self.open_viewer()

        def runs_in_database() -> Any:
            return viewer.get("/paths?include_stats=true")["stats"][small.path]["total"]

        assert settled(runs_in_database, 1, LIST_TIMEOUT_S) == 1
        return viewer, small


def write_finished_run(place: Place) -> Diary:
    diary = place.begin("cv/resnet/baseline", alias="seed-42")
    diary.set_primary_metric("val_acc", "max")
    for step in range(1, 2001):
        diary.log(
            {"loss": 1 / step, "batch_size": 32, "resumed": False},
            stage="warmup" if step <= 500 else f"epoch_{step // 500}",
        )
    for step, accuracy in ((500, 0.5), (1000, 0.875), (1500, 0.875), (2000, 0.25)):
        diary.log({"val_acc": accuracy, "Größe": "groß"}, step=step)
    diary.log({"loss": float("nan"), "gain": float("inf")}, step=2500)
    diary.log({"loss": -0.5, "gain": float("-inf"), "lr": None})
    diary.log({"loss": -7.25}, step=-3)
    diary.log_text("first line\nsecond line, after which one is blank\n\n多语言 ✓")
    for number in range(300):
        diary.log_text(f"line {number}")
    diary.log_text("x" * 70_000)
    diary.add_to_summary({"note": "baseline", "nested": {"a": [1, 2.5, None]}, "kept": 1})
    diary.add_to_summary({"note": "完成"})
    diary.finish()
    return diary


def write_failed_run(place: Place) -> Diary:
    diary = place.begin("nlp/bert")
    diary.set_primary_metric("loss", "min")
    for loss in (float("nan"), 3.0, float("-inf"), 1.5, 2.0):
        diary.log({"loss": loss})
    diary.log_text("about to fail")
    diary.add_to_summary({"epochs": 5})
    with pytest.raises(ZeroDivisionError), diary.run:
        raise ZeroDivisionError
    diary.status = "failed"
    return diary


def write_interrupted_run(place: Place) -> Diary:
    diary = place.begin("/", alias="at the root")
    diary.log({"reward": 10}, step=10)
    diary.log({"reward": 11})
    diary.log_text("stopped by hand")
    diary.finish("interrupted")
    return diary


def write_running_run(place: Place) -> Diary:
    diary = place.begin("nlp/bert", alias="still going")
    for step in range(100):
        diary.log({"loss": 0.5 * step}, stage="train")
    diary.log_text("going on")
    diary.wait_until_stored()
    return diary


def write_small_run(place: Place) -> Diary:
    diary = place.begin("cv/resnet/baseline")
    diary.log({"loss": 4.0})
    diary.log_text("a small run")
    diary.finish()
    return diary


@dataclass
class Scene:
    """A viewer over a storage with runs that ended in every way, and one that goes on."""

    viewer: Viewer
    storage: Path
    small: Diary
    finished: Diary
    failed: Diary
    interrupted: Diary
    running: Diary
    root_is_shown_as: str

    @property
    def diaries(self) -> list[Diary]:
        """Every run in the storage, oldest first."""
        return [self.small, self.finished, self.failed, self.interrupted, self.running]

    def by_id(self, fact: Callable[[Diary], Any]) -> dict[str, Any]:
        """Return one fact about each run, by its id."""
        return {diary.id: fact(diary) for diary in self.diaries}

    def shown_path(self, diary: Diary) -> str:
        """Return the path under which the viewer has to list a run."""
        return diary.path or self.root_is_shown_as


@pytest.fixture(scope="module", params=["viewer started last", "viewer started first"])
def scene(
    request: pytest.FixtureRequest, viewer_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        for name in SETTINGS_OF_THE_USER:
            environment.delenv(name, raising=False)
        place = Place(tmp_path_factory.mktemp("scene"), viewer_python, stack)
        if request.param == "viewer started first":
            viewer, small = place.open_viewer_that_has_a_row()
        else:
            small = write_small_run(place)
        finished = write_finished_run(place)
        failed = write_failed_run(place)
        interrupted = write_interrupted_run(place)
        running = write_running_run(place)
        if request.param == "viewer started last":
            viewer = place.open_viewer()
        yield Scene(
            viewer=viewer,
            storage=place.storage,
            small=small,
            finished=finished,
            failed=failed,
            interrupted=interrupted,
            running=running,
            root_is_shown_as="default" if request.param == "viewer started last" else "",
        )


def test_the_viewer_is_the_published_one_and_reads_this_storage(scene: Scene) -> None:
    """The viewer under these tests is 0.7.2, works on its database, and shows our storage."""
    health = scene.viewer.get("/health")

    assert health["version"] == "0.7.2"
    assert health["storage_backend"]["mode"] == "sqlite"
    assert health["storage"] == str(scene.storage)


def test_every_run_is_listed_with_its_status(scene: Scene) -> None:
    """The list holds each run once, and no other, with the status in which it ended."""
    expected = scene.by_id(lambda diary: diary.status)

    assert settled(lambda: scene.viewer.column("status"), expected) == expected


def test_every_run_is_listed_with_its_path_alias_and_process(scene: Scene) -> None:
    """The list tells where each run is filed, how its user calls it, and which process it was."""
    expected = scene.by_id(lambda diary: (scene.shown_path(diary), diary.alias, os.getpid()))

    assert settled(lambda: scene.viewer.column("path", "alias", "pid"), expected) == expected


def test_every_run_is_listed_at_the_time_of_its_beginning(scene: Scene) -> None:
    """The list is sorted by the moment of `init`, newest first."""
    expected = [diary.id for diary in reversed(scene.diaries)]

    assert settled(lambda: list(scene.viewer.runs()), expected) == expected
    created = scene.viewer.column("created_time")
    for diary in scene.diaries:
        earliest, latest = diary.begun_between
        assert earliest <= created[diary.id] <= latest


def test_the_list_shows_the_best_metric(scene: Scene) -> None:
    """The list shows the best finite value of the primary metric, and none where none was set."""
    expected = scene.by_id(lambda diary: diary.best[:2] if diary.best else (None, None))

    def best_metrics() -> dict[str, tuple[str | None, float | None]]:
        return scene.viewer.column("best_metric_name", "best_metric_value")

    assert settled(best_metrics, expected) == expected
    assert expected[scene.finished.id] == ("val_acc", 0.875)
    assert expected[scene.failed.id] == ("loss", 1.5)


def test_the_path_tree_counts_the_runs(scene: Scene) -> None:
    """Each path and its ancestors count the runs below them by status."""
    expected = {
        "cv": {"total": 2, "running": 0, "finished": 2, "failed": 0},
        "cv/resnet": {"total": 2, "running": 0, "finished": 2, "failed": 0},
        "cv/resnet/baseline": {"total": 2, "running": 0, "finished": 2, "failed": 0},
        "nlp": {"total": 2, "running": 1, "finished": 0, "failed": 1},
        "nlp/bert": {"total": 2, "running": 1, "finished": 0, "failed": 1},
    }

    def counts() -> dict[str, dict[str, int]]:
        stats = scene.viewer.get("/paths?include_stats=true")["stats"]
        return {path: stats.get(path) for path in expected}

    assert settled(counts, expected) == expected


def test_the_detail_page_shows_status_path_alias_and_times(scene: Scene) -> None:
    """The page of a run agrees with the list, and knows when the run began and how long it took."""

    def detail(diary: Diary) -> tuple[Any, ...]:
        page = scene.viewer.get(f"/runs/{diary.id}")
        return page["status"], page["path"], page["alias"], page["pid"]

    for diary in scene.diaries:
        expected = (diary.status, scene.shown_path(diary), diary.alias, os.getpid())
        assert settled(partial(detail, diary), expected) == expected
        page = scene.viewer.get(f"/runs/{diary.id}")
        earliest, latest = diary.begun_between
        assert earliest <= page["start_time"] <= latest
        assert 0 < page["duration"] <= time.time() - earliest


def test_the_detail_page_shows_the_summary(scene: Scene) -> None:
    """Every summary field is on the page of the run, the best metric with its step and mode."""
    shown = scene.by_id(lambda diary: scene.viewer.get(f"/runs/{diary.id}")["summary"])
    for summary in shown.values():
        summary.pop("runicorn", None)  # what tracking a run that has ended has cost

    assert shown == scene.by_id(lambda diary: diary.final_summary)
    assert shown[scene.finished.id]["best_metric_step"] == 1000


def test_every_metric_point_is_in_the_charts(scene: Scene) -> None:
    """Each value of each step is there, with its stage, and nothing that was not logged."""
    for diary in scene.diaries:
        columns, rows = diary.table
        answer = scene.viewer.get(f"/runs/{diary.id}/metrics_step")
        times = [row.pop("time") for row in answer["rows"]]

        assert set(answer["columns"]) == {*columns, "time"}
        assert answer["rows"] == rows
        assert answer["total"] == len(rows)
        for step, moment in zip(sorted(diary.rows), times, strict=True):
            earliest, latest = diary.logged_between[step]
            assert earliest <= moment <= latest


def test_values_that_are_not_finite_are_gaps_in_the_charts(scene: Scene) -> None:
    """NaN and the infinities leave a gap at their step, and the values beside them stay."""
    rows = scene.viewer.get(f"/runs/{scene.finished.id}/metrics_step")["rows"]
    by_step = {row["global_step"]: (row["loss"], row["gain"]) for row in rows}

    assert by_step[2500] == (None, None)
    assert by_step[2501] == (-0.5, None)


def test_values_keep_their_kind_in_the_charts(scene: Scene) -> None:
    """An integer, a boolean, a string and a null are shown as such, not as some other number."""
    rows = scene.viewer.get(f"/runs/{scene.finished.id}/metrics_step")["rows"]
    by_step = {row["global_step"]: row for row in rows}

    assert repr(by_step[1]["batch_size"]) == "32"
    assert by_step[1]["resumed"] is False
    assert by_step[500]["Größe"] == "groß"
    assert by_step[2501]["lr"] is None


def test_stages_mark_the_rows_where_they_were_given(scene: Scene) -> None:
    """The stage changes at the steps at which the program changed it."""
    rows = scene.viewer.get(f"/runs/{scene.finished.id}/metrics_step")["rows"]
    stages = {row["global_step"]: row["stage"] for row in rows}

    assert [stages[step] for step in (1, 500, 501, 999, 1000, 2000)] == [
        *("warmup", "warmup", "epoch_1", "epoch_1", "epoch_2", "epoch_4"),
    ]
    assert stages[2501] is None


def test_every_log_line_is_in_the_logs_tab(scene: Scene) -> None:
    """The logs tab shows the lines of each run in their order, each with its time of day."""
    for diary in scene.diaries:
        with scene.viewer.log_tab(diary.id) as tab:
            assert texts_of(tab.receive(len(diary.lines))) == diary.lines


def test_the_log_file_can_be_downloaded(scene: Scene) -> None:
    """The downloaded log holds the same lines, and not one more."""
    for diary in scene.diaries:
        logs = scene.viewer.get(f"/runs/{diary.id}")["logs"]
        body = scene.viewer.read(f"/runs/{diary.id}/assets/download?path={quote(logs)}")

        assert body.endswith(b"\n")
        lines = [line for line in body.decode("utf-8").split("\n") if line]
        assert texts_of(lines) == diary.lines


def test_run_ids_are_such_that_the_viewer_can_edit_the_runs(scene: Scene) -> None:
    """Ids that we generate have the form without which the viewer refuses to rename or delete."""
    assert [diary.id for diary in scene.diaries if not EDITABLE_ID.fullmatch(diary.id)] == []


def test_the_viewer_has_nothing_to_complain_about(scene: Scene) -> None:
    """Reading all that we wrote makes the viewer neither warn nor fail."""
    for diary in scene.diaries:
        for page in ("", "/metrics_step", "/images", "/assets"):
            scene.viewer.get(f"/runs/{diary.id}{page}")

    complaints = [line for line in scene.viewer.output().splitlines() if COMPLAINT.search(line)]
    assert complaints == []


@pytest.fixture
def place(viewer_python: Path, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, viewer_python, stack)


def test_an_open_viewer_follows_a_run_from_its_beginning_to_its_end(place: Place) -> None:
    """A viewer that was there first lists a run at its `init`, its best metric, and its end."""
    viewer, small = place.open_viewer_that_has_a_row()
    diary = place.begin("cv/new", alias="late")

    def shown() -> Any:
        names = ("path", "alias", "status", "best_metric_name", "best_metric_value")
        return viewer.column(*names).get(diary.id)

    expected: tuple[Any, ...] = ("cv/new", "late", "running", None, None)
    assert settled(shown, expected, LIST_TIMEOUT_S) == expected

    diary.set_primary_metric("acc", "max")
    diary.log({"acc": 0.5})
    expected = ("cv/new", "late", "running", "acc", 0.5)
    assert settled(shown, expected, LIST_TIMEOUT_S) == expected

    diary.log({"acc": 0.75})
    diary.finish()
    expected = ("cv/new", "late", "finished", "acc", 0.75)
    assert settled(shown, expected, LIST_TIMEOUT_S) == expected
    assert set(viewer.runs()) == {small.id, diary.id}


def test_an_open_logs_tab_receives_new_lines(place: Place) -> None:
    """A line that is logged while the logs tab of the run is open arrives there."""
    diary = place.begin("cv/new")
    diary.log_text("before")
    diary.wait_until_stored()
    viewer = place.open_viewer()
    with viewer.log_tab(diary.id) as tab:
        assert texts_of(tab.receive(1)) == ["before"]
        for text in ("meanwhile", "and after that"):
            diary.log_text(text)
            assert texts_of(tab.receive(1)) == [text]


def test_a_run_that_was_going_on_when_the_viewer_started_grows_and_ends_there(place: Place) -> None:
    """A viewer that found a run going on shows what was logged later, and the end of the run."""
    diary = write_running_run(place)
    viewer = place.open_viewer()
    expected = {diary.id: "running"}
    assert settled(lambda: viewer.column("status"), expected, LIST_TIMEOUT_S) == expected
    rows_before = viewer.get(f"/runs/{diary.id}/metrics_step")["total"]
    assert rows_before == len(diary.rows)

    diary.log({"loss": 0.125, "late": 1})
    diary.finish("failed")

    expected = {diary.id: "failed"}
    assert settled(lambda: viewer.column("status"), expected, LIST_TIMEOUT_S) == expected
    answer = viewer.get(f"/runs/{diary.id}/metrics_step")
    assert answer["total"] == rows_before + 1
    assert (answer["rows"][-1]["loss"], answer["rows"][-1]["late"]) == (0.125, 1)


def texts_of(lines: list[str]) -> list[str]:
    """Return the log lines without the time of day that each has to begin with."""
    matches = [LOG_LINE.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [match[1] for match in matches if match]
