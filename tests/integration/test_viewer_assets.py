"""Console, images and assets, as the viewer of the published Runicorn 0.7.2 shows them.

That viewer takes equal fingerprints for one asset, and locks its database up over the second. So the runs of these
tests are trials of one experiment: all use the same code, data, models and outputs, and none of these changes.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from PIL import Image
from published_viewer import Viewer, open_viewer
from support import holds_within, settled

import runicorn as rn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(240)

TRIALS = 3
LIST_TIMEOUT_S = 60
STORE_TIMEOUT_S = 60
PROGRAM_TIMEOUT_S = 90
CONNECTIONS = 10
"""Those of the viewer to its database, which it uses in turn."""

FROM_OUTSIDE = ("RUNICORN_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_")
CONSOLE_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (.*)")
TEXT_LINE = re.compile(r"\d\d:\d\d:\d\d \| (.*)")
COMPLAINT = re.compile(r"WARNING|ERROR|CRITICAL|Traceback|locked")

FILES = {
    ".gitignore": b"/data/\n/outputs/\n",
    ".env": b"API_KEY=1234\n",
    "train.py": b"print('training')\n",
    "pkg/__init__.py": b"",
    "pkg/模型 #1.py": "NAME = '模型'\n".encode(),
    "data/labels.csv": b"file,label\na.bin,1\n",
    "data/images/a.bin": bytes(range(256)) * 100,
    "data/images/子 目录/b #1, 100%.bin": b"second" * 1000,
    "data/images/twin.bin": b"second" * 1000,
    "data/backbone.pt": b"weights" * 5000,
    "data/tokenizer/vocab.json": b"{}",
    "data/tokenizer/merges.txt": b"a b\n",
    "outputs/best.pth": b"best" * 3000,
    "outputs/train.log": b"epoch 1\nepoch 2\n",
    "outputs/export/model.onnx": b"onnx" * 1000,
    "outputs/export/sub/model.json": b"[1]",
    "outputs/epoch.ckpt": b"checkpoint" * 1000,
    "outputs/saved/weights.bin": b"w" * 1000,
    "outputs/saved/optimizer.bin": b"o" * 1000,
}
"""What is in the workspace."""

CODE = {name: FILES[name] for name in (".gitignore", "train.py", "pkg/__init__.py", "pkg/模型 #1.py")}
ARCHIVED = {
    ("datasets", "images"): "data/images",
    ("datasets", "labels"): "data/labels.csv",
    ("pretrained", "backbone"): "data/backbone.pt",
    ("pretrained", "tokenizer"): "data/tokenizer",
    ("outputs", "best.pth"): "outputs/best.pth",
    ("outputs", "train.log"): "outputs/train.log",
    ("outputs", "export"): "outputs/export",
    ("outputs", "epoch.ckpt"): "outputs/epoch.ckpt",
    ("outputs", "saved"): "outputs/saved",
}
NOT_ARCHIVED = {
    ("datasets", "images in place"),
    ("datasets", "labels in place"),
    ("datasets", "remote"),
    ("pretrained", "on a hub"),
}
CONFIG = {"args": {"lr": 0.001, "name": "名"}, "extra": {"note": "same in each trial"}, "config_files": ["a.yaml"]}
COUNT = len(ARCHIVED) + len(NOT_ARCHIVED) + 2  # and the code and the configuration

RUN_PROGRAM = r"""
import json, sys
import numpy as np
from PIL import Image
import runicorn as rn

