"""The part of YAML that trackers write, read as its own library reads it."""

import math
import random

import pytest

from runicorn.importing import block_yaml
from runicorn.importing.source_runs import UnreadableSourceError

DOCUMENTS = [
    "a: 1\nb: 0.1\nc: text with spaces\nd: null\ne: true\nf: []\ng: {}\nh: ''\n",
    "a:\n  b:\n    c: 1\n  d: x\ne:\n- 1\n- two\n-\n  - 3\n- f: 4\n  g: 5\nh: end\n",
    "name: 'it''s: one'\nlong: a text that goes\n  on in the next line\nlines: 'first\n\n  second'\n",
    'double: "tab\\t \\u00df \\x41 \\"x\\""\nfolded: "one\\\n  \\ two"\n',
    "text: |-\n  first\n    second\nkept: |\n  x\nlast: 1\n",
    "# a comment\n---\na: 1  # behind\nurl: http://host:80/x\ntime: 12:30:00 x\n",
    "lr: 1.0e-05\nbig: 123456789012345678901234567890\nnan: .nan\ninf: -.inf\nlist: [1, 2]\n",
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_documents_are_read_as_by_the_library(text):
    """If PyYAML is there; NaN is NaN."""
    yaml = pytest.importorskip("yaml")
    assert repr(block_yaml.read(text)) == repr(yaml.safe_load(text))


def test_what_the_library_dumps_comes_back():
    """Nested settings of every kind, many of them."""
    yaml = pytest.importorskip("yaml")
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    texts = [
        "",
        "a",
        "no",
        "1",
        "1.5",
        "null",
        "with: colon",
        "- dash",
        "# hash",
        "'",
        '"',
        "ß\n\n x",
        "long " * 40,
        " lead",
        "a\tb",
        "{x",
    ]

    keys = [text for text in texts if text and "\n" not in text and len(text) < 100]

    def made(depth):
        kind = chance.randrange(7 if depth < 4 else 5)
        if kind == 5:
            return [made(depth + 1) for _ in range(chance.randrange(3))]
        if kind == 6:
            return {chance.choice(keys): made(depth + 1) for _ in range(chance.randrange(4))}
        return [
            chance.choice(texts),
            chance.randrange(-9, 10**6),
            chance.random() * 10 ** chance.randrange(-9, 9),
            None,
            True,
        ][kind]

    for _ in range(300):
        content = {f"key{number}": made(0) for number in range(3)}
        for allow in (True, False):
            text = yaml.safe_dump(content, allow_unicode=allow, default_flow_style=False)
            assert block_yaml.read(text) == content, text


def test_hostile_documents_do_nothing():
    """Tags and anchors stay text; what is nested too deeply is refused; random text raises nothing else."""
    assert block_yaml.read("a: !!python/object/apply:os.system [ls]\nb: &x [1]\nc: *x\n")["c"] == "*x"
    with pytest.raises(UnreadableSourceError):
        block_yaml.read("\n".join(" " * number + "a:" for number in range(3000)))
    assert block_yaml.read("a: x\n" + "\n" * 200_000) == {"a": "x"}
    chance = random.Random(3)
    for _ in range(500):
        text = "".join(chance.choice("ab:- \n'\"|>#[]{}&*!\\\t0.") for _ in range(chance.randrange(60)))
        block_yaml.read(text)
    assert math.isnan(block_yaml.read("a: .nan")["a"])
