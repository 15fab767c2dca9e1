"""Building the accelerator: which library is taken, and that no trouble with it stands in the way of the package."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from runicorn.queue import accelerator

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "src"))
from hatchling.builders.wheel import WheelBuilder  # noqa: E402 - as above

import build_accelerator  # noqa: E402 - it lies beside the package

C_SOURCE = CHECKOUT / build_accelerator.SOURCE
needs_compiler = pytest.mark.skipif(accelerator.push_metrics is None, reason="this installation has no compiler")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources without a library, under a path with a blank; no part of a repository."""
    root = tmp_path / "a checkout"
    without = shutil.ignore_patterns("__pycache__", "*.so", "static")
    shutil.copytree(CHECKOUT / "src", root / "src", ignore=without)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, root)
    return root


def library_of(root):
    return root / "src/runicorn/queue/_accelerator.abi3.so"


def is_taken(root):
    """Whether a fresh interpreter takes the library of a checkout."""
    asked = "from runicorn.queue import accelerator; print(accelerator.__file__, accelerator.push_metrics is not None)"
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "RUNICORN_ACCELERATOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    where, _, answer = done.stdout.strip().rpartition(" ")
    assert where.startswith(str(root))
    return answer == "True"


def build(root, version="standard"):
    """Build a wheel with the hook, as an installation does; its path."""
    out = root / "out"
    return Path(next(WheelBuilder(str(root)).build(directory=str(out), versions=[version])))


COUNTS = """
import sys
import _accelerator

CONSTANTS, CALLS = (None, True, False), 1000
data = {"loss": 0.5, "epoch": 1, "best": None, "is_last": True}
before = [sys.getrefcount(constant) for constant in CONSTANTS]
for _ in range(CALLS):
    assert _accelerator.push_metrics(1.0, 1, data, None, len, bytes(1), 0.0, 2.0) is None
    assert _accelerator.push_metrics(1.0, 1, data, None, len, bytes([1]), 0.0, 2.0) is True
    assert _accelerator.push_metrics(1.0, 1, {"loss": ()}, None, len, bytes(1), 0.0, 2.0) is False
changes = [sys.getrefcount(constant) - count for constant, count in zip(CONSTANTS, before)]
assert all(abs(change) < CALLS / 10 for change in changes), changes
"""


def headers():
    """A directory with headers for each installed version of CPython."""
    places = [*Path("/usr/include").glob("python3.*"), *Path.home().glob(".pyenv/versions/3.*/include/python3.*")]
    places.append(Path(sysconfig.get_path("include")))
    names = {f"python3.{minor}" for minor in range(10, 20)}
    return {place.name: place for place in places if place.name in names and (place / "Python.h").exists()}


def build_and_count(directory, include, *options):
    """Build the library with given headers; its calls do not change the reference counts of the constants."""
    command = [*shlex.split(os.environ.get("CC", "cc")), "-shared", "-fPIC", f"-I{include}", *options, str(C_SOURCE)]
    macros = ["-DPy_LIMITED_API=0x030A0000", "-DSOURCE=1UL"]
    subprocess.run([*command, *macros, "-o", str(directory / "_accelerator.abi3.so")], check=True, timeout=60)
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    subprocess.run([sys.executable, "-c", COUNTS], env=environment, check=True, timeout=60)


@needs_compiler
@pytest.mark.parametrize("version", sorted(headers()))
def test_no_build_takes_or_keeps_a_reference_to_a_constant(tmp_path, version):
    """A build with any version's headers keeps the counts, because 3.10 also loads a build of later headers."""
    build_and_count(tmp_path, headers()[version])


@needs_compiler
def test_no_build_with_the_macros_of_later_headers_takes_or_keeps_one(tmp_path):
    """A build with this version's headers and the macros of 3.12 keeps the counts too."""
    later = tmp_path / "later.h"
    constants = {"NONE": "None", "TRUE": "True", "FALSE": "False"}
    macros = [f"#undef Py_RETURN_{name}\n#define Py_RETURN_{name} return Py_{it}" for name, it in constants.items()]
    later.write_text("\n".join(["#include <Python.h>", *macros, ""]), "utf-8")
    build_and_count(tmp_path, sysconfig.get_path("include"), "-include", later)


def test_the_checksum_is_that_of_the_c_text():
    """Who changes the one writes the other: else nobody gets the accelerator."""
    assert f"{accelerator.SOURCE:#x}" == f"{build_accelerator.checksum(C_SOURCE):#x}"


@needs_compiler
def test_a_library_of_another_text_is_left_alone(checkout):
    """It was built from an older checkout, or a newer one: it may take other arguments, or push other bytes."""
    build(checkout, "editable")
    assert is_taken(checkout)
    source = checkout / build_accelerator.SOURCE
    source.write_text(source.read_text("utf-8") + "/* older */\n", "utf-8")
    build(checkout, "editable")
    assert not is_taken(checkout)


@needs_compiler
def test_a_library_from_before_there_was_a_checksum_is_left_alone(checkout):
    """It has no word of its text."""
    source = checkout / build_accelerator.SOURCE
    source.write_text(source.read_text("utf-8").replace('{"source", source,', '{"other", source,'), "utf-8")
    build(checkout, "editable")
    assert library_of(checkout).exists()
    assert not is_taken(checkout)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no library at all\n" * 1000], ids=["empty", "head", "text"])
def test_a_damaged_library_is_left_alone(checkout, content):
    """The package is pure Python then."""
    library_of(checkout).write_bytes(content)
    assert not is_taken(checkout)


def test_a_place_that_cannot_be_written_builds_a_pure_package(checkout):
    """An editable installation of a checkout that is read-only, here by a directory in the library's place."""
    (library_of(checkout) / "in the way").mkdir(parents=True)
    assert build(checkout, "editable").exists()
    assert [path.name for path in library_of(checkout).parent.iterdir() if "accelerator.abi3" in path.name] == [
        library_of(checkout).name
    ]


@needs_compiler
def test_a_wheel_has_the_library_that_was_built_for_it(checkout):
    """Not one that lay in the sources; and it is listed."""
    library_of(checkout).write_bytes(b"another")
    wheel = build(checkout)
    assert "-cp310-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as files:
        assert files.read("runicorn/queue/_accelerator.abi3.so").startswith(b"\x7fELF")
        (record,) = (name for name in files.namelist() if name.endswith(".dist-info/RECORD"))
        assert files.read(record).decode().count("_accelerator.abi3.so,sha256=") == 1
        assert not [name for name in files.namelist() if name.endswith(".c")]


@pytest.mark.parametrize(
    "hindrance", [("HATCH_BUILD_NO_HOOKS", "true"), ("CC", "/no/such/compiler")], ids=lambda it: it[0]
)
def test_without_hook_or_compiler_the_wheel_is_pure(checkout, monkeypatch, hindrance):
    """It runs everywhere; a library that lies in the sources does not get into it."""
    monkeypatch.setenv(*hindrance)
    library_of(checkout).write_bytes(b"another")
    wheel = build(checkout)
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as files:
        assert not [name for name in files.namelist() if "_accelerator.abi3" in name]


@needs_compiler
def test_two_builds_of_one_checkout_leave_a_whole_library(checkout):
    """Two interpreters that install the same checkout at the same time."""
    command = [
        sys.executable,
        "-c",
        f"import {__name__} as here, pathlib; here.build(pathlib.Path({str(checkout)!r}), 'editable')",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    builds = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [each.wait(120) for each in builds] == [0, 0]
    assert is_taken(checkout)
