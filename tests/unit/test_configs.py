"""What ``log_config()`` makes of a configuration: every library's objects, at any depth, and whatever is in them."""

from __future__ import annotations

import argparse
import collections
import configparser
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import itertools
import json
import re
import sys
import threading
import types
import uuid
from pathlib import Path
from typing import NamedTuple

import attrs
import ml_collections
import numpy as np
import pandas as pd
import pydantic
import pytest
from absl import flags
from omegaconf import OmegaConf
from support import content, warnings_in

from runicorn.validation import configs
from runicorn.validation.configs import config_dict


@dataclasses.dataclass(slots=True)
class Slotted:
    """A dataclass without ``__dict__``, with what is no field."""

    lr: float = 0.1
    inner: object = None
    given: dataclasses.InitVar[int] = 3


@attrs.define
class Attrs:
    """A class of attrs, which has slots."""

    lr: float = 0.1


class Named(NamedTuple):
    """A tuple with names."""

    lr: float = 0.1


class Model(pydantic.BaseModel):
    """A model of pydantic."""

    model_config = pydantic.ConfigDict(extra="allow")
    lr: float = 0.1


class Plain:
    """A class of the user's own, with a method."""

    def __init__(self):
        self.lr = 0.1
        self._private = 1

    def check(self):
        """Be a method."""


class WithSlots:
    """A class with slots, one of them never set."""

    __slots__ = ("lr", "unset")

    def __init__(self):
        self.lr = 0.1


class OnlyKeys:
    """No ``Mapping``, but an object with ``keys()``."""

    def keys(self):
        return ["lr"]

    def __getitem__(self, key):
        return {"lr": 0.1}[key]


class Colour(enum.Enum):
    """An enum."""

    RED = "red"


def parser():
    """A configuration file with an interpolation of what is missing."""
    made = configparser.ConfigParser()
    made.read_string("[train]\nlr = 0.1\nbad = %(nowhere)s")
    return made


def absl_flags():
    """Flags that have not been parsed."""
    values = flags.FlagValues()
    flags.DEFINE_float("lr", 0.1, "", flag_values=values)
    return values


def references():
    """A configuration of ml_collections with a value that is worked out when it is read."""
    made = ml_collections.ConfigDict({"lr": 0.1})
    made.twice = made.get_ref("lr") * 2
    return made


