"""Makes ``mlflow/``: a file store and a database as mlflow writes them, and what its own client returns of both.

Run it in an environment with mlflow; it replaces the folder beside it.
"""

import json
import math
import os
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "mlflow"
START_MS = 1_700_000_000_250
VALUES = [1.5, math.nan, math.inf, -math.inf, 0.1, -0.0, 1e-300]


def fill(uri, artifacts):
    """Two runs, one of which is the other's child, and one that still runs."""
    import mlflow
    from mlflow.entities import Metric

    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("größe/λ", artifact_location=artifacts)
    runs = []
    for name, parent in (("parent run", None), ("child", 0), ("still running", None)):
        tags = {"mlflow.runName": name, "mlflow.user": "somebody", "team": "a b"}
        if parent is not None:
            tags["mlflow.parentRunId"] = runs[parent]
        run = client.create_run(experiment, start_time=START_MS, tags=tags)
        runs.append(run.info.run_id)
        for step, value in enumerate(VALUES):
            client.log_metric(run.info.run_id, "train/loss", value, timestamp=START_MS + step, step=step)
        client.log_metric(run.info.run_id, "train/loss", 7.0, timestamp=START_MS + 50, step=-1)
        client.log_metric(run.info.run_id, "train/loss", 8.0, timestamp=START_MS + 51, step=2)
        client.log_batch(
            run.info.run_id, metrics=[Metric("acc", 0.25, START_MS + 60, 1), Metric("acc", 0.5, START_MS + 61, 2)]
        )
        client.log_param(run.info.run_id, "lr", 0.1)
        client.log_param(run.info.run_id, "layers", [1, 2])
        client.log_param(run.info.run_id, "net", {"depth": 3})
        client.log_param(run.info.run_id, "word", "größe")
        client.log_param(run.info.run_id, "api_key", "sk-abcdefghij0123456789")
        client.set_tag(run.info.run_id, "mlflow.note.content", "two\nlines")
    watch(uri, runs[0])
    client.set_terminated(runs[0], "FINISHED", end_time=START_MS + 100_000)
    client.set_terminated(runs[1], "FAILED", end_time=START_MS + 50_000)
    found = {}
    for run in runs:
        points = {
            key: [[each.timestamp, each.step, repr(each.value)] for each in client.get_metric_history(run, key)]
            for key in client.get_run(run).data.metrics
        }
        found[client.get_run(run).info.run_name] = points
    return found


def watch(uri, run_id):
    """Two samples of the machine by mlflow's own monitor."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
    for _ in range(2):
        monitor.collect_metrics()
        monitor.publish_metrics(monitor.aggregate_metrics())
    monitor.mlflow_logger.flush()


def without_artifacts_path(folder):
    """No path of the machine that has made them."""
    for file in (folder / "mlruns").rglob("meta.yaml"):
        file.write_text(file.read_text().replace(str(folder), "/made"))


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    made = {"versions": {"mlflow": version("mlflow"), "python": sys.version.split()[0]}}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        top = Path(folder)
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        made["files"] = fill((top / "mlruns").as_uri(), "file:///made/artifacts")
        made["database"] = fill(f"sqlite:///{top}/mlflow.db", "mlflow-artifacts:/made")
        without_artifacts_path(top)
        shutil.copytree(top / "mlruns", HERE / "mlruns")
        connection = sqlite3.connect(top / "mlflow.db", isolation_level=None)
        names = {
            "experiments",
            "runs",
            "metrics",
            "latest_metrics",
            "params",
            "tags",
            "experiment_tags",
            "alembic_version",
        }
        connection.execute("PRAGMA foreign_keys=OFF")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in names and not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{name}"')  # of models, traces and jobs: 800 KB of empty pages
        connection.execute("UPDATE experiments SET artifact_location = '/made'")
        connection.execute("PRAGMA page_size=512")
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
        connection.close()
        shutil.copy(top / "mlflow.db", HERE / "mlflow.db")
    (HERE / "expected.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
