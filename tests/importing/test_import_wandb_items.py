"""The pattern reads the same rows and summaries of wandb as the reader that goes field by field."""

import json
import random

import pytest
from imported_values import field, varint

from runicorn.importing import wandb_items
from runicorn.importing.wandb_items import Content, HistoryRows

KEYS = [
    ["loss"], ["acc"], ["_step"], ["größe/λ"], ["a\nb"], ["a\x12b"], ["\x82\x01"], ["x₂"], ["あ"], ["", "a"],
    ["a", "b"], ["a/b"], ["a", "c", "d"], ["a"], ['"'], ["k" * 130], ["\n\x04loss"],
]  # fmt: skip
TEXTS = [
    "0", "-1.5e-7", "NaN", "Infinity", "-Infinity", "true", "null", '"text"', '"\\n\\u0012"', '{"max":0.5}', "[1,2]",
    '{"_type":"image-file","path":"p"}', '"' + "x" * 200 + '"', '"' + "y" * 7000 + '"', " 1", "\t2", "1 ", "9" * 40,
    '"₂あ"', '"' + "z" * 125 + '"', '"' + "z" * 126 + '"', "1" * 127,
]  # fmt: skip
SEEDS = range(4)


def item(keys, text, *, nested):
    names = b"".join(field(2 if nested else 1, key.encode()) for key in keys)
    return names + b"\x82\x01" + varint(len(text.encode())) + text.encode()


def some_items(chance, count):
    chosen = chance.sample(KEYS, count)
    return [(keys, chance.choice(TEXTS), len(keys) > 1 or chance.random() < 0.9) for keys in chosen]


def message(number, items):
    return b"".join(field(number, item(keys, text, nested=nested)) for keys, text, nested in items)


def as_text(row):
    return json.dumps(row)  # NaN is NaN in it, and -0.0 is not 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_row_with_known_keys_is_read_as_one_with_new_keys(seed):
    """Rows are read alike with framing bytes in keys, NaN and infinities, long texts, and steps behind the items."""
    print("seed", seed)
    chance, warm = random.Random(seed), HistoryRows()
    for _ in range(200):
        items = some_items(chance, chance.randrange(1, 8))
        step = chance.choice([b"", field(2, b""), field(2, b"\x08\x05"), field(2, b"\x08\xac\x02")])
        row = message(1, items) + step
        assert as_text(warm.read(row)) == as_text(HistoryRows().read(row))


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_row_that_is_cut_or_changed_no_value_is_another_one(seed):
    """Each value of a damaged row is one of the whole row, or one that the reader by fields finds too."""
    print("seed", seed)
    chance, warm = random.Random(seed), HistoryRows()
    for _ in range(40):
        items = some_items(chance, 3)
        row = message(1, items) + field(2, b"\x08\x05")
        whole = warm.read(row)
        for _ in range(20):
            changed = bytearray(row)
            changed[chance.randrange(len(row))] = chance.randrange(256)
            for each in (row[: chance.randrange(len(row))], bytes(changed)):
                possible = values_of(whole) | values_of(read_or_not(HistoryRows(), each))
                assert values_of(read_or_not(warm, each)) <= possible


def values_of(row):
    return {(name, as_text(value)) for name, value in row.items()}


def read_or_not(rows, data):
    try:
        return rows.read(data)
    except (ValueError, IndexError):
        return {}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_summary_is_what_its_changes_make_of_it(seed):
    """Changes of flat and nested keys, in any order, give the same summary as if each one was applied at once."""
    print("seed", seed)
    chance = random.Random(seed)
    late, at_once = Content(), Content()
    for _ in range(200):
        items = some_items(chance, chance.randrange(1, 5))
        data = message(1, items)
        if chance.random() < 0.2:
            data += message(2, [(keys, "", nested) for keys, _, nested in some_items(chance, 2)])
        late.change(data)
        at_once.change(data)
        assert as_text(at_once.value)
    assert as_text(sorted_tree(late.value)) == as_text(sorted_tree(at_once.value))


def sorted_tree(value):
    return {key: sorted_tree(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def test_keys_are_read_byte_for_byte_once(monkeypatch):
    """Each key is read field by field once, for any number and order of rows and summaries; so an import is fast."""
    calls = []
    fields = wandb_items.fields
    monkeypatch.setattr(wandb_items, "fields", lambda data: calls.append(data) or fields(data))
    chance, rows, summary = random.Random(0), HistoryRows(), Content()
    for number in range(500):
        items = [([key], str(number / 3), True) for key in ("loss", "größe", "x₂", "あ", "_step")]
        chance.shuffle(items)
        assert rows.read(message(1, items) + field(2, b"\x08" + varint(number)))["loss"] == number / 3
        summary.change(message(1, items))
        # As wandb 0.31 does: a nested key, and a key that is written in another way than in the row.
        summary.change(message(1, [(["_wandb", "runtime"], str(number), True), (["_step"], str(number), False)]))
    assert len(calls) < 25
    assert (summary.value["あ"], summary.value["_wandb"], summary.value["_step"]) == (499 / 3, {"runtime": 499}, 499)