OBJECTS = {
    "omegaconf": (lambda: OmegaConf.create({"lr": 0.1, "n": {"a": [1, "${lr}"]}}), {"lr": 0.1, "n": {"a": [1, 0.1]}}),
    "dataclass": (lambda: Slotted(inner=Slotted(given=1), given=2), {"lr": 0.1, "inner": {"lr": 0.1, "inner": None}}),
    "attrs": (Attrs, {"lr": 0.1}),
    "named tuple": (Named, {"lr": 0.1}),
    "pydantic": (lambda: Model(more=2), {"lr": 0.1, "more": 2}),
    "namespace": (lambda: argparse.Namespace(lr=0.1, n=argparse.Namespace(a=1)), {"lr": 0.1, "n": {"a": 1}}),
    "simple namespace": (lambda: types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    "own class": (Plain, {"lr": 0.1}),
    "own slots": (WithSlots, {"lr": 0.1}),
    "keys()": (OnlyKeys, {"lr": 0.1}),
    "ml_collections": (references, {"lr": 0.1, "twice": 0.2}),
    "frozen": (lambda: ml_collections.FrozenConfigDict({"lr": 0.1}), {"lr": 0.1}),
    "absl": (absl_flags, {"lr": 0.1}),
    "configparser": (parser, {"DEFAULT": {}, "train": {"lr": "0.1", "bad": "%(nowhere)s"}}),
    "chain": (lambda: collections.ChainMap({"lr": 0.1}), {"lr": 0.1}),
    "proxy": (lambda: types.MappingProxyType({"lr": 0.1}), {"lr": 0.1}),
    "user dict": (lambda: collections.UserDict(lr=0.1), {"lr": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "stored"), OBJECTS.values(), ids=OBJECTS)
def test_an_object_with_fields_is_a_dict_at_any_depth(make, stored):
    """As the argument itself, in a dict, and in a list."""
    assert config_dict("args", make()) == stored
    assert config_dict("args", {"cfg": make(), "list": [make()]}) == {"cfg": stored, "list": [stored]}


def test_a_model_of_pydantic_1_is_a_dict():
    """It declares its fields elsewhere, and asking the class of pydantic 2 for them would warn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plain, "__fields__", {"lr": None}, raising=False)
        assert config_dict("args", {"cfg": Plain()}) == {"cfg": {"lr": 0.1}}


def test_what_omegaconf_cannot_resolve_stays_as_it_was_written():
    """Missing values, interpolations of nothing, of Hydra outside of it, of each other, in lists and at the top."""
    tree = {
        "a": "???",
        "b": "${nope}",
        "c": ["${nope}"],
        "hydra": {"name": "${hydra:job.name}"},
        "d": "${e}",
        "e": "${d}",
    }
    assert config_dict("args", OmegaConf.create(tree)) == tree
    assert config_dict("args", OmegaConf.create({"a": None, "b": 1})) == {"a": None, "b": 1}


def test_a_class_and_a_module_of_settings_are_their_values():
    """As notebooks and configuration files in Python have them; what is imported or defined there is left out."""
    module = types.ModuleType("settings")
    exec("import os\nlr = 0.1\ndef build(): pass", vars(module))
    settings = type("Settings", (type("Base", (), {"lr": 0.1, "epochs": 1}),), {"epochs": 3, "run": lambda _: None})
    assert config_dict("args", module) == {"lr": 0.1}
    assert config_dict("args", settings) == {"lr": 0.1, "epochs": 3}


class Tensor:
    """A tensor that must not be looked into, unless it lies in this host's memory."""

    def __init__(self, *shape, device="cuda", dtype="torch.float32"):
        self.shape, self.dtype, self.device = shape, dtype, types.SimpleNamespace(type=device)

    def tolist(self):
        assert self.device.type == "cpu", "a device was read"
        return [0.0] * self.shape[0]

    def touch(self, *_):
        raise SystemExit("a device was read")

    item = numpy = cpu = __repr__ = __len__ = __getitem__ = __iter__ = __float__ = __eq__ = touch
    __hash__ = None


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Tensor(1_000_000), "tensor(1000000,) float32"),
        (Tensor(3), "tensor(3,) float32"),
        (Tensor(), "tensor() float32"),
        (Tensor(65, device="cpu"), "tensor(65,) float32"),
        (Tensor(2, device="cpu"), [0.0, 0.0]),
        (np.zeros((1000, 1000)), "tensor(1000, 1000) float64"),
        (np.arange(3), [0, 1, 2]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(["2026-01-02"], "M8[D]"), ["2026-01-02"]),
        (pd.DataFrame({"a": [1, 2]}), "DataFrame(2, 1)"),
        (pd.Series([1, 2]), "Series(2,)"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_array_is_told_by_its_shape(value, stored):
    """Small ones in this host's memory are lists; of any other not an element is read."""
    assert config_dict("args", {"deep": [value]}) == {"deep": [stored]}


class Hostile:
    """Raises whatever it is asked."""

    def trouble(self, *_):
        raise RuntimeError("trouble")

    __str__ = __repr__ = __getattr__ = __getitem__ = __len__ = __iter__ = __float__ = keys = trouble
    shape = property(trouble)


class HostileDict(dict):
    """A dict that raises when it is read."""

    def items(self):
        raise RuntimeError

    __iter__ = keys = __getitem__ = items


class WithProperty(collections.UserDict):
    """A mapping of which one value cannot be read."""

    def __getitem__(self, key):
        if key == "bad":
            raise OSError("trouble")
        return super().__getitem__(key)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Hostile(), "Hostile"),
        (WithProperty(good=1, bad=2), {"good": 1, "bad": "<OSError>"}),
        (10**400, "1" + "0" * 400),
        (10**5000, "<int of 16,610 bit>"),
        (2**64, "18446744073709551616"),
        ([2**64, 1], ["18446744073709551616", 1]),
        (float("nan"), "NaN"),
        ([1.0, float("-inf")], [1.0, "-Infinity"]),
        (b"a\xff", "a\\xff"),
        ("\udc80", "\\udc80"),
        ({3, 1, "a"}, [1, 3, "a"]),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
        (decimal.Decimal("0.1"), "0.1"),
        (Path("/a"), "/a"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (1 + 2j, "(1+2j)"),
        (range(10**9), "range(0, 1000000000)"),
        (collections.deque([1]), [1]),
        (collections.UserString("a"), "a"),
        (np.longdouble(0.5), 0.5),
        (pd.NA, None),
        (pd.NaT, None),
        (argparse.Namespace(), {}),
        (sys, "sys"),
        (np.add, "numpy.add"),
        (threading.Thread, "threading.Thread"),
        (Plain, f"{__name__}.Plain"),
        (Plain().check, f"{__name__}.Plain.check"),
        (json.dumps, "json.dumps"),
        (functools.partial(json.dumps, 1, indent=2), "functools.partial(json.dumps, 1, indent=2)"),
        ([].append, "list.append"),
        (lambda: 0, f"{__name__}.<lambda>"),
        (list[int], "list[int]"),
        (dict[str, int], "dict[str, int]"),
        (object(), "<builtins.object object>"),
        (threading.Lock(), "<unlocked _thread.lock object>"),
        (re.compile("a"), "re.compile('a')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_text(value, stored):
    """The same in each run: no address in memory, at any depth."""
    assert config_dict("args", {"x": value, "deep": [{"x": value}]}) == {"x": stored, "deep": [{"x": stored}]}


@pytest.mark.parametrize("given", [Hostile(), HostileDict(a=1)], ids=["object", "dict"])
def test_a_configuration_that_cannot_be_read_is_its_types_name(given):
    """Also if it is the argument itself: what is in a configuration never raises."""
    assert config_dict("args", given) == {type(given).__name__: type(given).__name__}
    assert config_dict("args", {"x": given, "rest": 1}) == {"x": type(given).__name__, "rest": 1}


def test_a_key_that_is_no_string_becomes_text():
    """Tuples, numbers, None, enums, bytes; two that become the same stay two."""
    given = {("a", 1): 1, 1: 2, "1": 3, None: 4, Colour.RED: 5, b"b": 6, Hostile(): 7}
    assert config_dict("args", given) == {
        "(a, 1)": 1, "1": 2, "1 (str)": 3, "None": 4, "red": 5, "b": 6, "Hostile": 7,
    }  # fmt: skip


def test_a_cycle_is_text():
    """Through dicts, lists and attributes; what only stands in two places is stored twice."""
    shared = {"a": 1}
    given = {"list": [], "space": types.SimpleNamespace(), "one": shared, "two": shared}
    given["me"] = given
    given["list"].append(given["list"])
    given["space"].up = given
    assert config_dict("args", given) == {
        "list": ["<cycle>"], "space": {"up": "<cycle>"}, "one": shared, "two": shared, "me": "<cycle>",
    }  # fmt: skip


class Endless(collections.abc.Mapping):
    """A mapping without an end, in breadth and in depth."""

    def __len__(self):
        return 1 << 62

    def __iter__(self):
        return itertools.count()

    def __getitem__(self, key):
        return Endless()


def test_an_iterator_is_not_used_up():
    """A generator in a configuration is the program's."""
    rows = (each for each in [1, 2])
    stored = config_dict("args", {"rows": rows, "map": map(int, ["1"])})
    assert "0x" not in str(stored)
    assert list(rows) == [1, 2]


def test_too_much_is_cut_and_says_so():
    """Long texts, long lists, deep nesting and endless mappings end, each with a word on it; the rest is whole."""
    deep = {}
    functools.reduce(lambda inner, _: inner.setdefault("in", {}), range(5000), deep)
    given = {"text": "x" * 10**7, "list": [object] * 10**6, "deep": deep, "rest": 1, "endless": Endless()}
    stored = config_dict("args", given)
    assert stored["text"] == "x" * 20_000 + "... (cut: 10,000,000 characters)"
    assert stored["list"][-1] == "<cut> 980,000 more"
    assert "nested too deep" in str(stored["deep"])
    assert stored["rest"] == 1
    assert "<cut>" in str(stored["endless"])
    assert len(json.dumps(stored)) < 20_000_000


def test_thousands_of_keys_are_whole(monkeypatch):
    """No budget but that of time cuts a configuration of 5,000 lists of 20 elements; omegaconf's own are as others."""
    monkeypatch.setattr(configs, "monotonic", lambda: 0.0)
    given = {f"k{number}": list(range(20)) for number in range(5000)}
    assert config_dict("args", given) == given
    some = {name: given[name] for name in list(given)[:200]}
    assert config_dict("args", OmegaConf.create(some)) == some


def test_a_conversion_ends_when_its_time_is_over(monkeypatch):
    """Whatever a configuration does when it is read, later values are only named."""
    clock = itertools.count()
    monkeypatch.setattr(configs, "monotonic", lambda: next(clock) * configs.SECONDS / 10)
    stored = config_dict("args", {f"k{number}": {"a": 1} for number in range(100)})
    assert stored["k0"] == {"a": 1}
    assert stored["<cut>"].endswith("more")


def test_secrets_are_masked_at_any_depth(monkeypatch):
    """By name, in addresses, headers, JSON and tokens; names of machine learning that look alike are not."""
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    given = {
        "hf_token": "hunter2", "db": "postgres://u:hunter2@h/db", "a": [{"password": "hunter2"}],
        "pin": {"secret": 1234},
        "header": "Authorization: Bearer hunter2", "json": '{"a": {"api_keys": ["hunter2"]}}', "auth": ("u", "hunter2"),
        "space": argparse.Namespace(api_key="hunter2"), "bytes": {"passwd": b"hunter2"}, "args": ["--pw=hunter2"],
        "argv": ["train.py", "--db-pass", "hunter2", "--lr", "0.1"], "command": "train --password hunter2 --lr 0.1",
        "omega": OmegaConf.create({"db": "${oc.env:DB_PASSWORD}"}), "part": functools.partial(print, token="hunter2"),
        "yaml": "lr: 1\ndb_pass: hunter2\n", "model": pydantic.SecretStr("hunter2"),
    }  # fmt: skip
    stored = config_dict("args", given)
    assert "hunter2" not in str(stored)
    assert stored["db"] == "postgres://***@h/db"
    assert stored["pin"] == {"secret": "***"}
    kept = {"pad_token": "<pad>", "max_tokens": 5, "tokenizer": "gpt2", "keys": ["image"], "key_dim": 64,
            "author": "me", "use_auth_token": True, "api_key": None, "sort_key": "loss", "low_pass": 0.5}  # fmt: skip
    assert config_dict("args", kept) == kept


@pytest.mark.parametrize(
    "given",
    [3, "text", [1], {1}, None, object(), Path("a"), print, np.zeros(3), Tensor(3), Colour.RED, OmegaConf.create([1])],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_of_another_type_raises(given):
    """The message names the call and the argument, and says what to write; a tensor is not read for it."""
    with pytest.raises(TypeError, match=r"log_config\(\): args is of type .*Write a dict"):
        config_dict("args", given)


def test_a_configuration_is_stored(open_run, caplog):
    """Nothing that is in it warns; files of it are stored as text, and what is no file raises."""
    run = open_run()
    run.log_config(args={"x": Hostile(), ("a", 1): 2}, extra=Slotted(), config_files=Path("a.yaml"))
    with pytest.raises(TypeError, match=r"log_config\(\): config_files is of type int"):
        run.log_config(config_files=3)
    run.finish()
    config = content(run, "assets.json")["config"]
    assert config.pop("fingerprint")
    assert config == {
        "args": {"x": "Hostile", "(a, 1)": 2},
        "extra": {"lr": 0.1, "inner": None},
        "config_files": ["a.yaml"],
    }
    assert warnings_in(caplog) == []


def test_a_configuration_by_its_place_is_extra(open_run, caplog):
    """``log_config({...})`` is stored as ``extra``, and that is said once."""
    run = open_run()
    run.log_config({"lr": 0.1})
    run.log_config({"lr": 0.2})
    with pytest.raises(TypeError, match="twice"):
        run.log_config({"lr": 0.3}, extra={"lr": 0.4})
    run.finish()
    assert content(run, "assets.json")["config"]["extra"] == {"lr": 0.2}
    (message,) = warnings_in(caplog)
    assert "extra=" in message


def test_merge_adds_field_by_field_and_across_a_resume(open_run):
    """Nested mappings and files too; without it an argument is replaced."""
    run = open_run()
    run.log_config(args={"old": 1})
    run.log_config(args={"lr": 0.1, "n": {"a": 1, "b": [1]}}, config_files="a.yaml")
    run.log_config(args={"lr": 0.2, "n": {"b": [2]}}, extra={"e": 1}, merge=True)
    run.finish()
    again = open_run(run_id=run.id)
    again.log_config(args={"n": {"c": 3}}, config_files=["a.yaml", "b.yaml"], merge=True)
    again.log_config(extra={"e": 2})
    again.finish()
    config = content(run, "assets.json")["config"]
    assert config["args"] == {"lr": 0.2, "n": {"a": 1, "b": [2], "c": 3}}
    assert config["config_files"] == ["a.yaml", "b.yaml"]
    assert config["extra"] == {"e": 2}
