"""The README's code blocks, run as they stand there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support import without_waiting

import runicorn as rn
from runicorn.cli import main
from runicorn.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def blocks_of(page, language):
    """The code blocks of a page in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for name, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL) if name == language]


README = (ROOT / "README.md").read_text(encoding="utf-8")
USE, READ = blocks_of("README.md", "python")
INSTALL, COMMANDS, TEST = (text.strip() for text in blocks_of("README.md", "sh"))
(READ_MORE,) = blocks_of("docs/files.md", "python")


def test_every_block_is_known():
    """The README has two python blocks and three shell blocks, so each of them is run by one of these tests."""
    assert README.count("```") == 2 * (2 + 3)


def test_the_readme_is_a_page():
    """The README has at most 120 lines: what is longer is a page of the documentation."""
    assert len(README.splitlines()) <= 120


def run_scripts(directory, *sources):
    """Run them one after the other in a directory, which is then where ./.runicorn is."""
    environment = {name: value for name, value in os.environ.items() if name != "RUNICORN_DIR"}
    for number, source in enumerate(sources):
        script = directory / f"script{number}.py"
        script.write_text(source)
        subprocess.run([sys.executable, str(script)], cwd=directory, env=environment, check=True, timeout=100)


def test_usage_then_reading(tmp_path):
    """The usage example makes a run in ./.runicorn, and the block about reading reads every record of it."""
    check = "\nassert (len(frame), len(loss.value), frame['val_acc'].notna().sum()) == (300, 300, 300), frame\n"
    check += "assert newest[0].best_metric_value == 1 - 1 / 300, newest\n"
    run_scripts(tmp_path, USE, READ + check)


def test_the_first_example_then_reading(tmp_path):
    """The first example makes a run in ./.runicorn, and the block about reading files reads every record of it."""
    check = "\nassert (len(frame), len(loss.value), frame['val_acc'].notna().sum()) == (300, 300, 3), frame\n"
    run_scripts(tmp_path, (ROOT / "docs/examples/first_run.py").read_text(encoding="utf-8"), READ_MORE + check)


PROJECT = """
import argparse, os, pathlib
import numpy as np
import runicorn as rn

for directory in ("checkpoints", "imagenet"):
    os.mkdir(directory)
for file in ("labels.csv", "imagenet/1.jpg", "checkpoints/last.pt"):
    pathlib.Path(file).write_text(file)
image = np.zeros((8, 8, 3), np.uint8)
args, cfg = argparse.Namespace(lr=0.1), {"data": {"size": 8}}
loss = norm = np.float32(1)
"""
CHECK = """
run.finish()
import json
assets = json.loads((run.run_dir / "assets.json").read_text())
print([len(assets[section]) for section in ("datasets", "pretrained", "outputs")], len(list(run.media_dir.iterdir())))
"""


@pytest.mark.parametrize(("blocks", "expected"), [(slice(0, 1), "[1, 0, 1] 1"), (slice(1, None), "[3, 1, 1] 1")])
def test_what_is_around_the_numbers(tmp_path, blocks, expected):
    """The blocks about console, images, data and outputs run one after the other, and record what they say."""
    found = blocks_of("docs/around-the-numbers.md", "python")[blocks]
    script = tmp_path / "script.py"
    script.write_text(PROJECT + "".join(found).replace("/data/imagenet", "imagenet") + CHECK)
    environment = {**os.environ, "RUNICORN_DIR": str(tmp_path / "storage"), "RUNICORN_STRICT": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == expected
    assert without_waiting(done.stderr) == ""


def test_command_line(tmp_path, monkeypatch, capsys):
    """Every command that is shown first does what it says for two runs that have ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "storage"))
    for seed in (42, 43):
        with rn.init(path="cv", alias=f"seed-{seed}") as run:
            for step in range(1, 6):
                run.log({"train_loss": 1 / step})
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(ROOT / "tests/importing/samples/tensorboard/restart", tmp_path / "old" / "imported")
    for line in [*COMMANDS.splitlines(), *blocks_of("docs/command-line.md", "sh")[0].splitlines()]:
        command, *arguments = map(os.path.expanduser, shlex.split(line, comments=True))
        assert command == "runicorn"
        assert main(arguments) == 0, line
    assert "Nothing to recover" in capsys.readouterr().out
    assert (tmp_path / "run.parquet").is_file()
    assert sorted(info.alias for info in rn.runs()) == ["best", "hello", "imported", "seed-43"]


@pytest.mark.timeout(300)
def test_install_and_demo(tmp_path):
    """The first command installs into a new environment and runs the demo, in a copy of this checkout; for a second."""
    checkout = tmp_path / "checkout"
    ignore = shutil.ignore_patterns(".venv", ".git", ".runicorn", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, checkout, ignore=ignore)
    command = ["/bin/sh", "-c", f"{INSTALL} --seconds 1"]
    environment = {**os.environ, "PIP_NO_COMPILE": "1"}  # what is not imported needs no bytecode
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (status,) = (checkout / ".runicorn").glob("runs/**/status.json")
    assert msgspec.json.decode(status.read_bytes())["status"] == "finished"
    assert str(status.parent) in done.stdout


def test_test_command_is_what_ci_runs():
    """The second command is marked for the CI script, which runs it as it stands."""
    assert f"<!-- test command -->\n```sh\n{TEST}\n```" in README
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_settings_table():
    """The settings page has the variable of every setting, with its default."""
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    numbers = page[page.index("## Numbers") : page.index("## The viewer")]
    rows = dict(re.findall(r"^\| `RUNICORN_(\w+)` \| (.+?) \| .+ \|$", numbers, re.MULTILINE))
    shown = {name.lower(): eval(text) for name, text in rows.items()}
    assert shown == {field.name: field.default for field in msgspec.structs.fields(Settings)}


def test_settings_page_has_every_variable():
    """Every variable of ours that the code names is on the settings page; those of the 0.7.2 viewer are its own."""
    theirs = ("REMOTE_", "CORS_", "SSH_", "FRONTEND", "DESKTOP", "DISABLE_MODERN_STORAGE", "IDLE_TIMEOUT", "LOG_FILE")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = {name for name in re.findall(r"RUNICORN_([A-Z_]+)", sources) if not name.startswith(theirs)}
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert sorted(name for name in named if f"`RUNICORN_{name}`" not in page) == []