storage, workspace, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
picture = open(f"{workspace}/../picture.png", "rb").read()
run = rn.init(
    "cv/trials", storage, alias=f"trial {number}", workspace_root=workspace, snapshot_code=True, capture_console=True,
    capture_env=number == 1,
)
run.set_primary_metric("acc", "max")
run.log_config(args={"lr": 0.001, "name": "名"}, extra={"note": "same in each trial"}, config_files=["a.yaml"])
data, outputs = f"{workspace}/data", f"{workspace}/outputs"
run.log_dataset("images", f"{data}/images", save=True, description="d")
run.log_dataset("labels", f"{data}/labels.csv", save=True, context="eval")
run.log_dataset("images in place", f"{data}/images")
run.log_dataset("labels in place", f"{data}/labels.csv")
run.log_dataset("remote", "s3://bucket/x//y")
run.log_pretrained("backbone", path_or_uri=f"{data}/backbone.pt", save=True, source_type="local")
run.log_pretrained("tokenizer", path_or_uri=f"{data}/tokenizer", save=True)
run.log_pretrained("on a hub", path_or_uri="org/model", source_type="hf")

print(f"trial {number} begins")
print("\x1b[31mred\x1b[0m, 中文", file=sys.stderr)
for percent in (10, 50, 100):
    print(f"\r{percent:3}%", end="")
print()
print()
run.log_text("a note")
for step in (1, 2, 3):
    run.log(loss=1 / step, acc=number / step, stage=f"epoch_{step}")
    run.log_image("sample", Image.new("RGB", (4, 3), (step, number, 200)), caption=f"step {step}")
    print(f"step {step} of trial {number}")
run.log_image("val/pred mask", np.full((5, 6), number, np.uint8), step=20, format="webp")
run.log_image("多语言 预览/第 1 张", picture, step=7)
run.log_image("../up #1, 100%.png", f"{workspace}/../picture.png", step=7)
run.log_image("photo", Image.new("RGB", (4, 3)), format="jpg")

