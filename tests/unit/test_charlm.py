"""The demo's model: its gradient is right, it repeats itself, it learns, and it finds its text."""

from __future__ import annotations

import random

import pytest

from runicorn.commands.demo_model import (
    CHARACTERS_PER_FILE,
    SYMBOLS,
    CharModel,
    decode,
    learning_rate,
    norm,
    read_standard_library,
    windows,
)

SMALL = {"context": 3, "hidden": 4, "seed": 7}
NUDGE = 1e-5


def batch_of(model: CharModel, count: int = 6, seed: int = 3) -> list[bytes]:
    draw = random.Random(seed)
    symbols = bytes(draw.randrange(model.symbols) for _ in range(50))
    return windows(symbols, model.window, count, draw)


def slope(model: CharModel, batch: list[bytes], row: list[float], column: int) -> float:
    weight = row[column]
    row[column] = weight + NUDGE
    above = model.loss(batch)
    row[column] = weight - NUDGE
    below = model.loss(batch)
    row[column] = weight
    return (above - below) / (2 * NUDGE)


def losses(seed: int, steps: int = 20) -> list[float]:
    model = CharModel(5, context=3, hidden=4, seed=seed)
    seen = []
    for step in range(steps):
        loss, gradient = model.loss_and_gradient(batch_of(model, seed=seed + step))
        model.update(gradient, 0.1)
        seen.append(loss)
    return seen


@pytest.mark.parametrize("steps_before", [0, 5])
def test_gradient_agrees_with_finite_differences_in_every_weight(steps_before):
    """The gradient is the slope of the loss in each weight, untrained and after some training."""
    model = CharModel(5, **SMALL)
    batch = batch_of(model)
    for _ in range(steps_before):
        model.update(model.loss_and_gradient(batch)[1], 0.1)

    _, gradient = model.loss_and_gradient(batch)

    for index, row in enumerate(model.rows):
        measured = [slope(model, batch, row, column) for column in range(len(row))]
        assert gradient.get(index, [0.0] * len(row)) == pytest.approx(measured, abs=1e-9)


def test_loss_and_gradient_report_the_same_loss_as_loss():
    """Evaluation and training measure the same quantity."""
    model = CharModel(5, **SMALL)
    batch = batch_of(model)

    assert model.loss_and_gradient(batch)[0] == model.loss(batch)


def test_rows_that_a_batch_does_not_touch_have_no_gradient():
    """A step costs what its batch touches: context rows of unseen symbols are left alone."""
    model = CharModel(5, **SMALL)

    _, gradient = model.loss_and_gradient([bytes([0, 1, 2, 3])])

    context_rows = {index for index in gradient if index < 3 * 5}
    assert context_rows == {0 * 5 + 0, 1 * 5 + 1, 2 * 5 + 2}


def test_huge_scores_give_a_finite_loss():
    """Scores far beyond the range of exp() do not overflow."""
    model = CharModel(5, **SMALL)
    model.rows = [[weight * 1e6 for weight in row] for row in model.rows]

    loss, gradient = model.loss_and_gradient(batch_of(model))

    assert 0 <= loss < float("inf")
    assert norm(gradient) < float("inf")


def test_same_seed_gives_the_same_losses():
    """Training is a function of the seed."""
    assert losses(seed=1) == losses(seed=1)
    assert losses(seed=1) != losses(seed=2)


def test_model_learns_to_predict_what_follows():
    """After a few hundred small steps a text with a fixed order is nearly certain."""
    model = CharModel(5, **SMALL)
    draw = random.Random(0)
    symbols = bytes(range(5)) * 20
    for _ in range(200):
        _, gradient = model.loss_and_gradient(windows(symbols, model.window, 8, draw))
        model.update(gradient, 0.1)

    assert model.loss(windows(symbols, model.window, 50, draw)) < 0.1
    assert model.continuation(symbols, 10, draw) == symbols[:10]


def test_norm_is_the_length_over_all_rows():
    """The gradient norm counts every row once."""
    assert norm({0: [3.0, 0.0], 9: [4.0]}) == 5.0


def test_windows_reach_both_ends_and_never_beyond():
    """Every place of the text can be drawn, and each window is whole."""
    drawn = windows(b"abcd", 3, 100, random.Random(0))

    assert set(drawn) == {b"abc", b"bcd"}


def test_learning_rate_warms_up_then_falls():
    """The schedule starts low, peaks early, ends at a twentieth of the peak and stays there."""
    rates = [learning_rate(part / 100, peak=1.0) for part in range(101)]

    assert rates[0] == pytest.approx(0.1)
    assert rates.index(max(rates)) == 5
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.05)
    assert learning_rate(1.3, peak=1.0) == rates[-1]


def test_text_is_the_standard_library_with_whole_files_held_out(tmp_path):
    """One file in ten is kept for validation; a file that cannot be read is left out."""
    for number in range(20):
        (tmp_path / f"module_{number:02}.py").write_text(f"{number:02}" * 100)
    (tmp_path / "module_unreadable.py").mkdir()

    text = read_standard_library(tmp_path)

    assert set(decode(text.held_out, text.characters)) == {"0", "1"}
    assert len(text.held_out) == 2 * 200
    assert len(text.train) == 18 * 200
    assert text.files == 18


def test_text_of_this_interpreter_is_read_in_bounds():
    """The running interpreter has enough text, and no file gives more than its share."""
    text = read_standard_library()

    assert len(text.characters) == SYMBOLS
    assert max(text.train) < SYMBOLS
    assert 100_000 < len(text.train) <= text.files * CHARACTERS_PER_FILE
    assert len(text.held_out) > 10_000


def test_missing_sources_are_named(tmp_path):
    """Where there is no source to read, the error names the folder and what to do."""
    with pytest.raises(FileNotFoundError, match=r"too few readable .* installed as source"):
        read_standard_library(tmp_path)
