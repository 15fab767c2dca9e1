"""MLflow with a local SQLite file, and its asynchronous logging."""

from adapters import mlflow_sqlite
from adapters.mlflow_sqlite import read_back

__all__ = ["read_back", "start"]


def start(directory):
    return mlflow_sqlite.start(directory, synchronous=False)