now = {"output_dirs": [outputs], "stable_required": 1, "min_age_sec": 0}
run.scan_outputs_once(patterns=["*.pth", "*.log", "export/"], **now)
run.scan_outputs_once(patterns=["*.ckpt", "saved/"], mode="overwrite_versions", **now)
run.summary({"trial": number, "note": "完成"})
run.finish("failed" if number == 2 else "finished")
print(json.dumps({"id": run.id, "run_dir": str(run.run_dir)}))
"""

IMAGES = [
    (1, "sample"),
    (2, "sample"),
    (3, "sample"),
    (20, "val/pred mask"),
    (7, "多语言 预览/第 1 张"),
    (7, "../up #1, 100%.png"),
    (3, "photo"),
]


@dataclass
class Trial:
    """A run that one process has written, from its `init` to its end."""

    number: int
    id: str
    run_dir: Path

    @property
    def status(self) -> str:
        """How it has ended."""
        return "failed" if self.number == 2 else "finished"

    @property
    def lines(self) -> list[str]:
        """What the logs tab has to show of it."""
        return [
            f"trial {self.number} begins",
            "\x1b[31mred\x1b[0m, 中文",
            "100%",
            "a note",
            *(f"step {step} of trial {self.number}" for step in (1, 2, 3)),
        ]


@dataclass
class Place:
    """A storage and a workspace, with the means to write runs and to look at them; all ends with the stack."""

    folder: Path
    viewer_python: Path
    stack: ExitStack
    viewers: int = 0

    @property
    def storage(self) -> Path:
        """A folder whose name would not survive as a part of an address or a pattern."""
        return self.folder / "my storage #1, 100%41"

    def make_workspace(self) -> Path:
        """Write the files that all runs use."""
        workspace = self.folder / "work space"
        for name, content in FILES.items():
            path = workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (self.folder / "picture.png").write_bytes(picture())
        return workspace

    def write_trials(self, count: int) -> list[Trial]:
        """Run the trials all at once, each in a process of its own, to their ends."""
        workspace = self.make_workspace()
        program = self.folder / "program.py"
        program.write_text(RUN_PROGRAM, encoding="utf-8")
        environment = {name: os.environ[name] for name in os.environ if not name.startswith(FROM_OUTSIDE)}
        environment |= {name: os.environ[name] for name in ("RUNICORN_SHM_DIR",) if name in os.environ}
        environment |= {"PYTHONPATH": str(Path(rn.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
        started = [
            subprocess.Popen(
                [sys.executable, str(program), str(self.storage), str(workspace), str(number)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=environment,
                cwd=self.folder,
            )
            for number in range(1, count + 1)
        ]
        trials = []
        try:
            for number, process in enumerate(started, start=1):
                out, errors = process.communicate(timeout=PROGRAM_TIMEOUT_S)
                assert process.returncode == 0, errors
                told = json.loads(out.splitlines()[-1])
                trials.append(Trial(number, told["id"], Path(told["run_dir"])))
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.communicate()
        return trials

    def begin(self, path: str) -> rn.Run:
        """Begin a run in this process."""
        run = rn.init(path, str(self.storage))
        assert isinstance(run, rn.Run)
        self.stack.callback(run.finish)
        return run

    def write_small_run(self) -> str:
        """Write a run without assets; its id."""
        run = self.begin("small")
        run.log(loss=1.0)
        run.finish()
        return run.id

    def open_viewer(self, stack: ExitStack | None = None) -> Viewer:
        """Start the published viewer over the storage."""
        self.viewers += 1
        home = self.folder / f"home {self.viewers}"
        return (stack or self.stack).enter_context(open_viewer(self.viewer_python, self.storage, home))

    def open_viewer_that_has_a_row(self, stack: ExitStack | None = None) -> Viewer:
        """Start a viewer with a run in its database: from then on it lists rows, not folders."""
        small = self.write_small_run()
        viewer = self.open_viewer(stack)

        def runs_in_database() -> Any:
            return viewer.get("/paths?include_stats=true")["stats"]["small"]["total"]

        assert settled(runs_in_database, 1, LIST_TIMEOUT_S) == 1
        assert small in viewer.runs()
        return viewer


@dataclass
class Scene:
    """A viewer over a storage with trials, and which of these it listed."""

    viewer: Viewer
    trials: list[Trial]
    listed: set[str]

    def by_id(self, fact: Callable[[Trial], Any]) -> dict[str, Any]:
        """Return one fact about each trial, by its id."""
        return {trial.id: fact(trial) for trial in self.trials}

    def cells(self, *names: str) -> dict[str, Any]:
        """Return some cells of the list, of the trials alone."""
        column = self.viewer.column(*names)
        return {trial.id: column.get(trial.id) for trial in self.trials}

    def assets(self, trial: Trial) -> Any:
        """Return what the assets tab of a trial is filled with."""
        return self.viewer.get(f"/runs/{trial.id}")["assets"]

    def download(self, trial: Trial, path: str) -> bytes:
        """Return a file of a trial, as the viewer hands it out."""
        return self.viewer.read(f"/runs/{trial.id}/assets/download?path={quote(path)}")


@pytest.fixture(scope="module", params=["viewer started last", "viewer started first", "viewer started again"])
def scene(
    request: pytest.FixtureRequest, viewer_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        for name in os.environ:
            if name.startswith(FROM_OUTSIDE) and name != "RUNICORN_SHM_DIR":
                environment.delenv(name)
        place = Place(tmp_path_factory.mktemp("scene"), viewer_python, stack)
        if request.param == "viewer started last":
            trials = place.write_trials(TRIALS)
            viewer = place.open_viewer()
        elif request.param == "viewer started first":
            viewer = place.open_viewer_that_has_a_row()
            trials = place.write_trials(TRIALS)
        else:
            with ExitStack() as first:
                place.open_viewer_that_has_a_row(first)
                trials = place.write_trials(TRIALS)
            viewer = place.open_viewer()
        ids = {trial.id for trial in trials}
        listed = settled(lambda: ids & set(viewer.runs()), ids, LIST_TIMEOUT_S)
        yield Scene(viewer, trials, listed)


def test_every_run_is_listed(scene: Scene) -> None:
    """Runs with the same code, data, models, outputs and configuration are all listed, and no lock was waited for."""
    assert scene.listed == {trial.id for trial in scene.trials}
    assert "locked" not in scene.viewer.output()


def test_the_list_is_the_same_over_every_connection(scene: Scene) -> None:
    """Each of the viewer's connections to its database reads all of the runs: none is stuck in an old transaction."""
    expected = scene.by_id(lambda trial: (trial.status, f"trial {trial.number}", "cv/trials"))

    assert settled(lambda: scene.cells("status", "alias", "path"), expected) == expected
    for _ in range(CONNECTIONS):
        assert scene.cells("status", "alias", "path") == expected


