"""Starlette's test client: by httpx, which is deprecated there and says so at each import."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

__all__ = ["TestClient"]
