"""Sentences of messages: a number and its noun agree, and a type is named as one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import runicorn
from runicorn.storage.wording import counted

SOURCES = sorted(Path(runicorn.__file__).parent.rglob("*.py"))
TYPE_AS_NOUN = re.compile(r"\bis (?:not )?an? \{[^}]*(?:__name__|kind)")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1000, "1,000 runs"), (-1, "-1 runs")]
)
def test_a_number_and_its_noun(number, said):
    """One of a thing is named in the singular."""
    assert counted(number, "run") == said


def test_a_noun_with_a_plural_of_its_own():
    """A plural that is no ``s`` can be given."""
    assert [counted(number, "directory", "directories") for number in (1, 2)] == ["1 directory", "2 directories"]


def test_no_message_says_is_a_int():
    """No message has a type's name behind an article."""
    assert [(source.name, found) for source in SOURCES for found in TYPE_AS_NOUN.findall(source.read_text())] == []


def test_a_list_of_one_element(open_run, caplog):
    """A refused list of one element is told of in the singular."""
    run = open_run()
    run.log(a=[[1]], b=2)
    run.finish()
    assert "is of type list, with 1 element." in caplog.text


def test_a_storage_of_one_run(open_run):
    """A search that finds nothing names the runs that there are."""
    run = open_run()
    run.finish()
    with pytest.raises(LookupError, match=rf"Newest runs: {run.id} "):
        runicorn.load("zzz", storage=run.storage_root)