def test_the_viewer_can_still_write_to_its_database(scene: Scene) -> None:
    """Tags that are given in the viewer are in its list: nobody holds a write lock."""
    for trial in scene.trials:
        answer = scene.viewer.send("PATCH", f"/runs/{trial.id}", {"tags": [f"tag {trial.number}"]})
        assert answer["ok"] is True

    expected = scene.by_id(lambda trial: [f"tag {trial.number}"])
    for _ in range(CONNECTIONS):
        assert scene.cells("tags") == expected


def test_best_metric_and_summary_are_shown(scene: Scene) -> None:
    """The best metric is in the list, and the whole summary with it on the page of each run."""
    expected = scene.by_id(lambda trial: ("acc", trial.number))

    assert settled(lambda: scene.cells("best_metric_name", "best_metric_value"), expected) == expected
    for trial in scene.trials:
        page = scene.viewer.get(f"/runs/{trial.id}")
        best = {"name": "acc", "value": trial.number, "step": 1, "mode": "max"}
        page["summary"].pop("runicorn")  # what tracking it has cost
        assert page["summary"] == {
            "trial": trial.number,
            "note": "完成",
            **{f"best_metric_{name}": value for name, value in best.items()},
        }
        assert page["status"] == trial.status


def test_curves_are_shown_beside_images(scene: Scene) -> None:
    """Image events do not disturb the charts: three rows, with stages."""
    for trial in scene.trials:
        rows = scene.viewer.get(f"/runs/{trial.id}/metrics_step")["rows"]
        assert [(row["global_step"], row["acc"], row["stage"]) for row in rows] == [
            (step, trial.number / step, f"epoch_{step}") for step in (1, 2, 3)
        ]


def test_every_printed_line_is_in_the_logs_tab(scene: Scene) -> None:
    """Lines of both streams and of `log_text` are there in their order; of a progress bar its last state."""
    for trial in scene.trials:
        with scene.viewer.log_tab(trial.id) as tab:
            lines = tab.receive(len(trial.lines))
        assert [text_of(line) for line in lines] == trial.lines
        assert [bool(TEXT_LINE.fullmatch(line)) for line in lines] == [text == "a note" for text in trial.lines]
        stored = (trial.run_dir / "logs.txt").read_text(encoding="utf-8").split("\n")
        assert [line for line in stored if line] == lines


def test_every_image_is_in_the_images_tab(scene: Scene) -> None:
    """Each image is listed with its step and its key as it was given, in the order of the calls."""
    for trial in scene.trials:
        answer = scene.viewer.get(f"/runs/{trial.id}/images")
        assert answer["run_id"] == trial.id
        assert [(image["step"], image["key"]) for image in answer["images"]] == IMAGES


