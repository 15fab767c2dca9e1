"""A small character-level language model in plain Python, and the text it learns from.

The text is the source of the Python standard library: it is on every machine that runs Python, so
the demo has real input without a download. The model has one hidden layer. Each position of the
context has a row of weights per symbol; the rows of the symbols that stand there are summed and
squashed, and a linear layer scores the next symbol:

    hidden = tanh(sum of rows[position, symbol at that position])     (one-hot inputs: no multiplication)
    scores = output rows . (hidden, 1)                          (the 1 carries the bias)

A step touches the rows of the symbols it saw and the output rows, nothing else; so a gradient is a
dictionary from the index of a row to that row's gradient.
"""

from __future__ import annotations

import math
import random
import sysconfig
from collections import Counter
from operator import add, mul, sub
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runicorn.errors import MissingPathError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILES_MAX = 200
CHARACTERS_PER_FILE = 10_000
HELD_OUT_EVERY = 10
"""One file in this many is kept for validation."""
SYMBOLS = 80
"""Size of the vocabulary: the most frequent characters, and one symbol for all others."""
OTHER = "?"
"""How the symbol for all other characters is printed."""
PEAK_RATE = 0.2
"""The highest learning rate, if none is given."""

Gradient = dict[int, list[float]]


class TrainingText(NamedTuple):
    """The text as symbols: every byte of `train` and `held_out` is an index into `characters`."""

    characters: str
    train: bytes
    held_out: bytes
    files: int


