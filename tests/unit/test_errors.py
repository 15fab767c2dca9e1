"""The tree of errors: every error that a user can meet is in it, and is also the built-in kind that it was."""

from __future__ import annotations

import ast
import builtins
import functools
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import runicorn
from runicorn import errors

HOUSE = Path(runicorn.__file__).parent
TREE = [each for each in vars(errors).values() if isinstance(each, type)]
BUILT_IN = {name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, Exception)}
_CAUGHT = "a caller inside the package catches it, and tells the user"
_WRITER = "raised in the writer process, which records the failure in the run"
# A file, or a function of one: why a built-in kind is raised there.
LISTED = {
    "__init__.py:__getattr__": "Python's own protocol",
    "session/console.py:__getattr__": "Python's own protocol",
    "validation/foreign_verbs.py:__set__": "Python's own protocol",
    "validation/foreign_verbs.py:__getattr__": "Python's own protocol",
    "reading/loaded.py:__getattr__": "Python's own protocol",
    "integrations/tensorboard.py:__getattr__": "Python's own protocol",
    "lifecycle/opening.py:_create": "``init()`` makes a sentence of it",
    "host/locks.py": _CAUGHT,
    "queue/control_page.py": _CAUGHT,
    "queue/spool_repair.py": _CAUGHT,
    "queue/new_segments.py": _CAUGHT,
    "queue/spool.py:_make_in": _CAUGHT,
    "queue/spool.py:create": _CAUGHT,
    "queue/spool_address.py": _CAUGHT,
    "session/joining.py:point_to": _CAUGHT,
    "reading/lenient.py": _CAUGHT,
    "reading/part_file.py": _CAUGHT,
    "reading/plain_files.py": _CAUGHT,
    "validation/arguments.py:timeout_s": _CAUGHT,
    "validation/metrics.py": _CAUGHT,
    "settings.py:_parse": _CAUGHT,
    "capture/code_snapshot.py": _CAUGHT,
    "devices/cuda.py": _CAUGHT,
    "storage/removal.py": _CAUGHT,
    "storage/run_directory.py": _WRITER,
    "reading/curves.py": "what cannot happen",
    "sampling/gpu_probe.py": _CAUGHT,
    "viewer/inside.py": "what cannot happen",
    "viewer/sockets.py": "the operating system's own error, with its number; the command prints it",
    "viewer/address.py": "the operating system's own error, with its number; the command prints it",
    "writer": _WRITER,
}


@functools.cache
def _made_built_ins():
    """Where the sources make an exception of a built-in kind: file, function, line."""
    return list(_making_built_ins())


def _making_built_ins():
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for node in ast.walk(function):
                called = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
                if isinstance(called, ast.Name) and called.id in BUILT_IN:
                    yield name, function.name, node.lineno


def _is_listed(name, function):
    return bool({name, f"{name}:{function}", name.split("/", maxsplit=1)[0]} & LISTED.keys())


def test_every_error_that_a_user_can_meet_is_in_the_tree():
    """A built-in kind is made only where the list says why."""
    assert [f"{name}:{line}" for name, function, line in _made_built_ins() if not _is_listed(name, function)] == []


def test_the_list_of_reasons_has_nothing_that_is_not_there():
    """An entry that stands for no line is taken out."""
    found = {entry for name, function, _ in _made_built_ins() for entry in (name, f"{name}:{function}", "writer")}
    assert LISTED.keys() <= found


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_a_class_is_drawn_in_the_docstring_with_its_built_in_kind(kind):
    """The drawing names each class and the built-in kinds that it is also, below its parents."""
    (line,) = [line for line in errors.__doc__.splitlines() if line.strip("│├└─ ").split(" ")[0] == kind.__name__]
    for base in kind.__bases__:
        if base.__name__ in BUILT_IN and base is not Exception:
            assert f"also {base.__name__}" in line
    assert issubclass(kind, errors.RunicornError)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_says_its_message_and_goes_through_pickle(kind):
    """Workers send errors to their parents."""
    made = kind("It's a sentence.")
    assert str(made) == "It's a sentence."
    assert str(pickle.loads(pickle.dumps(made))) == "It's a sentence."


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (PermissionError(13, "x"), errors.ForbiddenPathError),
        (NotADirectoryError(20, "x"), errors.NoDirectoryError),
        (FileNotFoundError(2, "x"), errors.MissingPathError),
        (FileExistsError(17, "x"), errors.PathExistsError),
        (OSError(30, "x"), errors.StorageError),
    ],
)
def test_an_error_of_the_system_keeps_its_kind_number_and_path(given, kind):
    """``storage_error()`` adds a sentence and takes nothing away."""
    made = errors.storage_error(given, "A sentence.", "/a")
    assert (type(made), made.errno, made.filename, str(made)) == (kind, given.errno, "/a", "A sentence.")
    assert isinstance(made, type(given))


def test_the_front_door_gives_the_errors_when_they_are_asked_for():
    """``rn.errors`` is the module, and ``import runicorn`` does not load it."""
    code = (
        "import sys, runicorn as rn; assert 'runicorn.errors' not in sys.modules; "
        "assert rn.errors.WrongValueError; assert rn.errors is sys.modules['runicorn.errors']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_error_of_the_system_of_another_kind_stays_what_it_is():
    """There is no class of ours for it, and ``except BlockingIOError`` must go on working."""
    given = BlockingIOError(11, "x")
    assert errors.storage_error(given, "A sentence.", "/a") is given


@pytest.mark.parametrize("made", ["file", "file/below", "s3://bucket/runs", "file:///tmp/runs", "a\0b"])
def test_a_storage_that_cannot_be_made_is_told_with_what_to_write(tmp_path, monkeypatch, made):
    """The message names a storage that can be, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises((errors.StorageError, errors.WrongValueError), match=r'init\(storage="~/runicorn"\)') as raised:
        runicorn.init(storage=made)
    assert "Nothing was made." in str(raised.value)
    assert isinstance(raised.value, ValueError if "://" in made or "\0" in made else NotADirectoryError)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_storage_that_may_not_be_written_is_told_as_a_permission_error(tmp_path, monkeypatch):
    """The kind, number and path of the operating system's error stay."""

    def refuse(path, *_args, **_kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("runicorn.storage.paths.os.mkdir", refuse)
    with pytest.raises(PermissionError, match="RUNICORN_DIR") as raised:
        runicorn.init(storage=str(tmp_path / "storage"))
    assert type(raised.value) is errors.ForbiddenPathError
    assert (raised.value.errno, raised.value.filename) == (13, str(tmp_path / "storage"))