def test_every_image_can_be_downloaded(scene: Scene) -> None:
    """A downloaded image is the file in the run's folder for media, whatever its key, and shows what was logged."""
    for trial in scene.trials:
        images = scene.viewer.get(f"/runs/{trial.id}/images")["images"]
        bodies = [scene.download(trial, image["path"]) for image in images]
        for image, body in zip(images, bodies, strict=True):
            path = Path(image["path"])
            assert path.parent == trial.run_dir / "media"
            assert body == path.read_bytes()
        pictures = [Image.open(io.BytesIO(body)) for body in bodies]
        assert [(each.format, each.size) for each in pictures] == [
            *[("PNG", (4, 3))] * 3,
            ("WEBP", (6, 5)),
            *[("PNG", (7, 5))] * 2,
            ("JPEG", (4, 3)),
        ]
        assert [each.getpixel((0, 0)) for each in pictures[:3]] == [(step, trial.number, 200) for step in (1, 2, 3)]
        assert bodies[4] == bodies[5] == picture()


def test_the_assets_tab_shows_what_was_recorded(scene: Scene) -> None:
    """Code, configuration, datasets, models and outputs are there, each once, saved or not as the program said."""
    for trial in scene.trials:
        assets = scene.assets(trial)
        assert assets == scene.viewer.get(f"/runs/{trial.id}/assets")["assets"]
        assert {name: assets["config"][name] for name in CONFIG} == CONFIG
        saved = {
            (section, entry["name"]): entry["saved"]
            for section in ("datasets", "pretrained", "outputs")
            for entry in assets[section]
        }
        assert saved == {**dict.fromkeys(ARCHIVED, True), **dict.fromkeys(NOT_ARCHIVED, False)}
        assert sum(len(assets[section]) for section in ("datasets", "pretrained", "outputs")) == len(saved)
        assert assets["code"]["snapshot"]["saved"] is True
        by_name = {entry["name"]: entry for entry in assets["datasets"]}
        assert (by_name["images"]["context"], by_name["images"]["description"]) == ("train", "d")
        assert by_name["labels"]["context"] == "eval"
        assert by_name["remote"]["uri"] == "s3://bucket/x//y"


def test_the_code_can_be_downloaded(scene: Scene) -> None:
    """The downloaded code is a zip of the workspace without what git ignores, and without secrets."""
    for trial in scene.trials:
        snapshot = scene.assets(trial)["code"]["snapshot"]
        body = scene.download(trial, snapshot["archive_path"])
        assert unzipped(body) == CODE
        assert body == scene.download(trial, str(trial.run_dir / "code_snapshot.zip"))


def test_everything_archived_can_be_downloaded(scene: Scene) -> None:
    """A file comes as its bytes, a directory as a zip of its files, for each run that has archived it."""
    for trial in scene.trials:
        assets = scene.assets(trial)
        paths = {
            (section, entry["name"]): entry["archive_path"]
            for section in ("datasets", "pretrained", "outputs")
            for entry in assets[section]
            if "archive_path" in entry
        }
        assert set(paths) == set(ARCHIVED)
        for thing, archive_path in paths.items():
            assert downloaded(scene.download(trial, archive_path), ARCHIVED[thing]) == original(ARCHIVED[thing]), thing


def test_the_environment_is_shown(scene: Scene) -> None:
    """The viewer answers the environment in the files of the run that has captured it, and none of the others."""
    first, *others = scene.trials
    answer = scene.viewer.get(f"/environment/{first.id}")
    assert answer["available"] is True
    environment = answer["environment"]
    assert environment == json.loads((first.run_dir / "environment.json").read_text(encoding="utf-8"))
    assert environment["python_version"].startswith(".".join(map(str, sys.version_info[:3])))
    assert any(package.lower().startswith("msgspec==") for package in environment["pip_packages"])
    for trial in others:
        assert scene.viewer.get(f"/environment/{trial.id}") == {"available": False}


def test_the_page_of_a_run_counts_its_assets(scene: Scene) -> None:
    """The page of a run and its assets tab count all that the program has recorded."""
    for trial in scene.trials:
        assert scene.viewer.get(f"/runs/{trial.id}")["assets_count"] == COUNT
        assert scene.viewer.get(f"/runs/{trial.id}/assets")["assets_count"] == COUNT


