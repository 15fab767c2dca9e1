"""Values of ``log()`` that are missing, too large or hostile: a gap, NaN or a refusal, and never another number."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from support import events, logged, status, summary, warnings_in

from runicorn.validation import metrics

pytestmark = pytest.mark.usefixtures("each_way")


class MaskedTensor:
    """A tensor that says which of its elements are there, as torch's does."""

    def __init__(self, number, *, is_there):
        self._number, self._is_there = number, is_there

    def get_mask(self):
        """Whether its element is there."""
        return np.array(self._is_there)

    def item(self):
        """Its number, whatever the mask says."""
        return self._number


MISSING = {
    "masked": np.ma.masked,
    "masked of one element": np.ma.array([5.0], mask=[True]),
    "masked of no dimension": np.ma.array(5, mask=True),
    "mean of masked values": np.ma.array([1.0, 2.0], mask=True).mean(),
    "masked of two dimensions": np.ma.array([[5.0]], mask=[[True]]),
    "masked of dates": np.ma.array(5.0, mask=np.True_),
    "masked in an object array": np.array([np.ma.masked], dtype=object),
    "datetime64": np.datetime64("NaT", "s"),
    "timedelta64": np.timedelta64("NaT", "s"),
    "array of NaT": np.array(["NaT"], dtype="M8[ns]"),
    "object array of None": np.array(None, dtype=object),
    "masked tensor": MaskedTensor(3.0, is_there=False),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_value_that_is_not_there_is_a_gap(open_run, caplog, name):
    """What its library calls masked or missing is stored as null, without a name for it."""
    run = open_run()
    run.log({"value": MISSING[name], "beside": 1})
    run.finish()
    assert logged(run) == [{"value": None, "beside": 1}]
    assert "nonfinite" not in events(run)[0]
    assert warnings_in(caplog) == []


OF_LIBRARIES = {
    "pandas": lambda pd: [pd.NA, pd.NaT, pd.Series([pd.NA]), pd.Series([None], dtype="Int64"), pd.Series([pd.NaT])],
    "polars": lambda pl: [pl.Series([None], dtype=pl.Float64), pl.Series([None]), pl.DataFrame({"a": [None]})],
    "pyarrow": lambda pa: [pa.scalar(None), pa.scalar(None, pa.float64()), pa.array([None], pa.int64())[0]],
}
NUMBERS = {
    "pandas": lambda pd: [pd.Series([1.5]), pd.Series([1.5], dtype="Float64"), pd.array([1.5])[0]],
    "polars": lambda pl: [pl.Series([1.5]), pl.DataFrame({"a": [1.5]})],
    "pyarrow": lambda pa: [pa.scalar(1.5), pa.array([1.5])[0]],
}


def test_a_missing_value_of_a_summary_is_null(open_run, caplog):
    """What pandas calls missing is null in a conclusion, and masked numbers are as well."""
    pd = pytest.importorskip("pandas")
    run = open_run()
    run.summary({"a": pd.NA, "b": [pd.NaT, 1], "c": np.ma.masked, "d": np.ma.array([1.0, 2.0], mask=[True, False])})
    run.finish()
    assert summary(run) == {"a": None, "b": [None, 1], "c": None, "d": [None, 2.0]}
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("library", OF_LIBRARIES)
def test_a_value_of_a_table_is_a_number_or_a_gap(open_run, caplog, library):
    """A null of pandas, polars or pyarrow is stored as null, and a number of theirs as that number."""
    module = pytest.importorskip(library)
    missing, numbers = OF_LIBRARIES[library](module), NUMBERS[library](module)
    run = open_run()
    for value in missing + numbers:
        run.log({"value": value, "beside": 1})
    run.finish()
    assert [data["value"] for data in logged(run)] == [None] * len(missing) + [1.5] * len(numbers)
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("text", ["NaN", "-NaN", "sNaN", "-sNaN123"])
def test_each_nan_of_decimal_is_nan(open_run, caplog, text):
    """A signalling NaN too is NaN."""
    run = open_run()
    run.log(value=Decimal(text))
    run.finish()
    assert events(run)[0]["nonfinite"] == {"value": "NaN"}
    assert warnings_in(caplog) == []


THERE = {
    "unmasked": (np.ma.array([5.0], mask=[False]), 5.0),
    "without a mask": (np.ma.array(3), 3),
    "masked tensor": (MaskedTensor(3.0, is_there=True), 3.0),
    "half": (np.float16(0.1), float(np.float16(0.1))),
    "longdouble": (np.array(0.1, dtype=np.longdouble), 0.1),
    "Decimal in an array": (np.array(Decimal("1.5"), dtype=object), 1.5),
    "infinite Decimal": (Decimal("-Infinity"), -math.inf),
}


@pytest.mark.parametrize("name", THERE)
def test_a_value_that_is_there_is_stored(open_run, caplog, name):
    """The same types with a number in them give that number."""
    value, number = THERE[name]
    run = open_run()
    run.log(value=value)
    run.finish()
    stored = events(run)[0]
    assert stored["data"]["value"] == (number if math.isfinite(number) else None)
    assert ("nonfinite" in stored) is not math.isfinite(number)
    assert warnings_in(caplog) == []


class LyingFloat(float):
    """A float that says that it is another."""

    def __float__(self):
        return 9.0


class RaisingInt(int):
    """An int that does not like to be one."""

    def __int__(self):
        raise RuntimeError("no")

    __index__ = __float__ = __int__


class LyingText(str):
    """A string that says that it is another."""

    __slots__ = ()

    def __str__(self):
        return "another"


@pytest.mark.parametrize(("value", "stored"), [(LyingFloat(1.5), 1.5), (RaisingInt(3), 3), (LyingText("it"), "it")])
def test_a_subclass_is_stored_as_what_it_holds(open_run, caplog, value, stored):
    """Its own conversion is not asked."""
    run = open_run()
    run.log(value=value)
    run.finish()
    assert logged(run) == [{"value": stored}]
    assert warnings_in(caplog) == []


TOO_LARGE = [Decimal("1e400"), Decimal("-1e400"), Fraction(10**400), 10**400, -(10**400), np.longdouble("1e400")]


@pytest.mark.parametrize("value", TOO_LARGE, ids=lambda value: f"{type(value).__name__}-{value < 0}")
def test_a_number_that_is_too_large_is_no_infinity(open_run, caplog, value):
    """What no float can hold is refused; infinity is stored only where it was logged."""
    if float(np.longdouble(value) if isinstance(value, np.longdouble) else 0) == value:
        pytest.fail("this machine's longdouble is a double: the test says nothing")
    run = open_run()
    run.log({"value": value, "beside": 1})
    run.finish()
    assert logged(run) == [{"beside": 1}]
    assert len(warnings_in(caplog)) == 1


class BadError(Exception):
    """An error that has no text."""

    def __str__(self):
        raise RuntimeError("no text")


class Raising:
    """Everything that it is asked raises, its repr too."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError("repr")

    def item(self):
        """No number."""
        raise BadError("item")

    @property
    def shape(self):
        """No shape."""
        raise RuntimeError("shape")


class RaisingFloat:
    """It has a float, and does not give it."""

    def __float__(self):
        raise BadError("float")

    def __repr__(self):
        raise RuntimeError("repr")


class RaisingArray:
    """It has an array, and does not give it."""

    def __array__(self, *_):
        raise KeyError("array")

    keys = __getitem__ = None


class OtherClass:
    """It raises when it is asked what it is."""

    @property
    def __class__(self):
        raise RuntimeError("class")


class EndlessItem:
    """Its item is an array whose item it is."""

    def item(self):
        """Another one."""
        return np.array(self, dtype=object)


class RaisingLength(list):
    """A list that has no length."""

    def __len__(self):
        raise RuntimeError("length")


class RaisingMapping(dict):
    """A mapping whose items cannot be had."""

    def keys(self):
        """No keys."""
        raise RuntimeError("keys")

    __iter__ = items = keys


@pytest.mark.parametrize("kind", [Raising, RaisingFloat, RaisingArray, OtherClass, EndlessItem, RaisingLength])
def test_no_value_raises_out_of_log(open_run, caplog, kind):
    """Whatever a value's own methods raise is told as a refusal, also while the message is made; the rest is stored."""
    value = kind()
    run = open_run()
    run.log({"value": value, "beside": 1})
    run.log({"outer": {"value": value}, "beside": 2})
    run.log({"value": value, "beside": 3}, wall_time=5)
    run.log(beside=4, step=value)
    run.log(beside=5, stage=value)
    run.log(beside=6, wall_time=value)
    run.log({"beside": 7}, value)
    run.log(value)
    run.finish()
    assert [data["beside"] for data in logged(run)] == [1, 2, 3, 4, 5, 6, 7]
    assert all("log()" in message for message in warnings_in(caplog))
    assert status(run)["status"] == "finished"


def test_a_mapping_that_raises_is_refused_alone(open_run, caplog):
    """A nested mapping whose items cannot be had costs itself."""
    run = open_run()
    run.log({"value": RaisingMapping(a=1), "beside": 1})
    run.finish()
    assert [data["beside"] for data in logged(run)] == [1]
    assert len(warnings_in(caplog)) <= 1


class Stop(BaseException):
    """What ends a program."""


class Stopping:
    """A value whose conversion ends the program."""

    def __float__(self):
        raise Stop


def test_what_ends_the_program_comes_through(open_run):
    """An exception that is no ``Exception``, as Ctrl-C, is not taken."""
    run = open_run()
    with pytest.raises(Stop):
        run.log(value=Stopping())


def test_the_libraries_are_not_imported_for_it():
    """Missing values are told by their type: nothing is imported for them."""
    import subprocess

    program = (
        "import sys, runicorn.validation.metrics as v\n"
        "from runicorn.refusals import Refusals\n"
        "v.clean_metrics({'a': object(), 'b': {'c': 1j}}, Refusals('x', strict=False))\n"
        "assert not {'numpy', 'pandas', 'polars', 'pyarrow', 'decimal'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_names_are_remembered_up_to_a_bound(open_run, monkeypatch):
    """A run whose names never repeat keeps a bounded number of them in memory, and loses none of its numbers."""
    monkeypatch.setattr("runicorn.run.push_metrics", None)  # the call of C remembers none
    metrics.known_names.clear()
    monkeypatch.setattr(metrics, "_MOST_NAMES", 10)
    run = open_run(path="p")
    remembered = []
    for i in range(50):
        run.log({f"name {i}": i})
        remembered.append(len(metrics.known_names))
    run.finish()
    assert logged(run) == [{f"name {i}": i} for i in range(50)]
    assert max(remembered) == 10
