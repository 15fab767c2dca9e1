"""Wrong options of ``import`` are refused before anything is read; columns that a table lacks are reported."""

import pytest
from imported_values import SAMPLES, load, points_of

import runicorn
from runicorn.cli import main

TABLE = "it,loss,acc,lr,which\n1,0.5,0.25,0.1,a\n2,0.25,0.75,0.1,b\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "loss"], "has no '='"),
        (["--map", "loss=a", "--map", "loss=b"], "twice"),
        (["--map", "loss=a", "--map", "acc=a"], "Two columns"),
        (["--map", "=a"], "empty"),
        (["--map", "loss="], "empty"),
        (["--step", ""], "empty"),
        (["--time", ""], "empty"),
        (["--run", ""], "empty"),
        (["--config-columns", ""], "empty"),
        (["--config-columns", "lr,,which"], "empty"),
        (["--config-columns", "lr,lr"], "twice"),
        (["--config-columns", "lr", "--config-columns", "lr"], "twice"),
        (["--step", "it", "--config-columns", "it"], "twice"),
        (["--step", "it", "--time", "it"], "twice"),
        (["--run", "which", "--map", "which=loss"], "twice"),
        (["--config-columns", "lr", "--map", "lr=rate"], "twice"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(arguments, said, table, storage, capsys):
    """A wrong option gives exit status 2 and a sentence that names it, and makes no storage."""
    assert main(["import", "csv", str(table), *arguments, "--storage", str(storage)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Nothing was imported" in error
    assert not storage.exists()


@pytest.mark.parametrize(
    "arguments",
    [["--step", "it"], ["--time", "t"], ["--run", "r"], ["--map", "a=b"], ["--config-columns", "lr"]],
)
@pytest.mark.parametrize("form", ["wandb", "auto"])
def test_options_of_tables_are_refused_for_other_formats(form, arguments, storage, capsys):
    """A source of another format refuses options of tables, even if its format was not named."""
    assert main(["import", form, str(SAMPLES / "wandb"), *arguments, "--storage", str(storage)]) == 2
    assert "the format wandb, which has no columns" in capsys.readouterr().err
    assert not storage.exists()


def test_an_option_that_does_not_exist_is_refused(table, storage):
    """In Python, an unknown key in ``options`` is refused."""
    with pytest.raises(ValueError, match="'steps' is no option"):
        load("csv", table, storage=storage, options={"steps": "it"})


def test_a_path_without_a_name_is_not_the_current_directory(storage, capsys):
    """An empty path, as from an empty variable of a shell, imports nothing."""
    assert main(["import", "auto", "", "--storage", str(storage)]) == 1
    assert "is not there" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--step", "steps"], ["--time", "when"], ["--run", "runs"]])
def test_a_column_of_steps_times_or_runs_that_is_not_there_fails_the_table(arguments, table, storage, capsys):
    """A table without such a column is not imported, and can be imported later with other options."""
    command = ["import", "csv", str(table), "--storage", str(storage)]
    assert main([*command, *arguments]) == 1
    assert f"has no column {arguments[1]!r}" in capsys.readouterr().err
    assert main(command) == 0
    assert "table.csv: imported" in capsys.readouterr().out


def test_other_columns_that_no_row_has_are_told(table, storage, capsys):
    """A table that lacks another named column is imported, and the column is reported."""
    arguments = ["--map", "los=x", "--config-columns", "rate,lr", "--config-columns", "which", "--step", "it"]
    assert main(["import", "csv", str(table), *arguments, "--storage", str(storage)]) == 0
    said = capsys.readouterr().err
    assert "no row has the column 'los'" in said
    assert "no row has the column 'rate'" in said
    assert said.count("no row") == 2


def test_a_name_that_another_column_has_is_that_of_the_mapped_one(table, storage):
    """If two values of a row have one name, the mapped one is kept, and the other one is counted."""
    (run,) = load("csv", table, storage=storage, options={"step": "it", "names": {"acc": "loss"}})
    assert [value for _, _, value in points_of(run.run_dir)["loss"]] == [0.25, 0.75]
    assert run.left_out == {"values of columns whose names were given to other columns": 2}


def test_a_column_that_is_called_a_metric_is_neither_step_nor_time(tmp_path, storage):
    """Though it has a name that is one otherwise; the next usual column is the step then."""
    path = tmp_path / "table.csv"
    path.write_text("step,epoch,timestamp,loss\n7,1,1700000000,0.5\n", encoding="utf-8")
    (run,) = load("csv", path, storage=storage, options={"names": {"step": "batch", "timestamp": "clock"}})
    found = {name: [(step, value) for _, step, value in points] for name, points in points_of(run.run_dir).items()}
    assert found == {"batch": [(1, 7)], "clock": [(1, 1700000000)], "epoch": [(1, 1)], "loss": [(1, 0.5)]}


def test_cells_without_a_time_are_told(tmp_path, storage):
    """The column is named, so its reader relies on it; the rows have the time of the file."""
    path = tmp_path / "table.csv"
    path.write_text("when,loss\n2024-01-01,1\nyesterday,2\n,3\n", encoding="utf-8")
    (run,) = load("csv", path, storage=storage, options={"time": "when"})
    assert run.left_out == {"cells of the column 'when' without a time: their rows have the time of the file": 2}


def test_a_blank_cell_does_not_take_a_setting_away(tmp_path, storage):
    """The last one that is written counts."""
    path = tmp_path / "table.csv"
    path.write_text("step,loss,lr\n0,1,0.1\n1,2,0.2\n2,3,\n", encoding="utf-8")
    (run,) = load("csv", path, storage=storage, options={"config": ["lr"]})
    assert runicorn.load(run.run_dir).config["args"] == {"lr": 0.2}
