"""The handler of ``logging`` that follows the active run."""

from __future__ import annotations

import logging
import logging.config

import pytest
from support import text_of

CONFIGURATION = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"run": {"class": "runicorn.integrations.logging.ActiveRunHandler", "level": "INFO"}},
    "loggers": {"program": {"handlers": ["run"], "level": "DEBUG"}},
}


@pytest.fixture
def logger():
    logging.config.dictConfig(CONFIGURATION)
    found = logging.getLogger("program")
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)


def test_it_follows_from_run_to_run(logger, open_run):
    """It is made before any run; between two runs it does nothing; and a level is kept."""
    logger.info("before")
    runs = []
    for number in range(2):
        with open_run() as run:
            logger.info("in %d", number)
            logger.debug("no")
        logger.info("between")
        runs.append(run)
    for number, run in enumerate(runs):
        (line,) = text_of(run).splitlines()
        assert line.endswith(f"| INFO | program | in {number}")


def test_it_writes_into_the_newest_of_two_open_runs(logger, open_run):
    """And into the one before when that has ended."""
    first = open_run()
    second = open_run()
    logger.info("newest")
    second.finish()
    logger.info("then")
    first.finish()
    assert "newest" in text_of(second)
    assert "then" in text_of(first)