def test_the_list_counts_the_assets(scene: Scene) -> None:
    """The list counts as many assets of each run as its page does."""
    expected = scene.by_id(lambda _: COUNT)

    assert settled(lambda: scene.cells("assets_count"), expected, LIST_TIMEOUT_S) == expected


def test_the_viewer_has_nothing_to_complain_about(scene: Scene) -> None:
    """Reading all of these runs makes the viewer neither warn nor fail, nor wait for its database."""
    for trial in scene.trials:
        for page in ("", "/metrics_step", "/images", "/assets", "/assets/refs"):
            scene.viewer.get(f"/runs/{trial.id}{page}")

    complaints = [line for line in scene.viewer.output().splitlines() if COMPLAINT.search(line)]
    assert complaints == []


@pytest.fixture
def place(viewer_python: Path, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, viewer_python, stack)


PRINTING = r"""
import sys
import runicorn as rn

run = rn.init("live", sys.argv[2], capture_console=True)
print(run.id, flush=True)
while (line := sys.stdin.readline()) != "end\n":
    exec(line)
run.finish()
"""


def test_lines_of_a_live_run_appear_while_it_is_live(place: Place, start_program: Callable[..., Any]) -> None:
    """What a program prints arrives in an open logs tab while it runs, each line once; of a bar its last state."""
    viewer = place.open_viewer_that_has_a_row()
    program = start_program(PRINTING, place.storage, stdin=subprocess.PIPE)
    run_id = program.stdout.readline().strip()
    logs = place.storage / "runs" / "live" / run_id / "logs.txt"

    def do(statement: str) -> None:
        program.stdin.write(statement + "\n")
        program.stdin.flush()

    assert holds_within(lambda: logs.exists() and logs.stat().st_size > 0, STORE_TIMEOUT_S)
    with viewer.log_tab(run_id) as tab:
        assert text_of(*tab.receive(1)) == run_id
        for text in ("first", "第二"):
            do(f"print({text!r})")
            assert text_of(*tab.receive(1)) == text
        do("print('half a line', end='')")
        do("print(', and the rest')")
        assert text_of(*tab.receive(1)) == "half a line, and the rest"
        for percent in (0, 50, 100):
            do(f"print('\\r{percent} %', end='', file=sys.stderr, flush=True)")
        do("print('\\nafter the bar', file=sys.stderr)")
        assert list(map(text_of, tab.receive(2))) == ["100 %", "after the bar"]
        assert program.poll() is None
        assert settled(lambda: viewer.column("status").get(run_id), "running", LIST_TIMEOUT_S) == "running"
        do("print('no end', end='')")
        do("end")
        assert text_of(*tab.receive(1)) == "no end"
    assert program.wait(PROGRAM_TIMEOUT_S) == 0
    assert settled(lambda: viewer.column("status").get(run_id), "finished", LIST_TIMEOUT_S) == "finished"


def test_images_and_assets_of_a_live_run_appear_while_it_is_live(place: Place) -> None:
    """An open viewer shows an image and an archived dataset of a run that goes on."""
    viewer = place.open_viewer_that_has_a_row()
    workspace = place.make_workspace()
    run = place.begin("live")

    def images() -> Any:
        return [(image["step"], image["key"]) for image in viewer.get(f"/runs/{run.id}/images")["images"]]

    def datasets() -> Any:
        return [entry["name"] for entry in viewer.get(f"/runs/{run.id}/assets")["assets"]["datasets"]]

    run.log(loss=1.0)
    run.log_image("a/b", Image.new("L", (2, 2)))
    assert settled(images, [(1, "a/b")], STORE_TIMEOUT_S) == [(1, "a/b")]
    run.log_dataset("images", workspace / "data/images", save=True)
    assert settled(datasets, ["images"], STORE_TIMEOUT_S) == ["images"]
    run.log_image("a/b", Image.new("L", (2, 2)), step=5)
    assert settled(images, [(1, "a/b"), (5, "a/b")], STORE_TIMEOUT_S) == [(1, "a/b"), (5, "a/b")]
    assert viewer.column("status")[run.id] == "running"


