"""Labels and the recycle folder, shared with the viewer of the published Runicorn 0.7.2."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from published_viewer import open_viewer
from support import settled

import runicorn
from runicorn import reading
from runicorn.cli import main
from runicorn.managing import saved_views

if TYPE_CHECKING:
    from pathlib import Path

LIST_TIMEOUT_S = 30


@pytest.mark.timeout(240)
def test_labels_and_the_recycle_folder_are_one_with_the_viewers(
    viewer_python: Path, tmp_path: Path, storage: Path
) -> None:
    """What we label, the viewer shows; what we remove, it restores; what it removes, we restore; no row is wrong."""
    ids = []
    for path in ("cv/x", "/", "nlp"):
        with runicorn.init(path=path, storage=str(storage)) as run:
            run.log({"loss": 1.0})
        ids.append(run.id)
    first, at_root, third = ids
    places = {each: reading.find(each, storage).run_dir for each in ids}

    def command(name: str, *arguments: str) -> None:
        assert main([name, "--storage", str(storage), *arguments]) == 0

    with open_viewer(viewer_python, storage, tmp_path / "home") as viewer:

        def rows() -> int:
            stats = viewer.get("/paths?include_stats=true")["stats"]
            return sum(stats.get(path, {}).get("total", 0) for path in ("cv/x", "nlp", "default"))

        def in_bin() -> dict[str, tuple[str, str]]:
            found = viewer.get("/recycle-bin")["deleted_runs"]
            return {each["id"]: (each["original_status"], each["run_dir"]) for each in found}

        assert settled(rows, 3, LIST_TIMEOUT_S) == 3
        command("alias", first, "seed")
        command("tag", first, "+one", "+two")
        command("note", first, "of ours,\nin two lines")
        saved_views.save(str(storage), "best first", "sort=best")
        assert viewer.column("alias", "tags")[first] == ("seed", ["one", "two"])
        viewer.send("PATCH", f"/runs/{first}", {"alias": "theirs", "tags": ["two", "three"]})
        command("tag", "theirs", "-two", "+four")
        assert viewer.column("alias", "tags")[first] == ("theirs", ["four", "three"])
        assert reading.find(first, storage).notes == "of ours,\nin two lines"

        command("rm", "theirs", at_root, "--yes")
        recycle = storage / "runs" / ".recycle"
        assert in_bin() == {each: ("finished", str(recycle / each)) for each in (first, at_root)}
        assert set(viewer.runs()) == {third}
        answer = viewer.send("POST", "/recycle-bin/restore", {"run_ids": [first, at_root]})
        assert answer["restored_count"] == 2, answer
        assert {info.id: info.run_dir for info in reading.runs(storage)} == places

        viewer.send("POST", "/runs/soft-delete", {"run_ids": [third, at_root]})
        assert set(in_bin()) == {third, at_root}
        command("rm", "--restore", third, at_root)

        assert in_bin() == {}
        assert viewer.column("run_dir", "status") == {each: (places[each], "finished") for each in ids}
        assert {info.id: info.run_dir for info in reading.runs(storage)} == places
        assert viewer.column("tags")[first] == ["four", "three"]
        assert [view.name for view in saved_views.listed(str(storage))] == ["best first"]
        for each in ids:
            assert viewer.get(f"/runs/{each}/metrics_step")["total"] == 1
            assert ".deleted" not in os.listdir(places[each])
