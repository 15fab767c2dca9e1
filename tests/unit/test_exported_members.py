"""The public API: names, signatures and defaults. A change here is a change for every user."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import runicorn
from runicorn.validation.foreign_verbs import FOREIGN

EMPTY = inspect.Parameter.empty
ARGUMENT, KEYWORD, REST = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)
ARCHIVE_LIMITS = [
    ("force_save", KEYWORD, False),
    ("max_archive_bytes", KEYWORD, 5368709120),
    ("max_archive_files", KEYWORD, 2000000),
]
SCAN_RULES = [
    ("patterns", KEYWORD, None),
    ("stable_required", KEYWORD, 2),
    ("min_age_sec", KEYWORD, 1.0),
    ("mode", KEYWORD, "rolling"),
    ("log_snapshot_interval_sec", KEYWORD, 60.0),
    ("state_gc_after_sec", KEYWORD, 604800),
]


def test_the_package_exports_these_names():
    """Names come and go on purpose only."""
    assert sorted(runicorn.__all__) == [
        "NoOpRun",
        "Run",
        "__version__",
        "enabled",
        "errors",
        "get_active_run",
        "init",
        "is_enabled",
        "load",
        "reset_enabled",
        "runs",
        "set_enabled",
        "show",
        "slug",
    ]


def test_every_exported_name_is_there():
    """Each can be had, by attribute and by ``dir()``."""
    for name in runicorn.__all__:
        assert getattr(runicorn, name) is not None
    assert set(runicorn.__all__) <= set(dir(runicorn))
    assert len(set(runicorn.__all__)) == len(runicorn.__all__)


def test_another_name_is_an_attribute_error():
    """A name that is not there says so, by name."""
    with pytest.raises(AttributeError, match="nonsense"):
        runicorn.nonsense  # noqa: B018 - asking is the point


def test_a_star_import_gives_the_same_names():
    """``from runicorn import *`` gives ``__all__`` and nothing else."""
    names = {}
    exec("from runicorn import *", names)
    assert names.keys() - {"__builtins__"} == set(runicorn.__all__)


def test_importing_loads_nothing_of_ours():
    """``import runicorn`` alone loads no module beside itself that a bare interpreter had not."""
    source = """
import sys
before = set(sys.modules)
import runicorn
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("encodings")))
"""
    path = str(Path(runicorn.__file__).parents[1])
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{source}"],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=100,
    ).stdout.split()
    assert [name for name in loaded if name.startswith(("runicorn", "msgspec", "psutil"))] == ["runicorn"]


def test_a_run_has_these_public_members():
    """What a run can do and be asked; what is new is added on purpose."""
    assert sorted(name for name in set(dir(runicorn.Run)) - FOREIGN.keys() if not name.startswith("_")) == [
        "finish",
        "flush",
        "get_logging_handler",
        "is_finished",
        "log",
        "log_config",
        "log_dataset",
        "log_image",
        "log_pretrained",
        "log_text",
        "media_dir",
        "run_dir",
        "runs_dir",
        "scan_outputs_once",
        "set_labels",
        "set_primary_metric",
        "stop_outputs_watch",
        "storage_root",
        "summary",
        "watch_outputs",
        "workspace_root",
    ]


def test_an_open_run_has_these_attributes(open_run):
    """What an object has beside what its class has."""
    assert sorted(name for name in vars(open_run()) if not name.startswith("_")) == [
        "alias",
        "global_step",
        "id",
        "path",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "init",
            [
                ("path", ARGUMENT, None),
                ("storage", ARGUMENT, None),
                ("run_id", ARGUMENT, None),
                ("alias", ARGUMENT, None),
                ("capture_env", ARGUMENT, False),
                ("snapshot_code", ARGUMENT, False),
                ("workspace_root", ARGUMENT, None),
                ("snapshot_format", ARGUMENT, "zip"),
                ("force_snapshot", ARGUMENT, False),
                ("capture_console", ARGUMENT, False),
                ("tqdm_mode", ARGUMENT, "smart"),
            ],
        ),
        ("get_active_run", []),
        ("is_enabled", []),
        ("reset_enabled", []),
        ("set_enabled", [("enabled", ARGUMENT, EMPTY)]),
        ("enabled", [("enabled", ARGUMENT, EMPTY)]),
        (
            "Run.log",
            [
                ("data", ARGUMENT, None),
                ("more", inspect.Parameter.VAR_POSITIONAL, EMPTY),
                ("step", KEYWORD, None),
                ("stage", KEYWORD, None),
                ("wall_time", KEYWORD, None),
                ("kwargs", REST, EMPTY),
            ],
        ),
        ("Run.log_text", [("text", ARGUMENT, EMPTY)]),
        ("Run.summary", [("update", ARGUMENT, EMPTY)]),
        ("Run.set_primary_metric", [("metric_name", ARGUMENT, EMPTY), ("mode", ARGUMENT, "max")]),
        ("Run.finish", [("status", ARGUMENT, "finished"), ("reason", ARGUMENT, None)]),
        ("Run.get_logging_handler", [("level", ARGUMENT, 20), ("fmt", ARGUMENT, None)]),
        (
            "Run.log_config",
            [
                ("given", inspect.Parameter.POSITIONAL_ONLY, None),
                ("args", KEYWORD, None),
                ("extra", KEYWORD, None),
                ("config_files", KEYWORD, None),
                ("merge", KEYWORD, False),
            ],
        ),
        (
            "Run.log_image",
            [
                ("key", ARGUMENT, EMPTY),
                ("image", ARGUMENT, EMPTY),
                ("step", ARGUMENT, None),
                ("caption", ARGUMENT, None),
                ("format", ARGUMENT, "png"),
                ("quality", ARGUMENT, 90),
            ],
        ),
        (
            "Run.log_dataset",
            [
                ("name", ARGUMENT, EMPTY),
                ("root_or_uri", ARGUMENT, EMPTY),
                ("context", KEYWORD, "train"),
                ("save", KEYWORD, False),
                ("description", KEYWORD, None),
                *ARCHIVE_LIMITS,
            ],
        ),
        (
            "Run.log_pretrained",
            [
                ("name", ARGUMENT, EMPTY),
                ("path_or_uri", KEYWORD, None),
                ("save", KEYWORD, False),
                ("source_type", KEYWORD, "unknown"),
                ("description", KEYWORD, None),
                *ARCHIVE_LIMITS,
            ],
        ),
        ("Run.scan_outputs_once", [("output_dirs", KEYWORD, EMPTY), *SCAN_RULES]),
        ("Run.watch_outputs", [("output_dirs", KEYWORD, EMPTY), ("interval_sec", KEYWORD, 10.0), *SCAN_RULES]),
        ("Run.stop_outputs_watch", []),
    ],
)
def test_a_signature_is_that_of_0_7_2(name, expected):
    """Names, order, kinds and defaults of the arguments are those that users know."""
    found = runicorn
    for part in name.split("."):
        found = getattr(found, part)
    parameters = [each for each in inspect.signature(found).parameters.values() if each.name != "self"]
    assert [(each.name, each.kind, each.default) for each in parameters] == expected


def test_every_exported_callable_is_documented():
    """Each has a docstring, and so has each public member of a run."""
    for name in set(runicorn.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(runicorn, name)), name
    for name in dir(runicorn.Run):
        if not name.startswith("_"):
            assert inspect.getdoc(getattr(runicorn.Run, name)), name