def test_datasets_that_dicts_describe_leave_the_list_as_it_is(place: Place) -> None:
    """Datasets given as dicts, not as paths, stop no connection of the viewer from seeing what comes later."""
    expected = {write_run_on_a_dict(place) for _ in range(2)}
    viewer = place.open_viewer()
    assert settled(lambda: set(viewer.runs()), expected, LIST_TIMEOUT_S) == expected
    for _ in range(CONNECTIONS):
        assert set(viewer.runs()) == expected

    late = place.begin("late")
    expected.add(late.id)
    assert settled(lambda: set(viewer.runs()), expected, LIST_TIMEOUT_S) == expected
    for _ in range(CONNECTIONS):
        assert set(viewer.runs()) == expected


def test_datasets_that_dicts_describe_are_counted(place: Place) -> None:
    """A dataset given as a dict is an asset in the list as on the page of its run."""
    expected = {write_run_on_a_dict(place): 1 for _ in range(2)}
    viewer = place.open_viewer()

    assert {run_id: viewer.get(f"/runs/{run_id}")["assets_count"] for run_id in expected} == expected
    assert settled(lambda: viewer.column("assets_count"), expected, LIST_TIMEOUT_S) == expected


def test_deleting_a_run_leaves_what_others_have_archived(place: Place) -> None:
    """When the viewer deletes one of two runs for good, the other's code, data, models and outputs are still there."""
    deleted, kept = place.write_trials(2)
    viewer = place.open_viewer()
    ids = {deleted.id, kept.id}
    assert settled(lambda: set(viewer.runs()), ids, LIST_TIMEOUT_S) == ids
    counts = {deleted.id: COUNT, kept.id: COUNT}
    assert settled(lambda: viewer.column("assets_count"), counts, LIST_TIMEOUT_S) == counts

    viewer.send("POST", "/runs/soft-delete", {"run_ids": [deleted.id]})
    answer = viewer.send("POST", "/runs/permanent-delete", {"run_ids": [deleted.id]})

    assert answer["deleted_count"] == 1
    scene = Scene(viewer, [kept], {kept.id})
    assets = scene.assets(kept)
    paths = {"code": assets["code"]["snapshot"]["archive_path"]}
    for section, name in ARCHIVED:
        (paths[name],) = (entry["archive_path"] for entry in assets[section] if entry["name"] == name)
    gone = [name for name, path in paths.items() if not Path(path).exists()]
    assert gone == []
    for (_, name), source in ARCHIVED.items():
        assert downloaded(scene.download(kept, paths[name]), source) == original(source), name


def write_run_on_a_dict(place: Place) -> str:
    run = place.begin("synthetic")
    run.log_dataset("numbers", {"kind": "synthetic", "count": 3})
    run.finish()
    return run.id


def text_of(line: str) -> str:
    """Return a line of the logs tab without the date and time that it has to begin with."""
    match = CONSOLE_LINE.fullmatch(line) or TEXT_LINE.fullmatch(line)
    assert match, line
    return match[1]


def picture() -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    Image.new("RGB", (7, 5), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


def original(name: str) -> bytes | dict[str, bytes]:
    """Return a file of the workspace, or all those of a directory by their path in it."""
    if name in FILES:
        return FILES[name]
    return {path[len(name) + 1 :]: content for path, content in FILES.items() if path.startswith(f"{name}/")}


def downloaded(body: bytes, name: str) -> bytes | dict[str, bytes]:
    """Return what was downloaded for a file, or for a directory, in the form of `original`."""
    return body if name in FILES else unzipped(body)


def unzipped(body: bytes) -> dict[str, bytes]:
    """Return the files of a zip by their names."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        return {name: archive.read(name) for name in archive.namelist()}
