"""A file store that we write, read by the client of mlflow itself.

``RUNICORN_PEERS`` names a directory with an environment for each tracker, as for the samples. Run by hand.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.mlflow_export import PNG, POINTS, export, make_run

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

PEERS = os.environ.get("RUNICORN_PEERS", "")
LONGEST_S = 300
READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
(experiment,) = client.search_experiments()
(run,) = client.search_runs([experiment.experiment_id])
points = {
    key: [[each.timestamp, each.step, repr(each.value)] for each in client.get_metric_history(run.info.run_id, key)]
    for key in run.data.metrics
}
(image,) = client.list_artifacts(run.info.run_id, "images")
path = client.download_artifacts(run.info.run_id, image.path)
print(json.dumps({
    "points": points, "params": run.data.params, "tags": run.data.tags, "name": run.info.run_name,
    "status": run.info.status, "times": [run.info.start_time, run.info.end_time], "id": run.info.run_id,
    "experiment": experiment.name, "image": image.path, "content": open(path, "rb").read().hex(),
}))
"""


def test_the_client_of_mlflow_reads_what_was_logged(tmp_path):
    """Every value, step and time, parameters, tags, status, name, and the image."""
    python = Path(PEERS, "mlflow", "bin", "python")
    if not PEERS or not python.exists():
        pytest.skip("no environment of mlflow in RUNICORN_PEERS")
    run_dir = make_run(tmp_path / "storage")
    export(run_dir, tmp_path / "mlruns")
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "HOME": str(tmp_path)}
    command = [python, "-c", READ, (tmp_path / "mlruns").as_uri()]
    done = subprocess.run(command, check=True, timeout=LONGEST_S, env=environment, capture_output=True, cwd=tmp_path)
    found = json.loads(done.stdout.splitlines()[-1])
    # Its client sorts what it returns.
    assert {name: sorted(map(tuple, points)) for name, points in found["points"].items()} == {
        name: sorted((at_ms, step, repr(value)) for at_ms, step, value in points) for name, points in POINTS.items()
    }
    assert found["params"] == {"lr": "0.1", "net": "{'depth': 3}", "word": "größe", "none": "None"}
    assert found["tags"].items() >= {"plain": "", "team": "a b", "mlflow.note.content": "two\nlines"}.items()
    assert (found["name"], found["experiment"], found["id"]) == ("größe λ", "cv/net", run_dir.name)
    assert (found["status"], found["times"]) == ("KILLED", [1000500, 2000250])
    assert bytes.fromhex(found["content"]) == PNG
    assert found["image"].startswith("images/a~dot+step+4+timestamp+1004500+")
