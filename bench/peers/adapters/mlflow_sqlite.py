"""MLflow with its tracking store in a local SQLite file, a call that waits until its metrics are stored."""

import itertools
import os

import mlflow
from mlflow.tracking import MlflowClient


def start(directory, synchronous=True):
    mlflow.set_tracking_uri(uri(directory))
    mlflow.start_run()
    steps = itertools.count()

    def log(data):
        mlflow.log_metrics(data, step=next(steps), synchronous=synchronous)

    return log, mlflow.end_run


def read_back(directory):
    client = MlflowClient(uri(directory))
    (run,) = client.search_runs(["0"])
    per_name = [
        {metric.step for metric in client.get_metric_history(run.info.run_id, name)} for name in run.data.metrics
    ]
    return len(set.intersection(*per_name)) if per_name else 0


def uri(directory):
    return f"sqlite:///{os.path.join(directory, 'mlflow.db')}"