def read_standard_library(folder: Path | None = None) -> TrainingText:
    """Read the beginning of each module of the standard library, leaving out what cannot be read.

    Args:
        folder: where the `*.py` files are; None means the running interpreter's standard library.

    Raises:
        FileNotFoundError: there are too few of them to train and to validate.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    beginnings = list(filter(None, map(_beginning, sorted(folder.glob("*.py"))[:FILES_MAX])))
    held_out = "".join(beginnings[::HELD_OUT_EVERY])
    del beginnings[::HELD_OUT_EVERY]
    train = "".join(beginnings)
    if not train or not held_out:
        raise MissingPathError(
            f"found no text to train on: {folder} has too few readable *.py files. "
            "Use a Python whose standard library is installed as source files."
        )
    frequent = Counter(train).most_common(SYMBOLS - 1)
    characters = OTHER + "".join(character for character, _ in frequent)
    return TrainingText(
        characters,
        train=_encode(train, characters),
        held_out=_encode(held_out, characters),
        files=len(beginnings),
    )


def windows(symbols: bytes, length: int, count: int, draw: random.Random) -> list[bytes]:
    """Draw `count` pieces of `length` symbols: a context and, last, the symbol that follows it."""
    starts = [draw.randrange(len(symbols) - length + 1) for _ in range(count)]
    return [symbols[start : start + length] for start in starts]


def learning_rate(progress: float, *, peak: float = PEAK_RATE) -> float:
    """Rise from a tenth of `peak` to `peak` in the first twentieth of the time, then fall again.

    It ends at a twentieth of `peak`.

    Args:
        progress: the part of the training time that has passed, 0 to 1.
        peak: the highest learning rate.
    """
    warm_up = min(1.0, 0.1 + 18 * progress)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * warm_up * (0.05 + 0.95 * cosine)


class CharModel:
    """Predicts a symbol from the `context` symbols before it; learns by Adagrad.

    The same seed, windows and learning rates give the same losses, bit for bit, on the same Python.
    """

    def __init__(self, symbols: int, *, context: int = 8, hidden: int = 24, seed: int = 0) -> None:
        draw = random.Random(seed)  # noqa: S311 - initial weights are no secret
        self.symbols = symbols
        self.context = context
        self._first_output_row = context * symbols

        def small_weights() -> list[float]:
            return [draw.gauss(0.0, 0.1) for _ in range(hidden)]

        self.rows = [small_weights() for _ in range(context * symbols)]
        self.rows += [[*small_weights(), 0.0] for _ in range(symbols)]
        self._squares = [[1e-6] * len(row) for row in self.rows]

    @property
    def window(self) -> int:
        """Length of a window in symbols: the context and the symbol to predict."""
        return self.context + 1

    @property
    def parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(map(len, self.rows))

    def loss(self, batch: Sequence[bytes]) -> float:
        """Return the mean negative log-likelihood of each window's last symbol, in nats."""
        _, scores = self._forward(batch)
        return _mean_loss(batch, scores, [_log_sum_exp(row) for row in scores])

    def loss_and_gradient(self, batch: Sequence[bytes]) -> tuple[float, Gradient]:
        """Return the loss of `batch` and its gradient: row index -> gradient of that row."""
        hidden, scores = self._forward(batch)
        norms = [_log_sum_exp(row) for row in scores]
        errors = []
        for window, row, norm in zip(batch, scores, norms, strict=True):
            error = [math.exp(score - norm) / len(batch) for score in row]
            error[window[-1]] -= 1 / len(batch)
            errors.append(error)

        first = self._first_output_row
        by_output = _products(zip(*errors, strict=True), list(zip(*hidden, strict=True)))
        gradient: Gradient = {first + symbol: row for symbol, row in enumerate(by_output)}
        weights_by_unit = list(zip(*self.rows[first:], strict=True))[:-1]  # the bias has no input
        by_unit = _products(errors, weights_by_unit)
        for window, units, slopes in zip(batch, hidden, by_unit, strict=True):
            inputs = [g * (1 - unit * unit) for g, unit in zip(slopes, units, strict=False)]
            for index in self._context_rows(window):
                if index in gradient:
                    gradient[index] = list(map(add, gradient[index], inputs))
                else:
                    gradient[index] = inputs
        return _mean_loss(batch, scores, norms), gradient

    def update(self, gradient: Gradient, rate: float) -> None:
        """Take one Adagrad step along `gradient`."""
        for index, slopes in gradient.items():
            squares = [s + g * g for s, g in zip(self._squares[index], slopes, strict=True)]
            steps = [rate * g / math.sqrt(s) for g, s in zip(slopes, squares, strict=True)]
            self._squares[index] = squares
            self.rows[index] = list(map(sub, self.rows[index], steps))

    def continuation(self, start: bytes, count: int, draw: random.Random) -> bytes:
        """Draw `count` symbols, one after the other, as the model expects them after `start`."""
        written = start[-self.context :]
        for _ in range(count):
            _, (scores,) = self._forward([written[-self.context :] + b"\0"])
            top = max(scores)
            chances = [math.exp(score - top) for score in scores]
            written += bytes(draw.choices(range(self.symbols), chances))
        return written[self.context :]

    def _forward(self, batch: Sequence[bytes]) -> tuple[list[list[float]], list[list[float]]]:
        hidden = []
        for window in batch:
            rows = [self.rows[index] for index in self._context_rows(window)]
            hidden.append([*map(math.tanh, map(sum, zip(*rows, strict=True))), 1.0])
        return hidden, _products(hidden, self.rows[self._first_output_row :])

    def _context_rows(self, window: bytes) -> list[int]:
        return [position * self.symbols + symbol for position, symbol in enumerate(window[:-1])]


def norm(gradient: Gradient) -> float:
    """Return the Euclidean length of a gradient."""
    return math.sqrt(sum(sum(map(mul, row, row)) for row in gradient.values()))


def decode(symbols: bytes, characters: str) -> str:
    """Turn symbols back into text."""
    return "".join(characters[symbol] for symbol in symbols)


def _encode(text: str, characters: str) -> bytes:
    index = {character: symbol for symbol, character in enumerate(characters) if symbol}
    return bytes([index.get(character, 0) for character in text])


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(CHARACTERS_PER_FILE)
    except OSError:
        return ""


def _products(
    left: Iterable[Sequence[float]],
    right: Sequence[Sequence[float]],
) -> list[list[float]]:
    """Return the dot product of each row on the left with each row on the right."""
    return [[sum(map(mul, row, other)) for other in right] for row in left]


def _log_sum_exp(scores: Sequence[float]) -> float:
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))


def _mean_loss(
    batch: Sequence[bytes],
    scores: Sequence[Sequence[float]],
    norms: Sequence[float],
) -> float:
    of_the_right_ones = (row[window[-1]] for window, row in zip(batch, scores, strict=True))
    return math.fsum(map(sub, norms, of_the_right_ones)) / len(batch)
